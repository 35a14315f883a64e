"""Inputs that remeshing refuses, with the reason."""

from __future__ import annotations

import pytest
import torch

from diffrender.errors import MeshError, ShapeError
from diffrender.geometry.primitives import icosphere
from diffrender.geometry.remesh.remesh import RemeshOptions, remesh

SQUARE = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1]])
FAULTS = {
    "three different corners, got face 1": [[0, 1, 2], [2, 2, 3]],
    "at most two faces, got 1 edges": [[0, 1, 2], [1, 0, 3], [0, 1, 4]],
    "consistently oriented": [[0, 1, 2], [0, 1, 3]],
    "consistently oriented and": [[0, 1, 2], [0, 1, 2]],
    "pairs of faces with the same three corners": [[0, 1, 2], [0, 2, 1]],
    "only touch, the first is vertex 0": [[0, 1, 2], [0, 3, 4]],
}


@pytest.mark.parametrize("message", FAULTS)
def test_non_manifold_meshes_are_refused_with_a_reason(message: str) -> None:
    with pytest.raises(MeshError, match=message):
        remesh(SQUARE, torch.tensor(FAULTS[message]), 0.5)


def test_bad_arguments_are_refused() -> None:
    vertices, faces = icosphere(1)
    broken = vertices.clone()
    broken[3, 1] = torch.nan
    with pytest.raises(ShapeError, match=r"vertices must be finite, got nan at index \[3, 1\]"):
        remesh(broken, faces, 0.2)
    with pytest.raises(ShapeError, match="attributes must be finite"):
        remesh(vertices, faces, 0.2, broken)
    with pytest.raises(ShapeError, match=r"attributes must have shape \[42, C\]"):
        remesh(vertices, faces, 0.2, broken[:5])
    with pytest.raises(ShapeError, match=r"corner_attributes must have shape \[80, 3, D\]"):
        remesh(vertices, faces, 0.2, corner_attributes=vertices)
    with pytest.raises(ShapeError, match=r"faces must be in 0\.\.41"):
        remesh(vertices, faces + 1, 0.2)
    for target in (0.0, -1.0, float("nan"), torch.zeros(42), torch.inf):
        with pytest.raises(ShapeError, match="target_length"):
            remesh(vertices, faces, target)
    with pytest.raises(ShapeError, match=r"target_length must have shape \[42\]"):
        remesh(vertices, faces, torch.ones(7))
    with pytest.raises(ShapeError, match="passes must be at least 1"):
        remesh(vertices, faces, 0.2, passes=0)
    with pytest.raises(ShapeError, match="relax must be in"):
        RemeshOptions(relax=1.5)
    with pytest.raises(ShapeError, match="features_deg must be in"):
        RemeshOptions(features_deg=0)


def test_a_far_too_short_target_is_refused() -> None:
    with pytest.raises(MeshError, match="more than most_faces = 5000000; use a longer target_length"):
        remesh(*icosphere(1), 1e-4)
    with pytest.raises(MeshError, match="most_faces = 1000"):
        remesh(*icosphere(1), 0.05, options=RemeshOptions(most_faces=1000))
