"""Symmetric positive definite sparse linear systems, factorized once and solved many times."""

from __future__ import annotations

import importlib.util
from typing import Any, Literal, Protocol, TypeAlias

import torch
from torch import Tensor

from diffrender.errors import BackendError, ConfigError

Solver: TypeAlias = Literal["cholesky", "splu"]
SOLVERS: tuple[Solver, ...] = ("cholesky", "splu")


class _Factors(Protocol):
    def solve(self, right: Tensor) -> Tensor: ...


def choose_solver(name: str) -> Solver:
    """Return the solver for `name`; auto is cholesky if cholespy is installed, otherwise splu.

    cholesky: cholespy's CHOLMOD on CPU, and its own kernels on CUDA. splu: SciPy's SuperLU on CPU, three to five times
    slower; a system on CUDA is copied to the CPU and back in every solve.
    Raises ConfigError for another name, BackendError for cholesky if cholespy is missing.
    """
    installed = importlib.util.find_spec("cholespy") is not None
    if name == "auto":
        return "cholesky" if installed else "splu"
    if name not in SOLVERS:
        raise ConfigError(f"solver must be auto, {' or '.join(SOLVERS)}, got {name!r}")
    if name == "cholesky" and not installed:
        raise BackendError("solver: cholesky needs the package cholespy, which is not installed; choose splu or auto")
    return name  # type: ignore[return-value]


class SparseSystem:
    """A symmetric positive definite matrix [n, n], factorized in float64.

    row, column: [M] int64, on the device of the system; both triangles, each entry once.
    value: [M] float64.
    solver: one of SOLVERS.

    Raises BackendError if the solver is missing.
    """

    def __init__(self, n: int, row: Tensor, column: Tensor, value: Tensor, solver: Solver) -> None:
        self._factors: _Factors = _FACTORS[choose_solver(solver)](n, row, column, value)

    def solve(self, right: Tensor) -> Tensor:
        """Solve for x [n, C] in the dtype of the right side [n, C]; computed in float64, bitwise repeatable."""
        return self._factors.solve(right.detach().double().contiguous()).to(right.dtype)


class _Cholesky:
    def __init__(self, n: int, row: Tensor, column: Tensor, value: Tensor) -> None:
        from cholespy import CholeskySolverD, MatrixType  # type: ignore[attr-defined]

        self._solver: Any = CholeskySolverD(n, row.int(), column.int(), value.double(), MatrixType.COO)

    def solve(self, right: Tensor) -> Tensor:
        found = torch.empty_like(right)
        self._solver.solve(right, found)
        return found


class _SuperLU:
    def __init__(self, n: int, row: Tensor, column: Tensor, value: Tensor) -> None:
        from scipy.sparse import csc_matrix
        from scipy.sparse.linalg import splu

        entries = (value.double().cpu().numpy(), (row.cpu().numpy(), column.cpu().numpy()))
        self._solver: Any = splu(csc_matrix(entries, shape=(n, n)))

    def solve(self, right: Tensor) -> Tensor:
        return torch.from_numpy(self._solver.solve(right.cpu().numpy())).to(right.device)


_FACTORS = {"cholesky": _Cholesky, "splu": _SuperLU}
