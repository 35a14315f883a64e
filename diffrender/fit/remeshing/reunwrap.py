"""An object unwrapped anew during a fit: its textures go along."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.fit.model import SceneModel, SceneTemplate
from diffrender.fit.optimizer.adam import AdamState
from diffrender.imaging.inpaint import fill_nearest
from diffrender.scene.fields import NORMAL, Kind, kinds_of, textures_of
from diffrender.scene.parameter_paths import ParameterPath
from diffrender.scene.textures.bake import unwrap_mesh
from diffrender.scene.textures.texel_to_surface import texel_map
from diffrender.scene.textures.texture import Texture
from diffrender.scene.textures.transfer import TextureTransfer, texture_transfer


class Reunwrapped(NamedTuple):
    """A model's state with one object in another layout: what `SceneModel.restore` takes, and all moments."""

    frame: SceneTemplate
    latents: dict[str, Tensor]
    moments: dict[str, AdamState]


@torch.no_grad()
def reunwrap(
    model: SceneModel, name: str, moments: Mapping[str, AdamState], optimizers: Mapping[str, str]
) -> Reunwrapped:
    """The state of `model` with the object `name` unwrapped anew, as its vertices are now.

    moments: of all learned values, by path; those of its textures begin anew, since latents of coarser images have no
        counterpart in another layout. optimizers: the names of what moves them, by path.
    """
    frame, latents = model.frame, {path: latent.detach() for path, latent in model.latents.items()}
    item = frame.scene.objects[name]
    path = str(ParameterPath.vertices(name))
    old = item.mesh
    if path in latents:
        old = old.with_vertices(model.parametrization(path).value_of(latents[path]))
    textures = textures_of(item.material)
    new = unwrap_mesh(old, max(max(each.texels.shape[:2]) for each in textures.values()))
    sizes = {(each.texels.shape[0], each.texels.shape[1]) for each in textures.values()}
    kinds = kinds_of(item.material)
    carriers = {size: texture_transfer(old, new, *size) for size in sizes}
    new_latents, new_moments, fields = dict(latents), dict(moments), {}
    for field, texture in textures.items():
        size = texture.texels.shape[0], texture.texels.shape[1]
        at = str(ParameterPath.material(name, field))
        if at in latents:
            method = model.parametrization(at)
            # Texels beside the charts are seen through their corners only, and may have learned anything.
            texels = fill_nearest(method.value_of(latents[at]), texel_map(old, *size).covered)
            texture = dataclasses.replace(texture, texels=texels)
        fields[field] = _transfer_texture(carriers[size], kinds[field], texture)
        if at in latents:
            new_latents[at] = method.latent_of(fields[field].texels)
            new_moments[at] = AdamState.fresh(optimizers[at], new_latents[at])
    frame = model.with_mesh(frame, name, item.with_values(fields, new))
    if path in latents:
        new_latents[path] = frame.parametrizations[path].latent_of(new.vertices)
    return Reunwrapped(frame, new_latents, new_moments)


def _transfer_texture(mover: TextureTransfer, kind: Kind, texture: Texture) -> Texture:
    # Normals are written in the tangent frames of a layout.
    texels = mover.normals(texture) if kind == NORMAL else mover.texels(texture)
    return dataclasses.replace(texture, texels=texels)
