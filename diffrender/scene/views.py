"""Views: cameras with the images that were taken from them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from diffrender.checks import check_shape
from diffrender.errors import ShapeError
from diffrender.scene.cameras import Cameras


@dataclass(frozen=True)
class Views:
    """N target images, one per camera.

    cameras: N cameras.
    images: [N, H, W, 3] linear RGB, already over the background where there are masks.
    masks: [N, H, W] coverage in 0..1, or None where unknown.
    names: N names for people, usually file names.
    """

    cameras: Cameras
    images: Tensor
    masks: Tensor | None
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        n_views, height, width = len(self.cameras), self.cameras.height, self.cameras.width
        check_shape("Views", "images", self.images, (n_views, height, width, 3))
        if self.masks is not None:
            check_shape("Views", "masks", self.masks, (n_views, height, width))
        if len(self.names) != n_views:
            raise ShapeError(f"Views: names must have one entry a camera ({n_views}), got {len(self.names)}")

    def __len__(self) -> int:
        return len(self.cameras)

    def select(self, index: Tensor | list[int]) -> Views:
        """The views at `index`."""
        index = torch.as_tensor(index, dtype=torch.int64, device=self.images.device)
        return replace(
            self,
            cameras=self.cameras.select(index),
            images=self.images[index],
            masks=None if self.masks is None else self.masks[index],
            names=tuple(self.names[i] for i in index.tolist()),
        )

    def to(self, device: torch.device | str) -> Views:
        """The same views on `device`."""
        return replace(
            self,
            cameras=self.cameras.to(device),
            images=self.images.to(device),
            masks=None if self.masks is None else self.masks.to(device),
        )
