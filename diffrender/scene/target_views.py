"""Views: cameras with their target images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from diffrender.checks import check_colors, check_float, check_shape, check_type
from diffrender.errors import ShapeError
from diffrender.imaging.lens_distortion import LensDistortion
from diffrender.scene.cameras import Cameras, concatenate_cameras


@dataclass(frozen=True)
class PhotographLens:
    """A lens whose distortion was undone in the picture of a view.

    focal_px, center_px: (x, y), of the photograph at its full size, and of the pinhole that the picture is of.
    """

    distortion: LensDistortion
    focal_px: tuple[float, float]
    center_px: tuple[float, float]


@dataclass(frozen=True)
class ViewFiles:
    """The files of a view whose picture is a whole photograph, and its size in pixels.

    mask, ignore: None if there is no such file. lens: None if a pinhole took it.
    aovs: the files of its "normal" and "depth". depth_unit: of the depths, in world units.
    """

    image: Path
    mask: Path | None
    ignore: Path | None
    width: int
    height: int
    lens: PhotographLens | None = None
    aovs: Mapping[str, Path] = field(default_factory=dict)
    depth_unit: float = 1.0


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
    boxes: [N, 4] int64, (top, left, height, width) of each photograph in its image, in pixels, or None if all fill
        them; around photographs weights are 0.
    files: N files of the views, None for a view that no file shows: rendered, turned.

    Raises ShapeError for shapes that do not match the cameras, and for whole numbers.
    """

    cameras: Cameras
    images: Tensor
    masks: Tensor | None
    names: tuple[str, ...]
    aovs: Mapping[str, Tensor] = field(default_factory=dict)
    is_composited: bool = False
    weights: Tensor | None = None
    boxes: Tensor | None = None
    files: tuple[ViewFiles | None, ...] | None = None

    def __post_init__(self) -> None:
        check_type("Views", "cameras", self.cameras, Cameras)
        n_views, height, width = len(self.cameras), self.cameras.height, self.cameras.width
        check_shape("Views", "images", self.images, (n_views, height, width, 3))
        check_colors("Views", "images", self.images)
        for name, values in (("masks", self.masks), ("weights", self.weights)):
            if values is not None:
                check_shape("Views", name, values, (n_views, height, width))
                check_float("Views", name, values)
        if self.boxes is not None:
            check_shape("Views", "boxes", self.boxes, (n_views, 4))
        for name, values in self.aovs.items():
            check_shape("Views", f"aovs[{name!r}]", values, (n_views, height, width, "C"))
        if len(self.names) != n_views:
            raise ShapeError(f"Views: names must have one entry per camera ({n_views}), got {len(self.names)}")

    def __len__(self) -> int:
        return len(self.cameras)

    def select(self, index: Tensor | list[int]) -> Views:
        """Return the views at `index`."""
        rows = index.tolist() if isinstance(index, Tensor) else index
        index = torch.as_tensor(index, dtype=torch.int64, device=self.images.device)
        return replace(
            self,
            cameras=self.cameras.select(index),
            images=self.images[index],
            masks=None if self.masks is None else self.masks[index],
            names=tuple(self.names[i] for i in rows),
            aovs={name: values[index] for name, values in self.aovs.items()},
            weights=None if self.weights is None else self.weights[index],
            boxes=None if self.boxes is None else self.boxes[index],
            files=None if self.files is None else tuple(self.files[i] for i in rows),
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
            boxes=None if self.boxes is None else self.boxes.to(device),
        )

    @property
    def known_masks(self) -> Tensor | None:
        """The masks [N, H, W], times how much of each pixel is known: where nothing is, there is no object."""
        if self.masks is None or self.weights is None:
            return self.masks
        return torch.where(self.weights > 0, self.weights * self.masks, 0)

    @property
    def known_pixels(self) -> Tensor:
        """Which pixels are known, if only in part: [N, H, W] bool."""
        return torch.ones_like(self.images[..., 0], dtype=torch.bool) if self.weights is None else self.weights > 0

    def photo_boxes(self) -> list[list[int]]:
        """Return (top, left, height, width) of each photograph in its image, in pixels."""
        whole = [0, 0, self.cameras.height, self.cameras.width]
        return [whole] * len(self) if self.boxes is None else self.boxes.tolist()

    def mask_shares(self) -> Tensor:
        """Return the share of what is known of each view that is in its mask [N]. Raises ShapeError without masks."""
        masks = self.known_masks
        if masks is None:
            raise ShapeError("Views.mask_shares: these views have no masks")
        area = masks.sum((1, 2))
        return masks.mean((1, 2)) if self.weights is None else area / self.weights.sum((1, 2)).clamp_min(1e-6)

    def borders(self, rows: int, columns: int) -> Tensor:
        """Return which pixels are known and at the border of their photograph: [N, H, W] bool.

        It is the upper and lower `rows` and the left and right `columns` of the photograph, or of the smallest box
        about what is known of it if nothing is at its own border.
        """
        known, photos = self.known_pixels, torch.zeros_like(self.known_pixels)
        for photo, (top, left, height, width) in zip(photos, self.photo_boxes(), strict=True):
            photo[top : top + height, left : left + width] = True
        own, about_known = (known & _border_of(region, rows, columns) for region in (photos, known))
        return torch.where(own.any(2, True).any(1, True), own, about_known)


def _border_of(region: Tensor, rows: int, columns: int) -> Tensor:
    """Return the upper and lower `rows` and the left and right `columns` of the boxes about regions [N, H, W] bool."""
    is_border = torch.zeros_like(region)
    for axis, width in ((1, rows), (2, columns)):
        occupied = region.any(3 - axis).int()
        index = torch.arange(occupied.shape[1], device=region.device)
        first, last = occupied.argmax(1, True), len(index) - 1 - occupied.flip(1).argmax(1, True)
        is_border |= ((index < first + width) | (index > last - width)).unsqueeze(3 - axis)
    return is_border


def concatenate_views(a: Views, b: Views) -> Views:
    """Return the views of `a` and then of `b`, of the same image size, as `concatenate_cameras` does; without AOVs."""
    masks = None if a.masks is None or b.masks is None else torch.cat([a.masks, b.masks])
    weights = None
    if not (a.weights is None and b.weights is None):
        weights = torch.cat([_all_known(each) if each.weights is None else each.weights for each in (a, b)])
    boxes = None
    if not (a.boxes is None and b.boxes is None):
        boxes = torch.tensor(a.photo_boxes() + b.photo_boxes(), device=a.images.device)
    return Views(
        concatenate_cameras(a.cameras, b.cameras),
        torch.cat([a.images, b.images]),
        masks,
        a.names + b.names,
        is_composited=a.is_composited,
        weights=weights,
        boxes=boxes,
        files=None if a.files is None or b.files is None else a.files + b.files,
    )


def _all_known(views: Views) -> Tensor:
    return torch.ones_like(views.images[..., 0])


def evenly_spaced_indices(total: int, count: int) -> list[int]:
    """Return up to `count` evenly spaced indices below `total`, for a representative subset."""
    count = min(count, total)
    return [i * total // count for i in range(count)]


def centroids_px(masks: Tensor) -> Tensor:
    """Return the centroids [N, 2] (x, y) of masks [N, H, W], in pixels."""
    _, height, width = masks.shape
    area = masks.sum((1, 2)).clamp_min(1e-6)
    x = (masks.sum(1) * (torch.arange(width, device=masks.device) + 0.5)).sum(1) / area
    y = (masks.sum(2) * (torch.arange(height, device=masks.device) + 0.5)).sum(1) / area
    return torch.stack([x, y], 1)
