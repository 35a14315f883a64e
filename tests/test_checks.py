from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from diffrender.checks import check_tensors
from diffrender.errors import ShapeError

ONE, FACES = torch.zeros(4, 3), torch.zeros(7, 3, dtype=torch.int64)


def test_a_name_is_one_size_which_may_be_1_or_one_more() -> None:
    mask = torch.zeros(4, dtype=torch.bool)
    check_tensors("f", a=(ONE, "M 3"), faces=(FACES, "int64: F 3"), mask=(mask, "bool: M"), b=(torch.zeros(5), "M+1"))
    for rows in (1, 4):
        check_tensors("f", a=(ONE, "M 3"), b=(torch.zeros(rows, 2), "1|M K"))
    check_tensors("f", **{"outer.a": (ONE, "M 3"), "b": (torch.zeros(2, dtype=torch.float64), "float: K")})
    check_tensors("f", a=(torch.zeros(0, 3), "M 3"), b=(torch.zeros(1), "1|M"))
    check_tensors("f", scalar=(torch.zeros(()), ""))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"a": ([1.0], "M")}, "a must be a torch.Tensor, got list"),
        ({"a": (ONE, "M")}, "a must have shape [M], got [4, 3]"),
        ({"a": (ONE, "M 4")}, "a must have shape [M, 4], got [4, 3]"),
        ({"a": (ONE, "M M")}, "a must have shape [M, M], got [4, 3]"),
        (
            {"a": (ONE, "M C"), "b": (torch.zeros(4, 5), "M C")},
            "b must have shape [M, C] with M = 4, C = 3, got [4, 5]",
        ),
        (
            {"a": (ONE, "M C"), "b": (torch.zeros(3), "C+1")},
            "b must have shape [C+1] with C = 3, got [3]",
        ),
        (
            {"a": (ONE, "M 3"), "b": (torch.zeros(2, 3), "1|M 3")},
            "b must have shape [1 or M, 3] with M = 4, got [2, 3]",
        ),
        ({"a": (ONE.half(), "M 3")}, "a must be float32 or float64, got torch.float16; convert it with .float()"),
        ({"a": (FACES, "M 3")}, "a must be float32 or float64, got torch.int64; convert it with .float()"),
        ({"a": (FACES.int(), "int64: F 3")}, "a must be int64, got torch.int32; convert it with .to(torch.int64)"),
        ({"a": (ONE, "bool: M 3")}, "a must be bool, got torch.float32; convert it with .to(torch.bool)"),
        (
            {"a": (ONE, "M 3"), "b": (ONE.double(), "M 3")},
            "arguments must share one dtype, got a torch.float32, b torch.float64; use .to(dtype)",
        ),
        (
            {"a": (ONE, "M 3"), "faces": (FACES.to("meta"), "int64: F 3")},
            "arguments must share one device, got a cpu, faces meta; use .to(device)",
        ),
    ],
)
def test_mismatches_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError, match=re.escape(f"f: {message}") + "$"):
        check_tensors("f", **arguments)
