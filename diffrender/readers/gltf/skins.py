"""Skins of glTF: meshes that joints move, in the pose that the nodes of the file have.

Source: glTF 2.0 specification, section 3.7.3 (Skins).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from diffrender.readers.clean_mesh import RawMesh
from diffrender.readers.gltf.document import GltfDocument

Node = Mapping[str, Any]


def is_skinned(node: Node, primitive: Mapping[str, Any]) -> bool:
    """Return whether joints place a primitive at a node, and not the node itself."""
    return "skin" in node and {"JOINTS_0", "WEIGHTS_0"} <= set(primitive["attributes"])


def why_unposed(document: GltfDocument, node: Node, placed: Sequence[tuple[Node, np.ndarray]]) -> str | None:
    """Return why the joints of a node's skin cannot place its mesh; None if they can. placed: as of `apply_skin`.

    Raises DataError if the skin or a joint does not exist.
    """
    skin = document.entry("skins", node["skin"])
    in_scene = {id(each) for each, _ in placed}
    if not all(id(document.entry("nodes", index)) in in_scene for index in skin["joints"]):
        return "a joint is not in the scene"
    if "inverseBindMatrices" in skin:
        count, wanted = document.entry("accessors", skin["inverseBindMatrices"])["count"], len(skin["joints"])
        if count < wanted:
            return f"it has {wanted} joints but {count} inverseBindMatrices"
    return None


def apply_skin(
    document: GltfDocument,
    node: Node,
    primitive: Mapping[str, Any],
    mesh: RawMesh,
    placed: Sequence[tuple[Node, np.ndarray]],
) -> RawMesh:
    """Return a skinned mesh in world space, unless `why_unposed`.

    placed: the nodes of the scene with their [4, 4] world_from_node.
    Raises DataError or ValueError if weights are missing.
    """
    skin = document.entry("skins", node["skin"])
    world = {id(each): matrix for each, matrix in placed}
    joints = [id(document.entry("nodes", index)) for index in skin["joints"]]
    matrices = np.stack([world[joint] for joint in joints])
    if "inverseBindMatrices" in skin:
        inverse = document.array(skin["inverseBindMatrices"]).astype(np.float64).reshape(-1, 4, 4).transpose(0, 2, 1)
        matrices = matrices @ inverse[: len(joints)]
    moved = np.zeros((len(mesh.positions), 4, 4))
    total = np.zeros(len(mesh.positions))
    for number in range(len(primitive["attributes"])):
        names = f"JOINTS_{number}", f"WEIGHTS_{number}"
        if not set(names) <= set(primitive["attributes"]):
            break
        joint, weight = (document.array(primitive["attributes"][name]) for name in names)
        if len(joint) != len(moved) or joint.shape != weight.shape:
            raise ValueError(
                f"{' and '.join(names)} have {len(joint)} and {len(weight)} rows for {len(moved)} vertices"
            )
        for column in range(joint.shape[1]):
            share = np.where(weight[:, column] > 0, weight[:, column], 0.0).astype(np.float64)
            moved += share[:, None, None] * matrices[np.where(share > 0, joint[:, column], 0)]
            total += share
    moved /= np.where(total > 0, total, 1)[:, None, None]  # rounded weights do not add up to 1
    moved[total == 0] = world[id(node)]  # as if it had no skin
    linear = moved[:, :3, :3]
    determinant = np.linalg.det(linear)
    faces = mesh.faces[:, ::-1] if (determinant < 0).sum() > len(determinant) / 2 else mesh.faces
    normals = mesh.normals
    if normals is not None:
        is_regular = determinant != 0
        inverse = np.linalg.inv(np.where(is_regular[:, None, None], linear, np.eye(3)))
        normals = np.where(is_regular[:, None], np.einsum("vij,vi->vj", inverse, normals), 0.0)
    return replace(
        mesh,
        positions=np.einsum("vij,vj->vi", linear, mesh.positions) + moved[:, :3, 3],
        faces=faces,
        uv_faces=None if mesh.uv_faces is None else faces,
        normals=normals,
        normal_faces=None if normals is None else faces,
    )
