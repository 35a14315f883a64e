"""What programs are written with: relaxed choices, custom gradients, and bridges to other libraries (README.md)."""

from diffrender.programs import bridges, relaxed
from diffrender.programs.custom_gradient import custom_gradient

__all__ = ["bridges", "custom_gradient", "relaxed"]
