"""Scenes as binary glTF 2.0, which browsers, Blender and game engines open."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffrender.checks import check_shape
from diffrender.errors import ShapeError
from diffrender.scene.cameras import Cameras
from diffrender.scene.light import Light
from diffrender.scene.material import SurfaceValue
from diffrender.scene.mesh import Mesh
from diffrender.scene.texture import Texture
from diffrender.writers.corners import CornerMesh, corner_mesh
from diffrender.writers.gltf_file import GltfFile, Json
from diffrender.writers.gltf_nodes import add_cameras, add_lights, rotation_entry
from diffrender.writers.images import encode_srgb8

LINEAR, LINEAR_MIPMAP_LINEAR = 9729, 9987
WRAP_CODES = {"repeat": 10497, "clamp": 33071}


@dataclass(frozen=True)
class GlbObject:
    """One object as a GLB shows it.

    name: the node's name.
    mesh: in object space.
    base_color: linear RGB in 0..1: uniform [3], per vertex [V, 3] or a Texture (the mesh must have uvs).
    pose: [4, 4] world_from_object, rigid.
    scale: [] positive.
    unlit: shown without lights (KHR_materials_unlit) instead of as a rough, diffuse surface.
    """

    name: str
    mesh: Mesh
    base_color: SurfaceValue
    pose: Tensor = field(default_factory=lambda: torch.eye(4))
    scale: Tensor = field(default_factory=lambda: torch.ones(()))
    unlit: bool = False


def write_glb(
    path: Path,
    objects: Sequence[GlbObject],
    cameras: Cameras | None = None,
    lights: Mapping[str, Light] | None = None,
) -> None:
    """Write objects, cameras and lights as one GLB.

    Vertices are split along UV seams; vertices that no face uses are left out. Colours are clamped to 0..1.
    cameras: glTF has no off-centre principal points; they are lost (transforms.json keeps them).
    lights: directional, point and spot, fixed to the world (KHR_lights_punctual; 1 here is written as 1 lux and
        1 candela, as viewers that work without units read it). glTF has no skies: viewers bring their own
        surroundings; they are left out, and so are lights that go with the cameras.

    Raises: ShapeError where there is no object, a mesh is empty or not finite, a base_color has a wrong shape, or a
    texture has no uvs; DataError where the file cannot be written.
    """
    if not objects:
        raise ShapeError("write_glb: objects must hold at least one object, got none")
    gltf = GltfFile()
    nodes = [_add_object(gltf, item) for item in objects]
    if lights is not None:
        nodes += add_lights(gltf, lights)
    if cameras is not None:
        nodes += add_cameras(gltf, cameras, _reach(objects))
    scene = gltf.add("scenes", {"nodes": nodes})
    gltf.write(Path(path), {"version": "2.0", "generator": "diffrender"}, scene)


def _add_object(gltf: GltfFile, item: GlbObject) -> int:
    corners = corner_mesh(item.mesh)
    if len(corners.faces) == 0:
        raise ShapeError(f"write_glb: every face of object {item.name!r} uses a vertex twice; nothing could be seen")
    attributes: Json = {
        "POSITION": gltf.add_vertex_attribute(corners.positions, with_bounds=True),
        "NORMAL": gltf.add_vertex_attribute(corners.normals),
    }
    if corners.uvs is not None:
        attributes["TEXCOORD_0"] = gltf.add_vertex_attribute(corners.uvs)
    material: Json = {"name": item.name, "doubleSided": True}
    surface: Json = {"metallicFactor": 0.0, "roughnessFactor": 1.0}
    if isinstance(item.base_color, Texture):
        if corners.uvs is None:
            raise ShapeError(f"write_glb: object {item.name!r} has a texture, but its mesh has no uvs")
        surface["baseColorTexture"] = {"index": _add_texture(gltf, item.base_color, item.name)}
    elif item.base_color.dim() == 1:
        check_shape("write_glb", f"base_color of object {item.name!r}", item.base_color, (3,))
        surface["baseColorFactor"] = [*_unit_interval(item.base_color).tolist(), 1.0]
    else:
        attributes["COLOR_0"] = gltf.add_vertex_attribute(_vertex_colors(item, corners))
    material["pbrMetallicRoughness"] = surface
    if item.unlit:
        gltf.extensions_used.add("KHR_materials_unlit")
        material["extensions"] = {"KHR_materials_unlit": {}}
    primitive: Json = {
        "attributes": attributes,
        "indices": gltf.add_indices(corners.faces),
        "material": gltf.add("materials", material),
    }
    mesh = gltf.add("meshes", {"name": item.name, "primitives": [primitive]})
    scale = float(item.scale)
    node: Json = {
        "name": item.name,
        "mesh": mesh,
        "translation": item.pose[:3, 3].tolist(),
        "rotation": rotation_entry(item.pose[:3, :3]),
        "scale": [scale, scale, scale],
    }
    return gltf.add("nodes", node)


def _vertex_colors(item: GlbObject, corners: CornerMesh) -> np.ndarray:
    check_shape("write_glb", f"base_color of object {item.name!r}", item.base_color, (item.mesh.n_vertices, 3))  # type: ignore[arg-type]
    return _unit_interval(item.base_color)[corners.source]  # type: ignore[arg-type]


def _add_texture(gltf: GltfFile, texture: Texture, name: str) -> int:
    stream = io.BytesIO()
    Image.fromarray(encode_srgb8(texture.texels)).save(stream, format="PNG", optimize=True)
    view = gltf.add_bytes(stream.getvalue())
    image = gltf.add("images", {"name": name, "bufferView": view, "mimeType": "image/png"})
    wrap: Json = {"wrapS": WRAP_CODES[texture.wrap], "wrapT": WRAP_CODES[texture.wrap]}
    sampler = gltf.add("samplers", {"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP_LINEAR} | wrap)
    return gltf.add("textures", {"sampler": sampler, "source": image})


def _unit_interval(color: Tensor) -> np.ndarray:
    return color.detach().to("cpu", torch.float32).nan_to_num(nan=0.0).clamp(0, 1).numpy()


def _reach(objects: Sequence[GlbObject]) -> float:
    """The largest distance of any vertex from the world's origin."""
    return max(float(item.scale * item.mesh.vertices.norm(dim=1).max() + item.pose[:3, 3].norm()) for item in objects)
