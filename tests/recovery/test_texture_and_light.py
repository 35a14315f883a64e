"""scenes/texture_and_light.yaml at a small size: shape, material and light all get closer to the target's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffrender.app.evaluation import Evaluation, Evaluator
from diffrender.config.load import load_config
from diffrender.evaluate.materials import MaterialReport
from diffrender.fit.loop import fit
from diffrender.setup.fit_setup import build_fit
from diffrender.threads import threads_to_kernels

pytestmark = pytest.mark.slow

SCENE = Path(__file__).parents[2] / "scenes" / "texture_and_light.yaml"
SMALL = (
    "targets.resolution=48",
    "targets.synthetic.views=10",
    "targets.synthetic.samples=2",
    "targets.synthetic.light_samples=8",
    *(f"material.{name}.resolution=64" for name in ("base_color", "roughness", "metallic")),
    "lights.sky.resolution=16",
    "optimize.steps=50",
)


def relight_db(material: MaterialReport) -> float:
    assert material.relight is not None
    return material.relight["psnr_masked_db"]


def test_shape_material_and_light_are_found_together() -> None:
    with threads_to_kernels(2):
        setup = build_fit(load_config(SCENE, SMALL))
        evaluator = Evaluator(setup)
        before = evaluator.evaluate(setup.scene, setup.fit_views.cameras)
        result = fit(
            setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step
        )  # fmt: skip
        after = evaluator.evaluate(result.scene, result.cameras)
    assert result.stop_reason == "finished"
    _check(before, after)
    start, end = (scene.objects["object"] for scene in (setup.scene, result.scene))
    # Unwrapped again after the last remeshing, with the material in textures, not at vertices.
    assert setup.config.optimize.parameters()["mesh.vertices"].remesh.unwrap
    assert start.mesh.uvs is not None and end.mesh.uvs is not None and start.mesh.uvs.shape != end.mesh.uvs.shape
    for name in ("base_color", "roughness", "metallic"):
        texels = getattr(end.material, name).texels
        assert texels.shape[:2] == (64, 64) and float(texels.std()) > 0.01
    # The studio is lit from above.
    sky = result.scene.lights["sky"].radiance.texels  # type: ignore[attr-defined]
    assert float(torch.log(sky[:4].mean() / sky[-4:].mean())) > 0.5


def _check(before: Evaluation, after: Evaluation) -> None:
    gain = {name: after.scores["heldout"][name] - before.scores["heldout"][name] for name in after.scores["heldout"]}
    assert gain["psnr_masked_db"] > 6 and gain["mask_iou"] > 0
    assert before.material is not None and after.material is not None
    assert after.material.base_color_psnr_db > before.material.base_color_psnr_db + 2.5
    assert relight_db(after.material) > relight_db(before.material) + 2
    assert after.geometry.as_json()["rms_to_target"] < 0.6 * before.geometry.as_json()["rms_to_target"]
