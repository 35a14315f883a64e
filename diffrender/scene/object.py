"""Object: a mesh with a material at a place."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffrender.checks import check_finite, check_shape
from diffrender.geometry.rigid import transform_points
from diffrender.scene.material import Material
from diffrender.scene.mesh import Mesh


@dataclass(frozen=True)
class Object:
    """A mesh, its material and where it stands: x_world = rotation (scale x_object) + translation.

    pose: [4, 4] world_from_object, a rigid motion.
    scale: [] positive, uniform.
    """

    mesh: Mesh
    material: Material
    pose: Tensor = field(default_factory=lambda: torch.eye(4), metadata={"parametrization": "pose"})
    scale: Tensor = field(default_factory=lambda: torch.ones(()), metadata={"parametrization": "positive"})

    def __post_init__(self) -> None:
        check_shape("Object", "pose", self.pose, (4, 4))
        check_finite("Object", "pose", self.pose)
        check_shape("Object", "scale", self.scale, ())

    def vertices_w(self) -> Tensor:
        """[V, 3] vertices in the world; differentiable in vertices, pose and scale."""
        world_from_object = torch.cat([self.pose[:3, :3] * self.scale, self.pose[:3, 3:]], 1)
        return transform_points(world_from_object[None], self.mesh.vertices)[0]
