"""Recovery of the rotation of a known environment map from pictures of what it lights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffrender.config.load import parse_config
from diffrender.fit.loop import fit
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.setup.fit_setup import build_fit

pytestmark = pytest.mark.slow

SKY = Path(__file__).parents[2] / "scenes" / "skies" / "evening.hdr"
AXIS, DEGREES = (0.2, 1.0, 0.1), 35.0
SCENE = """
targets:
  resolution: 32
  test_every: null
  synthetic:
    mesh: &shape {init: bumpy, subdivisions: 3}
    material: &paint MATERIAL
    lights: [{type: environment, radiance: SKY, rotation: {axis: [0.2, 1, 0.1], degrees: 35}}]
    views: 4
    samples: 2
    light_samples: TRUTH
mesh: *shape
material: *paint
lights: [{type: environment, radiance: SKY}]
optimize:
  steps: 80
  mesh.vertices: off
  material.base_color: off
  lights.environment.rotation: {lr: 0.05, schedule: cosine}
"""


@pytest.mark.parametrize(
    ("material", "truth"),
    [("{type: lambert, base_color: 0.7}", "null"), ("{type: ggx, roughness: 0.4, metallic: 0.5}", "200")],
)
def test_a_turned_environment_is_found_within_a_degree(material: str, truth: str) -> None:
    """The second target is rendered with light samples, unlike the prefiltered environment of the fit."""
    text = SCENE.replace("MATERIAL", material).replace("SKY", str(SKY)).replace("TRUTH", truth)
    setup = build_fit(parse_config(text, Path()))
    result = fit(setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step)
    axis = torch.nn.functional.normalize(torch.tensor(AXIS), dim=0)
    wanted = axis_angle_to_matrix(axis * torch.deg2rad(torch.tensor(DEGREES)))
    turn = axis_angle_to_matrix(result.scene.lights["environment"].rotation) @ wanted.T  # type: ignore[attr-defined]
    assert float(torch.rad2deg(((turn.trace() - 1) / 2).clamp(-1, 1).acos())) < 1
