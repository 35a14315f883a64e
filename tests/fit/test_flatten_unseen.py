"""What no view shows of a carved shape, with a flat rim, becomes a membrane."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from diffrender.fit import flatten_unseen as flattening
from diffrender.fit.flatten_unseen import flatten_unseen
from diffrender.geometry.mesh_checks import self_intersections
from diffrender.geometry.primitives import Triangles, box, icosphere
from diffrender.geometry.subdivide import subdivide_midpoint
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene

BOTTOM, HUMP = -0.4, 0.15


def humped(height: float = 0.8, tilt: float = 0.0) -> Scene:
    """A box whose bottom is a hipped roof, as a visual hull's is; tilt: how uneven its rim is."""
    mesh = box((1.0, 0.8, 1.0))
    for _ in range(4):
        mesh = subdivide_midpoint(mesh.vertices, mesh.faces)
    x, y, z = mesh.vertices.unbind(1)
    share = (0.4 - y) / 0.8
    y = y + share * tilt * 4 * x * z - (y == BOTTOM) * HUMP * (1 - 2 * torch.maximum(x.abs(), z.abs()))
    vertices = torch.stack([x, 0.4 + (y - 0.4) * height / 0.8, z], 1)
    return Scene({"a": Object(Mesh(vertices, mesh.faces), Unlit(torch.ones(3)))})


def ring(height: float, count: int = 10) -> Cameras:
    angles = torch.arange(count) * (2 * math.pi / count)
    eyes = torch.stack([3 * angles.cos(), torch.full_like(angles, height), 3 * angles.sin()], 1)
    return Cameras.perspective(eyes, height=96, width=96)


def bottom_of(scene: Scene) -> Tensor:
    vertices = scene.objects["a"].mesh.vertices
    return vertices[(vertices[:, [0, 2]].abs().amax(1) < 0.45) & (vertices[:, 1] < 0), 1]


def test_a_bottom_that_bulges_becomes_flat() -> None:
    scene = humped()
    assert float(bottom_of(scene).min()) < BOTTOM - 0.8 * HUMP
    flat = flatten_unseen(scene, "a", ring(1.0))
    assert float((bottom_of(flat) - BOTTOM).abs().max()) < 0.03
    before, after = (each.objects["a"].mesh.vertices for each in (scene, flat))
    assert bool((before[before[:, 1] > BOTTOM] == after[before[:, 1] > BOTTOM]).all())


def test_what_only_ignored_pixels_show_is_unseen() -> None:
    scene = humped()
    eyes = torch.cat([ring(height).positions_w() for height in (1.0, -1.5)])
    cameras = Cameras.perspective(eyes, height=96, width=96)
    weights = torch.ones(20, 96, 96)
    assert flatten_unseen(scene, "a", cameras, weights) is scene
    weights[10:] = 0
    flat = flatten_unseen(scene, "a", cameras, weights)
    assert float((bottom_of(flat) - BOTTOM).abs().max()) < 0.03


def test_what_lies_between_pixels_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flattening, "FEWEST_VERTICES", 10_000)
    scene = humped()
    assert flatten_unseen(scene, "a", ring(1.0)) is scene


def test_other_shapes_stay() -> None:
    ball = icosphere(4)
    round_cap = Scene({"a": Object(Mesh(ball.vertices, ball.faces), Unlit(torch.ones(3)))})
    one = Cameras.perspective(torch.tensor([[0.0, 3.0, 0.1]]), height=96, width=96)
    for scene, cameras in ((humped(tilt=0.15), ring(1.0)), (round_cap, ring(1.5)), (humped(), one)):
        assert flatten_unseen(scene, "a", cameras) is scene


def test_a_plate_is_flattened_but_no_shape_of_which_more_is_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    plate = humped(0.1)
    assert flatten_unseen(plate, "a", ring(1.0)) is not plate
    monkeypatch.setattr(flattening, "MOST_UNSEEN", 0.2)
    assert flatten_unseen(plate, "a", ring(1.0)) is plate


def test_other_objects_are_none_of_its_faces() -> None:
    ball = icosphere(2)
    other = Object(Mesh(0.2 * ball.vertices + torch.tensor([0.0, 0.7, 0.0]), ball.faces), Unlit(torch.ones(3)))
    scene = Scene({"other": other, **humped().objects})
    flat = flatten_unseen(scene, "a", ring(1.0))
    assert float((bottom_of(flat) - BOTTOM).abs().max()) < 0.03
    assert flat.objects["other"] is other


@pytest.mark.parametrize("fault", ["is seen", "crosses itself"])
def test_a_membrane_that_is_no_surface_or_is_seen_is_dropped(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(mesh: Mesh, free: Tensor) -> Tensor:
        moved = mesh.vertices.clone()
        if fault == "is seen":
            moved[free] -= torch.tensor([0.0, 1.5, 0.0])
        else:
            moved[free] = moved[free].flip(0)
        return moved

    monkeypatch.setattr(flattening, "_membrane", faulty)
    scene = humped()
    mesh = scene.objects["a"].mesh
    lowered = faulty(mesh, mesh.vertices[:, 1] < BOTTOM)
    assert bool(len(self_intersections(Triangles(lowered, mesh.faces)))) == (fault == "crosses itself")
    assert flatten_unseen(scene, "a", ring(1.0)) is scene


def test_a_bottom_whose_membrane_is_seen_stays_and_the_other_becomes_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = humped().objects["a"].mesh
    right = torch.tensor([0.7, 0.0, 0.0])
    both = Mesh(
        torch.cat([mesh.vertices - right, mesh.vertices + right]), torch.cat([mesh.faces, mesh.faces + mesh.n_vertices])
    )

    def faulty(mesh: Mesh, free: Tensor) -> Tensor:
        return membrane(mesh, free) - torch.tensor([0.0, 1.5, 0.0]) * (free & (mesh.vertices[:, 0] > 0))[:, None]

    membrane = flattening._membrane
    monkeypatch.setattr(flattening, "_membrane", faulty)
    flat = flatten_unseen(Scene({"a": Object(both, Unlit(torch.ones(3)))}), "a", ring(1.0)).objects["a"].mesh.vertices
    assert bool((flat[mesh.n_vertices :] == both.vertices[mesh.n_vertices :]).all())
    left = flat[: mesh.n_vertices] + right
    inner = (left[:, [0, 2]].abs().amax(1) < 0.45) & (left[:, 1] < 0)
    assert float((left[inner, 1] - BOTTOM).abs().max()) < 0.03


def test_a_membrane_turns_no_face_over() -> None:
    """Of plain cotangent weights, those of obtuse triangles would."""
    mesh = humped().objects["a"].mesh
    torch.manual_seed(0)
    inside = (mesh.vertices[:, 1] < BOTTOM) & (mesh.vertices[:, [0, 2]].abs().amax(1) < 0.4)
    moved = mesh.vertices.clone()
    moved[inside] += 0.2 * (torch.rand(int(inside.sum()), 3) - 0.5)
    flat = flattening._membrane(mesh.with_vertices(moved), inside)
    corners = flat[mesh.faces[inside[mesh.faces].any(1)]]
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert bool((normal[:, 1] < 0).all())


@pytest.mark.parametrize("height", [1.5, 3.5, 6.0])
def test_a_ball_stays_round_from_however_high_it_is_seen(height: float) -> None:
    ball = icosphere(4)
    scene = Scene({"a": Object(Mesh(ball.vertices, ball.faces), Unlit(torch.ones(3)))})
    assert flatten_unseen(scene, "a", ring(height)) is scene


def test_what_is_flat_already_stays() -> None:
    scene = humped()
    flat = flatten_unseen(scene, "a", ring(1.0))
    assert flat is not scene and flatten_unseen(flat, "a", ring(1.0)) is flat


def test_an_unseen_floor_inside_is_not_raised() -> None:
    """A pot with a steep wall inside: its floor faces the cameras, which do not see it past the rim."""
    mesh = humped().objects["a"].mesh
    x, y, z = mesh.vertices.unbind(1)
    inside = (y > 0.39) & (torch.maximum(x.abs(), z.abs()) < 0.4)
    pot = mesh.with_vertices(torch.stack([x, torch.where(inside, -0.2, y), z], 1))
    flat = flatten_unseen(Scene({"a": Object(pot, Unlit(torch.ones(3)))}), "a", ring(1.0))
    assert bool((flat.objects["a"].mesh.vertices[inside] == pot.vertices[inside]).all())
