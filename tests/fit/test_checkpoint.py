import pytest
import torch
from support.fit_fakes import blob_cameras, blob_scene, blob_views, render_blob

from diffrender.errors import DataError, FitError
from diffrender.fit.checkpoint import load_checkpoint, save_checkpoint
from diffrender.fit.loop import FitSettings, fit
from diffrender.fit.losses import IMAGE_LOSSES
from diffrender.fit.model import SceneModel
from diffrender.fit.objective import Objective, Term
from diffrender.fit.optimizer.fit_optimizer import FitOptimizer, ParamSettings
from diffrender.fit.optimizer.schedules import Cosine

OBJECTIVE = Objective((Term("image", 1.0, IMAGE_LOSSES["l1"]()),))
STEPS = 9


def problem(rates=None):
    rates = rates or {
        "scale": ParamSettings(0.05, schedule=Cosine()),
        "material.base_color": ParamSettings(0.1, start=4),
    }
    scene, cameras = blob_scene(), blob_cameras()
    model = SceneModel(scene, cameras, dict.fromkeys(rates))
    with torch.no_grad():
        for latent in model.latents.values():
            latent.add_(0.3)
    return model, blob_views(scene, cameras), FitOptimizer(model, rates, STEPS)


class SaveAt:
    def __init__(self, path, step, optimizer):
        self._path, self._step, self._optimizer = path, step, optimizer

    def on_step(self, record, model):
        if record.step == self._step:
            save_checkpoint(self._path, model, self._optimizer, record.step + 1)


@pytest.mark.parametrize("step", [1, 6])
def test_a_resumed_fit_ends_in_the_same_bits(tmp_path, step):
    file = tmp_path / "checkpoint.pt"
    model, views, optimizer = problem()
    whole = fit(
        model, views, OBJECTIVE, optimizer, FitSettings(STEPS, 2), render_blob, (SaveAt(file, step, optimizer),)
    )
    model, views, optimizer = problem()
    done = load_checkpoint(file, model, optimizer)
    assert done == step + 1
    resumed = fit(model, views, OBJECTIVE, optimizer, FitSettings(STEPS, 2), render_blob, first_step=done)
    assert resumed.steps_done == whole.steps_done == STEPS
    for part in (lambda item: item.scale, lambda item: item.material.base_color):
        assert torch.equal(part(resumed.scene.objects["ball"]), part(whole.scene.objects["ball"]))
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_checkpoint_of_another_fit_changes_nothing(tmp_path):
    file = tmp_path / "checkpoint.pt"
    model, _, optimizer = problem()
    save_checkpoint(file, model, optimizer, 3)
    other, _, other_optimizer = problem({"pose": ParamSettings(0.1)})
    before = other.state_dict()["_latents.objects/ball/pose"].clone()
    with pytest.raises(FitError, match="use the scene file it came from"):
        load_checkpoint(file, other, other_optimizer)
    assert torch.equal(other.state_dict()["_latents.objects/ball/pose"], before)


def test_broken_and_missing_files_are_named(tmp_path):
    model, _, optimizer = problem()
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"not a checkpoint")
    for file in (broken, tmp_path / "missing.pt"):
        with pytest.raises(DataError, match=f"{file.name}: not a readable checkpoint"):
            load_checkpoint(file, model, optimizer)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    model, _, optimizer = problem()
    with pytest.raises(DataError, match="cannot write the checkpoint"):
        save_checkpoint(tmp_path / "nowhere" / "checkpoint.pt", model, optimizer, 1)
