"""What every mesh reader ends in: raw arrays from a file, checked, welded and brought into our types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffrender.errors import DataError
from diffrender.scene.mesh import Mesh
from diffrender.scene.textures.texture import Texture
from diffrender.scene.textures.transfer import transfer_normal_map, transfer_texture


@dataclass(frozen=True)
class Finish:
    """What a file says of a whole surface beside its colour and its textures.

    metallic, roughness: in 0..1. emissive: linear RGB, or None. specular: whether a dielectric reflects at its
    boundary. unlit: the colour is what is seen, without lights.
    """

    metallic: float = 0.0
    roughness: float = 1.0
    emissive: tuple[float, float, float] | None = None
    specular: bool = True
    unlit: bool = False


@dataclass(frozen=True)
class MeshData:
    """The content of a mesh file.

    mesh: its triangles, all objects in one; equal positions are one vertex.
    vertex_colors: [V, 3] linear RGB, or None.
    texture: its one colour texture, linear RGB, or None.
    texture_note: why there is no texture although the file speaks of one, for whoever wanted it; else None.
    maps: its other textures, as far as all parts share one. "metallic_roughness": [H, W, 3], roughness in green and
        metallic in blue, 0..1. "normal": [H, W, 3] in -1..1, x along u, y against v (up in the picture), z outwards.
        "emissive": linear RGB.
    finish: what is uniform where there is no such texture, if all parts agree about it; else plainly diffuse.
    """

    mesh: Mesh
    vertex_colors: Tensor | None
    texture: Texture | None
    texture_note: str | None = None
    maps: Mapping[str, Texture] = field(default_factory=dict)
    finish: Finish = field(default_factory=Finish)


def with_mesh(data: MeshData, mesh: Mesh, resolution: int | None = None) -> MeshData:
    """`data` with other texture coordinates, or on another mesh about the same surface; all textures go along.

    resolution: of the textures; left out: each keeps its height. Colours of vertices stay with the vertices.
    """

    def carried(name: str, texture: Texture) -> Texture:
        return (transfer_normal_map if name == "normal" else transfer_texture)(texture, data.mesh, mesh, resolution)

    texture = None if data.texture is None else carried("base_color", data.texture)
    maps = {name: carried(name, each) for name, each in data.maps.items()}
    return replace(data, mesh=mesh, texture=texture, maps=maps)


@dataclass(frozen=True)
class RawMesh:
    """Arrays as a file has them, before any check.

    positions: [P, 3] float64. faces: [F, 3] int64 into positions.
    uvs: [T, 2] with origin and axes as glTF, uv_faces: [F, 3] int64 into uvs; or both None.
    colors: [P, 3] linear, or None.
    place_of_vertex: says where in the file a position stands, for messages.
    """

    positions: np.ndarray
    faces: np.ndarray
    uvs: np.ndarray | None = None
    uv_faces: np.ndarray | None = None
    colors: np.ndarray | None = None
    texture: Texture | None = None
    texture_note: str | None = None
    place_of_vertex: Callable[[int], str] = "vertex {}".format
    maps: Mapping[str, Texture] = field(default_factory=dict)
    finish: Finish = field(default_factory=Finish)


def clean_mesh(path: Path, raw: RawMesh) -> MeshData:
    """`raw` checked and welded: equal positions become one vertex, vertices that no face uses go.

    Faces with two corners at one place have no area and go too. The order of vertices and faces stays.
    Raises DataError on an empty mesh, non-finite positions or texture coordinates, and indices out of range.
    """
    _check_raw(path, raw)
    positions = raw.positions.astype(np.float32)
    _, first, inverse = np.unique(positions, axis=0, return_index=True, return_inverse=True)
    welded = first[inverse.reshape(-1)][raw.faces]
    has_area = (welded[:, 0] != welded[:, 1]) & (welded[:, 1] != welded[:, 2]) & (welded[:, 2] != welded[:, 0])
    if not has_area.any():
        raise DataError(f"{path}: all {len(raw.faces)} triangles are degenerate (two corners at one place)")
    used, faces = np.unique(welded[has_area], return_inverse=True)
    faces = torch.from_numpy(faces.reshape(-1, 3))
    vertices = torch.from_numpy(positions[used])

    uvs = uv_faces = colors = None
    if raw.uvs is not None and raw.uv_faces is not None:
        used_uvs, uv_index = np.unique(raw.uv_faces[has_area], return_inverse=True)
        uvs = torch.from_numpy(raw.uvs[used_uvs].astype(np.float32))
        uv_faces = torch.from_numpy(uv_index.reshape(-1, 3))
    if raw.colors is not None:
        colors = torch.from_numpy(_mean_by_group(raw.colors, inverse.reshape(-1))[inverse.reshape(-1)[used]])
    return MeshData(Mesh(vertices, faces, uvs, uv_faces), colors, raw.texture, raw.texture_note, raw.maps, raw.finish)


def _mean_by_group(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """[G, 3] float32: the mean of `values` [P, 3] over the positions that were welded into each group."""
    count = np.bincount(group)
    sums = [np.bincount(group, weights=values[:, channel]) for channel in range(values.shape[1])]
    return (np.stack(sums, 1) / count[:, None]).astype(np.float32)


def _check_raw(path: Path, raw: RawMesh) -> None:
    n_positions = len(raw.positions)
    if n_positions == 0 or len(raw.faces) == 0:
        raise DataError(
            f"{path}: has no triangles ({n_positions} vertices, {len(raw.faces)} faces); a mesh needs at least one"
        )
    bad = np.flatnonzero(~np.isfinite(raw.positions).all(1))
    if len(bad):
        place, value = raw.place_of_vertex(int(bad[0])), raw.positions[bad[0]].tolist()
        raise DataError(f"{path}: {place} is {value} ({len(bad)} non-finite in all); wanted three finite numbers")
    for what, index, limit in (("vertex", raw.faces, n_positions), ("uv", raw.uv_faces, _length(raw.uvs))):
        if index is None:
            continue
        wrong = np.argwhere((index < 0) | (index >= limit))
        if len(wrong):
            face, corner = wrong[0].tolist()
            raise DataError(
                f"{path}: face {face} corner {corner} uses {what} {index[face, corner]}, but there are only {limit}"
                f" (0..{limit - 1}); the file is damaged or cut off"
            )
    if raw.uvs is not None and not np.isfinite(raw.uvs).all():
        row = int(np.flatnonzero(~np.isfinite(raw.uvs).all(1))[0])
        raise DataError(f"{path}: texture coordinate {row} is {raw.uvs[row].tolist()}; wanted finite numbers")


def _length(values: np.ndarray | None) -> int:
    return 0 if values is None else len(values)
