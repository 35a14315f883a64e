"""Every launch of a Triton kernel that the ops' test problems lead to compiles to machine code: no GPU is needed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from subprocess import PIPE
from typing import Any

import pytest
import torch
from support.op_arguments import some_tangents, value_and_gradients, value_and_tangents
from support.op_cases import CASES
from support.shapes import bumpy, oblique_cameras, placed, scene_of
from support.triangle_soups import INTERPRETED
from support.wide_programs import narrow_constants
from torch import Tensor

from diffrender.list_sizes import ListSizes
from diffrender.ops import triton_launch
from diffrender.render.render import render

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="needs Triton and no GPU")
# Compute capabilities of an A100, an H100 and a B200. What compiles for one of them hardly fails for another.
TARGETS = (90, pytest.param(80, marks=pytest.mark.slow), pytest.param(100, marks=pytest.mark.slow))
IMAGE = "image"
OPTIONS = ("num_warps", "num_stages", "enable_fp_fusion")
POINTERS = {
    torch.float32: "*fp32", torch.float64: "*fp64", torch.int64: "*i64", torch.int32: "*i32", torch.int16: "*i16",
    torch.int8: "*i8", torch.uint8: "*u8", torch.bool: "*i1",
}  # fmt: skip
# Compiles what each line asks for: [module, kernel, signature, constants, options, capability]; answers with a line.
PROGRAM = """
import json, sys, traceback
from importlib import import_module
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
for line in sys.stdin:
    module, kernel, signature, constants, options, capability = json.loads(line)
    try:
        source = ASTSource(getattr(import_module(module), kernel), signature=signature, constexprs=constants)
        compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
        print(json.dumps(f"{len(compiled.asm['cubin'])} bytes"), flush=True)
    except Exception:
        print(json.dumps(traceback.format_exc()[-4000:]), flush=True)
"""


@pytest.fixture(scope="module")
def compiler() -> Iterator[subprocess.Popen[str]]:
    """Start a process whose Triton compiles: that of the tests interprets."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, env=environment, stdin=PIPE, stdout=PIPE, text=True) as process:
        yield process
        process.stdin.close()  # type: ignore[union-attr]


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


@cache
def launches_of(op: str) -> tuple[str, ...]:
    """Return the launches that the op's problems lead to in float32, each kind once; or those of an image.

    An image of one part has kernels that are no op's, and others where its lists keep their sizes.
    """
    found: set[str] = set()
    start = triton_launch._start

    def record(kernel: Any, programs: int, arguments: tuple[Any, ...], constants: dict[str, Any]) -> None:
        found.add(describe(kernel, arguments, constants))
        start(kernel, programs, arguments, constants)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(triton_launch, "_start", record)
        if op == IMAGE:
            sizes, scene, cameras = ListSizes(), scene_of(placed(bumpy(1))), oblique_cameras(2, 18)
            for scope in (sizes.found, sizes.kept):
                with scope():
                    render(scene, cameras, backend="triton")
            return tuple(sorted(found))
        case = CASES[op]
        for problem in case.problems_for("triton").values():
            arguments = problem(torch.float32, 0)
            leaves = case.leaves(arguments)
            value_and_gradients(case.op, arguments, leaves, "triton")
            if leaves:
                value_and_tangents(case.op, arguments, some_tangents(arguments, leaves), "triton")
    return tuple(sorted(found))


@pytest.mark.parametrize("op", [*CASES, IMAGE])
@pytest.mark.parametrize("capability", TARGETS)
def test_every_kernel_compiles(op: str, capability: int, compiler: subprocess.Popen[str]) -> None:
    assert compiler.stdin is not None and compiler.stdout is not None
    launches = launches_of(op)
    assert launches
    for launch in launches:
        compiler.stdin.write(json.dumps([*json.loads(launch), capability]) + "\n")
        compiler.stdin.flush()
        answer = json.loads(compiler.stdout.readline())
        assert re.fullmatch(r"\d+ bytes", answer), f"{launch}\n{answer}"
