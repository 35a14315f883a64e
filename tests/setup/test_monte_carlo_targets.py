"""Patterns, Monte Carlo targets, and relighting under lights that the fit never sees."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffrender.config.load import parse_config
from diffrender.config.resolved import format_resolved
from diffrender.errors import ConfigError
from diffrender.scene.textures.texture import Texture
from diffrender.setup.fit_setup import build_fit

SCENE = """
targets:
  resolution: 16
  synthetic:
    views: 4
    samples: 1
    mesh: {init: bumpy, subdivisions: 2}
    material:
      type: ggx
      base_color: {texture: {between: [[0.8, 0.2, 0.1], 0.1], size: 0.5, seed: 4}, resolution: 32}
      roughness: {texture: {between: [0.2, 0.7]}, resolution: 32}
    lights: [{name: sky, type: environment, radiance: 2}]
"""


def built(text: str):
    return build_fit(parse_config(text, Path()))


def target_material(setup):
    return setup.target_scene.objects["object"].material


def test_a_pattern_reaches_both_values_and_stays_between_them() -> None:
    material = target_material(built(SCENE))
    assert isinstance(material.roughness, Texture) and material.roughness.texels.shape == (32, 32, 1)
    for texels, low, high in ((material.roughness.texels, 0.2, 0.7), (material.base_color.texels[:, :, 0], 0.1, 0.8)):
        span = high - low
        assert low <= float(texels.min()) < low + 0.1 * span
        assert high - 0.1 * span < float(texels.max()) <= high
    again = target_material(built(SCENE))
    other = target_material(built(SCENE.replace("seed: 4", "seed: 5")))
    assert torch.equal(again.base_color.texels, material.base_color.texels)
    assert not torch.equal(other.base_color.texels, material.base_color.texels)


def test_a_pattern_can_be_a_start_and_its_file_can_be_read_again() -> None:
    text = SCENE + "material: {type: ggx, roughness: {texture: {between: [0.2, 0.7]}, resolution: 8}}\n"
    setup = built(text + "optimize: {steps: 1, material.roughness: {}}\n")
    resolved = format_resolved(setup.config)
    assert format_resolved(built(resolved).config) == resolved


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("{between: [0.2, 1.7]}", "between"),
        ("{between: 0.2}", "between"),
        ("{betwen: [0.2, 0.7]}", "between"),
        ("{between: [0.2, 0.7], size: 0}", "size"),
    ],
)
def test_wrong_patterns_are_refused(wrong: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        built(SCENE.replace("{between: [0.2, 0.7]}", wrong))


def test_targets_by_drawn_light_are_those_of_means_but_for_noise() -> None:
    plain, drawn = (
        built(SCENE.replace("samples: 1\n", f"samples: 1\n{extra}")) for extra in ("", "    light_samples: 300\n")
    )
    first, second = plain.fit_views.images, drawn.fit_views.images
    assert not torch.equal(first, second)
    assert (first - second).norm() < 0.1 * first.norm()


def test_unseen_light_is_kept_apart() -> None:
    relight = "    relight: [{name: other, type: directional, radiance: 3}]\n"
    setup = built(SCENE.replace("    samples: 1\n", "    samples: 1\n" + relight))
    assert built(SCENE).relit is None
    assert setup.relit is not None and list(setup.relit.lights) == ["other"]
    assert setup.heldout_views is not None
    assert torch.equal(setup.relit.views.cameras.cam_from_world, setup.heldout_views.cameras.cam_from_world)
    assert not torch.equal(setup.relit.views.images, setup.heldout_views.images)
    assert list(setup.scene.lights) != ["other"] and setup.target_scene is not None
    assert list(setup.target_scene.lights) == ["sky"]
