"""What every mesh reader ends in: raw arrays from a file, checked, welded and converted to our types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffrender.errors import DataError
from diffrender.geometry.normals import vertex_normals
from diffrender.geometry.orientation import find_turned
from diffrender.readers.mesh_data import Finish, MeshData
from diffrender.readers.rounding import FAR, doubt_rounding
from diffrender.scene.mesh import Mesh
from diffrender.scene.textures.texel_to_surface import covered_texels
from diffrender.scene.textures.texture import Texture

# Normals of one vertex whose coordinates differ by less are one.
SAME_NORMAL = 1e-4
# Linear colours that differ by less are one.
SAME_COLOR = 1e-4
# Numbers of vertices whose cube 64 bits hold.
MOST_KEYS = 2_600_000
LARGEST = float(np.finfo(np.float32).max)
# Texels along each side at which a texture is looked at for holes.
MOST_TEXELS = 2048
# Notes of readers.
TRANSPARENT = "its texture has transparent texels; its surface is opaque"
OMITTED_COLORS = "its vertex colours, which multiply its texture, are omitted where that is used"


@dataclass(frozen=True)
class RawMesh:
    """Arrays as a file has them, before any check.

    positions: [P, 3] float64. faces: [F, 3] int64 into positions.
    uvs: [T, 2] with (0, 0) at the top left of the picture, uv_faces: [F, 3] int64 into uvs; or both None.
    colors: [P, 3] linear, or None.
    normals: [N, 3] of any length, normal_faces: [F, 3] int64 into normals, -1 at corners without one; or both None.
    texture, texture_note, maps, finish, notes: as in MeshData.
    transparent: [H, W] bool, which texels of the texture are transparent; None if none is.
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
    transparent: Tensor | None = None


def clean_mesh(
    path: Path, raw: RawMesh, origin: Sequence[float] = (0.0, 0.0, 0.0), size: float | None = None
) -> MeshData:
    """Check `raw`, move it by -origin and weld it: equal positions become one vertex.

    Vertices that no face uses are removed, and so are faces with two equal corners, which have no area. The order of
    vertices and faces is kept. Colours at one place are averaged, corners without a valid normal get a smooth one, and
    without any normals, faces that are another one turned over are removed, since their smooth normals would cancel,
    and faces that face another way than most of their surface are turned; notes count all of these.
    size: the longest side of the box around the whole file, if `raw` is a part of it.
    Raises DataError for an empty mesh, positions or texture coordinates that float32 does not hold, and indices out of
    range.
    """
    _check_raw(path, raw)
    is_used = _is_used(raw.faces, len(raw.positions))
    used, faces = np.flatnonzero(is_used), (np.cumsum(is_used) - 1)[raw.faces]
    positions, notes = raw.positions[used] - np.array(origin), list(raw.notes)
    doubt = doubt_rounding(raw.positions[used], faces, size)
    notes += [] if doubt is None else [doubt]
    extent, farthest = size or float(np.ptp(positions, axis=0).max()), np.abs(positions).max()
    if farthest > FAR * extent:
        notes.append(f"its size is {extent:.3g}, but it is {farthest:.3g} from the origin: kept in float64")
    else:
        positions = positions.astype(np.float32)
    _, first, group = np.unique(positions, axis=0, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    welded = first[group][faces]
    has_area = (welded[:, 0] != welded[:, 1]) & (welded[:, 1] != welded[:, 2]) & (welded[:, 2] != welded[:, 0])
    if not has_area.any():
        raise DataError(f"{path}: all {len(faces)} triangles are degenerate (two equal corners)")
    if not has_area.all():
        notes.append(f"{(~has_area).sum()} of its {len(faces)} triangles have two equal corners and are left out")
    is_kept = has_area if raw.normals is not None else has_area & ~find_backs(welded)
    n_backs = int((has_area & ~is_kept).sum())
    if n_backs:
        notes.append(f"{n_backs} of its {len(faces)} triangles are the backs of others and are left out")
    kept, index = np.unique(welded[is_kept], return_inverse=True)
    index = torch.from_numpy(index.reshape(-1, 3))
    vertices = torch.from_numpy(positions[kept])
    # Normals say what is in front.
    is_turned = torch.zeros(len(index), dtype=torch.bool) if raw.normals is not None else find_turned(vertices, index)
    if bool(is_turned.any()):
        index = torch.where(is_turned[:, None], index.flip(1), index)
        notes.append(note_turned(int(is_turned.sum()), len(index)))

    uvs = uv_faces = colors = None
    if raw.uvs is not None and raw.uv_faces is not None:
        used_uvs, uv_index = np.unique(raw.uv_faces[is_kept], return_inverse=True)
        uvs = torch.from_numpy(raw.uvs[used_uvs].astype(np.float32))
        uv_faces = torch.from_numpy(uv_index.reshape(-1, 3))
        uv_faces = torch.where(is_turned[:, None], uv_faces.flip(1), uv_faces)
    if raw.colors is not None:
        means = _mean_by_group(raw.colors[used], group)
        is_mixed = (np.abs(raw.colors[used] - means[group]) > SAME_COLOR).any(1)
        if is_mixed.any():
            n_mixed = len(np.unique(group[is_mixed]))
            notes.append(f"at {n_mixed} of its {len(means)} places vertices have different colours, which are averaged")
        is_outside = (np.abs(means - 0.5) > 0.5 + SAME_COLOR).any(1)
        if is_outside.any():
            notes.append(f"at {is_outside.sum()} of its {len(means)} places colours are outside 0..1 and are clamped")
        colors = torch.from_numpy(means[group[kept]].clip(0, 1))
    normal_faces, normals, more = _weld_normals(raw, is_kept, index, vertices)
    mesh = Mesh(vertices, index, uvs, uv_faces, normal_faces, normals)
    if raw.transparent is not None and _shows_any(raw.transparent, mesh):
        notes.append(TRANSPARENT)
    return MeshData(mesh, colors, raw.texture, raw.texture_note, raw.maps, raw.finish, (*notes, *more))


def find_backs(faces: np.ndarray) -> np.ndarray:
    """Return [F], whether an earlier face has the same corners, the other way round: nobody sees such a one."""
    order = np.argsort(faces, 1, kind="stable")
    rows = np.take_along_axis(faces, order, 1).astype(np.uint64)
    count = np.uint64(faces.max() + 1)
    key = (rows[:, 0] * count + rows[:, 1]) * count + rows[:, 2] if count < MOST_KEYS else rows
    _, first, group = np.unique(key, axis=0, return_index=True, return_inverse=True)
    # Even permutations are (0, 1, 2) and its rotations.
    is_even = (order[:, 1] - order[:, 0]) % 3 == 1
    return is_even != is_even[first][group.reshape(-1)]


def note_turned(n_turned: int, n_faces: int) -> str:
    """Return the note on faces that were turned."""
    return f"{n_turned} of its {n_faces} faces face another way than the others and are turned"


def _weld_normals(
    raw: RawMesh, kept: np.ndarray, faces: Tensor, vertices: Tensor
) -> tuple[Tensor | None, Tensor | None, list[str]]:
    """Return normal_faces and normals of the faces that are kept, and notes: equal normals at one vertex are one.

    Corners without a valid normal get the mean normal of the faces around their vertex. Those of a face are reversed if
    all are at its back: renderers that show both sides take a normal for that of the front. None if no corner has one.
    """
    if raw.normals is None or raw.normal_faces is None:
        return None, None, []
    corners = raw.normal_faces[kept].reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        length = np.linalg.norm(raw.normals, axis=1)
    is_direction = np.isfinite(length) & (length > 0)
    unit = np.zeros((len(corners), 3))
    is_valid = (corners >= 0) & is_direction[corners]
    valid = corners[is_valid]
    unit[is_valid] = raw.normals[valid] / length[valid, None]
    notes = []
    if not is_valid.all():
        lost = ~is_valid
        notes.append(f"{lost.sum()} of its {len(corners)} corners lack a valid normal and get a smooth one")
        unit[lost] = vertex_normals(vertices.double(), faces).numpy()[faces.reshape(-1)[lost]]
    if not is_valid.any():
        return None, None, notes
    is_back = _points_back(vertices, faces, unit)
    if is_back.any():
        notes.append(f"{is_back.sum()} of its {len(faces)} faces are turned against their normals, which are reversed")
        unit[is_back.repeat(3)] *= -1
    key = np.concatenate([faces.reshape(-1, 1).numpy(), np.round(unit / SAME_NORMAL).astype(np.int64)], 1)
    _, first, number = np.unique(key, axis=0, return_index=True, return_inverse=True)
    normals = torch.from_numpy(unit[first]).to(vertices.dtype)
    return torch.from_numpy(number.reshape(-1, 3).astype(np.int64)), normals, notes


def _shows_any(texels: Tensor, mesh: Mesh) -> bool:
    """Return whether the faces of `mesh` show any of the texels [H, W] that are true."""
    if mesh.uvs is None or mesh.uv_faces is None:
        return False
    corners = mesh.uvs[mesh.uv_faces]
    if bool((corners.amax(1).ceil() - corners.amin(1).floor() > 1).any()):
        return bool(texels.any())  # faces across the border of the texture may show all of it
    step = -(-max(texels.shape) // MOST_TEXELS)
    texels = texels[step // 2 :: step, step // 2 :: step]
    return bool((texels & covered_texels(mesh, *texels.shape)).any())


def _points_back(vertices: Tensor, faces: Tensor, normals: np.ndarray) -> np.ndarray:
    """Return [F], whether the normals [3F, 3] at all corners of a face are at its back."""
    corners = vertices.double()[faces].numpy()
    of_face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return (np.einsum("fcx,fx->fc", normals.reshape(-1, 3, 3), of_face) < 0).all(1)


def join(parts: Sequence[RawMesh]) -> RawMesh:
    """Concatenate positions, faces, texture coordinates, colours and normals.

    What only some parts have is omitted, but for normals, which the corners of the others lack then.
    Of all parts, uvs belong to positions (uv_faces are faces). Textures are left to the caller.
    """
    if not parts:
        return RawMesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    offsets = np.cumsum([0] + [len(part.positions) for part in parts[:-1]])
    faces = np.concatenate([part.faces + offset for part, offset in zip(parts, offsets, strict=True)])
    uvs = [part.uvs for part in parts if part.uvs is not None]
    colors = [part.colors for part in parts if part.colors is not None]
    has_uvs = len(uvs) == len(parts)
    normals = [np.zeros((0, 3)) if part.normals is None else part.normals for part in parts]
    n_normals = np.cumsum([0] + [len(values) for values in normals[:-1]])
    has_normals = any(part.normals is not None for part in parts)
    return RawMesh(
        positions=np.concatenate([part.positions for part in parts]),
        faces=faces,
        uvs=np.concatenate(uvs) if has_uvs else None,
        uv_faces=faces if has_uvs else None,
        colors=np.concatenate(colors) if len(colors) == len(parts) else None,
        normals=np.concatenate(normals) if has_normals else None,
        normal_faces=np.concatenate([_numbered(part, n) for part, n in zip(parts, n_normals, strict=True)])
        if has_normals
        else None,
    )


def _numbered(part: RawMesh, n_before: int) -> np.ndarray:
    """Return the normal_faces of a part after n_before normals of others; -1 without any."""
    if part.normal_faces is None:
        return np.full_like(part.faces, -1)
    return np.where(part.normal_faces < 0, -1, part.normal_faces + n_before)


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
    for what, values, index in (
        ("", raw.positions, raw.faces),
        ("the colour of ", raw.colors, raw.faces),
        ("texture coordinate ", raw.uvs, raw.uv_faces),
    ):
        if values is None or index is None:
            continue
        bad = np.flatnonzero(_is_used(index, len(values)) & ~(np.abs(values) <= LARGEST).all(1))
        if len(bad):
            place = str(bad[0]) if values is raw.uvs else raw.place_of_vertex(int(bad[0]))
            raise DataError(
                f"{path}: {what}{place} is {values[bad[0]].tolist()} ({len(bad)} such in all); it must be"
                f" {'two' if values is raw.uvs else 'three'} finite numbers, at most {LARGEST:.2g}"
            )


def _is_used(faces: np.ndarray, count: int) -> np.ndarray:
    """Return for each of `count` rows whether faces use it."""
    is_used = np.zeros(count, dtype=bool)
    is_used[faces.reshape(-1)] = True
    return is_used


def _length(values: np.ndarray | None) -> int:
    return 0 if values is None else len(values)
