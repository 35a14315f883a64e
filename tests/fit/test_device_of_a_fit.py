"""A fit makes every tensor on the device of its scene, whatever PyTorch's default device is."""

from __future__ import annotations

import pytest
import torch
from support.tiny_fit import built

from diffrender.app.uncertainty import find_covariance, find_deviations, find_posterior
from diffrender.fit.loop import fit
from diffrender.fit.optimizer import levenberg_marquardt
from diffrender.fit.regularizers import REGULARIZERS

SCENE = """
mesh: {subdivisions: 1}
material:
  type: ggx
  base_color: {texture: 0.4, resolution: 16, unwrap: true}
  roughness: {texture: 0.5, resolution: 16, unwrap: true}
  metallic: 0.1
lights:
  - {name: sun, type: directional, direction: [-1, -1, -1], shadow: {resolution: 32}}
  - {name: sky, type: environment, resolution: 16}
loss:
  image: pyramid
"""
LEARNED = """
optimize:
  steps: 2
  batch_size: 2
  material.base_color:
  material.roughness:
  pose:
  cameras.pose:
  cameras.exposure:
  lights.sky.radiance:
  lights.sun.direction:
"""


SQUARES = """
mesh: {init: bumpy, subdivisions: 1}
pose: {translation: [0.05, 0, 0]}
optimize: {method: levenberg_marquardt, steps: 1, pose: {}, background: {}}
loss: {mask: null}
"""


@pytest.mark.parametrize("shape", ["large_steps", "identity", "remeshed"])
def test_no_tensor_is_made_on_the_default_device(shape: str) -> None:
    names = [name for name in REGULARIZERS if name != "arap" or shape != "remeshed"]
    method = "remesh: [1]" if shape == "remeshed" else f"method: {shape}"
    weights = "".join(f"  {name}: 0.01\n" for name in names)
    setup = built(f"{SCENE}{weights}{LEARNED}  mesh.vertices: {{{method}}}\n")
    assert set(names) < {term.name for term in setup.objective.terms}
    with torch.device("meta"):
        result = fit(setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step)
    assert result.stop_reason == "finished"


@pytest.mark.parametrize("most_of_matrix", [1000, 0], ids=["jacobian", "products"])
def test_nor_in_one_by_levenberg_marquardt(most_of_matrix: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levenberg_marquardt, "MOST_OF_MATRIX", most_of_matrix)
    setup = built(SQUARES)
    with torch.device("meta"):
        result = fit(setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step)
        posterior = find_posterior(setup, result)
        deviations, covariance = find_deviations(posterior), find_covariance(posterior)
    assert (result.stop_reason, result.steps_done) == ("finished", 1)
    assert len(deviations) == len(covariance) == 2
