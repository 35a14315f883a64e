from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.fit_fakes import blob_cameras, blob_scene, blob_views, render_blob

from diffrender.fit.best_state import INTERVALS, MOST_VIEWS, WORSE_BY, BestState
from diffrender.fit.checkpoint import load_checkpoint, save_checkpoint
from diffrender.fit.loop import FitResult, FitSettings, fit
from diffrender.fit.losses import IMAGE_LOSSES, MASK_LOSSES
from diffrender.fit.model import SceneModel
from diffrender.fit.objective import Objective, Term
from diffrender.fit.optimizer.fit_optimizer import FitOptimizer, ParamSettings

OBJECTIVE = Objective((Term("image", 1.0, IMAGE_LOSSES["l1"]()), Term("mask", 1.0, MASK_LOSSES["mask_iou"]())))
COLOR = "material.base_color"


def problem(lr: float, steps: int = 20, n_views: int = 5) -> tuple[SceneModel, FitOptimizer, BestState, object]:
    """A blob whose colour differs from its targets."""
    scene, cameras = blob_scene(), blob_cameras(n_views)
    views = blob_views(scene, cameras)
    ball = scene.objects["ball"]
    ball = replace(ball, material=type(ball.material)(torch.tensor([0.21, 0.5, 0.7])))
    model = SceneModel(replace(scene, objects={"ball": ball}), cameras, {COLOR: None})
    best = BestState(model, views, OBJECTIVE, render_blob, steps)
    return model, FitOptimizer(model, {COLOR: ParamSettings(lr)}, steps), best, views


def run(lr: float, steps: int = 20) -> tuple[FitResult, SceneModel]:
    model, optimizer, best, views = problem(lr, steps)
    settings = FitSettings(steps, 2)
    return fit(model, views, OBJECTIVE, optimizer, settings, lambda *a: render_blob(*a[:2]), best=best), model


def test_a_fit_that_ends_worse_returns_its_best_state() -> None:
    result, model = run(lr=3.0)
    values = dict(result.objectives)
    assert sorted(values) == [round(i * 20 / INTERVALS) for i in range(INTERVALS + 1)]
    assert values[result.returned_step] == min(values.values()) < values[20] / (1 + WORSE_BY)
    assert result.steps_done == 20 and result.returned_step < 20
    # The state is the one that was rated, and the model is left where the fit ended, so that it can go on from there.
    fresh, _, _, views = problem(1.0)
    rated = BestState(fresh, views, OBJECTIVE, lambda *_: render_blob(result.scene, result.cameras), 1)
    rated.check_due(0)
    assert rated.objectives[0][1] == pytest.approx(values[result.returned_step], rel=1e-6)
    last = model.snapshot()[0].objects["ball"].material.base_color
    assert not torch.equal(last, result.scene.objects["ball"].material.base_color)


def test_a_sound_fit_returns_its_last_state() -> None:
    result, model = run(lr=0.001)
    assert result.returned_step == result.steps_done == 20
    last = model.snapshot()[0].objects["ball"].material.base_color
    assert torch.equal(result.scene.objects["ball"].material.base_color, last)
    assert result.objectives[-1][1] < result.objectives[0][1]


def test_small_rises_at_the_end_are_no_reason_to_go_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for last, returned in ((1.1, 20), (1.2, 2), (float("inf"), 2)):
        values = iter([3.0, 1.0, *[1.05] * 8, last])
        monkeypatch.setattr(BestState, "_evaluate", lambda self, values=values: next(values))
        assert run(lr=0.001)[0].returned_step == returned


def test_the_best_state_survives_a_checkpoint(tmp_path) -> None:
    model, optimizer, best, _ = problem(0.001)
    best.check_due(0)
    kept = best.latents[f"objects.ball.{COLOR}"].clone()
    with torch.no_grad():
        next(iter(model.latents.values())).add_(2)
    best.check_due(2)
    save_checkpoint(tmp_path / "a.pt", model, optimizer, 2, best)
    model, optimizer, best, _ = problem(0.001)
    assert load_checkpoint(tmp_path / "a.pt", model, optimizer, best) == 2
    assert [steps for steps, _ in best.objectives] == [0, 2] and best.steps_done == 0
    assert torch.equal(best.latents[f"objects.ball.{COLOR}"], kept)
    assert best.returned(2).steps == 0


def test_few_views_are_rendered() -> None:
    rendered = []
    model, _, _, views = problem(1.0, n_views=3 * MOST_VIEWS)

    def render(scene, cameras):
        rendered.append(len(cameras))
        return render_blob(scene, cameras)

    BestState(model, views, OBJECTIVE, render, 10).check_due(0)
    assert rendered == [MOST_VIEWS]


def test_states_are_checked_where_asked_in_the_last_tenth() -> None:
    model, _, _, views = problem(1.0)
    best = BestState(model, views, OBJECTIVE, render_blob, 40, also=[21, 38])
    for steps_done in (21, 36, 38, 39):
        best.check_due(steps_done)
    assert [steps for steps, _ in best.objectives] == [36, 38]
