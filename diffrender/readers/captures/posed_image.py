"""An image with a known camera, as readers of captures state it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from diffrender.geometry.rigid import invert_rigid
from diffrender.imaging.lens_distortion import LensDistortion
from diffrender.readers.captures.photometry import Photometry
from diffrender.readers.captures.picture_turns import turn_told_by_size
from diffrender.scene.projection import Projection
from diffrender.scene.projections.perspective import Perspective

# From here on float32 resolves the spread of the cameras to less than about 1e-5.
FAR = 100.0


@dataclass(frozen=True)
class Intrinsics:
    """What a capture says about a lens, in pixels of the full image and radians; None for what it omits.

    projection: the kind of projection; for parallel rays, focal lengths are pixels per world unit.
    parameters: the numbers of the lens by name; all that `projection` has.
    distortion: of the photograph, which is undistorted when it is read; None if it has none.
    """

    focal_x_px: float | None = None
    focal_y_px: float | None = None
    fov_x_rad: float | None = None
    fov_y_rad: float | None = None
    center_x_px: float | None = None
    center_y_px: float | None = None
    projection: type[Projection] = Perspective
    parameters: Mapping[str, float] = field(default_factory=dict)
    distortion: LensDistortion | None = None

    def resolved(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Return focal lengths x, y and centre x, y in pixels for an image of this size.

        An omitted focal length follows from the field of view, or else from square pixels; an omitted centre is the
        middle.
        """
        focal_x = self.focal_x_px or _focal(width, self.fov_x_rad)
        focal_y = self.focal_y_px or _focal(height, self.fov_y_rad)
        if focal_x is None and focal_y is None:
            raise ValueError("neither a focal length nor a field of view is known")
        center_x = width / 2 if self.center_x_px is None else self.center_x_px
        center_y = height / 2 if self.center_y_px is None else self.center_y_px
        return focal_x or focal_y or 0.0, focal_y or focal_x or 0.0, center_x, center_y


def _focal(size_px: int, fov_rad: float | None) -> float | None:
    return None if fov_rad is None else 0.5 * size_px / math.tan(fov_rad / 2)


@dataclass(frozen=True)
class PosedImage:
    """The files of an image, and the camera that took it.

    name: for people. place: its name in messages, for example "frame 3 (images/0003.png)".
    cam_from_world: [4, 4] float64, rigid, OpenCV axes.
    stated_width, stated_height: the size in pixels that the capture says the image has, or None.
    ignore_paths: pictures that are white where the image shows nothing of the scene.
    mask_white: the value, of 255, of the object in the mask file.
    aov_paths: the files of its "normal" and "depth", if there are any. depth_unit: of the depths, in world units.
    turn: what to do with an image that its camera marks to be turned, as in readers.images.image.
    photometry: how light became the image.
    time: in seconds, as in scene.cameras; None if the capture omits it.
    """

    name: str
    place: str
    image_path: Path
    mask_path: Path | None
    cam_from_world: Tensor
    intrinsics: Intrinsics
    stated_width: int | None = None
    stated_height: int | None = None
    ignore_paths: tuple[Path, ...] = ()
    mask_white: int = 255
    aov_paths: Mapping[str, Path] = field(default_factory=dict)
    depth_unit: float = 1.0
    turn: bool | None = None
    photometry: Photometry = field(default_factory=Photometry)
    time: float | None = None


def turn_of(frame: PosedImage) -> bool | None:
    """Return what to do with a photograph that is marked to be turned: as its reader says, or as its size tells."""
    if frame.turn is not None:
        return frame.turn
    return turn_told_by_size(frame.image_path, frame.stated_width, frame.stated_height)


def camera_centers(frames: Sequence[PosedImage]) -> Tensor:
    """Return where the cameras are, [N, 3] float64."""
    return torch.stack([invert_rigid(frame.cam_from_world)[:3, 3] for frame in frames])


def far_origin(frames: Sequence[PosedImage]) -> tuple[float, float, float]:
    """Return the middle of the cameras if it is FAR times as far from the world's origin as they are spread; else 0."""
    centers = camera_centers(frames)
    middle = centers.mean(0)
    spread = (centers - middle).norm(dim=1).max()
    # Cameras at one point differ by the rounding of float64 only.
    if not 1e-13 * float(middle.norm()) < float(spread) < float(middle.norm()) / FAR:
        return 0.0, 0.0, 0.0
    x, y, z = middle.tolist()
    return x, y, z


def move_frames(frames: Sequence[PosedImage], origin: tuple[float, float, float]) -> list[PosedImage]:
    """Return the frames in a world whose origin is at `origin`."""
    if not any(origin):
        return list(frames)
    move = torch.eye(4, dtype=torch.float64)
    move[:3, 3] = torch.tensor(origin, dtype=torch.float64)
    return [replace(frame, cam_from_world=frame.cam_from_world @ move) for frame in frames]
