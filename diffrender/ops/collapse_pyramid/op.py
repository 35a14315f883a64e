"""Sum the levels of an image pyramid."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.errors import ShapeError
from diffrender.ops.backend import implementation
from diffrender.ops.differentiable import run_linear

Sizes = tuple[tuple[int, int], ...]


def collapse_pyramid(
    texels: Tensor,
    height: int,
    width: int,
    levels: int,
    coarse_share: float = 1.0,
    closed: bool = False,
    *,
    backend: str | None = None,
) -> Tensor:
    """Return the image [H, W, C] that is the sum of a pyramid's levels, each enlarged to H x W; differentiable.

    Of a coarser level `coarse_share` is added. Levels are enlarged by 2 at a time, bilinearly, with texel centres as in
    a mip pyramid: a texel becomes 2 x 2, each a quarter of the way to its neighbours; borders are clamped.

        image = collapse_pyramid(texels, 64, 64, 3)                 # texels: [64^2 + 32^2 + 16^2 + 8^2, C]

    texels: [L, C] float32 or float64: an image of H x W, row by row, then `levels` coarser ones, each half the height
        and width of the one before.
    height, width: H and W, multiples of 2^levels, at least that; levels: at least 1.
    closed: whether the last column is adjacent to the first, as in an environment map.
    backend: None for the device's own (Numba on the CPU, Triton on CUDA), "numba", "triton" or "reference".

    Raises ShapeError for sizes that do not agree.
    Source: the sum of a Laplacian pyramid (Burt & Adelson 1983).
    """
    unit = 2 ** max(levels, 0)
    if levels < 1 or height < unit or width < unit or height % unit or width % unit:
        raise ShapeError(
            f"collapse_pyramid: an image of {height} x {width} cannot be halved {levels} times; height and width must"
            " be multiples of 2^levels, and levels at least 1"
        )
    sizes = tuple((height >> level, width >> level) for level in range(levels + 1))
    check_tensors("collapse_pyramid", texels=(texels, f"{sum(rows * columns for rows, columns in sizes)} C"))
    if texels.shape[1] == 0:
        return texels.reshape(height, width, 0)
    name, module = implementation("collapse_pyramid", texels.device, backend)
    if name == "reference":
        return module.forward(texels, sizes, coarse_share, closed)
    options = {"sizes": sizes, "coarse_share": coarse_share, "closed": closed}
    return run_linear(partial(module.forward, **options), partial(module.backward, **options), texels)
