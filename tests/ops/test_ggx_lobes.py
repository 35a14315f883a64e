"""Lobes of glTF's metallic-roughness material."""

from __future__ import annotations

import math

import pytest
import torch
from support.op_problems import lobes_problem
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.ops.ggx.formulas import LEAST_ROUGHNESS, look_up
from diffrender.ops.ggx_lobes import GgxLobes, ggx_lobes

F64 = torch.float64
N_LOBES = 2  # of lobes_problem
UP = torch.tensor([[0.0, 0.0, 1.0]], dtype=F64)
COLOR = torch.tensor([[0.8, 0.5, 0.2]], dtype=F64)


def even_table(*entries: float) -> Tensor:
    return torch.tensor(entries, dtype=F64).expand(2, 2, -1).contiguous()


def seen_at(degrees: float, metallic: float, table: Tensor) -> GgxLobes:
    angle = math.radians(degrees)
    to_camera = torch.tensor([[math.sin(angle), 0.0, math.cos(angle)]], dtype=F64)
    numbers = (torch.tensor([[number]], dtype=F64) for number in (metallic, 0.3))
    return ggx_lobes(UP, to_camera, COLOR, *numbers, table)


def test_a_lobe_lies_where_and_weighs_what_its_entries_say() -> None:
    # A = 0.6 and B = 0.1; a mirror with a quarter of A and all of B, a lobe about the normal with the rest.
    table = even_table(0.6, 0.1, 1.0, 0.0, 0.2, 0.4, 0.25, 0.75, 1.0, 0.0)
    metal, plastic = seen_at(30, 1, table), seen_at(30, 0, table)
    mirror = torch.tensor([-math.sin(math.radians(30)), 0, math.cos(math.radians(30))], dtype=F64)
    torch.testing.assert_close(metal.direction, torch.stack([mirror, UP[0]])[None])
    torch.testing.assert_close(metal.roughness, torch.tensor([[0.2, 0.4]], dtype=F64))
    torch.testing.assert_close(metal.weight[0], torch.stack([COLOR[0] * 0.15 + 0.1, COLOR[0] * 0.45]))
    assert not bool(metal.diffuse.any())
    torch.testing.assert_close(plastic.weight[0, :, 0], torch.tensor([0.04 * 0.15 + 0.1, 0.04 * 0.45], dtype=F64))
    torch.testing.assert_close(plastic.diffuse, COLOR * (1 - 0.04 * 0.6 - 0.1))


def test_an_axis_half_way_to_the_mirror_has_length_1() -> None:
    found = seen_at(80, 0.5, even_table(0.6, 0.1, 0.5, 0.2, 1.0, 1.0)).direction[0, 0]
    angle = math.radians(-40)
    torch.testing.assert_close(found, torch.tensor([math.sin(angle), 0.0, math.cos(angle)], dtype=F64))


@pytest.mark.parametrize("degrees", [95.0, 179.99, 180.0])
def test_behind_the_surface_all_is_finite_as_in_the_reference(degrees: float) -> None:
    """Half way between opposite directions there is no axis: what it is made of is divided by its least length."""
    angle = math.radians(degrees)
    to_camera = torch.tensor([[math.sin(angle), 0.0, math.cos(angle)]], dtype=F64)
    number = torch.tensor([[0.3]], dtype=F64)
    table = even_table(0.6, 0.1, 0.5, 0.2, 1.0, 1.0)
    found = []
    for backend in (None, "reference"):
        inputs = [part.clone().requires_grad_() for part in (UP, to_camera, COLOR, number, number)]
        lobes = ggx_lobes(*inputs, table, backend=backend)
        found.append((*lobes, *torch.autograd.grad(sum(part.square().sum() for part in lobes), inputs)))
    for here, there in zip(*found, strict=True):
        assert bool(here.isfinite().all())
        torch.testing.assert_close(here, there)


@pytest.mark.parametrize("backend", [None, "triton", "reference"])
def test_what_is_out_of_range_is_held_without_gradient(backend: str | None) -> None:
    """Roughness below the least and above 1 is that, n.v below the least cosine in the table is the least."""
    normal, to_camera, color, metallic, _, table = lobes_problem(n_points=4)
    roughness = torch.tensor([[0.01], [0.0], [1.2], [0.4]], dtype=F64)
    # The last one is seen from behind.
    to_camera = torch.cat([to_camera[:3], -normal[3:] + 0.3 * to_camera[3:]])
    leaves = [part.clone().requires_grad_() for part in (normal, to_camera, roughness)]
    found = ggx_lobes(*leaves[:2], color, metallic, leaves[2], table, backend=backend)
    held = roughness.clamp(LEAST_ROUGHNESS, 1)
    edge = torch.tensor([[0.0]], dtype=F64)
    for here, there in zip(found, ggx_lobes(normal, to_camera, color, metallic, held, table), strict=True):
        torch.testing.assert_close(here, there)
    grads = torch.autograd.grad(sum(part.square().sum() for part in found), leaves, retain_graph=True)
    assert not bool(grads[2][:3].any()) and bool(grads[2][3] != 0)
    of_widths = torch.autograd.grad(found.roughness[3].sum(), leaves[:2])
    assert not any(bool(grad.any()) for grad in of_widths)
    # A width is that of the table alone: here, at the least cosine.
    at_least = look_up(table, held[3:], edge)[0, 2 + N_LOBES : 2 + 2 * N_LOBES]
    torch.testing.assert_close(found.roughness[3], at_least)
    moved = torch.func.jvp(
        lambda rough: ggx_lobes(normal, to_camera, color, metallic, rough, table, backend=backend).roughness,
        (roughness,), (torch.ones_like(roughness),),
    )[1]  # fmt: skip
    assert not bool(moved[:3].any()) and bool((moved[3] != 0).all())


@pytest.mark.parametrize("backend", [None, "triton", "reference"])
def test_a_nan_stays_one(backend: str | None) -> None:
    normal, to_camera, color, metallic, roughness, table = lobes_problem(n_points=3)
    roughness[0], to_camera[1] = torch.nan, torch.nan
    found = ggx_lobes(normal, to_camera, color, metallic, roughness, table, backend=backend)
    for part in (found.diffuse, found.roughness, found.weight):
        assert part.flatten(1).isnan().all(1).tolist() == [True, True, False]


@pytest.mark.parametrize("entries", [2, 5, 7])
def test_a_table_without_whole_lobes_is_refused(entries: int) -> None:
    with pytest.raises(ShapeError, match=rf"table must have T = 2 \+ 4 L entries, 6, 10 and so on, got {entries}"):
        seen_at(30, 1, even_table(*[0.5] * entries))
