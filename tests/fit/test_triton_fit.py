"""A whole fit on Triton's kernels ends like one on the CPU's; without a GPU through Triton's interpreter."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.stand_in_tape import StandIn
from support.tiny_fit import TARGETS
from support.triangle_soups import INTERPRETED
from support.wide_programs import widen

from diffrender import recorded
from diffrender.config.load import parse_config
from diffrender.fit.loop import FitResult, fit
from diffrender.fit.optimizer import levenberg_marquardt
from diffrender.ops import backend
from diffrender.setup.fit_setup import FitSetup, build_fit

pytestmark = pytest.mark.skipif(not INTERPRETED and not torch.cuda.is_available(), reason="needs Triton")
SCENE = f"""
{TARGETS}
mesh: {{subdivisions: 1}}
optimize:
  steps: 3
  batch_size: 2
  mesh.vertices: {{method: identity, lr: 0.01}}
  material.base_color: 0.05
"""
SQUARES = """
targets:
  resolution: 16
  test_every: null
  synthetic: {mesh: {init: bumpy, subdivisions: 1}, views: 2, samples: 2, background: [0, 0, 0.5]}
mesh: {init: bumpy, subdivisions: 1}
material: {type: unlit, base_color: own}
pose: {translation: [0.05, 0, 0]}
optimize: {method: levenberg_marquardt, steps: 2, pose: {}, background: {}}
loss: {mask: null}
"""


def setup_of(scene: str, device: str) -> FitSetup:
    return build_fit(parse_config(f"device: {device}\n{scene}", Path()))


def on_triton(scene: str, patch: pytest.MonkeyPatch) -> FitSetup:
    """Return the setup of a fit on Triton's kernels."""
    setup = setup_of(scene, "cpu" if INTERPRETED else "cuda")
    if INTERPRETED:
        widen(patch)
        patch.setitem(backend._DEFAULTS, "cpu", "triton")
    assert backend.choose_backend(setup.device) == "triton"
    return setup


def run(setup: FitSetup) -> FitResult:
    parts = (setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step)
    return fit(*parts, edges_at=setup.edges.at)


def test_a_whole_fit_ends_like_that_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(setup_of(SCENE, "cpu")).scene.objects["object"]
    if INTERPRETED:
        monkeypatch.setattr(recorded, "tape_on", StandIn)
    result = run(on_triton(SCENE, monkeypatch))
    assert (result.stop_reason, result.steps_done) == ("finished", 3)
    # All steps are alike: the first is looked at, the others are replayed.
    assert (result.replayed_steps, result.not_recorded) == (2, None)
    found = result.scene.objects["object"]
    torch.testing.assert_close(found.mesh.vertices.cpu(), expected.mesh.vertices, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.material.base_color.cpu(), expected.material.base_color, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    "most_of_matrix",
    [pytest.param(1000, id="jacobian"), pytest.param(0, id="products", marks=pytest.mark.slow)],
)
def test_levenberg_marquardt_ends_as_on_the_cpu(most_of_matrix: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levenberg_marquardt, "MOST_OF_MATRIX", most_of_matrix)
    expected = run(setup_of(SQUARES, "cpu")).scene
    result = run(on_triton(SQUARES, monkeypatch))
    assert (result.stop_reason, result.steps_done) == ("finished", 2)
    pose, wanted = result.scene.objects["object"].pose.cpu(), expected.objects["object"].pose
    assert float(wanted[0, 3]) < 0.03  # of .05, towards the 0 of the pictures
    torch.testing.assert_close(pose, wanted, rtol=0, atol=1e-4)
    torch.testing.assert_close(result.scene.background.cpu(), expected.background, rtol=0, atol=1e-4)
