"""Colours of faces, as the colours of vertices that we have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from diffrender.readers.clean_mesh import RawMesh


def with_face_colors(mesh: RawMesh, colors: np.ndarray) -> RawMesh:
    """Return the mesh with the mean of the linear `colors` [F, 3] of the faces at each position.

    A note says that they blend, if they differ.
    """
    corners = mesh.faces.reshape(-1)
    count = np.bincount(corners, minlength=len(mesh.positions))
    sums = [np.bincount(corners, np.repeat(colors[:, channel], 3), len(count)) for channel in range(3)]
    of_positions = np.stack(sums, 1) / np.maximum(count, 1)[:, None]
    notes = mesh.notes
    if len(colors) and (colors != colors[0]).any():
        notes = (*notes, "its colours are those of faces, and blend where these share vertices")
    return replace(mesh, colors=of_positions, notes=notes)
