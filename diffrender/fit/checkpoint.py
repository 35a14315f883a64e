"""Checkpoints: save a fit to disk and resume it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffrender.errors import DataError, FitError
from diffrender.fit.best_state import BestState
from diffrender.fit.model import SceneModel, SceneTemplate
from diffrender.fit.optimizer.fit_optimizer import FitOptimizer
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.quantity_kinds import fields_of, textures_of, vertex_fields_of
from diffrender.scene.textures.texture import Texture

FORMAT = 5


def save_checkpoint(
    path: Path, model: SceneModel, optimizer: FitOptimizer, steps_done: int, best: BestState | None = None
) -> None:
    """Save the state that `fit(..., first_step=steps_done)` resumes from; the order of views depends on the step only.

    The file at `path` is replaced atomically. Raises DataError if it cannot be written.
    """
    state = {
        "format": FORMAT,
        "steps_done": steps_done,
        **_model_state(model, model.template, model.latents),
        "optimizer": optimizer.state_dict(),
    }
    if best is not None:
        own = _model_state(model, best.template, best.latents)
        state["best"] = {"objectives": best.objectives, "steps_done": best.steps_done, **own}
    unfinished = path.with_name(path.name + ".part")
    try:
        torch.save(state, unfinished)
        os.replace(unfinished, path)
    except (OSError, RuntimeError) as error:  # torch reports a missing folder and a full disk as a RuntimeError
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        remedy = "free some space, or choose another folder with --out"
        raise DataError(f"{path}: cannot write the checkpoint ({error}); {remedy}") from error


def load_checkpoint(path: Path, model: SceneModel, optimizer: FitOptimizer, best: BestState | None = None) -> int:
    """Restore `model`, `optimizer` and, if both have one, the best state; return the number of completed steps.

    Raises DataError for a file that is missing or not a checkpoint, FitError for a checkpoint of another fit; then
    nothing has changed.
    """
    device = next(iter(model.latents.values())).device
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        if state["format"] != FORMAT:
            raise DataError(f"{path}: format must be {FORMAT}, got {state['format']}; use the version that wrote it")
        steps_done, latents, moments = state["steps_done"], state["latents"], state["optimizer"]
        meshes = state["meshes"]
    except DataError:
        raise
    except Exception as error:  # torch.load raises OSError, RuntimeError, UnpicklingError, ... for a broken file
        raise DataError(f"{path}: not a readable checkpoint ({error})") from error
    have, saved = list(model.latents), list(latents)
    if have != saved or not set(meshes) <= set(model.template.scene.objects):
        raise FitError(
            f"{path}: the checkpoint learned {saved}, this fit learns {have}; use the scene file it came from"
        )
    template = _template_with(model, meshes)
    have = {name: list(latent.shape) for name, latent in model.first_latents(template).items()}
    saved = {name: list(latent.shape) for name, latent in latents.items()}
    if have != saved:
        raise FitError(
            f"{path}: the checkpoint learned {saved}, this fit learns {have}; use the scene file it came from"
        )
    optimizer.load_state_dict(moments)
    if best is not None and "best" in state:
        own = state["best"]
        best.restore(own["objectives"], own["steps_done"], _template_with(model, own["meshes"]), own["latents"])
    model.restore(template, latents)
    return steps_done


def _model_state(model: SceneModel, template: SceneTemplate, latents: Mapping[str, Tensor]) -> dict[str, Any]:
    return {
        "meshes": {name: _mesh_state(item) for name, item in model.changed_objects_of(template).items()},
        "latents": {name: latent.detach() for name, latent in latents.items()},
    }


def _template_with(model: SceneModel, meshes: Mapping[str, dict[str, Any]]) -> SceneTemplate:
    """Return the model's template with the saved `meshes`, by name of their objects."""
    template = model.initial_template
    items = {name: _object_with(template.scene.objects[name], mesh) for name, mesh in meshes.items()}
    return model.with_objects(template, items)


def _mesh_state(item: Object) -> dict[str, Any]:
    """Return a mesh, its vertex fields and its textures as tensors; reunwrapping changes the textures too."""
    at_vertices = vertex_fields_of(item.material, item.mesh.n_vertices)
    textures = {name: texture.texels for name, texture in textures_of(item.material).items()}
    return {"mesh": fields_of(item.mesh), "fields": at_vertices, "textures": textures}


def _object_with(item: Object, state: dict[str, Any]) -> Object:
    had = textures_of(item.material)
    textures = {
        name: dataclasses.replace(had[name], texels=texels) if name in had else Texture(texels)
        for name, texels in state["textures"].items()
    }
    return item.with_values(state["fields"] | textures, Mesh(**state["mesh"]))
