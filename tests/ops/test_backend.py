from __future__ import annotations

from importlib import import_module

import pytest
import torch

from diffrender.errors import BackendError
from diffrender.ops import backend as backend_module
from diffrender.ops.backend import BACKENDS, OPS, backends_by_op, choose_backend, implementation

CPU, ELSEWHERE = torch.device("cpu"), torch.device("cuda", 0)


def test_each_device_has_its_own_implementation() -> None:
    assert choose_backend(CPU) == "numba"
    assert choose_backend(ELSEWHERE) == "reference"
    assert backends_by_op(CPU) == dict.fromkeys(OPS, "numba")
    assert backends_by_op(ELSEWHERE) == dict.fromkeys(OPS, "reference")


def test_an_override_is_taken_at_its_word() -> None:
    for device in (CPU, ELSEWHERE):
        assert choose_backend(device, "reference") == "reference"
    assert choose_backend(CPU, "numba") == "numba"


@pytest.mark.parametrize("name", ["triton", "Numba", ""])
def test_an_unknown_name_is_refused_with_those_that_exist(name: str) -> None:
    for device in (CPU, ELSEWHERE):
        with pytest.raises(BackendError, match=rf"one of numba, reference or None, got '{name}'"):
            choose_backend(device, name)


def test_numba_is_refused_away_from_the_cpu() -> None:
    with pytest.raises(BackendError, match="'numba' runs on the CPU, but the tensors are on cuda:0; use backend='ref"):
        choose_backend(ELSEWHERE, "numba")


def test_a_missing_package_is_named_and_not_worked_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_module, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match="pip install numba"):
        implementation("rasterize", CPU)
    assert implementation("rasterize", CPU, "reference")[0] == "reference"


@pytest.mark.parametrize("op", OPS)
def test_every_op_has_every_implementation(op: str) -> None:
    assert callable(getattr(import_module(f"diffrender.ops.{op}"), op))
    for name in BACKENDS:
        chosen, module = implementation(op, CPU, name)
        assert chosen == name
        assert callable(module.forward)
