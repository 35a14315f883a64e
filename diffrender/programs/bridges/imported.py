"""Import of packages that only bridges need, and what to install for one that is missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from diffrender.errors import BackendError

# What programs and bridges may import that comes with an extra of this package.
EXTRAS = {"torchdiffeq": "physics", "pytorch_kinematics": "robots", "jax": "jax"}


def imported(package: str, function: str) -> Any:
    """Return a package that `function` needs. Raises BackendError, with what to install, if it is not there."""
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        raise BackendError(
            f"bridges.{function} needs {package}, which is not installed: pip install '{install_of(package)}'"
        ) from error


def install_of(package: str) -> str:
    """Return what pip must install for a package."""
    return f"diffrender[{EXTRAS[package]}]" if package in EXTRAS else package


def missing_package(error: BaseException) -> str | None:
    """Return which package an import did not find, and what to install; None of another error."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return f"needs {package}, which is not installed: pip install '{install_of(package)}'" if package else None
