"""Whole scenes from glTF: objects in their places with their materials, lights and cameras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffrender.errors import DataError
from diffrender.readers.gltf.document import GltfDocument, read_document
from diffrender.readers.gltf.materials import material_of
from diffrender.readers.gltf.nodes import cameras_of, light_of, place_nodes
from diffrender.readers.meshes.mesh_data import RawMesh, clean_mesh
from diffrender.scene.cameras import Cameras
from diffrender.scene.light import Light
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene

TRIANGLES = 4
# What the readers of this folder understand; others may be used by a file, but must not be required.
UNDERSTOOD = (
    "KHR_lights_punctual",
    "KHR_materials_unlit",
    "KHR_materials_specular",
    "KHR_materials_emissive_strength",
)
# Compressions that leave nothing to read.
COMPRESSIONS = ("KHR_draco_mesh_compression", "EXT_meshopt_compression")
# How far a node's axes may be from equally long and at right angles, relatively, to be kept as a pose and a scale.
SAME_SCALE = 1e-5
VIEW_HEIGHT = 512


@dataclass(frozen=True)
class GltfScene:
    """The content of a glTF file. cameras: None where there are none, or where they differ in lens."""

    scene: Scene
    cameras: Cameras | None


def read_gltf_scene(path: str | Path, height: int = VIEW_HEIGHT) -> GltfScene:
    """The scene in a .glb or .gltf file: an object for each primitive, directional, point and spot lights, cameras.

    Shading normals are smooth over each object; those of the file are not used. Equal positions become one vertex.
    height: of the cameras' images in pixels, which glTF does not have.
    Raises DataError where the file is missing, damaged or compressed, or holds what our materials cannot.
    """
    document = read_document(Path(path))
    wanted = set(document.json.get("extensionsRequired", [])) - set(UNDERSTOOD)
    wanted |= set(document.json.get("extensionsUsed", [])) & set(COMPRESSIONS)
    if wanted:
        raise DataError(f"{path}: needs {', '.join(sorted(wanted))}, which is not supported; export it without")
    objects: dict[str, Object] = {}
    lights: dict[str, Light] = {}
    cameras = []
    try:
        for node, world in place_nodes(document):
            if "mesh" in node:
                mesh = document.entries("meshes")[node["mesh"]]
                name = node.get("name") or mesh.get("name") or "object"
                for primitive in mesh["primitives"]:
                    objects[_free(name, objects)] = _object(document, primitive, world)
            light = light_of(document, node, world)
            if light is not None:
                lights[_free(light[0], lights)] = light[1]
            if "camera" in node:
                cameras.append((node["camera"], world))
        found = cameras_of(document, cameras, height)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(f"{path}: is no sound glTF ({type(error).__name__}: {error}); export it again") from error
    if not objects:
        raise DataError(f"{path}: holds no triangles")
    return GltfScene(Scene(objects, lights), found)


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """`name`, or with a number where it is taken. Dots would be read as paths of learned values."""
    name = name.replace(".", "_")
    return next(each for each in (name, *(f"{name}_{i}" for i in range(2, len(taken) + 3))) if each not in taken)


def _object(document: GltfDocument, primitive: Mapping[str, Any], world: np.ndarray) -> Object:
    if primitive.get("mode", TRIANGLES) != TRIANGLES:
        raise DataError(f"{document.path}: holds lines, points or strips of triangles; export it as triangles")
    attributes = primitive["attributes"]
    positions = document.array(attributes["POSITION"]).astype(np.float64)
    if "indices" in primitive:
        faces = document.array(primitive["indices"]).astype(np.int64).reshape(-1, 3)
    else:
        faces = np.arange(len(positions)).reshape(-1, 3)
    uvs = document.array(attributes["TEXCOORD_0"]).astype(np.float64) if "TEXCOORD_0" in attributes else None
    colors = document.array(attributes["COLOR_0"])[:, :3].astype(np.float64) if "COLOR_0" in attributes else None
    scale = float(np.abs(np.linalg.det(world[:3, :3]))) ** (1 / 3)
    turn = world[:3, :3] / scale if scale > 0 else np.zeros((3, 3))
    pose = np.eye(4)
    if np.abs(turn @ turn.T - np.eye(3)).max() < SAME_SCALE and np.linalg.det(turn) > 0:
        pose[:3, :3], pose[:3, 3] = turn, world[:3, 3]
    else:
        # A mirror image, or not the same scale in all directions: the vertices themselves are moved.
        positions, scale = positions @ world[:3, :3].T + world[:3, 3], 1.0
        faces = faces[:, ::-1] if np.linalg.det(world[:3, :3]) < 0 else faces
    raw = RawMesh(positions, faces, uvs, None if uvs is None else faces, colors)
    data = clean_mesh(document.path, raw)
    materials = document.entries("materials")
    entry = materials[primitive["material"]] if "material" in primitive else {}
    return Object(
        data.mesh,
        material_of(document, entry, data.vertex_colors),
        torch.from_numpy(pose).float(),
        torch.tensor(scale, dtype=torch.float32),
    )
