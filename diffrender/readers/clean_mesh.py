"""What every mesh reader ends in: raw arrays from a file, checked, welded and converted to our types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffrender.errors import DataError
from diffrender.readers.mesh_data import Finish, MeshData
from diffrender.scene.mesh import Mesh
from diffrender.scene.textures.texture import Texture

# Of its size; farther from the origin float32 resolves less than a hundred thousandth of the size.
FAR = 100.0
# Normals of one vertex whose coordinates differ by less are one.
SAME_NORMAL = 1e-4


@dataclass(frozen=True)
class RawMesh:
    """Arrays as a file has them, before any check.

    positions: [P, 3] float64. faces: [F, 3] int64 into positions.
    uvs: [T, 2] with (0, 0) at the top left of the picture, uv_faces: [F, 3] int64 into uvs; or both None.
    colors: [P, 3] linear, or None.
    normals: [N, 3] of any length, normal_faces: [F, 3] int64 into normals; or both None.
    texture, texture_note, maps, finish, notes: as in MeshData.
    place_of_vertex: from the index of a position to where it is in the file, for messages.
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
    notes: tuple[str, ...] = ()
    normals: np.ndarray | None = None
    normal_faces: np.ndarray | None = None


def clean_mesh(
    path: Path, raw: RawMesh, origin: Sequence[float] = (0.0, 0.0, 0.0), size: float | None = None
) -> MeshData:
    """Check `raw`, move it by -origin and weld it: equal positions become one vertex.

    Vertices that no face uses are removed, and so are faces with two equal corners, which have no area. The order of
    vertices and faces is kept. size: the longest side of the box around
    the whole file, if `raw` is a part of it.
    Raises DataError for an empty mesh, non-finite positions or texture coordinates, and indices out of range.
    """
    _check_raw(path, raw)
    positions, notes = raw.positions - np.array(origin), raw.notes
    extent, farthest = size or _extent(raw), np.abs(positions).max()
    if farthest > FAR * extent:
        notes = (*notes, f"its size is {extent:.3g}, but it is {farthest:.3g} from the origin: kept in float64")
    else:
        positions = positions.astype(np.float32)
    _, first, inverse = np.unique(positions, axis=0, return_index=True, return_inverse=True)
    welded = first[inverse.reshape(-1)][raw.faces]
    has_area = (welded[:, 0] != welded[:, 1]) & (welded[:, 1] != welded[:, 2]) & (welded[:, 2] != welded[:, 0])
    if not has_area.any():
        raise DataError(f"{path}: all {len(raw.faces)} triangles are degenerate (two equal corners)")
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
    mesh = Mesh(vertices, faces, uvs, uv_faces, *_weld_normals(raw, has_area, faces.numpy(), vertices.dtype))
    return MeshData(mesh, colors, raw.texture, raw.texture_note, raw.maps, raw.finish, notes)


def _extent(raw: RawMesh) -> float:
    return float(np.ptp(raw.positions[raw.faces.reshape(-1)], axis=0).max())


def _weld_normals(
    raw: RawMesh, kept: np.ndarray, faces: np.ndarray, dtype: torch.dtype
) -> tuple[Tensor | None, Tensor | None]:
    """Return normal_faces and normals of the faces that are kept: equal normals at one vertex are one.

    None if the file has none, or one without a direction.
    """
    if raw.normals is None or raw.normal_faces is None:
        return None, None
    length = np.linalg.norm(raw.normals, axis=1, keepdims=True)
    corners = raw.normal_faces[kept].reshape(-1)
    if not (np.isfinite(length[corners]) & (length[corners] > 0)).all():
        return None, None
    unit = (raw.normals / np.where(length > 0, length, 1))[corners]
    key = np.concatenate([faces.reshape(-1, 1), np.round(unit / SAME_NORMAL).astype(np.int64)], 1)
    _, first, number = np.unique(key, axis=0, return_index=True, return_inverse=True)
    return torch.from_numpy(number.reshape(-1, 3).astype(np.int64)), torch.from_numpy(unit[first]).to(dtype)


def join(parts: Sequence[RawMesh]) -> RawMesh:
    """Concatenate positions, faces, texture coordinates and colours; what only some parts have is omitted.

    Of all parts, uvs belong to positions (uv_faces are faces). Textures are left to the caller.
    """
    if not parts:
        return RawMesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    offsets = np.cumsum([0] + [len(part.positions) for part in parts[:-1]])
    faces = np.concatenate([part.faces + offset for part, offset in zip(parts, offsets, strict=True)])
    uvs = [part.uvs for part in parts if part.uvs is not None]
    colors = [part.colors for part in parts if part.colors is not None]
    has_uvs = len(uvs) == len(parts)
    normals = [(part.normals, part.normal_faces) for part in parts if part.normals is not None]
    n_normals = np.cumsum([0] + [len(values) for values, _ in normals[:-1]])
    has_normals = len(normals) == len(parts)
    return RawMesh(
        positions=np.concatenate([part.positions for part in parts]),
        faces=faces,
        uvs=np.concatenate(uvs) if has_uvs else None,
        uv_faces=faces if has_uvs else None,
        colors=np.concatenate(colors) if len(colors) == len(parts) else None,
        normals=np.concatenate([values for values, _ in normals]) if has_normals else None,
        normal_faces=np.concatenate([index + n for (_, index), n in zip(normals, n_normals, strict=True)])
        if has_normals
        else None,
    )


def _mean_by_group(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return [G, 3] float32: the mean of `values` [P, 3] over the positions that were welded into each group."""
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
        raise DataError(f"{path}: {place} is {value} ({len(bad)} non-finite in all); it must be three finite numbers")
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
        raise DataError(f"{path}: texture coordinate {row} is {raw.uvs[row].tolist()}; it must be finite")


def _length(values: np.ndarray | None) -> int:
    return 0 if values is None else len(values)
