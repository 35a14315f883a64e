"""Nodes of glTF with their transforms, and the lights and cameras at them.

Source: glTF 2.0 specification, sections 3.5 (Scenes) and 3.10 (Cameras), and the extension KHR_lights_punctual.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffrender.errors import DataError
from diffrender.geometry.rigid import OPENCV_FROM_OPENGL
from diffrender.geometry.rotations import quaternion_to_matrix
from diffrender.readers.gltf.document import GltfDocument
from diffrender.scene.cameras import Cameras
from diffrender.scene.light import Light
from diffrender.scene.lights import GLTF_LIGHTS
from diffrender.scene.projections.orthographic import Orthographic
from diffrender.scene.projections.perspective import Perspective
from diffrender.scene.quantity_kinds import DIRECTION, POSITION, RADIANCE, kinds_of

LIGHTS_EXTENSION = "KHR_lights_punctual"
INSTANCING = "EXT_mesh_gpu_instancing"
VISIBILITY = "KHR_node_visibility"
SAME_LENS = 1e-5


def place_nodes(document: GltfDocument) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Yield the nodes of the file's scene with their [4, 4] world_from_node, parents before children.

    Without a scene, all nodes count.
    """
    scenes = document.entries("scenes")
    nodes = document.entries("nodes")
    children = {child for node in nodes for child in node.get("children", [])}
    roots = (
        document.entry("scenes", document.json.get("scene", 0)).get("nodes", [])
        if scenes
        else sorted({*range(len(nodes))} - children)
    )
    waiting = [(index, np.eye(4)) for index in reversed(roots)]
    seen: set[int] = set()
    while waiting:
        index, parent = waiting.pop()
        if index in seen or not 0 <= index < len(nodes):
            raise DataError(f"{document.path}: node {index} does not exist or has two parents; export it again")
        seen.add(index)
        world = parent @ _matrix(nodes[index], f"{document.path}: node {index}")
        for instance in _instances(document, nodes[index], f"{document.path}: an instance of node {index}"):
            yield nodes[index], world @ instance
        waiting += [(child, world) for child in reversed(nodes[index].get("children", []))]


def hidden_nodes(document: GltfDocument) -> set[int]:
    """Return the ids of the nodes that are not visible, themselves or with a parent (KHR_node_visibility)."""
    nodes = document.entries("nodes")
    waiting = [
        index
        for index, node in enumerate(nodes)
        if not node.get("extensions", {}).get(VISIBILITY, {}).get("visible", True)
    ]
    hidden: set[int] = set()
    while waiting:
        index = waiting.pop()
        if index not in hidden:
            hidden.add(index)
            waiting += nodes[index].get("children", [])
    return {id(nodes[index]) for index in hidden if index < len(nodes)}


def _instances(document: GltfDocument, node: Mapping[str, Any], where: str) -> list[np.ndarray]:
    """Return the [4, 4] placements of a node's mesh, one unless it uses EXT_mesh_gpu_instancing."""
    attributes = node.get("extensions", {}).get(INSTANCING, {}).get("attributes")
    if not attributes or "mesh" not in node:
        return [np.eye(4)]
    names = {"TRANSLATION": "translation", "ROTATION": "rotation", "SCALE": "scale"}
    values = {names[key]: document.array(index).tolist() for key, index in attributes.items() if key in names}
    counts = {len(rows) for rows in values.values()}
    if len(counts) != 1:
        raise ValueError(f"instances have {sorted(counts)} translations, rotations and scales")
    return [_matrix({key: rows[i] for key, rows in values.items()}, where) for i in range(counts.pop())]


def _matrix(node: Mapping[str, Any], where: str) -> np.ndarray:
    """Return the [4, 4] transform of a node or an instance. Raises DataError, at `where`, if it is not one."""
    if "matrix" in node:
        matrix = np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
        if np.isfinite(matrix).all() and not np.allclose(matrix[3], (0, 0, 0, 1), atol=1e-6):
            raise DataError(
                f"{where} has a matrix whose last row is {matrix[3].tolist()}, not [0, 0, 0, 1]; it must be listed"
                " column by column, translation last; export it again"
            )
    else:
        x, y, z, w = rotation = node.get("rotation", (0, 0, 0, 1))
        if not any(rotation):
            raise DataError(f"{where} has the rotation {rotation}; a quaternion must not be zero; export it again")
        matrix = np.eye(4)
        matrix[:3, :3] = quaternion_to_matrix(torch.tensor([w, x, y, z], dtype=torch.float64)).numpy()
        matrix[:3, :3] *= np.array(node.get("scale", (1, 1, 1)), dtype=np.float64)
        matrix[:3, 3] = node.get("translation", (0, 0, 0))
    if not np.isfinite(matrix).all():
        raise DataError(f"{where} has a transform that is not finite; export it again")
    return matrix


def read_light(document: GltfDocument, node: Mapping[str, Any], world: np.ndarray) -> tuple[str, Light] | None:
    """Return the name and the light of a node, or None if it has no light."""
    reference = node.get("extensions", {}).get(LIGHTS_EXTENSION)
    if reference is None:
        return None
    entry = document.json["extensions"][LIGHTS_EXTENSION]["lights"][reference["light"]]
    strength = _tensor(np.array(entry.get("color", (1, 1, 1)), dtype=np.float64) * entry.get("intensity", 1.0))
    values = {RADIANCE: strength, POSITION: _tensor(world[:3, 3]), DIRECTION: _tensor(-world[:3, 2])}
    name = node.get("name") or entry.get("name") or f"light_{reference['light']}"
    if entry["type"] not in GLTF_LIGHTS:
        raise DataError(f"{document.path}: light {name!r} has the unknown type {entry['type']!r}")
    light = GLTF_LIGHTS[entry["type"]]
    placed = {field: values[kind] for field, kind in kinds_of(light).items() if kind in values}
    return name, light(**placed, **light.fields_of_gltf(entry))


def read_cameras(document: GltfDocument, placed: list[tuple[int, np.ndarray]], height: int) -> Cameras | None:
    """Build one Cameras of `height` pixels from (index, world_from_node); None without any, or if lenses differ.

    Principal points are in the middle: glTF has no others.
    """
    if not placed:
        return None
    entries = [document.entry("cameras", index) for index, _ in placed]
    kinds = {entry["type"] for entry in entries}
    if len(kinds) > 1:
        return None
    (kind,) = kinds
    lenses = [entry[kind] for entry in entries]
    if kind == "orthographic":
        halves = np.array([(lens["xmag"], lens["ymag"]) for lens in lenses])
    else:
        half_height = np.tan(np.array([lens["yfov"] for lens in lenses]) / 2)
        halves = np.stack([half_height * [lens.get("aspectRatio", 1.0) for lens in lenses], half_height], 1)
    aspects = halves[:, 0] / halves[:, 1]
    if np.ptp(aspects) > SAME_LENS * aspects.mean():
        return None
    width = max(1, round(height * float(aspects[0])))
    size = np.array([width, height])
    world_from_camera = np.stack([_without_scale(world) for _, world in placed]) @ OPENCV_FROM_OPENGL.numpy()
    return Cameras(
        cam_from_world=_tensor(np.linalg.inv(world_from_camera)),
        focal_px=_tensor(size / 2 / halves),
        center_px=_tensor(np.tile(size / 2, (len(placed), 1))),
        height=height,
        width=width,
        projection=Orthographic() if kind == "orthographic" else Perspective(),
        near=float(min(lens["znear"] for lens in lenses)),
    )


def _without_scale(matrix: np.ndarray) -> np.ndarray:
    """Return the matrix with the nearest rotation: a camera's frame, whatever scales its parents have.

    Below a mirror it is x that is turned round: the camera still looks where it looks, and up stays up.
    """
    result = np.array(matrix)
    if np.linalg.det(matrix[:3, :3]) < 0:
        result[:3, 0] *= -1
    left, _, right = np.linalg.svd(result[:3, :3])
    result[:3, :3] = left @ right
    return result


def _tensor(values: Any) -> Tensor:
    return torch.as_tensor(np.asarray(values), dtype=torch.float32)
