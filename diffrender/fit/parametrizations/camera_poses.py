"""Poses of the cameras of a capture, as motions from where they start, in a frame that stays."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from diffrender.checks import check_finite
from diffrender.errors import ShapeError
from diffrender.fit.parametrization import Parametrization
from diffrender.geometry.rigid import RIGID_TOLERANCE, check_rigid, make_rigid
from diffrender.geometry.rotations import axis_angle_to_matrix

# A camera turns about a point this far ahead of it at least, in length_unit: it may be inside of what it looks at.
NEAREST = 0.1


@dataclass(frozen=True)
class CameraPoses(Parametrization):
    """cam_from_world [N, 4, 4]; the latent [N, 6] is 0 at the start.

    A row turns the world about the pivot in the camera's axes (rotation vector), shifts the pivot in x and y, in
    `length_unit`, and moves it away by factors e. All are about equal in the image, whatever the lens: a turn about the
    camera's own centre is nearly a shift of the image, and steps along two such directions do not converge.

    start: the initial poses. pivot: in the world, the middle of what the cameras look at, whose radius is length_unit.
    keeps_frame: whether what the motions of all cameras have in common with a similarity of the world is removed, to
        first order. Of a shape that is learned as well, no image shows it: both would drift, turn and grow together. A
        known shape holds its cameras.
    """

    start: Tensor | None = None
    pivot: tuple[float, float, float] = (0.0, 0.0, 0.0)
    length_unit: float = 1.0
    keeps_frame: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.length_unit) and self.length_unit > 0):
            raise ShapeError(f"camera_poses: length_unit must be positive, got {self.length_unit}")

    def starting_at(self, value: Tensor) -> CameraPoses:
        """Return the parametrisation of cameras that start at `value`. Raises ShapeError if these are no poses."""
        if value.dim() != 3 or value.shape[1:] != (4, 4):
            raise ShapeError(f"camera_poses: values must have shape [N, 4, 4], got {list(value.shape)}")
        check_finite("camera_poses", "value", value)
        check_rigid("camera_poses", "value", value, RIGID_TOLERANCE)
        if self.keeps_frame and len(value) < 2:
            raise ShapeError("camera_poses: of a single camera and a shape, no motion can be told from the other's")
        return replace(self, start=value.detach().clone())

    def value_of(self, latent: Tensor) -> Tensor:
        """Return the poses."""
        start, pivots, seen = self._places()
        latent = latent.to(start)
        if self.keeps_frame:
            gauges, moves = self._gauges(), latent.reshape(-1)
            latent = (moves - gauges @ (gauges.mT @ moves)).reshape(latent.shape)
        turn, aside, away = latent[:, :3], latent[:, 3:5], latent[:, 5:]
        rotation = axis_angle_to_matrix(turn) @ start[:, :3, :3]
        moved = away.exp() * (seen + torch.nn.functional.pad(self.length_unit * aside, (0, 1)))
        return make_rigid(rotation, moved - (rotation @ pivots[..., None])[..., 0])

    def latent_of(self, value: Tensor) -> Tensor:
        """Return 0. Raises ShapeError if `value` is not where the cameras start."""
        bound = self.starting_at(value)
        if self.start is not None and not torch.equal(self.start, value):
            raise ShapeError("camera_poses: the value must be the start, from which motions are")
        assert bound.start is not None
        return bound.start.new_zeros(len(value), 6)

    def _places(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the initial poses, the point [N, 3] that each turns about, and where its camera sees it [N, 3]."""
        start = self.start
        assert start is not None, "bind it by starting_at"
        rotation, shift = start[:, :3, :3], start[:, :3, 3]
        seen = rotation @ start.new_tensor(self.pivot) + shift
        is_ahead = seen[:, 2:] > NEAREST * self.length_unit
        seen = torch.where(is_ahead, seen, seen.new_tensor([0.0, 0.0, self.length_unit]))
        return start, (rotation.mT @ (seen - shift)[..., None])[..., 0], seen

    def _gauges(self) -> Tensor:
        """Return [6 N, 7], the latents of small translations, rotations and a scaling of the world; orthonormal."""
        start, pivots, seen = self._places()
        rotation = start[:, :3, :3]
        middle = start.new_tensor(self.pivot)
        unit = torch.eye(3, dtype=start.dtype, device=start.device)
        turned = torch.linalg.cross(unit[:, None], (pivots - middle)[None], dim=-1)  # [3, N, 3] about each axis
        seen_moves = torch.cat(
            [
                self.length_unit * rotation.permute(2, 0, 1),
                torch.einsum("nij,knj->kni", rotation, turned),
                (rotation @ middle + start[:, :3, 3])[None],
            ]
        )
        turns = torch.cat([torch.zeros_like(turned), rotation.permute(2, 0, 1), torch.zeros_like(turned[:1])])
        away = seen_moves[..., 2:] / seen[:, 2:]
        aside = (seen_moves[..., :2] - away * seen[:, :2]) / self.length_unit
        return torch.linalg.qr(torch.cat([turns, aside, away], -1).reshape(7, -1).mT)[0]
