"""What a camera's projection is: which points of space are imaged at which points of the image, and how large.

A projection maps between the camera's frame (OpenCV axes: x right, y down, z forward; world units) and the normalized
image plane, whose unit is the focal length: pixels are focal_px * (x, y) + center_px for every projection. It sees
neither poses nor pixels; `Cameras` owns one and adds those.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import fields, replace
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from diffrender.ops.normalize import normalize

Lens = TypeVar("Lens", bound="Projection")


class Projection(ABC):
    """Base of all projections: a frozen dataclass whose fields, if any, are the lens's parameters.

    Each parameter is a tensor [N], one number per camera, named as in transforms.json (k1, p2, ...), where 0 means that
    the lens has no such effect.

    A projection need not be linear. The renderer projects the vertices and connects them by straight lines: where the
    lens bends lines, a face is drawn as the triangle of its projected corners (a chord of each edge), so such meshes
    need faces that are small in the image. Two things no set of projected corners can express: faces that cross the
    seam of a panorama, and points that a lens folds back into the image from beyond its field of view. The latter must
    get a depth of at most 0, so that they are clipped.

    What is written here holds where all rays meet in the camera's centre; other projections replace it.

    default_near: the `near` of cameras that do not state one.
    """

    default_near: ClassVar[float] = 1e-3

    @abstractmethod
    def to_image_plane(self, points_c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(xy_w [N, V, 2], w [N, V, 1], depth [N, V, 1]) of points [N, V, 3] in the camera's frame, differentiable.

        xy_w: the point of the normalized image plane, times w; finite wherever `points_c` is, also behind the camera.
        w: how many world units one unit of the image plane is wide at the point; see `scale`.
        depth: what decides which face is in front, and is clipped at `near`; linear along each ray, in world units.
        """

    @abstractmethod
    def from_image_plane(self, xy: Tensor, depth: Tensor) -> Tensor:
        """Points [N, P, 3] in the camera's frame imaged at `xy` [N, P, 2] at `depth` [N, P, 1]: the inverse.

        Linear in the depth, since light goes straight: those of one xy are a ray, which begins at depth 0.
        """

    def scale(self, depth: Tensor) -> Tensor:
        """How many world units one unit of the image plane is wide on the optical axis, at each `depth`."""
        return depth

    def directions_to_camera(
        self, points_w: Tensor, eye_w: Tensor, forward_w: Tensor, view: Tensor, backend: str | None = None
    ) -> Tensor:
        """[M, 3] unit directions in the world from points [M, 3] along the rays to camera view[m]; view: [M] int64.

        eye_w, forward_w: [N, 3] the cameras' centres and unit viewing directions.
        """
        return normalize(eye_w.index_select(0, view) - points_w, backend=backend)

    def project(self, points_c: Tensor, focal_px: Tensor, center_px: Tensor) -> Tensor:
        """Homogeneous pixel coordinates [N, V, 4] = (x w, y w, w, depth) of points [N, V, 3] in the camera's frame.

        The point of the image is (x w) / w and (y w) / w in pixels. Undivided, because a triangle that passes the
        camera has corners without a point in the image, and is clipped exactly all the same
        (Olano & Greer, Triangle Scan Conversion using 2D Homogeneous Coordinates, 1997).

        focal_px, center_px: [N, 2] as in `Cameras`.
        """
        xy_w, w, depth = self.to_image_plane(points_c)
        return torch.cat([xy_w * focal_px[:, None, :] + center_px[:, None, :] * w, w, depth], -1)

    def unproject(self, xy_px: Tensor, depth: Tensor, focal_px: Tensor, center_px: Tensor) -> Tensor:
        """Points [N, P, 3] in the camera's frame seen at `xy_px` [N, P, 2] at `depth` [N, P, 1]: `project` reversed."""
        return self.from_image_plane((xy_px - center_px[:, None, :]) / focal_px[:, None, :], depth)

    def pixel_size(self, depth: Tensor, focal_px: Tensor) -> Tensor:
        """[N, P] world units that a pixel is wide at `depth` [N, P], in the middle of the image (x and y averaged)."""
        return self.scale(depth) / focal_px.mean(1, keepdim=True)

    @classmethod
    def parameter_names(cls) -> tuple[str, ...]:
        """The names of the lens's parameters."""
        return tuple(field.name for field in fields(cls))  # type: ignore[arg-type]

    def parameters(self) -> dict[str, Tensor]:
        """The lens's parameters by name."""
        return {name: getattr(self, name) for name in self.parameter_names()}

    def map(self: Lens, change: Callable[[Tensor], Tensor]) -> Lens:
        """The same projection with `change` applied to each parameter."""
        return replace(self, **{name: change(value) for name, value in self.parameters().items()})  # type: ignore[type-var]

    def concatenate(self: Lens, other: Lens) -> Lens:
        """The projection of these cameras and, after them, those of `other`, which is of the same kind."""
        both = {name: torch.cat([value, getattr(other, name)]) for name, value in self.parameters().items()}
        return replace(self, **both)  # type: ignore[type-var]


class Rectilinear(Projection):
    """Base of the projections that image straight lines as straight lines: (x, y) / scale(depth).

    Homogeneous coordinates are linear in space then, so that faces are drawn exactly (Hartley & Zisserman, Multiple
    View Geometry, eq. 6.5), and a plane has a depth that can be stored at texels and interpolated: shadow maps need it.
    """

    def to_image_plane(self, points_c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x and y as they are, w = scale(depth), depth = z."""
        depth = points_c[..., 2:3]
        return points_c[..., :2], self.scale(depth), depth

    @abstractmethod
    def screen_depth(self, depth: Tensor) -> Tensor:
        """A function of depth that grows with it and, on a plane, is linear in the point of the image."""

    @abstractmethod
    def screen_depth_step(self, depth: Tensor, step: Tensor) -> Tensor:
        """By how much `screen_depth` grows at `depth` for a small `step` of depth."""

    @abstractmethod
    def plane_slope(
        self, points_c: Tensor, normals_c: Tensor, depth: Tensor, focal_px: Tensor, steepest: float
    ) -> tuple[Tensor, Tensor]:
        """Of the planes through points [M, 3] with unit normals [M, 3]: (facing [M], slope [M, 2]).

        facing: cosine of the angle between the normal and the direction to the camera.
        slope: the derivative of `screen_depth` by the point in the image, per pixel, held within that of a plane which
            slants away from the image by an angle of the tangent `steepest`.
        depth: [M] positive; focal_px: [] pixels.
        """
