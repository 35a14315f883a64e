"""The equations of a step: solved by conjugate gradients as by factoring."""

from __future__ import annotations

import math

import pytest
import torch

from diffrender.fit.optimizer.normal_equations import DenseEquations, IterativeEquations


@pytest.mark.parametrize("condition", [1e1, 1e4])
def test_conjugate_gradients_solve_as_factoring_does(condition: float) -> None:
    generator = torch.Generator().manual_seed(2)
    basis = torch.linalg.qr(torch.randn(30, 30, dtype=torch.float64, generator=generator)).Q
    matrix = (basis * torch.logspace(0, -math.log10(condition), 30, dtype=torch.float64)) @ basis.T
    gradient = matrix @ torch.randn(30, dtype=torch.float64, generator=generator)
    exact = DenseEquations(matrix, gradient).step(1e-3)
    step = IterativeEquations(matrix.__matmul__, matrix.diagonal(), gradient).step(1e-3)
    assert step.promised == pytest.approx(exact.promised, rel=0.05)
    bent = step.change @ gradient + 0.5 * step.change @ matrix @ step.change
    assert step.promised == pytest.approx(-float(bent), rel=1e-9)
    assert step.whole == pytest.approx(-0.5 * float(step.change @ gradient), rel=1e-9)
