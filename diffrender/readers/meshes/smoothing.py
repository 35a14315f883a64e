"""Smoothing groups of OBJ (`s 1`, `s off`), turned into normals.

Source: the format's specification by Alias|Wavefront, appendix B1: faces of one group are smooth across the edges
that they share, those of group 0 or `off`, the default, are flat, and stated normals come first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from diffrender.geometry.normals import group_normals
from diffrender.geometry.orientation import find_turned
from diffrender.geometry.topology import first_equal_row
from diffrender.readers.clean_mesh import find_backs, note_turned

# What `s` may say for no group.
OFF = ("off", "0", "")
FLAT = "its faces are flat where it says so (s off); `shading: smooth` makes them smooth"


def smooth_by_groups(
    positions: np.ndarray, corners: np.ndarray, owner: np.ndarray, normals: np.ndarray, groups: Sequence[str | None]
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the corners with a normal where they had none, all normals, and notes.

    positions: [P, 3]. corners: [F, 3, 3] (position, texture coordinate, normal) of triangles, -1 for none. owner: [F]
    the polygon of each, normals: [N, 3]. groups: what `s` said before each polygon; None before its first line.
    Nothing changes if `s` is not used, or puts all faces into one group, which is smooth as meshes without normals are.
    Without any normals, faces that face another way than most of their surface are turned first.
    """
    lacking = corners[:, :, 2] < 0
    named = ["off" if group is None or group.lower() in OFF else group for group in groups]
    is_one = len(set(named)) == 1 and named[0] != "off"
    if is_one or all(group is None for group in groups) or not lacking.any():
        return corners, normals, []
    notes = []
    points = torch.from_numpy(positions)
    welded = first_equal_row(points)
    faces = welded[torch.from_numpy(corners[:, :, 0])]
    if lacking.all():
        turned = find_turned(points, faces)
        if bool(turned.any()):
            notes.append(note_turned(int(turned.sum()), len(faces)))
            corners = np.where(turned.numpy()[:, None, None], corners[:, ::-1], corners)
            faces = torch.where(turned[:, None], faces.flip(1), faces)
    # A polygon that is flat is a group of its own.
    numbers = {name: number for number, name in enumerate(dict.fromkeys(named))}
    of_polygon = np.array([len(numbers) + i if name == "off" else numbers[name] for i, name in enumerate(named)])
    # Normals of a face and its back would cancel.
    of_face = of_polygon[owner] + find_backs(faces.numpy()) * (len(numbers) + len(named))
    key = faces * int(of_face.max() + 1) + torch.from_numpy(of_face)[:, None]
    found, corner_group = torch.unique(key, return_inverse=True)
    smooth = group_normals(points, faces, corner_group, len(found)).numpy()
    lacking = corners[:, :, 2] < 0
    corners = corners.copy()
    corners[:, :, 2] = np.where(lacking, len(normals) + corner_group.numpy(), corners[:, :, 2])
    if "off" in (named[i] for i in np.unique(owner[lacking.any(1)])):
        notes.append(FLAT)
    return corners, np.concatenate([normals, smooth]), notes
