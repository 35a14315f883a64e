"""Views: cameras with their target images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from diffrender.checks import check_shape
from diffrender.errors import ShapeError
from diffrender.scene.cameras import Cameras


@dataclass(frozen=True)
class Views:
    """N target images, one per camera.

    cameras: N cameras.
    images: [N, H, W, 3] linear RGB, composited over the background if there are masks.
    masks: [N, H, W] coverage in 0..1, or None if unknown.
    names: N names for display, usually file names.
    aovs: other known AOVs (diffrender.render.aovs) by name: "normal" [N, H, W, 3], "depth" [N, H, W, 1];
        uncovered parts of a pixel count as zero, NaN means unknown. Default none.
    is_composited: whether a background was put behind the images by their masks or transparency.
    weights: [N, H, W] in 0..1, how much of each pixel is known and counts, or None if all do: 0 where the image shows
        nothing of the scene (beyond the edge of the photograph, a hand, a turntable).

    Raises ShapeError for shapes that do not match the cameras.
    """

    cameras: Cameras
    images: Tensor
    masks: Tensor | None
    names: tuple[str, ...]
    aovs: Mapping[str, Tensor] = field(default_factory=dict)
    is_composited: bool = False
    weights: Tensor | None = None

    def __post_init__(self) -> None:
        n_views, height, width = len(self.cameras), self.cameras.height, self.cameras.width
        check_shape("Views", "images", self.images, (n_views, height, width, 3))
        for name, values in (("masks", self.masks), ("weights", self.weights)):
            if values is not None:
                check_shape("Views", name, values, (n_views, height, width))
        for name, values in self.aovs.items():
            check_shape("Views", f"aovs[{name!r}]", values, (n_views, height, width, "C"))
        if len(self.names) != n_views:
            raise ShapeError(f"Views: names must have one entry per camera ({n_views}), got {len(self.names)}")

    def __len__(self) -> int:
        return len(self.cameras)

    def select(self, index: Tensor | list[int]) -> Views:
        """Return the views at `index`."""
        index = torch.as_tensor(index, dtype=torch.int64, device=self.images.device)
        return replace(
            self,
            cameras=self.cameras.select(index),
            images=self.images[index],
            masks=None if self.masks is None else self.masks[index],
            names=tuple(self.names[i] for i in index.tolist()),
            aovs={name: values[index] for name, values in self.aovs.items()},
            weights=None if self.weights is None else self.weights[index],
        )

    def to(self, device: torch.device | str) -> Views:
        """Return the same views on `device`."""
        return replace(
            self,
            cameras=self.cameras.to(device),
            images=self.images.to(device),
            masks=None if self.masks is None else self.masks.to(device),
            aovs={name: values.to(device) for name, values in self.aovs.items()},
            weights=None if self.weights is None else self.weights.to(device),
        )


def evenly_spaced_indices(total: int, count: int) -> list[int]:
    """Return up to `count` evenly spaced indices below `total`, for a representative subset."""
    count = min(count, total)
    return [i * total // count for i in range(count)]
