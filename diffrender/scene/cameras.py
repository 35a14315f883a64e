"""Cameras: a batch of pinhole or orthographic cameras that share one image size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from diffrender.checks import check_finite, check_shape
from diffrender.errors import ShapeError
from diffrender.geometry.projection import look_at, project, transform_points
from diffrender.ops.normalize import normalize


@dataclass(frozen=True)
class Cameras:
    """N cameras, OpenCV frame: +x right, +y down, +z forward; pixel (row i, column j) has its centre at (j+.5, i+.5).

    cam_from_world: [N, 4, 4] rigid.
    focal_px: [N, 2] (x, y): focal lengths in pixels; for orthographic cameras, pixels per world unit.
    center_px: [N, 2] (x, y): the principal point in pixels.
    height, width: image size in pixels.
    orthographic: parallel projection instead of perspective.
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
    orthographic: bool = False
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
        if not self.orthographic and not self.near > 0:
            raise ShapeError(f"Cameras: near must be positive for perspective cameras, got {self.near}")

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
        return cls._center(cam_from_world, focal, height, width, False, near)

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
        return cls._center(cam_from_world, height / view_height, height, width, True, 0.0)

    @classmethod
    def _center(
        cls, cam_from_world: Tensor, focal: float, height: int, width: int, orthographic: bool, near: float
    ) -> Cameras:
        n_views = len(cam_from_world)
        focal_px = cam_from_world.new_full((n_views, 2), focal)
        center_px = cam_from_world.new_tensor([width / 2, height / 2]).expand(n_views, 2)
        return cls(cam_from_world, focal_px, center_px, height, width, orthographic, near)

    def select(self, index: Tensor | slice | Sequence[int]) -> Cameras:
        """The cameras at `index`, as another batch."""
        return replace(
            self,
            cam_from_world=self.cam_from_world[index],
            focal_px=self.focal_px[index],
            center_px=self.center_px[index],
            **{name: values[index] for name, values in self._of_pictures().items()},
        )

    def resized(self, height: int, width: int) -> Cameras:
        """The same cameras with images of another size: focal lengths and centres scale along."""
        ratio = self.focal_px.new_tensor([width / self.width, height / self.height])
        return replace(
            self, focal_px=self.focal_px * ratio, center_px=self.center_px * ratio, height=height, width=width
        )

    def to(self, device: torch.device | str) -> Cameras:
        """The same cameras on `device`."""
        return replace(
            self,
            cam_from_world=self.cam_from_world.to(device),
            focal_px=self.focal_px.to(device),
            center_px=self.center_px.to(device),
            **{name: values.to(device) for name, values in self._of_pictures().items()},
        )

    def gains(self) -> Tensor | None:
        """[N, 3] what the colours of each picture are multiplied by, by exposure and white balance; None for 1."""
        if self.exposure is None:
            return self.white_balance
        gain = torch.exp2(self.exposure)[:, None]
        return gain.expand(-1, 3) if self.white_balance is None else gain * self.white_balance

    def without_gains(self) -> Cameras:
        """The same cameras, all with the exposure and the white balance of the scene itself."""
        return replace(self, exposure=None, white_balance=None)

    def _of_pictures(self) -> dict[str, Tensor]:
        """What there is to say of each picture, by field."""
        values = {"number": self.number, "exposure": self.exposure, "white_balance": self.white_balance}
        return {name: value for name, value in values.items() if value is not None}

    def positions_w(self) -> Tensor:
        """[N, 3] camera centres in the world (for orthographic cameras: the origin of their frame)."""
        rotation, translation = self.cam_from_world[:, :3, :3], self.cam_from_world[:, :3, 3]
        return -(rotation.transpose(1, 2) @ translation[:, :, None])[:, :, 0]

    def directions_to_w(self, points_w: Tensor, view: Tensor, backend: str | None = None) -> Tensor:
        """[M, 3] unit directions from points [M, 3] towards the camera view[m] that sees them; view: [M] int64."""
        if self.orthographic:
            return -self.cam_from_world[:, 2, :3].index_select(0, view)
        return normalize(self.positions_w().index_select(0, view) - points_w, backend=backend)

    def project(self, points_w: Tensor) -> Tensor:
        """Homogeneous pixel coordinates [N, V, 4] = (x w, y w, w, depth) of world points [V, 3].

        (x, y) is the place in the image in pixels; w is the depth for perspective and 1 for orthographic cameras, so
        that points behind the camera keep their place in space and triangles that cross it can be clipped exactly.
        Differentiable in points and cameras.
        """
        points_c = transform_points(self.cam_from_world, points_w)
        return project(points_c, self.focal_px, self.center_px, self.orthographic)

    def world_to_pixels(self, points_w: Tensor) -> Tensor:
        """[N, V, 3]: x, y in pixels and camera depth of world points [V, 3]; NaN in x, y for points not in front."""
        homogeneous = self.project(points_w)
        w = homogeneous[..., 2:3]
        pixels = homogeneous[..., :2] / w.where(w > 0, torch.nan)
        return torch.cat([pixels, homogeneous[..., 3:4]], -1)
