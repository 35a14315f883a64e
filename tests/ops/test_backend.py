from __future__ import annotations

from importlib import import_module

import pytest
import torch

from diffrender.errors import BackendError
from diffrender.ops import backend as backend_module
from diffrender.ops.backend import BACKENDS, OPS, backends_by_op, choose_backend, implementation

CPU, ELSEWHERE, CUDA = torch.device("cpu"), torch.device("meta"), torch.device("cuda", 0)


@pytest.fixture
def new_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_module, "_capability", lambda device: (9, 0))
    monkeypatch.setattr(backend_module, "find_spec", lambda name: True)


@pytest.mark.usefixtures("new_gpu")
def test_each_device_has_its_own_implementation() -> None:
    for device, name in ((CPU, "numba"), (CUDA, "triton"), (ELSEWHERE, "reference")):
        assert choose_backend(device) == name
        assert backends_by_op(device) == dict.fromkeys(OPS, name)


def test_an_override_is_taken_at_its_word() -> None:
    for device in (CPU, CUDA, ELSEWHERE):
        assert choose_backend(device, "reference") == "reference"
    assert choose_backend(CPU, "numba") == "numba"


@pytest.mark.parametrize("name", ["cuda", "Numba", ""])
def test_an_unknown_name_is_refused_with_those_that_exist(name: str) -> None:
    for device in (CPU, ELSEWHERE):
        with pytest.raises(BackendError, match=rf"one of numba, triton, reference or None, got '{name}'"):
            choose_backend(device, name)


def test_numba_is_refused_away_from_the_cpu() -> None:
    with pytest.raises(BackendError, match="'numba' runs on the CPU, but the tensors are on cuda:0; use backend='ref"):
        choose_backend(CUDA, "numba")


def test_triton_is_refused_away_from_cuda_except_where_it_is_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    for device in (CPU, ELSEWHERE):
        with pytest.raises(BackendError, match=f"'triton' runs on CUDA, but the tensors are on {device}; use backend"):
            choose_backend(device, "triton")


def test_a_gpu_too_old_is_told_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_module, "_capability", lambda device: (7, 5))
    monkeypatch.setattr(backend_module, "find_spec", lambda name: True)
    with pytest.raises(BackendError, match=r"compute capability 8\.0 .* cuda:0 has 7\.5; use backend='reference', or"):
        choose_backend(CUDA)
    assert choose_backend(CUDA, "reference") == "reference"


def test_a_missing_package_is_named_and_not_worked_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_module, "find_spec", lambda name: None)
    for device, package in ((CPU, "numba"), (CUDA, "triton")):
        with pytest.raises(BackendError, match=f"pip install {package}"):
            implementation("rasterize", device)
        assert implementation("rasterize", device, "reference")[0] == "reference"


@pytest.mark.parametrize("op", OPS)
def test_every_op_has_every_implementation(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert callable(getattr(import_module(f"diffrender.ops.{op}"), op))
    for name in BACKENDS:
        chosen, module = implementation(op, CPU, name)
        assert chosen == name
        assert callable(module.forward)
