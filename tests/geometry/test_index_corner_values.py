from __future__ import annotations

import pytest
import torch

from diffrender.errors import ShapeError
from diffrender.geometry.index_corner_values import build_corner_table
from diffrender.geometry.primitives import icosphere


def test_by_hand() -> None:
    faces = torch.tensor([[2, 0, 1], [2, 1, 3]])
    values = torch.tensor([[[5.0, 1], [3, 3], [7, 0]], [[5, 1], [0, 7], [3, 3]]])
    table = build_corner_table(faces, values)
    # Vertex 0: (3, 3); vertex 1 twice; vertex 2 once; vertex 3: (3, 3) again, an entry of its own.
    assert sorted(table.values[1:3].tolist()) == [[0, 7], [7, 0]]
    assert table.values[[0, 3, 4]].tolist() == [[3, 3], [5, 1], [3, 3]]
    assert torch.equal(table.values[table.index], values)
    assert table.index[0, 0] == table.index[1, 0] and table.index[0, 2] != table.index[1, 1]


@pytest.mark.parametrize("n_kinds", [1, 3])
def test_the_table_gives_the_values_back_and_holds_each_once(n_kinds: int) -> None:
    _, faces = icosphere(2)
    generator = torch.Generator().manual_seed(n_kinds)
    values = torch.randint(n_kinds, (len(faces), 3, 2), generator=generator).double()
    table = build_corner_table(faces, values)
    assert torch.equal(table.values[table.index], values)
    pairs = {(v, *uv) for v, uv in zip(faces.reshape(-1).tolist(), values.reshape(-1, 2).tolist(), strict=True)}
    assert len(table.values) == len(pairs) == int(table.index.max()) + 1
    # An entry belongs to one vertex.
    owner = torch.full((len(table.values),), -1)
    owner[table.index.reshape(-1)] = faces.reshape(-1)
    assert torch.equal(owner[table.index], faces)


def test_empty_gradients_and_bad_shapes() -> None:
    table = build_corner_table(torch.zeros(0, 3, dtype=torch.int64), torch.zeros(0, 3, 2))
    assert table.values.shape == (0, 2) and table.index.shape == (0, 3)
    values = torch.zeros(2, 3, 2, requires_grad=True)
    build_corner_table(torch.tensor([[0, 1, 2], [0, 2, 3]]), values).values.sum().backward()
    assert values.grad is not None and values.grad.sum() == 8
    with pytest.raises(ShapeError, match=r"corner_values must have shape \[2, 3, D\]"):
        build_corner_table(torch.zeros(2, 3, dtype=torch.int64), torch.zeros(3, 3, 2))
