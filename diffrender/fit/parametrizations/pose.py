"""Poses: rigid motions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.checks import check_finite
from diffrender.errors import ShapeError
from diffrender.fit.parametrization import Parametrization
from diffrender.geometry.rigid import RIGID_TOLERANCE, check_rigid, make_rigid
from diffrender.geometry.rotations import matrix_to_quaternion, quaternion_to_matrix


@dataclass(frozen=True)
class Pose(Parametrization):
    """Rigid motions [..., 4, 4]; the latent [..., 7] is a quaternion wxyz of any length and a translation.

    length_unit: the unit of translation in the latent, in world units: the size of the scene, so that one learning
        rate suits rotation and translation, whether a capture is in metres or in millimetres.

    `value_of` normalizes the quaternion, so that the rotation stays on its manifold and there is no singularity nearby
    (Grassia, Practical Parameterization of Rotations Using the Exponential Map, 1998, section 3, discusses the choice).
    """

    length_unit: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.length_unit) and self.length_unit > 0):
            raise ShapeError(f"pose: length_unit must be positive, got {self.length_unit}")

    def value_of(self, latent: Tensor) -> Tensor:
        """Return the rigid motion."""
        return make_rigid(quaternion_to_matrix(latent[..., :4]), latent[..., 4:] * self.length_unit)

    def latent_of(self, value: Tensor) -> Tensor:
        """Return unit quaternion and translation."""
        if value.shape[-2:] != (4, 4):
            raise ShapeError(f"pose: values must have shape [..., 4, 4], got {list(value.shape)}")
        check_finite("pose", "value", value)
        check_rigid("pose", "value", value, RIGID_TOLERANCE)
        value = value.detach()
        return torch.cat([matrix_to_quaternion(value[..., :3, :3]), value[..., :3, 3] / self.length_unit], -1)
