"""Forward mode through whole images: tangents against gradients, and against differences of supersampled images."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from support.comparators import assert_gradients_agree, cosine, relative_l2
from support.material_kinds import cameras as three_cameras
from support.material_kinds import exported_objects, lit_scene, phong_object
from support.shapes import bumpy, front_camera, placed, scene_of, smooth_colors
from support.truth import Motion, moved_images, smooth_functional, vertex_motions, world_motions
from torch import Tensor
from torch.autograd import forward_ad

from diffrender.errors import BackendError
from diffrender.geometry.primitives import icosphere
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.imaging.color import srgb_from_linear
from diffrender.ops.compare_colors import compare_colors
from diffrender.ops.normalize import normalize
from diffrender.render.edge_model import EdgeModel
from diffrender.render.edge_models import EDGE_MODELS
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.environment.env_map import EnvMap
from diffrender.scene.lights import (
    LIGHTS,
    Environment,
    PerViewDirectional,
    Point,
    SphericalHarmonics,
    Spot,
)
from diffrender.scene.materials import MATERIALS, Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.parameter_paths import get_value, learnable_paths, replace_values
from diffrender.scene.quantity_kinds import map_tensors
from diffrender.scene.scene import Scene
from diffrender.scene.shadow_cameras import Shadow

OBJECTS = exported_objects() | {"phong": phong_object()}
Draw = Callable[..., Tensor]


def in_every_light(item: Object) -> Scene:
    """`item` in lights of all kinds, with and without shadows."""
    scene = lit_scene(item)
    more = {
        "harmonics": SphericalHarmonics(0.2 * torch.rand(9, 3, generator=torch.Generator().manual_seed(0))),
        "flash": PerViewDirectional(torch.tensor([[0.0, 0.1, -1.0]]).repeat(3, 1), 0.3 * torch.ones(3, 3)),
        "lamp": Point(torch.tensor([2.0, 1.0, 0.5]), torch.tensor([0.3, 0.6, 0.3]), shadow=Shadow(0.05, 32)),
        "stage": Spot(
            torch.tensor([0.3, 1.0, 2.5]), torch.tensor([0.0, -0.3, -1.0]), torch.ones(3), shadow=Shadow(0.05, 32)
        ),
    }
    return replace(scene, lights={**scene.lights, **more})


def some_cameras() -> Cameras:
    return replace(
        three_cameras(32),
        number=torch.arange(3),
        exposure=torch.tensor([0.0, 0.1, -0.2]),
        white_balance=torch.tensor([[1.1, 1.0, 0.9]]).repeat(3, 1),
    )


def drawing(
    scene: Scene,
    cameras: Cameras,
    edges: EdgeModel | None = None,
    backend: str | None = None,
    dtype: torch.dtype = torch.float64,
    **options,
) -> tuple[list[str], tuple[Tensor, ...], Draw]:
    """Every value of a scene and its cameras: their paths, them, and the image as a function of them."""
    scene, cameras = (
        map_tensors(part, lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)
        for part in (scene, cameras)
    )
    paths = learnable_paths(scene, cameras)

    def draw(*values: Tensor) -> Tensor:
        changed = replace_values(scene, cameras, dict(zip(paths, values, strict=True)))
        return render(*changed, edges, backend=backend, **options).image

    return paths, tuple(get_value(scene, cameras, path) for path in paths), draw


def directions_of(values: Sequence[Tensor], count: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    return tuple(0.1 * torch.randn(count, *value.shape, dtype=value.dtype, generator=generator) for value in values)


def assert_dual(values: tuple[Tensor, ...], draw: Draw) -> None:
    """Fail unless <u, J v> = <J^T u, v> for random u and v, by every way there is to J v, and the image is the same."""
    directions = directions_of(values, 2)
    tangents = torch.func.vmap(lambda *chosen: torch.func.jvp(draw, values, chosen)[1])(*directions)
    assert tangents.dtype == values[0].dtype
    rel, atol = (1e-9, 1e-12) if tangents.dtype == torch.float64 else (1e-4, 1e-5)
    leaves = [value.clone().requires_grad_() for value in values]
    image = draw(*leaves)
    weights = torch.randn(image.shape, dtype=image.dtype, generator=torch.Generator().manual_seed(2))
    grads = torch.autograd.grad(image, leaves, weights, allow_unused=True)
    for k in range(2):
        chosen = [part[k] for part in directions]
        value, alone = torch.func.jvp(draw, values, tuple(chosen))
        assert torch.equal(value, image.detach())
        torch.testing.assert_close(alone, tangents[k], rtol=rel, atol=atol)
        with forward_ad.dual_level():
            dual = forward_ad.unpack_dual(draw(*map(forward_ad.make_dual, values, chosen)))
        torch.testing.assert_close(dual.tangent, alone, rtol=rel, atol=atol)
        reverse = sum((grad * part).sum() for grad, part in zip(grads, chosen, strict=True) if grad is not None)
        assert float((weights * alone).sum()) == pytest.approx(float(reverse), rel=rel)
        assert relative_l2(alone, tangents[1 - k]) > 0.1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", OBJECTS)
def test_every_material_in_every_light(name: str, dtype: torch.dtype) -> None:
    scene = in_every_light(OBJECTS[name])
    assert {type(light) for light in scene.lights.values()} == set(LIGHTS.values())
    paths, values, draw = drawing(scene, some_cameras(), dtype=dtype, aovs=("color", "normal", "depth"))
    assert len(paths) > 20
    assert_dual(values, draw)


def test_every_material_is_there() -> None:
    assert {type(item.material) for item in OBJECTS.values()} == set(MATERIALS.values())


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize("edges", EDGE_MODELS)
def test_every_edge_model(edges: str, backend: str) -> None:
    far = torch.eye(4)
    far[:3, 3] = torch.tensor([0.6, 0.2, 0.3])
    scene = Scene({"one": OBJECTS["lambert_vertex"], "other": replace(OBJECTS["ggx"], pose=far)})
    scene = replace(scene, lights={"key": lit_scene(OBJECTS["ggx"]).lights["key"]})
    _, values, draw = drawing(scene, three_cameras(24), EDGE_MODELS[edges](), backend)
    assert_dual(values, draw)


def test_orthographic_cameras() -> None:
    scene = replace(in_every_light(OBJECTS["ggx_vertex"]), lights={})
    _, values, draw = drawing(scene, Cameras.parallel(torch.tensor([[0.0, 0.5, 3.0]]), height=32, width=40))
    assert_dual(values, draw)


# --- against differences ----------------------------------------------------------------------------------------------


def test_images_change_as_their_tangents_say() -> None:
    torch.set_num_threads(1)
    ball = bumpy(3)
    material = Unlit(smooth_colors(ball.vertices))

    def build(leaves):
        return scene_of(placed(ball.with_vertices(leaves["vertices"]), material)), camera

    camera = front_camera(64)
    leaves = {"vertices": ball.vertices}
    motions = vertex_motions("vertices", ball.vertices, 3)
    losses = [smooth_functional((1, 64, 64, 4), seed) for seed in range(3)]
    truth = torch.stack(
        [moved.derivative(loss) for moved in moved_images(build, leaves, motions, 12) for loss in losses]
    )
    directions = torch.stack([motion.tangents["vertices"] for motion in motions])
    tangents = torch.func.vmap(
        lambda v: torch.func.jvp(lambda x: render(*build({"vertices": x})).rgba, (ball.vertices,), (v,))[1]
    )(directions)
    found = torch.stack([loss(tangent.double()) for tangent in tangents for loss in losses])
    assert cosine(found, truth) > 0.999 and relative_l2(found, truth) < 0.03


def spike(height: Tensor) -> tuple[Scene, Cameras]:
    """A ball of radius 0.5 with one vertex pulled out by `height` radii, seen from the side."""
    vertices, faces = icosphere(3)
    tip = torch.zeros(len(vertices), 1)
    tip[(vertices @ torch.tensor([0.6, 0.8, 0.0])).argmax()] = 1
    vertices = 0.5 * vertices.to(height.dtype) * (1 + tip.to(height.dtype) * height)
    material = Unlit(smooth_colors(icosphere(3)[0]).to(height.dtype))
    return scene_of(placed(Mesh(vertices, faces), material)), front_camera(96, height.dtype)


def test_the_spike_of_a_ball_grows_as_its_tangent_says() -> None:
    torch.set_num_threads(1)
    height = torch.ones(())  # double the radius
    grows = Motion("grows", {"height": torch.ones(())}, 0.01)
    (moved,) = moved_images(lambda leaves: spike(leaves["height"]), {"height": height}, [grows], 24)
    truth = (moved.high.mean(0) - moved.low.mean(0)) / (2 * moved.step)
    tangent = torch.func.jvp(lambda h: render(*spike(h)).rgba, (height,), (torch.ones(()),))[1]
    # Pixel by pixel the differences of finite sample grids are noisy: sums over blocks of 8 x 8 are compared.
    found, wanted = (torch.nn.functional.avg_pool2d(part.double().permute(0, 3, 1, 2), 8) for part in (tangent, truth))
    assert_gradients_agree(
        found, wanted, what="spike", cosine_at_least=0.9995, relative_l2_at_most=0.02, bias_at_most=0.01,
        row_ratio_error_at_most=float("inf"),
    )  # fmt: skip


# --- what surrounds an image ------------------------------------------------------------------------------------------


def test_the_jacobian_of_an_image_in_a_pose() -> None:
    ball = bumpy(2, torch.float64)
    camera = front_camera(32, torch.float64)

    def draw(pose: Tensor) -> Tensor:
        world = torch.cat([torch.cat([axis_angle_to_matrix(pose[:3]), pose[3:, None]], 1), torch.eye(4)[3:]])
        return render(scene_of(placed(ball, pose=world)), camera).rgba

    pose = torch.tensor([0.1, -0.2, 0.3, 0.05, 0.0, 0.1], dtype=torch.float64)
    by_tangents, by_gradients = (torch.func.jacfwd(draw)(pose), torch.func.jacrev(draw)(pose))
    assert by_tangents.shape == (1, 32, 32, 4, 6)
    assert relative_l2(by_tangents, by_gradients) < 1e-12


def test_tangents_have_the_dtype_of_their_values() -> None:
    # PyTorch's own of a number times one of Python is float64.
    turn, number = torch.tensor([0.1, 0.2, 0.3]), torch.tensor(0.5)
    assert torch.func.jvp(lambda n: n * 2.0, (number,), (number,))[1].dtype == torch.float64
    assert torch.func.jvp(axis_angle_to_matrix, (turn,), (turn,))[1].dtype == torch.float32
    found = torch.func.jvp(lambda n: normalize(torch.stack([n * 2.0, n, n])[None]), (number,), (number,))[1]
    assert found.dtype == torch.float32


def test_losses_and_cameras_and_colours() -> None:
    ball = bumpy(2, torch.float64)
    goal = render(scene_of(placed(ball)), front_camera(32, torch.float64)).rgba[..., :3]

    def cost(eye: Tensor) -> Tensor:
        image = render(scene_of(placed(ball)), Cameras.perspective(eye[None], height=32, width=32)).rgba
        cost, squared = compare_colors(image, goal)
        return cost.sum() + squared.sum() + srgb_from_linear(image).square().mean()

    eye = torch.tensor([0.3, 0.2, 2.9], dtype=torch.float64)
    torch.testing.assert_close(torch.func.jacfwd(cost)(eye), torch.func.grad(cost)(eye))


def test_an_environment_with_and_without_a_tangent() -> None:
    texels = torch.rand(16, 32, 3, generator=torch.Generator().manual_seed(0))
    item = OBJECTS["ggx"]

    def draw(texels: Tensor, background: Tensor) -> Tensor:
        scene = Scene({"ball": item}, {"sky": Environment(EnvMap(texels))}, background)
        return render(scene, three_cameras(24)).rgba

    background = torch.zeros(3)
    ones = torch.ones_like(texels)
    # Radiance is linear in the map, and the tangent of a map that is given as a constant is none.
    bright = torch.func.jvp(lambda t: draw(t, background), (texels,), (ones,))[1]
    torch.testing.assert_close(bright, draw(ones, background) * torch.tensor([1, 1, 1, 0]), rtol=1e-4, atol=1e-5)
    kept = EnvMap(texels)
    scene = Scene({"ball": item}, {"sky": Environment(kept)})
    expected = render(scene, three_cameras(24)).rgba
    fresh = Scene({"ball": item}, {"sky": Environment(EnvMap(texels))})
    torch.func.jvp(lambda b: render(replace(fresh, background=b), three_cameras(24)).rgba, (background,), (background,))
    assert torch.equal(render(fresh, three_cameras(24)).rgba, expected)


@pytest.mark.parametrize(
    "mode", ["reverse over forward", "forward over forward", "forward over reverse", "reverse twice"]
)
def test_second_derivatives_are_refused(mode: str) -> None:
    ball = bumpy(2)
    camera = front_camera(24)

    def cost(scale: Tensor) -> Tensor:
        return render(scene_of(placed(ball.with_vertices(ball.vertices * scale))), camera).rgba.square().sum()

    def slope(scale: Tensor) -> Tensor:
        return torch.func.jvp(cost, (scale,), (one,))[1]

    one = torch.ones(())
    run = {
        "reverse over forward": lambda: torch.func.grad(slope)(one),
        "forward over forward": lambda: torch.func.jvp(slope, (one,), (one,)),
        "forward over reverse": lambda: torch.func.jvp(torch.func.grad(cost), (one,), (one,)),
        "reverse twice": lambda: torch.func.grad(torch.func.grad(cost))(one),
    }
    with pytest.raises(BackendError, match="the kernel has no second derivative"):
        run[mode]()


def test_scenes_are_not_mapped_over() -> None:
    ball = bumpy(2)
    with pytest.raises(BackendError, match="render several views as one batch"):
        torch.func.vmap(lambda v: render(scene_of(placed(ball.with_vertices(v))), front_camera(24)).rgba)(
            ball.vertices[None]
        )


def test_what_is_kept_holds_no_tangents() -> None:
    ball = bumpy(2)
    vertices = ball.vertices.clone()
    first = render(scene_of(placed(ball.with_vertices(vertices))), front_camera(24)).rgba
    fresh = Mesh(vertices.clone(), ball.faces.clone())
    tangent = torch.ones_like(vertices)
    held = weakref.ref(tangent)
    # The first image of a mesh finds what later ones take over.
    image, change = torch.func.jvp(
        lambda v: render(scene_of(placed(fresh.with_vertices(v))), front_camera(24)).rgba, (vertices,), (tangent,)
    )
    assert torch.equal(image, first) and bool(change.any())
    del tangent, image, change
    gc.collect()
    assert held() is None
    assert torch.equal(render(scene_of(placed(fresh)), front_camera(24)).rgba, first)
    again = fresh.vertices.clone().requires_grad_()
    render(scene_of(placed(fresh.with_vertices(again))), front_camera(24)).rgba.sum().backward()
    assert again.grad is not None and bool(again.grad.any())


def test_a_tangent_of_a_pose_that_changes_nothing_counts() -> None:
    ball = bumpy(2)
    generator = world_motions()["translation x"]
    moved = torch.func.jvp(
        lambda pose: render(scene_of(placed(ball, pose=pose)), front_camera(24)).rgba, (torch.eye(4),), (generator,)
    )[1]
    assert bool(moved.any())
