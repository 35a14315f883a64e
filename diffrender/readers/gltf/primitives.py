"""The triangles of glTF's primitives.

Source: glTF 2.0 specification, section 3.7.2 (Meshes).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from diffrender.errors import DataError
from diffrender.readers.clean_mesh import RawMesh
from diffrender.readers.gltf.document import GltfDocument
from diffrender.readers.gltf.textures import Placement

TRIANGLES, STRIP, FAN = 4, 5, 6
PLAIN = Placement()
SIZES = {"TEXCOORD": (2,), "COLOR": (3, 4), "NORMAL": (3,)}


def read_triangles(
    document: GltfDocument,
    primitive: Mapping[str, Any],
    placement: Placement = PLAIN,
    weights: Sequence[float] = (),
) -> RawMesh | None:
    """Read the triangles of a primitive in its node's frame; None if it holds points or lines.

    With vertex colours and the texture coordinates of `placement`, if there are any. weights: of its morph targets.
    Raises DataError if attributes differ in number or an index is out of range.
    """
    attributes = primitive["attributes"]
    positions = _morphed(document, primitive, "POSITION", weights)
    if positions.shape[1] != 3:
        raise ValueError(f"POSITION has {positions.shape[1]} numbers per vertex")
    if "indices" in primitive:
        corners = document.array(primitive["indices"]).astype(np.int64).reshape(-1)
    else:
        corners = np.arange(len(positions))
    faces = _faces(corners, primitive.get("mode", TRIANGLES))
    if faces is None:
        return None
    if len(faces) and faces.max() >= len(positions):
        raise DataError(
            f"{document.path}: a face uses vertex {faces.max()}, but there are only {len(positions)}"
            f" (0..{len(positions) - 1}); the file is damaged or cut off"
        )
    coordinates = f"TEXCOORD_{placement.tex_coord}"
    optional = {
        name: _morphed(document, primitive, name, weights)
        for name in (coordinates, "COLOR_0", "NORMAL")
        if name in attributes
    }
    for name, values in optional.items():
        if len(values) != len(positions):
            raise DataError(
                f"{document.path}: is not valid glTF: {name} has {len(values)} entries for {len(positions)} vertices;"
                " export it again"
            )
        if values.shape[1] not in SIZES[name.partition("_")[0]]:
            raise ValueError(f"{name} has {values.shape[1]} numbers per vertex")
    uvs, colors = optional.get(coordinates), optional.get("COLOR_0")
    uvs = None if uvs is None else placement.place(uvs)
    normals = optional.get("NORMAL")
    return RawMesh(
        positions,
        faces,
        uvs,
        None if uvs is None else faces,
        None if colors is None else colors[:, :3],
        normals=normals,
        normal_faces=None if normals is None else faces,
    )


def _morphed(document: GltfDocument, primitive: Mapping[str, Any], name: str, weights: Sequence[float]) -> np.ndarray:
    """Return an attribute in float64, moved by its morph targets."""
    values = document.array(primitive["attributes"][name]).astype(np.float64)
    for weight, target in zip(weights, primitive.get("targets", []), strict=False):
        if weight and name in target:
            values = values + weight * document.array(target[name])
    return values


def morph_weights(node: Mapping[str, Any], mesh: Mapping[str, Any]) -> Sequence[float]:
    """Return the weights of a mesh's morph targets at a node; empty without any."""
    return node.get("weights", mesh.get("weights", ()))


def _faces(corners: np.ndarray, mode: int) -> np.ndarray | None:
    """Return [F, 3] from the vertices of a primitive in their order; None if it is not made of triangles."""
    if mode == TRIANGLES:
        return corners.reshape(-1, 3)
    if mode == STRIP:
        faces = np.stack([corners[:-2], corners[1:-1], corners[2:]], 1)
        faces[1::2] = faces[1::2][:, [0, 2, 1]]  # every other triangle of a strip is given the other way round
        return faces
    if mode == FAN:
        return np.stack([corners[1:-1], corners[2:], np.full(max(len(corners) - 2, 0), corners[0])], 1)
    return None


def transform(mesh: RawMesh, world_from_mesh: np.ndarray) -> RawMesh:
    """Move a mesh by a [4, 4] matrix; a mirror image keeps its outside."""
    if np.array_equal(world_from_mesh, np.eye(4)):
        return mesh  # the product would spread one NaN over its whole vertex and hide which number it was
    linear, faces = world_from_mesh[:3, :3], mesh.faces
    if np.linalg.det(linear) < 0:
        faces = faces[:, ::-1]
    positions = mesh.positions @ linear.T + world_from_mesh[:3, 3]
    normals = None
    if mesh.normals is not None and abs(np.linalg.det(linear)) > 0:
        normals = mesh.normals @ np.linalg.inv(linear)
    return replace(
        mesh,
        positions=positions,
        faces=faces,
        uv_faces=None if mesh.uv_faces is None else faces,
        normals=normals,
        normal_faces=None if normals is None else faces,
    )
