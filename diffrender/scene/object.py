"""Object: a mesh with a material and a pose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from diffrender.checks import check_shape, check_type, in_one_dtype
from diffrender.derivatives import constant, has_derivative, on_plain_tensors
from diffrender.errors import ShapeError
from diffrender.geometry.rigid import RENDERED_TOLERANCE, check_rigid
from diffrender.list_sizes import is_kept
from diffrender.ops.backend import choose_backend
from diffrender.ops.transform_points import transform_points
from diffrender.scene.material import Material
from diffrender.scene.mesh import Mesh
from diffrender.scene.quantity_kinds import POSE, SCALE, SurfaceValue, quantity
from diffrender.scene.shading_points import VertexFrames


@cache
@on_plain_tensors()
def _identity(dtype: torch.dtype) -> Tensor:
    return torch.eye(4, dtype=dtype, device="cpu")


@dataclass(frozen=True)
class Object:
    """A mesh, its material and its pose in the world: x_world = rotation (scale x_object) + translation.

    pose: [4, 4] world_from_object, a rigid transform (R R^T = 1 within 0.1); if omitted, the identity on its device.
        A stretch or a mirror image belongs into the vertices, and the faces of the latter the other way round.
    scale: [] positive, uniform; if omitted, 1 on the mesh's device.
    part_of: the name of a surface that it is a part of, of one pose: objects of the same surface have the numbers of
        their normals (`mesh.normal_faces`) in common, so that shading runs on across their borders, and learned
        vertices that coincide at first stay together (joined_parts.join_parts).

    Raises ShapeError for a wrong shape, a pose that is no rigid motion or a scale that is not positive.
    """

    mesh: Mesh
    material: Material
    pose: Tensor = quantity(POSE, None)
    scale: Tensor = quantity(SCALE, None)
    part_of: str | None = None

    def __post_init__(self) -> None:
        check_type("Object", "mesh", self.mesh, Mesh)
        check_type("Object", "material", self.material, Material, "a Material, such as Lambert(color)")
        device = self.mesh.vertices.device
        if self.pose is None:
            object.__setattr__(self, "pose", torch.eye(4, device=device))
        if self.scale is None:
            object.__setattr__(self, "scale", torch.ones((), device=device))
        check_shape("Object", "pose", self.pose, (4, 4))
        check_rigid("Object", "pose", self.pose, RENDERED_TOLERANCE)
        check_shape("Object", "scale", self.scale, ())
        scale = 1.0 if is_kept() else constant(self.scale).item()
        if scale < 0:  # one that a fit made 0 or infinite is told by the fit, which goes back
            raise ShapeError(f"Object: scale must be positive, got {scale:g}")

    def vertices_w(self, backend: str | None = None) -> Tensor:
        """Return the [V, 3] vertices in the world; differentiable, once, in vertices, pose and scale.

        Where pose and scale change nothing they may be the mesh's own tensor.
        """
        if self._is_unmoved():
            choose_backend(self.mesh.vertices.device, backend)
            return self.mesh.vertices
        world_from_object = torch.cat([self.pose[:3, :3] * self.scale, self.pose[:3, 3:]], 1)
        return transform_points(*in_one_dtype(self.mesh.vertices, world_from_object[None]), backend=backend)[0]

    def _is_unmoved(self) -> bool:
        """Return whether the world is the object's frame, for sure: on a GPU the answer would cost more than it saves.

        A pose or scale that has a derivative, or is wider than the vertices, is applied.
        """
        for part in (self.pose, self.scale):
            dtype = torch.promote_types(part.dtype, self.mesh.vertices.dtype)
            is_here = part.device.type == "cpu" and part.device == self.mesh.vertices.device
            if is_kept() or not is_here or has_derivative(part) or dtype != self.mesh.vertices.dtype:
                return False
        return constant(self.scale).item() == 1 and torch.equal(constant(self.pose), _identity(self.pose.dtype))

    def mesh_w(self) -> Mesh:
        """Return the mesh in the world, with the normals that it has itself turned along."""
        posed = self.mesh.with_vertices(self.vertices_w())
        if self.mesh.normals is None:
            return posed
        frames = VertexFrames(self.mesh, posed.vertices, self.pose[:3, :3])
        return replace(posed, normals=frames.normals_w.to(posed.vertices.dtype))

    def with_values(self, values: Mapping[str, SurfaceValue], mesh: Mesh | None = None) -> Object:
        """Return the object with other values of its material's fields and, unless it is None, on `mesh`."""
        material = replace(self.material, **values)
        return replace(self, mesh=self.mesh if mesh is None else mesh, material=material)
