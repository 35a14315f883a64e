from __future__ import annotations

import torch
from support.op_problems import transform_problem
from support.triangle_soups import both_dtypes, every_backend

from diffrender.ops.transform_points import transform_points


@every_backend
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    points = torch.tensor([[1.0, 2, 3], [0, 0, 0]], dtype=dtype, requires_grad=True)
    matrices = torch.tensor(
        [[[1.0, 0, 0, 10], [0, 2, 0, 20]], [[0, 0, -1, 0], [1, 1, 1, 1]]], dtype=dtype, requires_grad=True
    )
    out = transform_points(points, matrices, backend=backend)
    torch.testing.assert_close(out, torch.tensor([[[11.0, 24], [10, 20]], [[-3, 7], [0, 1]]], dtype=dtype))
    to_points, to_matrices = torch.autograd.grad(out.sum(), (points, matrices))
    torch.testing.assert_close(to_points, torch.tensor([[2.0, 3, 0], [2, 3, 0]], dtype=dtype))
    torch.testing.assert_close(to_matrices, torch.tensor([1.0, 2, 3, 2], dtype=dtype).expand(2, 2, 4))


@every_backend
def test_maps_of_a_batch_are_those_of_each(backend: str) -> None:
    points, matrices = transform_problem(n_points=7, n_maps=4)
    out = transform_points(points, matrices, backend=backend)
    for n in range(4):
        torch.testing.assert_close(out[n], points @ matrices[n, :, :3].T + matrices[n, :, 3])
        assert torch.equal(transform_points(points, matrices[n : n + 1], backend=backend)[0], out[n])
