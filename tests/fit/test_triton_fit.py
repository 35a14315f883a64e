"""A whole fit on Triton's kernels ends like one on the CPU's; without a GPU through Triton's interpreter."""

from __future__ import annotations

import pytest
import torch
from support.tiny_fit import built
from support.triangle_soups import INTERPRETED
from support.wide_programs import widen

from diffrender.fit.loop import FitResult, fit
from diffrender.ops import backend
from diffrender.setup.fit_setup import FitSetup

SCENE = """
mesh: {subdivisions: 1}
optimize:
  steps: 3
  batch_size: 2
  mesh.vertices: {method: identity, lr: 0.01}
  material.base_color: 0.05
"""


def run(setup: FitSetup) -> FitResult:
    return fit(setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step)


@pytest.mark.skipif(not INTERPRETED and not torch.cuda.is_available(), reason="needs Triton")
def test_a_whole_fit_ends_like_that_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(built(f"device: cpu\n{SCENE}")).scene.objects["object"]
    setup = built(f"device: {'cpu' if INTERPRETED else 'cuda'}\n{SCENE}")
    if INTERPRETED:
        widen(monkeypatch)
        monkeypatch.setitem(backend._DEFAULTS, "cpu", "triton")
    assert backend.choose_backend(setup.device) == "triton"
    result = run(setup)
    assert (result.stop_reason, result.steps_done) == ("finished", 3)
    found = result.scene.objects["object"]
    torch.testing.assert_close(found.mesh.vertices.cpu(), expected.mesh.vertices, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.material.base_color.cpu(), expected.material.base_color, rtol=0, atol=1e-3)
