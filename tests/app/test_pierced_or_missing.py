"""The verdict on closed surfaces that pass through themselves, and on shapes that lack a part."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from diffrender.app.verdict.course_checks import COURSE_CHECKS, find_missing_part
from diffrender.app.verdict.evidence import FittedScores, State
from diffrender.app.verdict.shape_checks import SHAPE_CHECKS, find_pierced
from diffrender.evaluate.geometry import GeometryEvaluator
from diffrender.geometry.primitives import icosphere
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene

CAMERAS = Cameras.perspective(torch.tensor([[0.3, 0.2, -9.0], [9.0, 0.2, -0.3]]), fov_deg=40, height=64, width=64)
BALL = icosphere(3)


def state(depth: float, first_face: int = 0) -> State:
    """A ball whose front is pushed in as far as `depth`, without the faces before `first_face`."""
    vertices = BALL.vertices.clone()
    vertices[int(vertices[:, 2].argmax())] = torch.tensor([0.0, 0.0, depth])
    scene = Scene({"ball": Object(Mesh(vertices, BALL.faces[first_face:]), Unlit(torch.ones(3)))})
    evaluation: Any = SimpleNamespace(geometry=GeometryEvaluator(None).report(scene))
    case: Any = SimpleNamespace()
    return State(case, scene, CAMERAS, evaluation)


def reason(start: State, end: State) -> Any:
    setup = SimpleNamespace(objective=SimpleNamespace(terms=()))
    course: Any = SimpleNamespace(
        start=start, end=end, case=SimpleNamespace(setup=setup, shape_paths=["mesh.vertices"])
    )
    return find_pierced(course)


def test_a_surface_whose_inside_is_seen_is_told() -> None:
    whole, pierced = state(1.0), state(-3.0)
    found = reason(whole, pierced)
    share = pierced.inside_share
    assert found.key == "pierced" and f"{share:.1%} of what is seen of it is its inside" in found.text and share > 0.005
    assert "loss.normal_consistency" in found.remedy and find_pierced in SHAPE_CHECKS
    # What the start had is no fault of the fit; of open surfaces both sides are seen; a dent is no hole.
    assert reason(pierced, pierced) is reason(whole, whole) is reason(whole, state(-0.9)) is None
    assert reason(whole, state(-3.0, first_face=1)) is None


def missing(uncovered: list[float], paths: tuple[str, ...] = ("mesh.vertices",)) -> Any:
    unused = torch.zeros(len(uncovered))
    names = [f"view_{k}" for k in range(len(uncovered))]
    scores = FittedScores(names, unused, unused, unused, unused, torch.tensor(uncovered))
    course: Any = SimpleNamespace(end=SimpleNamespace(scores=scores), case=SimpleNamespace(shape_paths=paths))
    return find_missing_part(course)


def test_a_part_that_stays_uncovered_in_many_views_is_told() -> None:
    found = missing([9.0, 0, 50, 8, 0, 0])
    assert found.key == "missing_part" and "3 of 6 fitted views" in found.text and "them view_2" in found.text
    assert find_missing_part in COURSE_CHECKS
    # Masks are wrong in few views, or by few pixels; without masks nothing is known; a given shape cannot be finer.
    assert missing([9.0, 0, 50, 8] + 8 * [0]) is missing([90.0, 90]) is missing([7.0] * 6) is None
    assert missing([float("nan")] * 6) is missing([9.0] * 6, ()) is None
