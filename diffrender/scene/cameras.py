"""Cameras: a batch of cameras that share one image size and one kind of projection."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from diffrender.checks import check_finite, check_shape
from diffrender.errors import ShapeError
from diffrender.geometry.rigid import RENDERED_TOLERANCE, check_rigid, look_at
from diffrender.list_sizes import is_kept
from diffrender.scene.projection import Projection
from diffrender.scene.projections.orthographic import Orthographic
from diffrender.scene.projections.perspective import Perspective

# How light becomes pictures, in this order.
PHOTOMETRY = ("exposure", "white_balance", "vignetting", "response")
# What vignetting leaves of the light at least: steps of a fit may lead beyond every lens.
LEAST_LIGHT = 0.05


@dataclass(frozen=True)
class Cameras:
    """A batch of N cameras that share image size, projection and near depth.

    The camera frame is that of OpenCV: +x right, +y down, +z forward. The pixel in row i, column j has its centre at
    (x, y) = (j + 0.5, i + 0.5). `Cameras.perspective` and `Cameras.parallel` build cameras that look at a target:

        eye = torch.tensor([[0.0, 0.0, 3.0], [3.0, 0.0, 0.0]])  # N = 2
        cameras = Cameras.perspective(eye, target=(0, 0, 0), fov_deg=45, height=256, width=256)

    cam_from_world: [N, 4, 4] rigid transforms, x_camera = cam_from_world x_world.
    focal_px: [N, 2] (x, y) pixels per unit of the normalized image plane: the focal length in pixels of a perspective
        camera, pixels per world unit of an orthographic one.
    center_px: [N, 2] (x, y) principal point in pixels.
    height, width: image size in pixels, at least 1.
    projection: maps the camera frame to the normalized image plane (scene.projections); default: perspective.
    near: smallest depth that is drawn, in world units; faces that cross it are clipped. Default 1e-3; must be positive
        for perspective cameras.
    number: [N] int64 index of each camera's image in its capture; it selects the light of a PerViewDirectional. None if
        the cameras are not numbered.
    exposure: [N] stops: colours, including the background, are multiplied by 2^exposure; None for 0.
    white_balance: [N, 3] positive factors of the RGB channels, applied in addition; None for 1.
    vignetting: [N, 3] coefficients a, b, c of the light that the lens passes, 1 + a r^2 + b r^4 + c r^6, where r is the
        distance from the principal point in halves of the image's diagonal (D. B. Goldman, "Vignette and Exposure
        Calibration and Compensation", 2010); applied in addition; None for 0.
    response: [N, K - 1] how pictures depart from the sRGB curve, applied last (`imaging.response`); None: they do not.
    time: [N] float64, when each image was taken, in seconds; it selects what is seen of a scene that moves
        (scene.motion). None if that is not known.
    blur_px: [] standard deviation in pixels, at least 0, of the Gaussian through which all cameras see colours: lenses
        and demosaicing are not sharp. Coverage and other AOVs stay sharp. None for 0.
    blur_mask: [N, H, W] bool, the pixels of which derivatives by blur_px count; None: of all.

    Raises ShapeError for a wrong shape, a value that is not finite, or one out of its range.
    """

    cam_from_world: Tensor
    focal_px: Tensor
    center_px: Tensor
    height: int
    width: int
    projection: Projection = field(default_factory=Perspective)
    near: float = 1e-3
    number: Tensor | None = None
    exposure: Tensor | None = None
    white_balance: Tensor | None = None
    vignetting: Tensor | None = None
    response: Tensor | None = None
    time: Tensor | None = None
    blur_px: Tensor | None = None
    blur_mask: Tensor | None = None

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
            if not is_kept() and not bool((self.white_balance > 0).all()):
                raise ShapeError(f"Cameras: white_balance must be above 0, got {self.white_balance.min().item():g}")
        for name, columns in (("vignetting", 3), ("response", "K - 1")):
            value = getattr(self, name)
            if value is not None:
                check_shape("Cameras", name, value, (n_views, columns))
                check_finite("Cameras", name, value)
        if self.time is not None:
            check_shape("Cameras", "time", self.time, (n_views,))
            check_finite("Cameras", "time", self.time)
        if self.blur_px is not None:
            check_shape("Cameras", "blur_px", self.blur_px, ())
            check_finite("Cameras", "blur_px", self.blur_px)
            if not is_kept() and not bool(self.blur_px >= 0):
                raise ShapeError(f"Cameras: blur_px must be at least 0, got {self.blur_px.item():g}")
        if self.blur_mask is not None:
            check_shape("Cameras", "blur_mask", self.blur_mask, (n_views, self.height, self.width))
            if self.blur_mask.dtype != torch.bool:
                raise ShapeError(f"Cameras: blur_mask must be bool, got {self.blur_mask.dtype}")
        check_rigid("Cameras", "cam_from_world", self.cam_from_world, RENDERED_TOLERANCE)
        check_finite("Cameras", "focal_px", self.focal_px)
        check_finite("Cameras", "center_px", self.center_px)
        if not all(isinstance(side, Integral) and side >= 1 for side in (self.height, self.width)):
            raise ShapeError(
                f"Cameras: height and width must be whole numbers of at least 1, got {self.height} x {self.width}"
            )
        for name, value in self.projection.parameters().items():
            check_shape("Cameras", f"projection.{name}", value, (n_views,))
            check_finite("Cameras", f"projection.{name}", value)
        # At depth 0 a perspective projection divides by zero.
        if not (self.projection.scale(torch.tensor(self.near, device="cpu")) > 0 and math.isfinite(self.near)):
            kind = type(self.projection).__name__.lower()
            raise ShapeError(f"Cameras: near must be positive and finite for {kind} cameras, got {self.near}")

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
        """Build perspective cameras at `eye` that look at `target`, with the principal point in the image's middle.

        eye: [N, 3] camera centres in the world. target, up: [3] or [N, 3] in the world; up must not be parallel to the
            view.
        fov_deg: vertical field of view in degrees, between 0 and 180. near: as in `Cameras`.
        Raises ShapeError for a field of view out of its range and for an eye at its target.
        """
        if not 0 < fov_deg < 180:
            raise ShapeError(f"Cameras.perspective: fov_deg must be between 0 and 180, got {fov_deg}")
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
        """Build orthographic cameras at `eye` that look at `target`; the image is `view_height` world units high.

        eye, target, up: as in `Cameras.perspective`. Raises ShapeError for a height that is not positive and finite.
        """
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
        # Repeated, not expanded: values that share memory cannot have tangents.
        center_px = cam_from_world.new_tensor([width / 2, height / 2]).repeat(n_views, 1)
        return cls(cam_from_world, focal_px, center_px, height, width, projection, near)

    def select(self, index: Tensor | slice | Sequence[int]) -> Cameras:
        """Return the cameras at `index` as a batch."""
        return self._map(lambda value: value[index])

    def resized(self, height: int, width: int) -> Cameras:
        """Return the same cameras with another image size; all that is in pixels is scaled with it."""
        ratio = self.focal_px.new_tensor([width / self.width, height / self.height])
        return replace(
            self,
            focal_px=self.focal_px * ratio,
            center_px=self.center_px * ratio,
            height=height,
            width=width,
            blur_px=None if self.blur_px is None else self.blur_px * ratio.mean(),
            blur_mask=None,
        )

    def to(self, device: torch.device | str) -> Cameras:
        """Return the same cameras on `device`."""
        moved = self._map(lambda value: value.to(device))
        return moved if self.blur_px is None else replace(moved, blur_px=self.blur_px.to(device))

    def in_dtype(self, dtype: torch.dtype) -> Cameras:
        """Return the same cameras in `dtype`, numbers and times aside; themselves if they are in it."""
        names = ("cam_from_world", "focal_px", "center_px", "blur_px", *PHOTOMETRY)
        values = {name: getattr(self, name) for name in names}
        others = {name: value.to(dtype) for name, value in values.items() if value is not None and value.dtype != dtype}
        if any(value.dtype != dtype for value in self.projection.parameters().values()):
            others["projection"] = self.projection.map(lambda value: value.to(dtype))
        return replace(self, **others) if others else self

    def gains(self) -> Tensor | None:
        """Return the [N, 3] factors by which exposure and white balance multiply each image's RGB; None for 1."""
        if self.exposure is None:
            return self.white_balance
        gain = torch.exp2(self.exposure)[:, None]
        return gain.expand(-1, 3) if self.white_balance is None else gain * self.white_balance

    def vignetting_factors(self) -> Tensor | None:
        """Return the [N, H, W] shares of the light that reach each pixel, at least LEAST_LIGHT; None for 1."""
        if self.vignetting is None:
            return None
        like = self.vignetting
        rows, columns = (torch.arange(n, device=like.device).to(like) + 0.5 for n in (self.height, self.width))
        x, y = columns - self.center_px[:, :1], rows - self.center_px[:, 1:]
        unit = 4 / (self.height**2 + self.width**2)
        squared = unit * (x.square()[:, None] + y.square()[..., None])
        # Rows first: gradients are sums over pixels, which threads would split for a single view.
        a, b, c = (part[:, None, None].expand(-1, self.height, 1) for part in like.unbind(1))
        return (1 + squared * (a + squared * (b + squared * c))).clamp_min(LEAST_LIGHT)

    def is_exposed(self) -> bool:
        """Return whether images differ from the scene's own radiance by exposure, colour, vignetting or response."""
        return any(getattr(self, name) is not None for name in PHOTOMETRY)

    def without_gains(self) -> Cameras:
        """Return the same cameras without exposure and all after it, and blur: images in the scene's own radiance."""
        return replace(self, blur_px=None, blur_mask=None, **dict.fromkeys(PHOTOMETRY))

    def with_blur_mask(self, mask: Tensor) -> Cameras:
        """Return the same cameras with `mask` as their blur_mask."""
        return self._with(blur_mask=mask)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Cameras:
        """Return the same cameras with `change` applied to each tensor; each has one row per camera."""
        names = ("cam_from_world", "focal_px", "center_px", "number", "time", "blur_mask", *PHOTOMETRY)
        values = {name: getattr(self, name) for name in names}
        changed = {name: change(value) for name, value in values.items() if value is not None}
        return self._with(projection=self.projection.map(change), **changed)

    def _with(self, **changes: Any) -> Cameras:
        """Return the cameras with some of the same values, which are valid: to look at them is to wait for a device."""
        changed = object.__new__(Cameras)
        changed.__dict__.update(self.__dict__, **changes)
        check_shape("Cameras", "cam_from_world", changed.cam_from_world, ("N", 4, 4))
        return changed

    def positions_w(self) -> Tensor:
        """Return the [N, 3] camera centres in the world (orthographic: the origin of the camera frame)."""
        rotation, translation = self.cam_from_world[:, :3, :3], self.cam_from_world[:, :3, 3]
        return -(rotation.transpose(1, 2) @ translation[:, :, None])[:, :, 0]

    def directions_to_w(self, points_w: Tensor, view: Tensor, backend: str | None = None) -> Tensor:
        """Return [M, 3] unit world directions from points [M, 3] towards camera view[m]; view: [M] int64."""
        forward_w = self.cam_from_world[:, 2, :3]
        return self.projection.directions_to_camera(points_w, self.positions_w(), forward_w, view, backend)

    def project(self, points_w: Tensor, backend: str | None = None) -> Tensor:
        """Project world points [V, 3] to homogeneous pixel coordinates [N, V, 4] = (x w, y w, w, depth).

        (x, y) is the image point in pixels; w is the depth for perspective and 1 for orthographic cameras (see
        `Projection.to_image_plane`). Points behind the camera keep finite coordinates, so that triangles that cross
        the camera plane can be clipped exactly. Differentiable in points and cameras, once.
        """
        return self.projection.project_from_world(points_w, self.cam_from_world, self.focal_px, self.center_px, backend)

    def world_to_pixels(self, points_w: Tensor, backend: str | None = None) -> Tensor:
        """Project world points [V, 3] to [N, V, 3]: x, y in pixels, camera depth; x, y are NaN behind the camera."""
        homogeneous = self.project(points_w, backend)
        w = homogeneous[..., 2:3]
        pixels = homogeneous[..., :2] / w.where(w > 0, torch.nan)
        return torch.cat([pixels, homogeneous[..., 3:4]], -1)

    def rays(self, xy_px: Tensor) -> tuple[Tensor, Tensor]:
        """Return origins and unit directions, each [N, P, 3] in the world, of the rays through `xy_px` [N, P, 2]."""
        start = torch.zeros_like(xy_px[..., :1])
        origin_c = self.projection.unproject(xy_px, start, self.focal_px, self.center_px)
        direction_c = self.projection.unproject(xy_px, start + 1, self.focal_px, self.center_px) - origin_c
        world_from_cam = self.cam_from_world[:, :3, :3].transpose(1, 2)
        origin_w = self.positions_w()[:, None] + (world_from_cam @ origin_c.mT).mT
        return origin_w, torch.nn.functional.normalize((world_from_cam @ direction_c.mT).mT, dim=-1)

    def pixel_size(self, points_w: Tensor, backend: str | None = None) -> Tensor:
        """Return the [N, P] width in world units of a pixel in the image's middle at the depths of points [P, 3].

        Depths below `near` count as `near`.
        """
        depth = self.project(points_w, backend)[..., 3].clamp_min(self.near)
        return self.projection.pixel_size(depth, self.focal_px)


def concatenate_cameras(a: Cameras, b: Cameras) -> Cameras:
    """Return the cameras of `a` and then of `b`, of the same image size and kind.

    Numbers and exposures are dropped; so are times, if one of the two has none.
    """
    times = [each.time for each in (a, b) if each.time is not None]
    return replace(
        a.without_gains(),
        number=None,
        time=torch.cat(times) if len(times) == 2 else None,
        cam_from_world=torch.cat([a.cam_from_world, b.cam_from_world]),
        focal_px=torch.cat([a.focal_px, b.focal_px]),
        center_px=torch.cat([a.center_px, b.center_px]),
        projection=a.projection.concatenate(b.projection),
    )
