"""Scenes as binary glTF 2.0, which browsers, Blender and game engines open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffrender.checks import as_path, check_colors, check_finite, check_shape, check_type
from diffrender.errors import ShapeError
from diffrender.scene.cameras import Cameras
from diffrender.scene.gltf_surface import GltfSurface
from diffrender.scene.light import Light
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.quantity_kinds import SurfaceValue
from diffrender.scene.textures.texture import Texture
from diffrender.writers.gltf.document import GltfFile, Json
from diffrender.writers.gltf.materials import add_material
from diffrender.writers.gltf.nodes import add_cameras, add_lights, rotation_entry
from diffrender.writers.gltf.pbr import with_textures
from diffrender.writers.images.png import unit_interval
from diffrender.writers.meshes.split_vertices import SplitMesh, split_vertices

# From so many times their size on, float64 positions lose digits in float32 that can be seen.
FAR = 100.0


@dataclass(frozen=True)
class GlbObject:
    """One object of a GLB.

    name: the node's name.
    mesh: in object space.
    base_color: linear RGB in 0..1: uniform [3], per vertex [V, 3] or a Texture (the mesh must have uvs).
    pose: [4, 4] world_from_object, rigid.
    scale: [] positive.
    unlit: base_color is shown without lights (KHR_materials_unlit) instead of as a rough, diffuse surface.
    surface: the whole glTF material, instead of base_color and unlit.
    """

    name: str
    mesh: Mesh
    base_color: SurfaceValue
    pose: Tensor = field(default_factory=lambda: torch.eye(4))
    scale: Tensor = field(default_factory=lambda: torch.ones(()))
    unlit: bool = False
    surface: GltfSurface | None = None

    @classmethod
    def of(cls, name: str, item: Object) -> GlbObject:
        """Convert an object of a scene with its material, as far as glTF has one (see `Material.to_gltf`)."""
        surface = item.material.to_gltf()
        return cls(name, item.mesh, surface.base_color, item.pose, item.scale, surface.unlit, surface)


def write_glb(
    path: Path,
    objects: Sequence[GlbObject],
    cameras: Cameras | None = None,
    lights: Mapping[str, Light] | None = None,
) -> None:
    """Write objects, cameras and lights as one binary glTF 2.0 file, which browsers, Blender and game engines open.

    path: the .glb file; missing folders are made, and an earlier file is replaced.
    objects: at least one. Vertices are split along UV seams; vertices that no face uses are omitted. Colours are
        clamped to 0..1, and textures have 8 bits. Roughness, metallic, normals and emission per vertex are baked into
        textures. With a normal map, the tangents that it was made for are written. Positions in float64 keep their
        digits far from the origin: the node moves the mesh there.
    cameras: a node for each. glTF has no off-centre principal points: they are lost (transforms.json keeps them).
    lights: by name. Directional, point and spot lights fixed to the world are written (KHR_lights_punctual; 1 here is
        1 lux or 1 candela, as viewers without units read it). Others are omitted: glTF has no environments, and no
        lights that move with the camera.

    Raises ShapeError if there is no object, a mesh is empty or not finite, a base_color has a wrong shape, or a texture
    has no uvs; DataError if the file cannot be written.

        objects = [GlbObject.of(name, item) for name, item in scene.objects.items()]
        write_glb("scene.glb", objects, cameras, scene.lights)
    """
    path = as_path("write_glb", "path", path)
    check_type("write_glb", "objects", objects, Sequence, "a list of GlbObject")
    for item in objects:
        check_type("write_glb", "each of objects", item, GlbObject, "a GlbObject (GlbObject.of(name, item))")
        check_type("write_glb", f"mesh of {item.name!r}", item.mesh, Mesh)
        if item.surface is None:
            wanted = "a torch.Tensor or a Texture"
            check_type("write_glb", f"base_color of {item.name!r}", item.base_color, (Tensor, Texture), wanted)
            if isinstance(item.base_color, Tensor):
                check_colors("write_glb", f"base_color of {item.name!r}", item.base_color)
    if not objects:
        raise ShapeError("write_glb: objects must hold at least one object, got none")
    gltf = GltfFile()
    nodes = [_add_object(gltf, item) for item in objects]
    if lights is not None:
        nodes += add_lights(gltf, lights)
    if cameras is not None:
        nodes += add_cameras(gltf, cameras, _reach(objects))
    scene = gltf.add("scenes", {"nodes": nodes})
    gltf.write(path, {"version": "2.0", "generator": "diffrender"}, scene)


def _with_small_positions(item: GlbObject) -> GlbObject:
    """Return the object with its vertices about their middle, and that in its pose, if float32 would round them.

    Positions of glTF are float32; translations of nodes are not.
    """
    vertices = item.mesh.vertices.detach()
    if vertices.dtype == torch.float32 or not len(vertices):
        return item
    low, high = vertices.amin(0), vertices.amax(0)
    middle = (low + high) / 2
    if float(middle.norm()) <= FAR * float((high - low).max()):
        return item
    pose = item.pose.detach().double().clone()
    pose[:3, 3] += item.scale.detach().double() * (pose[:3, :3] @ middle)
    return replace(item, mesh=replace(item.mesh, vertices=vertices - middle), pose=pose)


def _add_object(gltf: GltfFile, item: GlbObject) -> int:
    item = _with_small_positions(item)
    plain = GltfSurface(item.base_color, unlit=item.unlit)
    mesh, surface = with_textures(item.mesh, item.surface or plain)
    corners = split_vertices(mesh, with_tangents=surface.normal is not None and mesh.uvs is not None)
    if len(corners.faces) == 0:
        raise ShapeError(f"write_glb: every face of object {item.name!r} uses a vertex twice; nothing would be visible")
    material = add_material(gltf, item.name, mesh, surface)
    attributes: Json = {
        "POSITION": gltf.add_vertex_attribute(corners.positions, with_bounds=True),
        "NORMAL": gltf.add_vertex_attribute(corners.normals),
    }
    if corners.tangents is not None:
        attributes["TANGENT"] = gltf.add_vertex_attribute(corners.tangents)
    if corners.uvs is not None:
        attributes["TEXCOORD_0"] = gltf.add_vertex_attribute(corners.uvs)
    if isinstance(surface.base_color, Tensor) and surface.base_color.dim() != 1:
        attributes["COLOR_0"] = gltf.add_vertex_attribute(_vertex_colors(item.name, mesh, surface.base_color, corners))
    primitive: Json = {"attributes": attributes, "indices": gltf.add_indices(corners.faces), "material": material}
    scale = float(item.scale)
    node: Json = {
        "name": item.name,
        "mesh": gltf.add("meshes", {"name": item.name, "primitives": [primitive]}),
        "translation": item.pose[:3, 3].tolist(),
        "rotation": rotation_entry(item.pose[:3, :3]),
        "scale": [scale, scale, scale],
    }
    return gltf.add("nodes", node)


def _vertex_colors(name: str, mesh: Mesh, colors: Tensor, corners: SplitMesh) -> np.ndarray:
    check_shape("write_glb", f"base_color of object {name!r}", colors, (mesh.n_vertices, 3))
    check_finite("write_glb", f"base_color of object {name!r}", colors)
    return unit_interval(colors)[corners.source]


def _reach(objects: Sequence[GlbObject]) -> float:
    """Return the largest distance of any vertex from the world's origin."""
    return max(float(item.scale * item.mesh.vertices.norm(dim=1).max() + item.pose[:3, 3].norm()) for item in objects)
