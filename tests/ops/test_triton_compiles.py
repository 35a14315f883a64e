"""Every launch of a Triton kernel that the ops' test problems lead to compiles to machine code: no GPU is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support.op_arguments import value_and_gradients
from support.op_cases import CASES, OpCase
from support.triangle_soups import INTERPRETED
from support.wide_programs import narrow_constants
from torch import Tensor

from diffrender.ops import triton_launch

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="needs Triton and no GPU")
TARGETS = (80, 90, 100)
OPTIONS = ("num_warps", "num_stages", "enable_fp_fusion")
POINTERS = {
    torch.float32: "*fp32", torch.float64: "*fp64", torch.int64: "*i64", torch.int32: "*i32", torch.int16: "*i16",
    torch.int8: "*i8", torch.uint8: "*u8", torch.bool: "*i1",
}  # fmt: skip
# Compiles what stands in the file: [module, kernel, signature, constants, options] each.
PROGRAM = """
import json, sys
from importlib import import_module
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
for module, kernel, signature, constants, options in json.load(open(sys.argv[1])):
    for capability in json.loads(sys.argv[2]):
        source = ASTSource(getattr(import_module(module), kernel), signature=signature, constexprs=constants)
        compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
        assert compiled.asm["cubin"]
        shared = compiled.metadata.shared
        print(f"{module} {kernel} sm_{capability}: {len(compiled.asm['cubin'])} bytes, {shared} of shared memory")
"""


def kind_of(value: Any) -> str:
    """Return Triton's name of an argument's type."""
    if isinstance(value, Tensor):
        return POINTERS[value.dtype]
    return "fp32" if isinstance(value, float) else "i64" if abs(value) >= 2**31 else "i32"


def describe(kernel: Any, arguments: tuple[Any, ...], constants: dict[str, Any]) -> str:
    """Return a launch as JSON: what its compilation depends on."""
    options = {name: constants[name] for name in OPTIONS if name in constants}
    constants = {name: value for name, value in constants.items() if name not in options}
    constants = narrow_constants(kernel.fn.__module__, constants)
    names = [name for name in kernel.arg_names if name not in constants]
    signature = {name: kind_of(value) for name, value in zip(names, arguments, strict=True)}
    signature |= dict.fromkeys(constants, "constexpr")
    signature |= {name: "fp64" for name, kind in kernel.fn.__annotations__.items() if kind == "tl.float64"}
    ordered = {name: signature[name] for name in kernel.arg_names}
    return json.dumps([kernel.fn.__module__, kernel.fn.__name__, ordered, constants, options])


def launches_of(case: OpCase, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the launches that the op's problems lead to in float32, each kind once."""
    found: set[str] = set()
    start = triton_launch._start

    def record(kernel: Any, programs: int, arguments: tuple[Any, ...], constants: dict[str, Any]) -> None:
        found.add(describe(kernel, arguments, constants))
        start(kernel, programs, arguments, constants)

    monkeypatch.setattr(triton_launch, "_start", record)
    for problem in case.problems_for("triton").values():
        arguments = problem(torch.float32, 0)
        value_and_gradients(case.op, arguments, case.leaves(arguments), "triton")
    return found


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_kernel_compiles_for_every_gpu(case: OpCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launches = launches_of(case, monkeypatch)
    assert launches
    file = tmp_path / "launches.json"
    file.write_text(f"[{','.join(sorted(launches))}]", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", PROGRAM, str(file), json.dumps(TARGETS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.count("\n") == len(launches) * len(TARGETS)
