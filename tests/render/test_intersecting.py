"""Intersecting surfaces: the colour step along their line of intersection moves when either surface moves."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.cases import moving_mesh_case
from support.pictures import assert_images_agree
from support.shapes import flat_camera, front_camera, oblique_cameras, placed, scene_of, square
from support.truth import dense_image

from diffrender.geometry.primitives import icosphere
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.render.render import render
from diffrender.scene.materials import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.projections.orthographic import Orthographic

RED, BLUE = torch.tensor([0.9, 0.1, 0.2]), torch.tensor([0.1, 0.3, 0.8])
SIZE = 64


def turned(mesh: Mesh, *axis_angle: float, away: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Mesh:
    rotation = axis_angle_to_matrix(torch.tensor(axis_angle))
    return mesh.with_vertices(mesh.vertices @ rotation.T + torch.tensor(away))


def crossing_quads() -> tuple[Mesh, Mesh]:
    """Return two quads that cross in a slanted line inside both images."""
    return turned(square(side=1.6), 0.5, 0.35, 0.2), turned(square(side=1.5), -0.4, -0.6, 0.5, away=(0.07, -0.04, 0.05))


def spheres(subdivisions: int = 3) -> tuple[Mesh, Mesh]:
    """Return two spheres, one a third inside the other."""
    ball = Mesh(*icosphere(subdivisions, 0.6))
    return turned(ball, 0.1, 0.2, 0.3, away=(-0.25, 0.05, 0.0)), turned(ball, 0.5, -0.2, 0.7, away=(0.35, -0.1, 0.25))


def fine_spheres() -> tuple[Mesh, Mesh]:
    """Return the same of faces that are smaller than the distance of a pixel's samples."""
    return spheres(5)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "camera",
    [
        pytest.param(oblique_cameras(1, SIZE), id="pinhole"),
        pytest.param(flat_camera(SIZE, SIZE, 2.4), id="flat", marks=SLOW),
    ],
)
@pytest.mark.parametrize(
    "shapes",
    [
        pytest.param(crossing_quads, id="quads"),
        pytest.param(spheres, id="spheres", marks=SLOW),
        pytest.param(fine_spheres, id="fine spheres"),
    ],
)
@pytest.mark.parametrize("first_moves", [pytest.param(True, id="first"), pytest.param(False, id="second", marks=SLOW)])
def test_gradient_of_either(shapes, first_moves, camera):
    meshes, colors = shapes(), (RED, BLUE)
    mover, still = (0, 1) if first_moves else (1, 0)
    other = placed(meshes[still], Unlit(colors[still]))
    mesh = meshes[mover]
    color = colors[mover].expand_as(mesh.vertices)
    step = 0.005 if camera.projection == Orthographic() else None
    case = moving_mesh_case(mesh, camera, other, colors=color, samples=14, depth_step=step)
    case.check_all(shapes.__name__, linear=0.03, squared=0.03 if shapes is crossing_quads else 0.04)


@pytest.mark.parametrize("camera", [front_camera(SIZE), flat_camera(SIZE, SIZE, 2.4)], ids=["pinhole", "flat"])
@pytest.mark.parametrize("shapes", [crossing_quads, spheres], ids=["quads", "spheres"])
def test_the_image_is_the_box_filtered_one(shapes, camera):
    scene = scene_of(*(placed(mesh, Unlit(color)) for mesh, color in zip(shapes(), (RED, BLUE), strict=True)))
    output = render(scene, camera)
    truth = dense_image(scene, camera, 12).mean(0)
    assert_images_agree(output.rgba, truth, rms_at_most=0.01)
    # Along the line both colours are mixed.
    color = output.rgba[..., :3]
    inside = output.rgba[..., 3] > 0.999
    mixed = inside & ((color - RED).norm(dim=-1) > 0.1) & ((color - BLUE).norm(dim=-1) > 0.1)
    assert int(mixed.sum()) > 20


@pytest.mark.parametrize("away", [0.03, 0.0], ids=["in pixels", "between pixels"])
def test_the_line_by_hand(away):
    """A wall and a slanted one of slope 2: moved back by d, the wall loses a width of d / 2 along the whole line."""
    wall = square(side=1.5)
    corners = wall.vertices
    slanting = wall.with_vertices(torch.stack([corners[:, 0], 0.5 * corners[:, 1], 2 * corners[:, 0] - away], 1))
    vertices = corners.clone().requires_grad_()
    scene = scene_of(placed(wall.with_vertices(vertices), Unlit(RED)), placed(slanting, Unlit(BLUE)))
    rgba = render(scene, flat_camera(32, 32, 2.0)).rgba
    # The camera looks down the z axis: the slanted one is in front where 2 x > away.
    assert torch.allclose(rgba[0, 16, 22, :3], BLUE) and torch.allclose(rgba[0, 16, 10, :3], RED)
    # The line is as long as the slanted wall is high, 12 of 32 px; a unit of depth moves it by half a unit, 8 px.
    (gradient,) = torch.autograd.grad(rgba[..., 0].sum(), vertices)
    # An eighth of a pixel of it is between two diagonals, in a pair of faces that no two neighbouring samples see.
    assert float(gradient[:, 2].sum()) == pytest.approx(12 * 8 * float(RED[0] - BLUE[0]), rel=0.012)


@pytest.mark.parametrize("away", [0.5, 1.0], ids=["drawn", "nearer than is drawn"])
def test_a_line_that_is_nearer_than_is_drawn_is_not_seen(away):
    """Two walls cross along a diagonal, drawn in corners of the image alone, in front of two that are side by side."""
    camera = replace(flat_camera(24, 24, 2.0), near=2.2)  # at z = 3
    corners = torch.tensor([[-4.0, -4.0], [8.0, -4.0], [-4.0, 8.0]])
    slope = 0.5 * (corners.sum(1, keepdim=True) - 0.03)
    leaves = [torch.cat([corners, away + sign * slope], 1).requires_grad_() for sign in (1, -1)]
    walls = [Mesh(leaf, torch.tensor([[0, 1, 2]])) for leaf in leaves]
    behind = [turned(square(z=-0.5, side=2.0), 0.0, 0.0, 0.0, away=(x, 0.0, 0.0)) for x in (-1.0, 1.0)]
    colors = (RED, BLUE, RED.flip(0), BLUE.flip(0))
    scene = scene_of(*(placed(mesh, Unlit(color)) for mesh, color in zip(walls + behind, colors, strict=True)))
    rgba, is_drawn = render(scene, camera).rgba, away < 0.8
    assert torch.allclose(rgba[0, 11, 13, :3], RED if is_drawn else BLUE.flip(0))
    for gradient in torch.autograd.grad(rgba[:, 11:13, 11:13, 0].sum(), leaves):
        assert bool((gradient != 0).any()) == is_drawn


def test_parts_of_one_mesh_meet_as_two_objects_do():
    (a, b), camera = spheres(), oblique_cameras(1, 48)
    leaves = [mesh.vertices.clone().requires_grad_() for mesh in (a, b)]
    colors = [color.expand_as(mesh.vertices) for color, mesh in ((RED, a), (BLUE, b))]
    joined = Mesh(torch.cat(leaves), torch.cat([a.faces, b.faces + len(a.vertices)]))
    apart = scene_of(*(placed(m.with_vertices(v), Unlit(c)) for m, v, c in zip((a, b), leaves, colors, strict=True)))
    one = render(scene_of(placed(joined, Unlit(torch.cat(colors)))), camera).rgba
    two = render(apart, camera).rgba
    torch.testing.assert_close(one, two)
    weights = torch.linspace(-1, 1, one.numel()).reshape(one.shape).mul(50).sin()
    for x, y in zip(*(torch.autograd.grad((rgba * weights).sum(), leaves) for rgba in (one, two)), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-4 * float(x.abs().max()))


@pytest.mark.parametrize("camera", [oblique_cameras(1, 48), flat_camera(48, 48, 2.4)], ids=["pinhole", "flat"])
def test_surfaces_that_lie_upon_one_another_have_no_wild_gradient(camera):
    """Where two surfaces coincide, rounding decides which is seen, and so any line between them."""
    below = turned(square(side=1.4), 0.4, 0.3, 0.2)
    corners = below.vertices
    # The same square with other triangles: four around a point a third of the way up.
    middle = (corners[0] + corners[2]) / 2 + (corners[1] - corners[0]) / 6
    above = Mesh(torch.cat([corners, middle[None]]), torch.tensor([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]))
    leaves = [mesh.vertices.clone().requires_grad_() for mesh in (below, above)]

    def gradients(*which: int):
        meshes, colors = (below, above), (RED, BLUE)
        scene = scene_of(*(placed(meshes[k].with_vertices(leaves[k]), Unlit(colors[k])) for k in which))
        rgba = render(scene, camera).rgba
        weights = torch.linspace(-1, 1, rgba.numel()).reshape(rgba.shape).mul(30).sin()
        return torch.autograd.grad((rgba * weights).sum(), [leaves[k] for k in which])

    usual = max(float(gradients(k)[0].abs().max()) for k in range(2))
    for gradient in gradients(0, 1):
        assert bool(gradient.isfinite().all()) and float(gradient.abs().max()) < 20 * usual
