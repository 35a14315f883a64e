"""Small meshes, cameras and scenes for tests, without files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from diffrender.geometry.primitives import bumpy_sphere, bumpy_sphere_colors, plane
from diffrender.scene.cameras import Cameras
from diffrender.scene.light import Light
from diffrender.scene.material import Material
from diffrender.scene.materials import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.quantity_kinds import vertex_fields_of
from diffrender.scene.scene import Scene

BACKGROUND = (0.1, 0.2, 0.3)


def triangle(dtype: torch.dtype = torch.float32, z: float = 0.0) -> Mesh:
    """Return a right triangle in the plane z with legs of length 1, whose front faces +z."""
    vertices = torch.tensor([[-0.5, -0.5, z], [0.5, -0.5, z], [-0.5, 0.5, z]], dtype=dtype)
    return Mesh(vertices, torch.tensor([[0, 1, 2]]))


def square(dtype: torch.dtype = torch.float32, z: float = 0.0, side: float = 1.0) -> Mesh:
    """Return two triangles in the plane z that face +z; their uv cover the whole texture, v downwards."""
    corners = torch.tensor([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]], dtype=dtype) * side
    vertices = torch.cat([corners, torch.full((4, 1), z, dtype=dtype)], 1)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    uvs = torch.tensor([[0, 1], [1, 1], [1, 0], [0, 0]], dtype=dtype)
    return Mesh(vertices, faces, uvs, faces.clone())


def two_crossing(dtype: torch.dtype = torch.float32) -> Mesh:
    """Return two large triangles that intersect along the line x = 0."""
    vertices = torch.tensor(
        [[-1, -1, 0.5], [1, -1, -0.5], [0, 1, 0], [-1, -1, -0.5], [1, -1, 0.5], [0, 1, 0]], dtype=dtype
    )
    return Mesh(vertices, torch.tensor([[0, 1, 2], [3, 4, 5]]))


def needle(dtype: torch.dtype = torch.float32) -> Mesh:
    """Return a triangle a thousand times as long as wide."""
    vertices = torch.tensor([[-0.9, -0.3, 0], [0.9, 0.3, 0], [0.9, 0.3018, 0]], dtype=dtype)
    return Mesh(vertices, torch.tensor([[0, 1, 2]]))


def behind_camera(dtype: torch.dtype = torch.float32) -> Mesh:
    """Return a triangle behind the cameras of this module."""
    return triangle(dtype, z=50.0)


def across_camera(dtype: torch.dtype = torch.float32) -> Mesh:
    """Return a floor below the cameras of this module, from far ahead of them to behind them."""
    vertices = torch.tensor([[-4, -0.6, -6], [0, -0.6, 8], [4, -0.6, -6]], dtype=dtype)
    return Mesh(vertices, torch.tensor([[0, 1, 2]]))


def empty(dtype: torch.dtype = torch.float32) -> Mesh:
    """Return vertices without faces."""
    return Mesh(torch.zeros(3, 3, dtype=dtype), torch.zeros(0, 3, dtype=torch.int64))


def bumpy(subdivisions: int = 4, dtype: torch.dtype = torch.float32) -> Mesh:
    """Return a closed mesh with lobes that occlude one another: 5,120 faces by default."""
    vertices, faces = bumpy_sphere(subdivisions)
    return Mesh(vertices.to(dtype), faces)


def wavy_sheet(cells: int = 24, dtype: torch.dtype = torch.float32) -> Mesh:
    """Return an open mesh: a square sheet with folds, 1.6 wide."""
    vertices, faces = plane(1.6, 1.6, cells, cells)
    x, _, z = vertices.to(dtype).unbind(1)
    return Mesh(torch.stack([x, -z, 0.35 * torch.sin(4 * x + 1) * torch.cos(3 * z)], 1), faces)


def wavy_floor(cells: int = 30, dtype: torch.dtype = torch.float32) -> Mesh:
    """Return an open, hilly floor below the cameras of this module, from ahead of them to behind them."""
    vertices, faces = plane(8.0, 10.0, cells, cells)
    x, _, z = vertices.to(dtype).unbind(1)
    z = z + 0.3 * x  # no edge is horizontal in the image
    return Mesh(torch.stack([x, -0.7 + 0.3 * torch.sin(2 * x + 1) * torch.cos(1.7 * z), z], 1), faces)


def smooth_colors(vertices: Tensor) -> Tensor:
    """Return colours [V, 3] in 0.1..0.9 that vary smoothly in space."""
    x, y, z = vertices.unbind(1)
    waves = torch.stack([torch.sin(3 * x + 1), torch.sin(2 * y + 2 * z), torch.cos(3 * z - x)], 1)
    return 0.5 + 0.4 * waves


def lobe_colors(vertices: Tensor) -> Tensor:
    """Return colours [V, 3] of the bumpy mesh: each lobe has its own."""
    return bumpy_sphere_colors(vertices).to(vertices.dtype)


def placed(mesh: Mesh, material: Material | None = None, pose: Tensor | None = None, scale: float = 1.0) -> Object:
    """Return an object in the mesh's dtype: unlit and smoothly coloured if `material` is omitted."""
    dtype = mesh.vertices.dtype
    return Object(
        mesh,
        Unlit(smooth_colors(mesh.vertices)) if material is None else material,
        torch.eye(4, dtype=dtype) if pose is None else pose,
        torch.tensor(scale, dtype=dtype),
    )


def scene_of(*objects: Object, lights: Mapping[str, Light] | None = None) -> Scene:
    """Return a scene of objects named a, b, c..."""
    dtype = objects[0].mesh.vertices.dtype
    named = {chr(ord("a") + i): item for i, item in enumerate(objects)}
    return Scene(named, dict(lights or {}), torch.tensor(BACKGROUND, dtype=dtype))


def unshared(mesh: Mesh) -> Mesh:
    """Return the mesh with a vertex per corner; its normals stay those of the shared vertices."""
    own = torch.arange(3 * mesh.n_faces).reshape(-1, 3)
    normal_faces = mesh.faces if mesh.normal_faces is None else mesh.normal_faces
    return replace(
        mesh, vertices=mesh.vertices[mesh.faces.reshape(-1)], faces=own, normal_faces=normal_faces, topology=None
    )


def with_unshared_vertices(scene: Scene) -> Scene:
    """Return the scene with all meshes `unshared`, and the values of each vertex at all of its corners."""
    objects = {}
    for name, item in scene.objects.items():
        values = vertex_fields_of(item.material, item.mesh.n_vertices)
        corners = {field: value[item.mesh.faces.reshape(-1)] for field, value in values.items()}
        objects[name] = item.with_values(corners, unshared(item.mesh))
    return replace(scene, objects=objects)


def front_camera(size: int = 64, dtype: torch.dtype = torch.float32, fov_deg: float = 45.0) -> Cameras:
    """Return a camera on the +z axis, 3 from the origin, that looks at it."""
    eye = torch.tensor([[0, 0, 3]], dtype=dtype)
    return Cameras.perspective(eye, fov_deg=fov_deg, height=size, width=size)


def flat_camera(
    height: int = 32, width: int = 32, view_height: float = 2.0, dtype: torch.dtype = torch.float32
) -> Cameras:
    """Return an orthographic camera on the +z axis: x is right, y is up, `view_height` units from top to bottom."""
    eye = torch.tensor([[0, 0, 3]], dtype=dtype)
    return Cameras.parallel(eye, view_height=view_height, height=height, width=width)


def camera_at(*eyes: tuple[float, float, float], dtype: torch.dtype = torch.float32) -> Cameras:
    """Cameras at these positions that look at the origin, or at a point next to it if that is impossible."""
    target = (0.0, 0.0, 0.0) if all(x or z for x, _, z in eyes) else (0.1, 0.2, -0.3)
    return Cameras.perspective(torch.tensor(eyes, dtype=dtype), target=target)


def oblique_cameras(n: int = 1, size: int = 64, dtype: torch.dtype = torch.float32, distance: float = 2.85) -> Cameras:
    """Return cameras around the origin and slightly above it, none of them along an axis."""
    angle = 0.46 + torch.arange(n, dtype=torch.float64) * 2.1
    direction = torch.stack([0.95 * angle.sin(), torch.full_like(angle, 0.316), 0.95 * angle.cos()], 1)
    return Cameras.perspective((distance * direction).to(dtype), fov_deg=45, height=size, width=size)
