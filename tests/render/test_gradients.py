"""Gradients of render() compared with central differences of densely supersampled hard images.

Linear losses check that the gradient is that of *an* image close to the true one; squared losses also that it is in the
right pixels, because their weights change from pixel to pixel.
"""

from __future__ import annotations

import pytest
import torch
from support.cases import Case, make_case, moving_mesh_case, target_motion
from support.comparators import assert_gradients_agree
from support.pictures import assert_images_agree
from support.shapes import (
    BACKGROUND,
    bumpy,
    flat_camera,
    front_camera,
    oblique_cameras,
    placed,
    scene_of,
    smooth_colors,
    wavy_floor,
    wavy_sheet,
)
from support.truth import (
    Leaves,
    Motion,
    moved_images,
    predictions,
    vertex_motions,
    world_motions,
)
from torch import Tensor

from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.render.edge_models import Antialias, Hard
from diffrender.render.render import render
from diffrender.scene.lights import Ambient, Directional, Point
from diffrender.scene.materials import Lambert, Unlit

# Of the images of all cases except the first.
SIZE = 64


# --- a closed mesh: vertices, pose and scale, camera, focal length, colours -------------------------------------------


def posed() -> Tensor:
    pose = torch.eye(4)
    pose[:3, :3] = axis_angle_to_matrix(torch.tensor([0.3, -0.5, 0.2]))
    pose[:3, 3] = torch.tensor([0.05, -0.08, 0.1])
    return pose


def build_closed(leaves: Leaves):
    mesh = CLOSED.with_vertices(leaves["vertices"])
    scene = scene_of(placed(mesh, Unlit(leaves["colors"]), leaves["pose"]))
    item = scene.objects["a"]
    scene = scene_of(type(item)(item.mesh, item.material, item.pose, leaves["scale"]))
    camera = CAMERA
    return scene, type(camera)(leaves["camera"], leaves["focal"], camera.center_px, camera.height, camera.width)


CLOSED = bumpy(4)
CAMERA = oblique_cameras(1, 128)


@pytest.fixture(scope="module")
def closed() -> Case:
    torch.set_num_threads(1)
    leaves = {
        "vertices": CLOSED.vertices,
        "colors": smooth_colors(CLOSED.vertices),
        "pose": posed(),
        "scale": torch.tensor(0.9),
        "camera": CAMERA.cam_from_world,
        "focal": CAMERA.focal_px,
    }
    scene, _ = build_closed(leaves)
    rotation, scale = leaves["pose"][:3, :3], leaves["scale"]
    motions = [
        # From the world into the object's own frame.
        Motion(motion.name, {"vertices": motion.tangents["vertices"] @ rotation / scale})
        for motion in vertex_motions("vertices", scene.objects["a"].vertices_w(), 6)
    ]
    target = target_motion("vertices", CLOSED.vertices)
    return make_case(build_closed, leaves, motions, target, samples=10)


def test_the_image_is_close_to_the_box_filtered_one(closed):
    assert_images_agree(closed.image[..., :3], closed.dense[..., :3], rms_at_most=0.006)


def test_vertices(closed):
    assert len(closed.moved) == 13
    closed.check_all("vertices", linear=0.02, squared=0.03)


def test_pose_and_scale(closed):
    pose, scale = closed.leaves["pose"], closed.leaves["scale"]
    motions = []
    for name, generator in world_motions().items():
        if name == "scale":  # about the world's origin: the object grows and moves away from it
            away = torch.zeros(4, 4)
            away[:3, 3] = pose[:3, 3]
            motions.append(Motion(name, {"scale": scale, "pose": away}))
        else:
            motions.append(Motion(name, {"pose": generator @ pose}))
    closed.check("pose and scale", motions, closed.moved[:7], linear=0.03, squared=0.03)
    # The object is nearly central, so that most of the growth is due to its scale alone.
    closed.check("scale", motions[6:], closed.moved[6:7], linear=0.03, squared=0.03)


def test_camera_pose(closed):
    # A moving camera sees the world move the opposite way: cam_from_world (I + h G) is both.
    camera = closed.leaves["camera"]
    motions = [Motion(name, {"camera": camera @ generator}) for name, generator in list(world_motions().items())[:6]]
    closed.check("camera", motions, closed.moved[:6], linear=0.03, squared=0.05)


def test_focal_length(closed):
    motions = [Motion(f"focal {i}", {"focal": CAMERA.focal_px * torch.eye(2)[i]}) for i in range(2)]
    truth = moved_images(build_closed, closed.leaves, motions, 14)
    closed.check("focal length", motions, truth, linear=0.03, squared=0.03)


def test_vertex_colors(closed):
    generator = torch.Generator().manual_seed(5)
    colors = closed.leaves["colors"]
    motions = [
        Motion("waves", {"colors": torch.sin(5 * CLOSED.vertices)}, step=0.1),
        Motion("red", {"colors": torch.eye(3)[0].expand_as(colors)}, step=0.1),
        Motion("speckles", {"colors": torch.rand(colors.shape, generator=generator)}, step=0.1),
    ]
    truth = moved_images(build_closed, closed.leaves, motions, 4)
    closed.check("vertex colours", motions, truth, linear=0.01, squared=0.02)


# --- light ------------------------------------------------------------------------------------------------------------


LIT = bumpy(3)


def build_lit(leaves: Leaves):
    material = Lambert(smooth_colors(LIT.vertices))
    lights = {
        "sky": Ambient(leaves["sky.radiance"]),
        "sun": Directional(leaves["sun.direction"], leaves["sun.radiance"]),
        "bulb": Point(leaves["bulb.position"], leaves["bulb.intensity"]),
    }
    scene = scene_of(placed(LIT.with_vertices(leaves["vertices"]), material), lights=lights)
    return scene, oblique_cameras(1, SIZE)


@pytest.fixture(scope="module")
def lit() -> Case:
    torch.set_num_threads(1)
    leaves = {
        "vertices": LIT.vertices,
        "sky.radiance": torch.tensor([0.2, 0.25, 0.3]),
        "sun.direction": torch.tensor([-0.3, -1.0, -0.6]),
        "sun.radiance": torch.tensor([1.5, 1.4, 1.2]),
        "bulb.position": torch.tensor([1.1, 0.6, 1.3]),
        "bulb.intensity": torch.tensor([1.0, 1.5, 2.0]),
    }
    motions = vertex_motions("vertices", LIT.vertices, 2)
    return make_case(build_lit, leaves, motions, target_motion("vertices", LIT.vertices), samples=12)


@pytest.mark.slow
def test_vertices_of_a_lit_mesh(lit):
    lit.check_all("lit vertices", linear=0.03, squared=0.04)


@pytest.mark.parametrize("leaf", ["sky.radiance", "sun.direction", "sun.radiance", "bulb.position", "bulb.intensity"])
def test_light(lit, leaf):
    axes = torch.eye(3)
    motions = [Motion(f"{leaf} {axis}", {leaf: axes[axis]}, step=0.01) for axis in range(3)]
    truth = moved_images(build_lit, lit.leaves, motions, 4)
    lit.check(leaf, motions, truth, linear=0.02, squared=0.07)


# --- other geometry ---------------------------------------------------------------------------------------------------


def test_one_object_in_front_of_another():
    ball = bumpy(3)
    far = placed(ball.with_vertices(1.2 * ball.vertices + torch.tensor([0.2, 0.1, -2.0])))
    near = ball.with_vertices(0.7 * ball.vertices + torch.tensor([0.1, -0.1, 0.6]))
    # One colour, so that only the silhouette over the other object has a gradient.
    colors = torch.tensor([0.8, 0.3, 0.6]).expand_as(near.vertices)
    case = moving_mesh_case(near, front_camera(SIZE), far, colors=colors)
    case.check_all("object in front", linear=0.03, squared=0.04)


@pytest.mark.slow
def test_one_object_behind_another():
    ball = bumpy(3)
    near = placed(ball.with_vertices(0.4 * ball.vertices + torch.tensor([0.3, -0.1, 1.0])))
    far = ball.with_vertices(0.8 * ball.vertices + torch.tensor([0.0, 0.1, -0.5]))
    moving_mesh_case(far, front_camera(SIZE), near, colors=1 - smooth_colors(ball.vertices)).check_all(
        "object behind", linear=0.05, squared=0.06
    )


@pytest.mark.slow
def test_open_mesh():
    moving_mesh_case(wavy_sheet(24), oblique_cameras(1, SIZE), samples=16).check_all(
        "open mesh", linear=0.04, squared=0.09
    )


def test_orthographic_camera():
    ball = bumpy(3)
    case = moving_mesh_case(ball, flat_camera(SIZE, SIZE, 2.5), skip=("translation z",))
    case.check_all("orthographic", linear=0.03, squared=0.04)
    away = Motion("translation z", {"vertices": torch.tensor([0.0, 0.0, 1.0]).expand_as(ball.vertices)})
    for group in case.gradients.values():
        assert predictions(group, [away]).abs().max() < 1e-3 * group[0]["vertices"].abs().sum()


@pytest.mark.slow
def test_silhouette_that_crosses_the_border():
    camera = oblique_cameras(1, SIZE, distance=1.9)
    case = moving_mesh_case(bumpy(3), camera)
    edge = torch.cat([case.dense[0, 0, :, 3], case.dense[0, -1, :, 3], case.dense[0, :, 0, 3], case.dense[0, :, -1, 3]])
    assert (edge > 0.5).any() and (edge < 0.5).any()
    case.check_all("border", linear=0.03, squared=0.04)


@pytest.mark.slow
def test_mesh_across_the_near_plane():
    floor, camera = wavy_floor(), front_camera(SIZE)
    depth = camera.world_to_pixels(floor.vertices)[0, floor.faces, 2]
    assert ((depth > 0).any(1) & (depth < 0).any(1)).sum() > 10, "no face runs through the camera plane"
    case = moving_mesh_case(floor, camera, samples=16)
    assert 0.2 < case.dense[..., 3].mean() < 0.9
    case.check_all("across the near plane", linear=0.07, squared=0.04)


# --- edge models ------------------------------------------------------------------------------------------------------


def test_more_samples_come_closer(closed):
    def error(edges):
        return float((render(*build_closed(closed.leaves), edges).rgba - closed.dense).square().mean().sqrt())

    assert error(Antialias(8)) < error(Antialias(4)) < error(Antialias(2)) < error(Antialias(1))
    assert error(Antialias(4)) < 0.3 * error(Hard())


def test_background_gets_the_share_that_is_not_covered(closed):
    scene, camera = build_closed(closed.leaves)
    background = torch.tensor(BACKGROUND, requires_grad=True)
    scene = type(scene)(scene.objects, scene.lights, background)
    output = render(scene, camera).rgba
    (gradient,) = torch.autograd.grad(output[..., 1].sum(), background)
    uncovered = float((1 - output[..., 3]).sum().detach())
    assert_gradients_agree(gradient, torch.tensor([0, uncovered, 0]))
