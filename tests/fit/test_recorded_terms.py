"""When steps are recorded, and that what is replayed is what would have been computed: without rendering."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from support.shapes import front_camera, placed, scene_of, triangle
from support.stand_in_tape import StandIn
from torch import Tensor

from diffrender import recorded
from diffrender.errors import BackendError
from diffrender.fit.objective import Objective, Term, Terms
from diffrender.fit.recorded_terms import Evaluated, StepTerms
from diffrender.list_sizes import SizesError, has_sizes
from diffrender.ops import backend
from diffrender.scene.environment.env_map import EnvMap
from diffrender.scene.lights import Environment
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views


@dataclass(frozen=True)
class Sums(Objective):
    """An objective of the scene alone: twice the vertices' squares, weighted, and their sum."""

    def aovs(self) -> tuple[str, ...]:
        return ("depth",)

    def weighted(self, comparison: Any, scene: Scene, weights: Any) -> Terms:
        vertices = scene.objects["a"].mesh.vertices
        values = {"squares": 2 * vertices.square().sum(), "sum": vertices.sum()}
        total = sum(weight * value for weight, value in zip(weights, values.values(), strict=True))
        return Terms(total, values, {})


CAMERAS = front_camera(4)
VIEWS = Views(CAMERAS, torch.zeros(1, 4, 4, 3), None, ("view",))
OBJECTIVE = Sums((Term("squares", 1.0, None, early=4.0), Term("sum", 0.5, None)))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def tapes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[StandIn]]:
    StandIn.made.clear()
    monkeypatch.setattr(recorded, "tape_on", StandIn)
    monkeypatch.setitem(backend._DEFAULTS, "cpu", "reference")
    monkeypatch.setattr("diffrender.fit.recorded_terms.choose_backend", lambda device: "triton")
    yield StandIn.made


def steps_of(render: Any = lambda scene, cameras, step: None) -> StepTerms:
    return StepTerms(OBJECTIVE, render, lambda step: "edges")


SCENE = scene_of(placed(triangle()), lights={"sky": Environment(EnvMap(torch.rand(16, 32, 3)))})


def at(vertices: Tensor, scene: Scene = SCENE) -> Scene:
    item = scene.objects["a"]
    return replace(scene, objects={"a": replace(item, mesh=item.mesh.with_vertices(vertices))})


def evaluate(terms: StepTerms, step: int, scene: Scene = SCENE, views: Views = VIEWS) -> tuple[Evaluated, Tensor]:
    vertices = (triangle().vertices + step).requires_grad_()
    found = terms(at(vertices, scene), CAMERAS, views, None, step, step / 10)
    (gradient,) = torch.autograd.grad(found.terms.total, vertices, retain_graph=True)
    expected = OBJECTIVE.weighted(None, at(vertices), OBJECTIVE.weights_at(step / 10))
    torch.testing.assert_close(found.terms.total, expected.total)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.total, vertices)[0])
    assert {name: value.item() for name, value in found.terms.values.items()} == pytest.approx(
        {name: value.item() for name, value in expected.values.items()}
    )
    return found, vertices


def test_a_background_that_was_put_there_teaches_no_blur() -> None:
    masks = (torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(0)) - 0.5).clamp_min(0)
    views = replace(VIEWS, masks=masks, is_composited=True)
    seen: list[Any] = []
    terms = steps_of(lambda scene, cameras, step: seen.append(cameras.blur_mask))
    terms.plain(SCENE, replace(CAMERAS, blur_px=torch.tensor(1.0)), views, None, 0, 0.0)
    assert torch.equal(seen[0], masks > 0)


def test_values_and_weights_are_those_of_the_step(tapes: list[StandIn]) -> None:
    terms = steps_of()
    for step in range(6):
        evaluate(terms, step)
    assert (terms.replayed, len(tapes), terms.obstacle) == (5, 1, None)


def test_other_meshes_sizes_and_edges_are_recorded_anew(tapes: list[StandIn], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StandIn, "seconds", -1.0)  # always worth it
    terms = StepTerms(OBJECTIVE, lambda scene, cameras, step: None, lambda step: step // 3)
    for step in range(6):
        evaluate(terms, step)
    assert (terms.replayed, len(tapes)) == (4, 2) and tapes[1].former is tapes[0]
    other = at(triangle().vertices, scene_of(placed(triangle()), lights=SCENE.lights))
    evaluate(terms, 5, other)
    wide = replace(VIEWS, cameras=front_camera(8), images=torch.zeros(1, 8, 8, 3))
    evaluate(terms, 5, SCENE, wide)
    assert (terms.replayed, len(tapes)) == (4, 2)


def test_what_takes_longer_to_record_than_it_saves_is_not_recorded() -> None:
    terms = steps_of()
    for step in range(3):
        evaluate(terms, step)
    terms._recorded, terms._key = None, None  # as where the mesh has changed
    terms._plain_s, terms._replay_s, terms._record_s, terms._alike = 0.02, 0.005, 0.1, 3
    evaluate(terms, 3)
    # Three steps may be alike again, of which each would save 15 ms; from the seventh on it may be as many more.
    terms._plain_s = 0.02
    decisions = []
    for alike in range(1, 9):
        terms._alike = alike
        decisions.append(terms._pays())
    assert decisions == [False] * 6 + [True] * 2


def test_what_cannot_be_recorded_is_told_and_goes_on() -> None:
    def render(scene: Any, cameras: Any, step: int) -> None:
        if has_sizes():
            raise SizesError("this asks the device\nand more")

    terms = steps_of(render)
    for step in range(4):
        evaluate(terms, step)
    assert (terms.replayed, terms.obstacle) == (0, "this asks the device")


def test_several_gradients_may_be_taken_of_what_is_never_replayed() -> None:
    terms = steps_of()
    for step in range(3):
        found, vertices = evaluate(terms, step)
    with pytest.raises(BackendError, match="once per call"):
        torch.autograd.grad(found.terms.values["sum"], vertices)
    found = terms.plain(at(vertices), CAMERAS, VIEWS, None, 3, 0.3)
    for value in found.terms.values.values():
        assert bool(torch.autograd.grad(value, vertices, retain_graph=True)[0].any())


def test_an_environment_that_is_not_learned_is_prefiltered_once() -> None:
    seen = []
    terms = steps_of(lambda scene, cameras, step: seen.append(scene.lights["sky"]))
    for step in range(4):
        evaluate(terms, step)
    assert len(seen) > 3 and all(light is SCENE.lights["sky"] for light in seen)
