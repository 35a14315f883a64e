import math

import pytest
import torch

from diffrender.config.load import parse_config
from diffrender.config.scene_dependent_defaults import NORMAL_CONSISTENCY_OF_REMESHED
from diffrender.errors import ConfigError
from diffrender.setup.fit_setup import build_fit

SCENE = """
targets:
  resolution: 24
  test_every: null
  synthetic: {mesh: {init: box, size: [1, 2, 4]}, normalize: true, grid: [3, 2], radius: 10, fov_deg: 11.48, samples: 2}
mesh: {init: sphere, subdivisions: 1, radius: 0.5}
optimize: {steps: 2, mesh.vertices: 0.01}
loss: {image: null, normal: 1, mask: {type: l1, weight: 0.3}}
"""


def test_normals_and_coverage_alone_are_fitted(tmp_path):
    setup = build_fit(parse_config(SCENE, tmp_path))
    views = setup.fit_views
    assert set(views.aovs) == {"normal"}
    output = setup.render_step(setup.scene, views.cameras, 0)
    assert output.aovs == ("normal",)
    assert setup.render_views(setup.scene, views.cameras).aovs == ("color",)
    assert [term.name for term in setup.objective.terms] == ["mask", "normal", "normal_consistency"]


def test_remeshed_shapes_are_as_smooth_as_in_light(tmp_path):
    setup = build_fit(parse_config(SCENE.replace("vertices: 0.01", "vertices: {remesh: continuous}"), tmp_path))
    assert setup.objective.terms[2].weight == NORMAL_CONSISTENCY_OF_REMESHED


def test_targets_are_centred_and_fill_the_unit_sphere(tmp_path):
    text = SCENE.replace("size: [1, 2, 4]}", "size: [1, 2, 4]}, pose: {translation: [5, 6, 7]}")
    views = build_fit(parse_config(text, tmp_path)).fit_views
    plain = build_fit(parse_config(SCENE, tmp_path)).fit_views
    torch.testing.assert_close(views.masks, plain.masks, rtol=0, atol=0.02)
    # Seen face on, the visible sides span half of 2 and 4 divided by half the diagonal, sqrt(21) / 2.
    front = plain.cameras.positions_w()[:, :2].abs().sum(1).argmin()
    assert plain.masks[front].mean() > 0.05


def test_cameras_stand_on_a_grid_without_poles(tmp_path):
    eyes = build_fit(parse_config(SCENE, tmp_path)).fit_views.cameras.positions_w()
    assert len(eyes) == 6
    torch.testing.assert_close(eyes.norm(dim=1), torch.full((6,), 10.0))
    heights = torch.tensor([10 * math.cos(math.radians(polar)) for polar in (60, 120)])
    torch.testing.assert_close(eyes[:, 1], heights.repeat_interleave(3), rtol=0, atol=1e-4)


@pytest.mark.parametrize("text", ["loss: {normal: l7}", "loss: {depth: {type: l1, space: srgb}}"])
def test_wrong_costs_are_refused(text, tmp_path):
    with pytest.raises(ConfigError, match="loss"):
        parse_config("targets: {synthetic: {mesh: {init: box}}}\n" + text, tmp_path)
