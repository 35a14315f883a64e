"""Projection: the interface of all camera projections, from points in space to points of the image.

A projection maps between the camera frame (OpenCV axes: x right, y down, z forward; world units) and the normalized
image plane, whose unit is the focal length: pixels are focal_px * (x, y) + center_px for every projection. Poses and
pixels belong to `Cameras`, which holds a projection.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import fields, replace
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from diffrender.checks import in_one_dtype
from diffrender.ops.normalize import normalize
from diffrender.ops.transform_points import transform_points

Lens = TypeVar("Lens", bound="Projection")


class Projection(ABC):
    """Base of all projections: a frozen dataclass whose fields, if any, are the lens's parameters.

    Each parameter is a tensor [N], one number per camera, named as in transforms.json (k1, p2, ...); 0 means that the
    lens has no such effect, and is what files that omit a parameter get. It is learned as `cameras.<name>`. glTF has no
    cameras with other lenses than `Perspective` and `Orthographic`.

    A projection need not be linear. The renderer projects the vertices and connects them by straight lines: if the
    lens bends lines, a face is drawn as the triangle of its projected corners (a chord of each edge), so such meshes
    need faces that are small in the image. Projected corners cannot express two things: faces that cross the seam of a
    panorama, and points that a lens folds back into the image from beyond its field of view. The latter must get a
    depth of at most 0, so that they are clipped.

    The methods implemented here assume that all rays meet in the camera's centre; other projections override them.

    default_near: the `near` of cameras if it is omitted.
    is_undone_on_reading: whether photographs that a capture says to be taken with this lens are undistorted.
    """

    default_near: ClassVar[float] = 1e-3
    is_undone_on_reading: ClassVar[bool] = False

    @abstractmethod
    def to_image_plane(self, points_c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map points [N, V, 3] of the camera frame to (xy_w [N, V, 2], w [N, V, 1], depth [N, V, 1]), differentiably.

        xy_w: the point of the normalized image plane, times w; finite if `points_c` is, also behind the camera.
        w: world units per unit of the image plane at the point; see `scale`.
        depth: decides which face is in front, and is clipped at `near`; linear along each ray, in world units.
        """

    @abstractmethod
    def from_image_plane(self, xy: Tensor, depth: Tensor) -> Tensor:
        """Return the points [N, P, 3] of the camera frame at `xy` [N, P, 2] and `depth` [N, P, 1]: the inverse.

        They are linear in the depth, since light travels straight: the points of one xy are a ray that begins at depth
        0.
        """

    def scale(self, depth: Tensor) -> Tensor:
        """Return the world units per unit of the image plane on the optical axis, at each `depth`."""
        return depth

    def directions_to_camera(
        self, points_w: Tensor, eye_w: Tensor, forward_w: Tensor, view: Tensor, backend: str | None = None
    ) -> Tensor:
        """Return [M, 3] unit world directions from points [M, 3] along the rays to camera view[m]; view: [M] int64.

        eye_w, forward_w: [N, 3] the cameras' centres and unit viewing directions in the world.
        """
        return normalize(eye_w.index_select(0, view) - points_w, backend=backend)

    def project(self, points_c: Tensor, focal_px: Tensor, center_px: Tensor) -> Tensor:
        """Project points [N, V, 3] of the camera frame to homogeneous pixel coordinates (x w, y w, w, depth) [N, V, 4].

        The image point is ((x w) / w, (y w) / w) in pixels. It is not divided here: a triangle that crosses the camera
        plane has corners without an image point, and is clipped exactly in these coordinates
        (Olano & Greer, Triangle Scan Conversion using 2D Homogeneous Coordinates, 1997).

        focal_px, center_px: [N, 2] as in `Cameras`.
        """
        xy_w, w, depth = self.to_image_plane(points_c)
        return torch.cat([xy_w * focal_px[:, None, :] + center_px[:, None, :] * w, w, depth], -1)

    def project_from_world(
        self, points_w: Tensor, cam_from_world: Tensor, focal_px: Tensor, center_px: Tensor, backend: str | None = None
    ) -> Tensor:
        """Project points [V, 3] of the world as `project` does, by cam_from_world [N, 4, 4]."""
        points_c = transform_points(*in_one_dtype(points_w, cam_from_world[:, :3]), backend=backend)
        return self.project(points_c, focal_px, center_px)

    def unproject(self, xy_px: Tensor, depth: Tensor, focal_px: Tensor, center_px: Tensor) -> Tensor:
        """Return the points [N, P, 3] of the camera frame at pixels `xy_px` [N, P, 2] and `depth` [N, P, 1]."""
        return self.from_image_plane((xy_px - center_px[:, None, :]) / focal_px[:, None, :], depth)

    def pixel_size(self, depth: Tensor, focal_px: Tensor) -> Tensor:
        """Return the [N, P] width in world units of a pixel in the image's middle at `depth` [N, P], mean of x, y."""
        return self.scale(depth) / focal_px.mean(1, keepdim=True)

    @classmethod
    def parameter_names(cls) -> tuple[str, ...]:
        """Return the names of the lens's parameters."""
        return tuple(field.name for field in fields(cls))  # type: ignore[arg-type]

    def parameters(self) -> dict[str, Tensor]:
        """Return the lens's parameters by name."""
        return {name: getattr(self, name) for name in self.parameter_names()}

    def map(self: Lens, change: Callable[[Tensor], Tensor]) -> Lens:
        """Return the projection with `change` applied to each parameter."""
        return replace(self, **{name: change(value) for name, value in self.parameters().items()})  # type: ignore[type-var]

    def concatenate(self: Lens, other: Lens) -> Lens:
        """Return the projection of these cameras followed by those of `other`, which is of the same class."""
        both = {name: torch.cat([value, getattr(other, name)]) for name, value in self.parameters().items()}
        return replace(self, **both)  # type: ignore[type-var]


class Rectilinear(Projection):
    """Base of projections that keep straight lines straight: (x, y) / scale(depth).

    Their homogeneous coordinates are linear in space, so that faces are drawn exactly (Hartley & Zisserman, Multiple
    View Geometry, eq. 6.5), and a plane has a depth that can be stored in texels and interpolated, as shadow maps do.
    """

    def to_image_plane(self, points_c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return x and y unchanged, w = scale(depth), depth = z."""
        depth = points_c[..., 2:3]
        return points_c[..., :2], self.scale(depth), depth

    def project_from_world(
        self, points_w: Tensor, cam_from_world: Tensor, focal_px: Tensor, center_px: Tensor, backend: str | None = None
    ) -> Tensor:
        """Project points [V, 3] of the world as `project` does, by one affine map per camera.

        An affine map is known by what it makes of the origin and of a step along each axis. It is composed in float64:
        the principal point may be many times as large as a step.
        """
        dtype = torch.promote_types(points_w.dtype, cam_from_world.dtype)
        cam_from_world, focal_px, center_px = (part.double() for part in (cam_from_world, focal_px, center_px))
        steps_and_origin = torch.eye(4, 3, dtype=torch.float64, device=points_w.device).expand(len(focal_px), 4, 3)
        columns = self.project(steps_and_origin, focal_px, center_px)  # [N, 4, 4], the origin last
        linear, shift = columns[:, :3] - columns[:, 3:], columns[:, 3:]
        # As a sum of products: the rounding of a library matrix product depends on the number of threads.
        matrices = (linear[..., None] * cam_from_world[:, :3, None]).sum(1)
        matrices = torch.cat([matrices[..., :3], matrices[..., 3:] + shift.mT], -1)
        return transform_points(points_w.to(dtype), matrices.to(dtype), backend=backend)

    @abstractmethod
    def screen_depth(self, depth: Tensor) -> Tensor:
        """Return a monotonic function of depth that on a plane is linear in the image point."""

    @abstractmethod
    def screen_depth_step(self, depth: Tensor, step: Tensor) -> Tensor:
        """Return the increase of `screen_depth` at `depth` for a small `step` of depth."""

    @abstractmethod
    def plane_slope(
        self, points_c: Tensor, normals_c: Tensor, depth: Tensor, focal_px: Tensor, steepest: float
    ) -> tuple[Tensor, Tensor]:
        """Return (facing [M], slope [M, 2]) of the planes through points [M, 3] with unit normals [M, 3].

        facing: cosine of the angle between the normal and the direction to the camera.
        slope: derivative of `screen_depth` with respect to the image point, per pixel, clamped to that of a plane
            that slants away from the image by an angle whose tangent is `steepest`.
        depth: [M] positive; focal_px: [] pixels.
        """
