"""Values of vertices that become a texture during a fit."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffrender.fit.parametrization import Parametrization
from diffrender.fit.parametrizations.coarse_to_fine import is_image


@dataclass(frozen=True)
class LaterTexels(Parametrization):
    """Values [V, C] of vertices, as `inner`; once they are texels [H, W, C], as `texels`."""

    inner: Parametrization
    texels: Parametrization

    @property
    def reach(self) -> float:  # type: ignore[override]
        """That of the values, which texels have too."""
        return self.inner.reach

    def resized(self, value: Tensor) -> Parametrization:
        """Return `texels` for texels."""
        return self.texels if is_image(value) else self

    def value_of(self, latent: Tensor) -> Tensor:
        """Return the values [V, C]."""
        return self.inner.value_of(latent)

    def latent_of(self, value: Tensor) -> Tensor:
        """Return the latent of `inner`."""
        return self.inner.latent_of(value)
