from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest
import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.geometry.primitives import icosphere
from diffrender.ops import differentiable
from diffrender.ops.backend import implementation
from diffrender.render.edge_models.hard import Hard
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.environment.env_map import EnvMap
from diffrender.scene.light import Light, PunctualLight
from diffrender.scene.lights.ambient import Ambient
from diffrender.scene.lights.environment import Environment
from diffrender.scene.lights.monte_carlo import MonteCarloEnvironment, with_monte_carlo
from diffrender.scene.material import Material
from diffrender.scene.materials.ggx import Ggx
from diffrender.scene.materials.lambert import Lambert
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene

MATERIALS: dict[str, Material] = {
    "lambert": Lambert(torch.tensor([0.8, 0.4, 0.2])),
    "plastic": Ggx(torch.tensor([0.8, 0.4, 0.2]), torch.zeros(1), torch.tensor([0.4])),
    "dull metal": Ggx(torch.tensor([0.8, 0.4, 0.2]), torch.ones(1), torch.tensor([0.6])),
}


class OneByOne(Environment):
    """An environment that shades every texel separately."""

    shade = PunctualLight.shade

    def prepared(self) -> OneByOne:
        return self


def image_of(light: Light, material: Material, size: int = 24) -> Tensor:
    ball = icosphere(3)
    scene = Scene({"ball": Object(Mesh(ball.vertices, ball.faces), material)}, {"sky": light})
    camera = Cameras.perspective(torch.tensor([[1.0, 0.8, 2.5]]), fov_deg=45, height=size, width=size)
    return render(scene, camera, Hard()).image[0, ..., :3]


def random_map(height: int = 32, frame: str = "world") -> Environment:
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(3, 4, 8, generator=generator) ** 3 * 3
    smooth = torch.nn.functional.interpolate(coarse[None], (height, 2 * height), mode="bicubic")[0]
    texels = smooth.permute(1, 2, 0).clamp_min(0.01).contiguous()
    texels[height // 4, height // 2] += 40
    return Environment(EnvMap(texels), torch.tensor([0.3, 1.0, -0.2]), frame)


@pytest.mark.parametrize("frame", ["world", "camera"])
@pytest.mark.parametrize("material", MATERIALS)
def test_drawn_directions_tell_the_sum_over_all_texels(material: str, frame: str) -> None:
    sky = random_map(frame=frame)
    truth = image_of(OneByOne(sky.radiance, sky.rotation, frame), MATERIALS[material])
    found = image_of(MonteCarloEnvironment(sky, 400), MATERIALS[material])
    seen = truth.amax(2) > 0
    assert (found - truth)[seen].norm() < 0.07 * truth[seen].norm()
    assert float(found.sum() / truth.sum()) == pytest.approx(1, abs=0.005)


def test_a_smooth_dielectric_under_a_white_sky_reflects_what_it_gets() -> None:
    material = Ggx(torch.ones(3), torch.zeros(1), torch.tensor([0.1]))
    image = image_of(MonteCarloEnvironment(Environment(EnvMap(torch.ones(16, 32, 3))), 300), material)
    seen = image.amax(2) > 0
    assert image[seen].mean() == pytest.approx(1, abs=0.005)
    assert image[seen].std() < 0.05


def test_noise_falls_with_the_samples_and_is_the_same_each_time() -> None:
    sky, material = random_map(), MATERIALS["plastic"]
    truth = image_of(MonteCarloEnvironment(sky, 900), material)
    errors = [float((image_of(MonteCarloEnvironment(sky, samples), material) - truth).norm()) for samples in (12, 120)]
    assert errors[1] < 0.5 * errors[0]
    assert torch.equal(
        image_of(MonteCarloEnvironment(sky, 12), material), image_of(MonteCarloEnvironment(sky, 12), material)
    )


def test_a_single_bright_texel_among_black_ones_is_found() -> None:
    texels = torch.zeros(64, 128, 3)
    texels[10, 40] = 1e4
    sky = Environment(EnvMap(texels))
    truth = image_of(OneByOne(sky.radiance), MATERIALS["lambert"])
    found = image_of(MonteCarloEnvironment(sky, 30), MATERIALS["lambert"])
    assert float(found.sum() / truth.sum()) == pytest.approx(1, abs=0.01)


def test_what_is_outside_the_image_and_what_is_no_environment() -> None:
    ball = icosphere(1)
    away = Cameras.perspective(torch.tensor([[0.0, 0.0, 3.0]]), (0.0, 0.0, 6.0), height=8, width=8)
    scene = Scene({"ball": Object(Mesh(*ball), MATERIALS["plastic"])}, {"sky": with_monte_carlo(random_map(), 6)})
    assert not render(scene, away).image.any()
    ambient = Ambient(torch.ones(3))
    assert with_monte_carlo(ambient, 6) is ambient


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ShapeError, match="samples must be at least 3, got 2"):
        MonteCarloEnvironment(random_map(), 2)


def test_it_runs_on_the_backend_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[str] = []

    def spy(op: str, device: torch.device, backend: str | None) -> tuple[str, ModuleType]:
        chosen.append(implementation(op, device, backend)[0])
        return implementation(op, device, backend)

    monkeypatch.setattr(differentiable, "implementation", spy)
    ball = icosphere(1)
    scene = Scene({"ball": Object(Mesh(ball.vertices, ball.faces), MATERIALS["plastic"])})
    scene = replace(scene, lights={"sky": MonteCarloEnvironment(random_map(), 8)})
    camera = Cameras.perspective(torch.tensor([[1.0, 0.8, 2.5]]), height=8, width=8)
    render(scene, camera, Hard(), backend="reference")
    assert chosen and set(chosen) == {"reference"}
