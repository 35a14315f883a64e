"""Recorded images and gradients are those of the function itself; without a GPU tapes are stood in for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.comparators import assert_gradients_agree
from support.op_runs import Poison
from support.pictures import assert_images_agree
from support.shapes import bumpy, oblique_cameras, placed, scene_of, square
from support.stand_in_tape import StandIn
from support.triangle_soups import INTERPRETED
from support.wide_programs import widen
from torch import Tensor

from diffrender import recorded
from diffrender.errors import BackendError, ShapeError
from diffrender.list_sizes import ListSizes, SizesError, list_length
from diffrender.ops import triton_launch
from diffrender.ops.rasterize import rasterize
from diffrender.recorded import Recorded, Unwaiting
from diffrender.render.edge_model import Visible
from diffrender.render.edge_models import Antialias, Soft
from diffrender.render.render import render
from diffrender.render.scene_triangles import gather_triangles
from diffrender.scene.lights import Ambient, Directional
from diffrender.scene.materials import Ggx, Lambert
from diffrender.scene.mesh import Mesh
from diffrender.scene.parameter_paths import get_value, learnable_paths, replace_values
from diffrender.scene.quantity_kinds import map_tensors
from diffrender.scene.scene import Scene
from diffrender.scene.shadow_cameras import Shadow
from diffrender.scene.textures.texture import Texture

pytestmark = pytest.mark.skipif(not INTERPRETED and not torch.cuda.is_available(), reason="needs Triton")
DEVICE = "cpu" if INTERPRETED else "cuda"


@pytest.fixture(autouse=True)
def tapes(monkeypatch: pytest.MonkeyPatch) -> list[StandIn]:
    StandIn.made = []
    if INTERPRETED:
        widen(monkeypatch)
        monkeypatch.setattr(recorded, "tape_on", StandIn)
        monkeypatch.setattr("diffrender.list_sizes.LEAST_SPARE", 100)
    return StandIn.made


def textured() -> Scene:
    """A lit ball with a texture, of which the back is seen as well: it is not closed."""
    generator = torch.Generator().manual_seed(0)
    color, rough = (0.2 + 0.6 * torch.rand(8, 8, channels, generator=generator) for channels in (3, 1))
    sheet = placed(square(side=2.0), Ggx(Texture(color), torch.full((1,), 0.3), Texture(rough)))
    return scene_of(sheet, lights={"sun": Directional(torch.tensor([-0.3, -0.4, -1.0]), torch.ones(3))})


SCENES = {
    "colored": (scene_of(placed(bumpy(1))), Antialias()),
    "lit": (scene_of(placed(bumpy(1), Lambert()), lights={"sky": Ambient(), "sun": Directional()}), Antialias(2)),
    "textured": (textured(), Antialias(2)),
    "soft": (scene_of(placed(bumpy(1))), Soft(1.5)),
}


SLOW = ("lit", "soft")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in SCENES]
)
def test_images_and_gradients_are_those_of_the_function(name: str, poisoned_memory: Poison) -> None:
    scene, edges = SCENES[name]
    scene, cameras = scene.to(DEVICE), oblique_cameras(2, 18).to(DEVICE)
    paths = learnable_paths(scene, cameras)
    values = [get_value(scene, cameras, path) for path in paths]

    def draw(*values: Tensor) -> Tensor:
        changed = replace_values(scene, cameras, dict(zip(paths, values, strict=True)))
        return render(*changed, edges, backend="triton").rgba

    weight = torch.linspace(-1, 2, 2 * 18 * 18 * 4).mul(40).sin().reshape(2, 18, 18, 4).to(DEVICE)
    replayed = Recorded(draw)
    for scale in (1.0, 0.93):
        results = []
        for function in (draw, replayed):
            leaves = [
                (scale * value if "vertices" in path else value.clone())
                for path, value in zip(paths, values, strict=True)
            ]
            leaves = [leaf.requires_grad_() for leaf in leaves]
            with poisoned_memory():
                image = function(*leaves)
                grads = torch.autograd.grad(image, leaves, weight, allow_unused=True)
            results.append((image.detach().cpu(), grads))
        (expected, wanted), (image, gradients) = results
        assert_images_agree(image, expected, error_at_most=1e-6)
        for path, gradient, correct in zip(paths, gradients, wanted, strict=True):
            assert (gradient is None) == (correct is None)
            if correct is not None and bool(correct.any()):
                assert_gradients_agree(gradient.cpu(), correct.cpu(), what=path, relative_l2_at_most=1e-5)


class Watched(Unwaiting):
    """Watches all tensors but those of Triton's interpreter, which is none of a GPU's business."""

    is_interpreting = False

    def is_watched(self, tensor: Tensor) -> bool:
        return not self.is_interpreting


@pytest.mark.skipif(not INTERPRETED, reason="a GPU that records would refuse")
@pytest.mark.parametrize("name", ["colored", "lit", "textured"])  # a blur's weights are numbers of the host's
def test_nothing_waits_for_the_device_where_lists_are_kept(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, edges = SCENES[name]
    cameras, sizes, watched = oblique_cameras(1, 12), ListSizes(), Watched()
    start = triton_launch._start

    def interpret(*arguments: Any) -> None:
        watched.is_interpreting = True
        start(*arguments)
        watched.is_interpreting = False

    monkeypatch.setattr(triton_launch, "_start", interpret)
    scene = map_tensors(scene, lambda each: each.clone().requires_grad_() if each.is_floating_point() else each)

    def draw() -> Tensor:
        mesh = scene.objects["a"].mesh
        mesh = Mesh(mesh.vertices, mesh.faces) if mesh.uvs is None else mesh.with_vertices(mesh.vertices)
        made = replace(scene.objects["a"], mesh=mesh)
        return render(replace(scene, objects={"a": made}), cameras, edges, backend="triton").rgba

    with sizes.found():
        draw()
    with sizes.kept(), watched:
        draw().sum().backward()


@pytest.mark.parametrize(
    ("ask", "name"),
    [
        (lambda values: bool(values.sum() > 0), "_local_scalar_dense"),
        (lambda values: values[values > 0], "index"),
        (lambda values: torch.nonzero(values), "nonzero"),
        (lambda values: torch.equal(values, values + 0), "equal"),
        (lambda values: values.to("meta"), "_to_copy"),
    ],
)
def test_what_waits_is_told(ask: Callable[[Tensor], object], name: str) -> None:
    with pytest.raises(SizesError, match=f"waits for the device, by {name}"), Watched():
        ask(torch.arange(3.0))


def test_what_does_not_wait_is_done() -> None:
    values = torch.arange(3.0)
    with Watched():
        values[values > 1] = 0
        values = values.double().index_add(0, torch.arange(3), torch.ones(3, dtype=torch.float64))
    assert values.tolist() == [1, 2, 1]


def positive_sum(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of those above 0, by a list of them, and how many there are."""
    count = (values > 0).sum()[None]
    return values.clamp_min(0).sort(descending=True).values[: list_length(count)].sum(), count


@pytest.mark.skipif(not INTERPRETED, reason="a sum over a list of another length is another recording")
def test_what_outgrows_its_lists_is_recorded_again(tapes: list[StandIn], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffrender.list_sizes.LEAST_SPARE", 0)
    replayed, values = Recorded(positive_sum), torch.linspace(-1.0003, 3, 4000)
    for shift, n_tapes in ((-2.9, 1), (-3.0, 1), (1.0, 2), (-2.9, 2), (0.5, 2)):
        own = (values + shift).requires_grad_()
        total, count = replayed(own)
        assert total.item() == pytest.approx(own.clamp_min(0).sum().item()) and int(count) == int((own > 0).sum())
        assert total.requires_grad and not count.requires_grad and len(tapes) == replayed.tapes == n_tapes
        (gradient,) = torch.autograd.grad(total, own)
        assert torch.equal(gradient, (own > 0).to(own))
    assert tapes[1].former is tapes[0]


def test_gradients_are_taken_once_and_before_the_next_call() -> None:
    replayed, values = Recorded(positive_sum), torch.linspace(-1, 3, 400, device=DEVICE).requires_grad_()
    first = replayed(values)[0]
    second = replayed(values)[0]
    with pytest.raises(BackendError, match="before the next call"):
        first.backward()
    second.backward(retain_graph=True)
    with pytest.raises(BackendError, match="once per call"):
        second.backward()
    with pytest.raises(ShapeError, match="as at the first call"):
        replayed(values[1:])


@pytest.mark.parametrize(
    ("scene", "why"),
    [
        (scene_of(placed(bumpy(1)), placed(bumpy(1), scale=0.5)), "parts of a scene"),
        (scene_of(placed(bumpy(1), Lambert()), lights={"sun": Directional(shadow=Shadow(0.05, 24))}), "shadow maps"),
    ],
)
def test_what_cannot_be_recorded_is_told(scene: Scene, why: str) -> None:
    scene, cameras = scene.to(DEVICE), oblique_cameras(1, 12).to(DEVICE)
    replayed = Recorded(lambda color: render(scene, cameras, backend="triton").rgba * color)
    with pytest.raises(SizesError, match=why):
        replayed(torch.ones((), device=DEVICE))


@pytest.mark.skipif(not INTERPRETED, reason="on a GPU memory beyond a list may be another list")
def test_each_list_that_is_too_short_is_told_and_written_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffrender.list_sizes.LEAST_SPARE", 0)
    # A ball in front of itself: a bumpy one hides parts of its own silhouettes.
    geometry = gather_triangles(scene_of(placed(bumpy(2))))
    verts_hom, topology = oblique_cameras(1, 16).project(geometry.verts_w), geometry.topology
    sizes = ListSizes()

    def look() -> Visible:
        raster = rasterize(verts_hom, topology.faces, 16, 16, backend="triton")
        return Antialias(2).visible(verts_hom, topology, raster, 1e-3, "triton")

    with sizes.found():
        look()
    found = list(sizes._lengths)
    assert len(found) == 7 and min(found) > 1
    for number in range(len(found)):
        sizes._lengths = [1 if n == number else length for n, length in enumerate(found)]
        sizes._limits = torch.tensor(sizes._lengths)
        with sizes.kept():
            visible = look()
        assert bool(sizes.overflow)
        n_segments = len(visible.segments.pixel)
        assert bool((visible.outside.segment <= n_segments).all() & (visible.outside.segment >= 0).all())


def test_on_a_cpu_the_function_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "tape_on", recorded._CudaTape)
    replayed = Recorded(positive_sum)
    total, _ = replayed(torch.linspace(-1, 3, 5))
    assert float(total) == 6 and replayed.calls == 0
