from __future__ import annotations

import torch

from diffrender.geometry.primitives import icosphere
from diffrender.geometry.weld_corners import weld_corners


def test_corners_of_one_vertex_and_value_are_one() -> None:
    # At vertex 1 the two faces differ, at vertex 2 they agree; vertices 0 and 3 have the same value.
    faces = torch.tensor([[0, 1, 2], [3, 2, 1]])
    values = torch.tensor([[[0.0, 0], [1, 0], [0, 1]], [[0, 0], [0, 1], [2, 0]]])
    welded, numbers = weld_corners(faces, values)
    assert numbers.tolist() == [[0, 1, 2], [3, 2, 4]]
    assert welded.tolist() == [[0, 0], [1, 0], [0, 1], [0, 0], [2, 0]]


def test_values_are_kept_and_none_is_there_twice() -> None:
    mesh = icosphere(3)
    generator = torch.Generator().manual_seed(0)
    table = torch.tensor([[0.1, 0.2], [0.1, 0.3], [0.2, 0.2]], dtype=torch.float64)
    values = table[torch.randint(3, (len(mesh.faces), 3), generator=generator)]
    welded, numbers = weld_corners(mesh.faces, values)
    assert torch.equal(welded[numbers], values)
    pairs = torch.cat([mesh.faces[..., None].double(), values], 2).reshape(-1, 3)
    assert len(welded) == len(pairs.unique(dim=0))
    assert int(numbers.max()) == len(welded) - 1


def test_no_faces() -> None:
    welded, numbers = weld_corners(torch.empty(0, 3, dtype=torch.int64), torch.empty(0, 3, 2))
    assert welded.shape == (0, 2) and numbers.shape == (0, 3)
