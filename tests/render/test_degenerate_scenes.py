"""No degenerate geometry gives a NaN or an infinity in the image or in any gradient."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from diffrender.render.edge_models import EDGE_MODELS
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.lights import Ambient, Directional, Point
from diffrender.scene.materials import Lambert, Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene

# The cameras look from (0, 0, 3) along -z, and from (2.5, 1, 1) at the origin; their near planes are at depth 0.25.
CAMERA_Z, NEAR = 3.0, 0.25
TELLING = (
    0.0,
    0.5,
    -0.5,
    1.0,
    -1.0,
    CAMERA_Z,
    CAMERA_Z - NEAR,
    CAMERA_Z + 1,
    1e-7,
    -1e-20,
    50.0,
    -1e3,
    1e6,
    -1e10,
    1e20,
)
N_EXAMPLES = int(os.environ.get("DIFFRENDER_DEGENERATE_SCENES", "300"))


class Case(NamedTuple):
    """Vertices and faces of one or two objects, and their edge model."""

    points: list[tuple[float, float, float]]
    faces: list[tuple[int, int, int]]
    material: str
    edges: str
    orthographic: bool
    two_objects: bool


coordinate = st.one_of(st.sampled_from(TELLING), st.floats(-2, 4, width=32), st.integers(-2, 4).map(float))
corner = st.integers(0, 7)
cases = st.builds(
    Case,
    points=st.lists(st.tuples(coordinate, coordinate, coordinate), min_size=8, max_size=8),
    faces=st.lists(st.tuples(corner, corner, corner), min_size=0, max_size=8),
    material=st.sampled_from(("unlit", "lambert")),
    edges=st.sampled_from(sorted(EDGE_MODELS)),
    orthographic=st.booleans(),
    two_objects=st.booleans(),
)


def cameras_of(case: Case) -> Cameras:
    eye = torch.tensor([[0.0, 0, CAMERA_Z], [2.5, 1, 1]])
    if case.orthographic:
        return Cameras.parallel(eye, view_height=3.0, height=7, width=9)
    return Cameras.perspective(eye, fov_deg=60, height=7, width=9, near=NEAR)


def leaves_of(case: Case, cameras: Cameras) -> dict[str, torch.Tensor]:
    """Return every tensor that can have a gradient."""
    values = {
        "vertices": torch.tensor(case.points, dtype=torch.float32),
        "colors": torch.linspace(0.1, 0.9, 3 * len(case.points)).reshape(-1, 3),
        "pose": torch.eye(4),
        "scale": torch.ones(()),
        "sky": torch.tensor([0.2, 0.3, 0.4]),
        "sun direction": torch.tensor([-0.3, -1.0, -0.6]),
        "bulb position": torch.tensor([0.5, 0.5, 1.0]),
        "background": torch.tensor([0.3, 0.2, 0.1]),
        "cam_from_world": cameras.cam_from_world,
        "focal_px": cameras.focal_px,
        "center_px": cameras.center_px,
    }
    return {name: value.clone().requires_grad_() for name, value in values.items()}


def scene_of(case: Case, leaves: dict[str, torch.Tensor]) -> Scene:
    material = {"unlit": Unlit, "lambert": Lambert}[case.material](leaves["colors"])
    faces = torch.tensor(case.faces, dtype=torch.int64).reshape(-1, 3)
    half = len(faces) // 2 if case.two_objects else 0
    objects = {"a": Object(Mesh(leaves["vertices"], faces[half:]), material, leaves["pose"], leaves["scale"])}
    if case.two_objects:
        objects["b"] = Object(Mesh(leaves["vertices"], faces[:half]), material, leaves["pose"], leaves["scale"])
    lights = {
        "sky": Ambient(leaves["sky"]),
        "sun": Directional(leaves["sun direction"]),
        "bulb": Point(leaves["bulb position"]),
    }
    return Scene(objects, lights, leaves["background"])


def assert_finite_picture_and_gradients(case: Case) -> None:
    cameras = cameras_of(case)
    leaves = leaves_of(case, cameras)
    cameras = replace(cameras, **{name: leaves[name] for name in ("cam_from_world", "focal_px", "center_px")})
    output = render(scene_of(case, leaves), cameras, EDGE_MODELS[case.edges]())
    assert bool(output.rgba.isfinite().all()), "the picture"
    assert bool(output.depth.isfinite().all()), "the depth"
    alpha = output.rgba[..., 3]
    assert float(alpha.detach().min()) >= 0 and float(alpha.detach().max()) <= 1 + 1e-5
    weight = torch.linspace(-1, 2, output.rgba.numel()).reshape(output.rgba.shape).cos()
    loss = (output.rgba * weight).sum() + output.rgba.square().sum()
    gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    for name, gradient in zip(leaves, gradients, strict=True):
        assert gradient is None or bool(gradient.isfinite().all()), f"the gradient of {name}"


def stretched(size: float) -> list[tuple[float, float, float]]:
    return [(x * size, y * size, z * size) for x in (-1.0, 1) for y in (-1.0, 1) for z in (-1.0, 1)]


BOX = [(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1), (2, 3, 7), (2, 7, 6)]


@pytest.mark.filterwarnings("ignore::diffrender.errors.PrecisionWarning")
@pytest.mark.filterwarnings("ignore::diffrender.errors.OrientationWarning")
@settings(
    max_examples=N_EXAMPLES, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip
@given(cases)
@example(Case(stretched(0.0), BOX, "lambert", "antialias", False, False))
@example(Case(stretched(1e-20), BOX, "lambert", "antialias", False, True))
@example(Case(stretched(1e20), BOX, "lambert", "antialias", False, False))
@example(Case(stretched(1e20), BOX, "lambert", "antialias", True, False))
@example(Case([(0.0, 0.0, CAMERA_Z)] * 8, BOX, "lambert", "antialias", False, False))
@example(
    Case(
        [(0.0, 0.0, 0.0), (0.5, 0.0, 0.0), (0.0, 0.0, 1e-45), (0.0, -0.5, 0.0)] * 2,
        [(0, 1, 2), (0, 1, 3), (1, 0, 3)],
        "lambert",
        "antialias",
        False,
        False,
    )
)
@example(
    Case(
        [(0.0, 0.0, 0.0), (0.0, 0.0, 1e20), (0.0, 0.0, 0.0), (0.0, 1e20, 0.0), (0.0, 1e20, 0.0)]
        + [(0.0, 0.0, 0.0)] * 3,
        [(0, 1, 3), (0, 4, 1)],
        "lambert",
        "antialias",
        False,
        False,
    )
)
@example(Case(stretched(1.0), BOX * 3 + [(0, 0, 1), (5, 5, 5)], "lambert", "antialias", True, False))
def test_broken_scenes_stay_finite(case: Case) -> None:
    torch.set_num_threads(1)
    assert_finite_picture_and_gradients(case)
