"""A fit makes every tensor on the device of its scene, whatever PyTorch's default device is."""

from __future__ import annotations

import pytest
import torch
from support.tiny_fit import built

from diffrender.fit.loop import fit
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
