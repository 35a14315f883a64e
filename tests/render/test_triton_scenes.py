"""Whole images and their derivatives by Triton's kernels are those of the CPU's; without a GPU by its interpreter."""

from __future__ import annotations

import pytest
import torch
from support.comparators import assert_gradients_agree
from support.pictures import assert_images_agree
from support.shapes import bumpy, oblique_cameras, placed, scene_of, square, two_crossing, wavy_sheet
from support.triangle_soups import INTERPRETED
from support.wide_programs import widen
from torch import Tensor

from diffrender.geometry.primitives import box
from diffrender.ops.rasterize import rasterize
from diffrender.render.edge_model import EdgeModel
from diffrender.render.edge_models import Antialias, Soft
from diffrender.render.render import render
from diffrender.render.scene_triangles import gather_triangles
from diffrender.scene.cameras import Cameras
from diffrender.scene.lights import Ambient, Directional
from diffrender.scene.materials import Ggx
from diffrender.scene.mesh import Mesh
from diffrender.scene.parameter_paths import get_value, learnable_paths, replace_values
from diffrender.scene.quantity_kinds import map_tensors
from diffrender.scene.scene import Scene
from diffrender.scene.shadow_cameras import Shadow
from diffrender.scene.textures.texture import Texture

pytestmark = pytest.mark.skipif(not INTERPRETED and not torch.cuda.is_available(), reason="needs Triton")
DEVICE = "cpu" if INTERPRETED else "cuda"


def colored() -> Scene:
    """Return two objects with vertex colours that pass through each other."""
    return scene_of(placed(bumpy(1)), placed(two_crossing(), scale=0.8))


def lit() -> Scene:
    """Return a textured metal behind a ball that casts its shadow on it."""
    generator = torch.Generator().manual_seed(0)
    color, rough = (0.2 + 0.6 * torch.rand(8, 8, channels, generator=generator) for channels in (3, 1))
    wall = placed(square(side=2.0), Ggx(Texture(color), torch.full((1,), 0.3), Texture(rough)))
    sun = Directional(torch.tensor([-0.3, -0.4, -1.0]), torch.ones(3), shadow=Shadow(0.05, 32))
    ball = placed(bumpy(1), scale=0.4)
    pose = ball.pose.clone()
    pose[:3, 3] = torch.tensor([0.1, 0.2, 0.7])
    return scene_of(wall, placed(ball.mesh, pose=pose, scale=0.4), lights={"sun": sun, "sky": Ambient()})


def image_and_gradients(scene: Scene, cameras: Cameras, edges: EdgeModel, backend: str) -> tuple[Tensor, list[Tensor]]:
    leaves: list[Tensor] = []

    def learn(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        leaves.append(tensor.clone().requires_grad_())
        return leaves[-1]

    image = render(map_tensors(scene, learn), map_tensors(cameras, learn), edges, backend=backend).rgba
    weight = torch.linspace(-1, 2, image.numel()).mul(40).sin().reshape(image.shape).to(image)
    loss = (image * weight).sum() + image.square().sum()
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
    return image.detach().cpu(), [gradient.cpu() for gradient in gradients if gradient is not None]


def image_and_tangents(scene: Scene, cameras: Cameras, edges: EdgeModel, backend: str) -> tuple[Tensor, Tensor]:
    """Return the image, and its tangents [2, ...] where all that may be learned moves in two ways."""
    generator, paths = torch.Generator().manual_seed(3), learnable_paths(scene, cameras)
    values = tuple(get_value(scene, cameras, path) for path in paths)
    moved = tuple(torch.randn(2, *value.shape, generator=generator).to(value) for value in values)

    def draw(*values: Tensor) -> Tensor:
        changed = replace_values(scene, cameras, dict(zip(paths, values, strict=True)))
        return render(*changed, edges, backend=backend).rgba

    image, tangents = torch.func.vmap(lambda *way: torch.func.jvp(draw, values, way), out_dims=(None, 0))(*moved)
    return image.cpu(), tangents.cpu()


every_scene = pytest.mark.parametrize(
    ("scene", "edges", "n_views"),
    [
        pytest.param(colored(), Antialias(), 2, id="coloured"),
        pytest.param(lit(), Antialias(), 1, id="lit", marks=pytest.mark.slow),
        pytest.param(colored(), Soft(1.5), 1, id="soft", marks=pytest.mark.slow),
    ],
)


@every_scene
def test_images_and_gradients_are_those_of_the_cpu(
    scene: Scene, edges: EdgeModel, n_views: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if INTERPRETED:
        widen(monkeypatch)
    cameras = oblique_cameras(n_views, 18)
    expected, wanted = image_and_gradients(scene, cameras, edges, "numba")
    image, gradients = image_and_gradients(scene.to(DEVICE), cameras.to(DEVICE), edges, "triton")
    assert_images_agree(image, expected, error_at_most=1e-5)
    assert len(gradients) == len(wanted) > 5
    for number, (gradient, correct) in enumerate(zip(gradients, wanted, strict=True)):
        assert correct.any()
        assert_gradients_agree(gradient, correct, what=f"leaf {number}", relative_l2_at_most=1e-3)


@every_scene
def test_tangents_are_those_of_the_cpu(
    scene: Scene, edges: EdgeModel, n_views: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if INTERPRETED:
        widen(monkeypatch)
    cameras = oblique_cameras(n_views, 18)
    expected, wanted = image_and_tangents(scene, cameras, edges, "numba")
    image, tangents = image_and_tangents(scene.to(DEVICE), cameras.to(DEVICE), edges, "triton")
    assert_images_agree(image, expected, error_at_most=1e-5)
    for tangent, correct in zip(tangents, wanted, strict=True):
        assert correct.any()
        assert_gradients_agree(tangent, correct, what="tangent", relative_l2_at_most=1e-3)


def folded(kind: str) -> Scene:
    """A box that is there twice, once turned inside out; a prism with a vertex amid an edge; an open sheet."""
    if kind == "sheet":
        return scene_of(placed(wavy_sheet(4)))
    vertices, faces = box(0.6).vertices, box(0.6).faces
    if kind == "doubled":
        faces = torch.cat([faces, faces.flip(1)])
    if kind == "inside out":
        faces = faces.flip(1)
    if kind == "prism":
        vertices = 0.4 * torch.tensor(
            [[-1.0, -1, 0], [1, -1, 0], [0, 1, 0], [0, -1, 0], [-1, -1, -1], [1, -1, -1], [0, 1, -1]]
        )
        sides = [[0, 1, 2], [0, 4, 3], [3, 4, 5], [3, 5, 1], [4, 6, 5], [0, 2, 6], [0, 6, 4], [1, 5, 6], [1, 6, 2]]
        faces = torch.tensor(sides)
    return scene_of(placed(Mesh(vertices, faces)))


@pytest.mark.parametrize("near", [1e-3, 1.4])
@pytest.mark.parametrize("kind", ["doubled", "prism", "sheet", "inside out"])
def test_segments_of_one_part_that_touches_itself_are_those_of_the_cpu(
    kind: str, near: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if INTERPRETED:
        widen(monkeypatch)
    scene, cameras = folded(kind), oblique_cameras(2, 24, distance=1.6)
    topology = gather_triangles(scene).topology
    assert topology.n_components == 1
    found = []
    for device, backend in (("cpu", "numba"), (DEVICE, "triton")):
        own = gather_triangles(scene.to(device)).topology
        verts_hom = cameras.to(device).project(scene.to(device).objects["a"].vertices_w())
        raster = rasterize(verts_hom, own.faces, 24, 24, near=near, backend=backend)
        visible = Antialias(2).visible(verts_hom, own, raster, near, backend)
        segments = visible.segments
        kept = segments.normal_px.cpu().abs().sum(1) > 0
        found.append([part.cpu()[kept] for part in segments])
    assert len(found[0][0]) > 10
    for actual, expected in zip(*found[::-1], strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
