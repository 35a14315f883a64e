"""Cameras: a batch of cameras that share one image size and one kind of projection."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from diffrender.checks import check_finite, check_shape
from diffrender.errors import ShapeError
from diffrender.geometry.rigid import look_at, transform_points
from diffrender.scene.projection import Projection
from diffrender.scene.projections.orthographic import Orthographic
from diffrender.scene.projections.perspective import Perspective


@dataclass(frozen=True)
class Cameras:
    """N cameras, OpenCV frame: +x right, +y down, +z forward; pixel (row i, column j) has its centre at (j+.5, i+.5).

    cam_from_world: [N, 4, 4] rigid.
    focal_px: [N, 2] (x, y): pixels per unit of the normalized image plane: focal lengths in pixels; for parallel rays,
        pixels per world unit.
    center_px: [N, 2] (x, y): the principal point in pixels.
    height, width: image size in pixels.
    projection: how points in a camera's frame are imaged on the normalized image plane (scene.projections).
    near: the smallest depth that is drawn, in world units; surfaces that cross it are clipped there.
    number: [N] int64, which picture of its capture each camera took, where light goes by that (lights.Flashes).
    exposure: [N] in stops: pictures hold 2^exposure times the light that comes in, the background's too; None for 0.
    white_balance: [N, 3] what the channels are multiplied by in addition, above 0; None for 1.
    """

    cam_from_world: Tensor
    focal_px: Tensor = field(metadata={"parametrization": "positive"})
    center_px: Tensor
    height: int
    width: int
    projection: Projection = field(default_factory=Perspective)
    near: float = 1e-3
    number: Tensor | None = None
    exposure: Tensor | None = None
    white_balance: Tensor | None = None

    def __post_init__(self) -> None:
        n_views = len(self.cam_from_world)
        check_shape("Cameras", "cam_from_world", self.cam_from_world, ("N", 4, 4))
        check_shape("Cameras", "focal_px", self.focal_px, (n_views, 2))
        check_shape("Cameras", "center_px", self.center_px, (n_views, 2))
        if self.number is not None:
            check_shape("Cameras", "number", self.number, (n_views,))
        if self.exposure is not None:
            check_shape("Cameras", "exposure", self.exposure, (n_views,))
            check_finite("Cameras", "exposure", self.exposure)
        if self.white_balance is not None:
            check_shape("Cameras", "white_balance", self.white_balance, (n_views, 3))
            check_finite("Cameras", "white_balance", self.white_balance)
            if not bool((self.white_balance > 0).all()):
                raise ShapeError(f"Cameras: white_balance must be above 0, got {self.white_balance.min().item():g}")
        check_finite("Cameras", "cam_from_world", self.cam_from_world)
        check_finite("Cameras", "focal_px", self.focal_px)
        check_finite("Cameras", "center_px", self.center_px)
        if self.height < 1 or self.width < 1:
            raise ShapeError(f"Cameras: height and width must be at least 1, got {self.height} x {self.width}")
        for name, value in self.projection.parameters().items():
            check_shape("Cameras", f"projection.{name}", value, (n_views,))
            check_finite("Cameras", f"projection.{name}", value)
        # Where nothing has a width, the image would divide by zero.
        if not self.projection.scale(torch.tensor(self.near)) > 0:
            kind = type(self.projection).__name__.lower()
            raise ShapeError(f"Cameras: near must be positive for {kind} cameras, got {self.near}")

    def __len__(self) -> int:
        return len(self.cam_from_world)

    @classmethod
    def perspective(
        cls,
        eye: Tensor,
        target: Tensor | Sequence[float] = (0.0, 0.0, 0.0),
        up: Tensor | Sequence[float] = (0.0, 1.0, 0.0),
        fov_deg: float = 45.0,
        height: int = 256,
        width: int = 256,
        near: float = 1e-3,
    ) -> Cameras:
        """Cameras at `eye` [N, 3] that look at `target`; `fov_deg` is the vertical field of view."""
        if not 0 < fov_deg < 180:
            raise ShapeError(f"Cameras.perspective: fov_deg must lie between 0 and 180, got {fov_deg}")
        cam_from_world = look_at(eye, target, up)
        focal = 0.5 * height / math.tan(math.radians(fov_deg) / 2)
        return cls._center(cam_from_world, focal, height, width, Perspective(), near)

    @classmethod
    def parallel(
        cls,
        eye: Tensor,
        target: Tensor | Sequence[float] = (0.0, 0.0, 0.0),
        up: Tensor | Sequence[float] = (0.0, 1.0, 0.0),
        view_height: float = 2.0,
        height: int = 256,
        width: int = 256,
    ) -> Cameras:
        """Orthographic cameras at `eye` [N, 3]; the image is `view_height` world units high."""
        if not (math.isfinite(view_height) and view_height > 0):
            raise ShapeError(f"Cameras.parallel: view_height must be positive, got {view_height}")
        cam_from_world = look_at(eye, target, up)
        projection = Orthographic()
        return cls._center(cam_from_world, height / view_height, height, width, projection, projection.default_near)

    @classmethod
    def _center(
        cls, cam_from_world: Tensor, focal: float, height: int, width: int, projection: Projection, near: float
    ) -> Cameras:
        n_views = len(cam_from_world)
        focal_px = cam_from_world.new_full((n_views, 2), focal)
        center_px = cam_from_world.new_tensor([width / 2, height / 2]).expand(n_views, 2)
        return cls(cam_from_world, focal_px, center_px, height, width, projection, near)

    def select(self, index: Tensor | slice | Sequence[int]) -> Cameras:
        """The cameras at `index`, as another batch."""
        return self._map(lambda value: value[index])

    def resized(self, height: int, width: int) -> Cameras:
        """The same cameras with images of another size: focal lengths and centres scale along."""
        ratio = self.focal_px.new_tensor([width / self.width, height / self.height])
        return replace(
            self, focal_px=self.focal_px * ratio, center_px=self.center_px * ratio, height=height, width=width
        )

    def to(self, device: torch.device | str) -> Cameras:
        """The same cameras on `device`."""
        return self._map(lambda value: value.to(device))

    def gains(self) -> Tensor | None:
        """[N, 3] what the colours of each picture are multiplied by, by exposure and white balance; None for 1."""
        if self.exposure is None:
            return self.white_balance
        gain = torch.exp2(self.exposure)[:, None]
        return gain.expand(-1, 3) if self.white_balance is None else gain * self.white_balance

    def without_gains(self) -> Cameras:
        """The same cameras, all with the exposure and the white balance of the scene itself."""
        return replace(self, exposure=None, white_balance=None)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Cameras:
        """The same cameras with `change` applied to each tensor, all of which have one row per camera."""
        names = ("cam_from_world", "focal_px", "center_px", "number", "exposure", "white_balance")
        values = {name: getattr(self, name) for name in names}
        changed = {name: change(value) for name, value in values.items() if value is not None}
        return replace(self, projection=self.projection.map(change), **changed)

    def positions_w(self) -> Tensor:
        """[N, 3] camera centres in the world (for parallel rays: the origin of their frame)."""
        rotation, translation = self.cam_from_world[:, :3, :3], self.cam_from_world[:, :3, 3]
        return -(rotation.transpose(1, 2) @ translation[:, :, None])[:, :, 0]

    def directions_to_w(self, points_w: Tensor, view: Tensor, backend: str | None = None) -> Tensor:
        """[M, 3] unit directions from points [M, 3] towards the camera view[m] that sees them; view: [M] int64."""
        forward_w = self.cam_from_world[:, 2, :3]
        return self.projection.directions_to_camera(points_w, self.positions_w(), forward_w, view, backend)

    def project(self, points_w: Tensor) -> Tensor:
        """Homogeneous pixel coordinates [N, V, 4] = (x w, y w, w, depth) of world points [V, 3].

        (x, y) is the point of the image in pixels; w is the depth for perspective and 1 for orthographic cameras (see
        `Projection.to_image_plane`). Points behind the camera keep their place in space, so that triangles that cross
        it can be clipped exactly. Differentiable in points and cameras.
        """
        points_c = transform_points(self.cam_from_world, points_w)
        return self.projection.project(points_c, self.focal_px, self.center_px)

    def world_to_pixels(self, points_w: Tensor) -> Tensor:
        """[N, V, 3]: x, y in pixels and camera depth of world points [V, 3]; NaN in x, y for points not in front."""
        homogeneous = self.project(points_w)
        w = homogeneous[..., 2:3]
        pixels = homogeneous[..., :2] / w.where(w > 0, torch.nan)
        return torch.cat([pixels, homogeneous[..., 3:4]], -1)

    def rays(self, xy_px: Tensor) -> tuple[Tensor, Tensor]:
        """Origins and unit directions, [N, P, 3] each in the world, of the rays through `xy_px` [N, P, 2] pixels."""
        start = torch.zeros_like(xy_px[..., :1])
        origin_c = self.projection.unproject(xy_px, start, self.focal_px, self.center_px)
        direction_c = self.projection.unproject(xy_px, start + 1, self.focal_px, self.center_px) - origin_c
        world_from_cam = self.cam_from_world[:, :3, :3].transpose(1, 2)
        origin_w = self.positions_w()[:, None] + (world_from_cam @ origin_c.mT).mT
        return origin_w, torch.nn.functional.normalize((world_from_cam @ direction_c.mT).mT, dim=-1)

    def pixel_size(self, points_w: Tensor) -> Tensor:
        """[N, P] world units that a pixel in the middle of the image is wide at the depths of points [P, 3].

        Points before `near` count as if they were there.
        """
        depth = self.project(points_w)[..., 3].clamp_min(self.near)
        return self.projection.pixel_size(depth, self.focal_px)
