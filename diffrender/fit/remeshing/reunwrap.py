"""Unwrap an object again during a fit, and transfer its textures to the new layout."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.fit.model import SceneModel, SceneTemplate
from diffrender.fit.optimizer.adam import AdamState
from diffrender.imaging.inpaint import fill_nearest
from diffrender.scene.parameter_paths import ParameterPath
from diffrender.scene.quantity_kinds import NORMAL, Kind, kinds_of, textures_of
from diffrender.scene.textures.bake import unwrap_mesh
from diffrender.scene.textures.texel_to_surface import texel_map
from diffrender.scene.textures.texture import Texture
from diffrender.scene.textures.transfer import TextureTransfer, texture_transfer


class Reunwrapped(NamedTuple):
    """A model's state after one object was unwrapped: the arguments of `SceneModel.restore`, and all moments."""

    template: SceneTemplate
    latents: dict[str, Tensor]
    moments: dict[str, AdamState]


@torch.no_grad()
def reunwrap(
    model: SceneModel, name: str, moments: Mapping[str, AdamState], optimizers: Mapping[str, str]
) -> Reunwrapped:
    """Return the state of `model` with the object `name` unwrapped again at its current vertices.

    moments: of all learned values, by path; those of its textures are reset, since latents of coarser images have no
        counterpart in another layout. optimizers: the names of their ADAM_VARIANTS, by path.
    """
    template, latents = model.template, {path: latent.detach() for path, latent in model.latents.items()}
    item = template.scene.objects[name]
    path = str(ParameterPath.vertices(name))
    old = item.mesh
    if path in latents:
        old = old.with_vertices(model.parametrization(path).value_of(latents[path]))
    textures = textures_of(item.material)
    new = unwrap_mesh(old, max(max(texture.texels.shape[:2]) for texture in textures.values()))
    sizes = {(texture.texels.shape[0], texture.texels.shape[1]) for texture in textures.values()}
    kinds = kinds_of(item.material)
    transfers = {size: texture_transfer(old, new, *size) for size in sizes}
    new_latents, new_moments, fields = dict(latents), dict(moments), {}
    for field, texture in textures.items():
        size = texture.texels.shape[0], texture.texels.shape[1]
        at = str(ParameterPath.material(name, field))
        if at in latents:
            method = model.parametrization(at)
            # Texels next to the charts contribute only through their corners, so their values may be arbitrary.
            texels = fill_nearest(method.value_of(latents[at]), texel_map(old, *size).covered)
            texture = dataclasses.replace(texture, texels=texels)
        fields[field] = _transfer_texture(transfers[size], kinds[field], texture)
        if at in latents:
            new_latents[at] = method.latent_of(fields[field].texels)
            new_moments[at] = AdamState.fresh(optimizers[at], new_latents[at])
    template = model.with_mesh(template, name, item.with_values(fields, new))
    if path in latents:
        new_latents[path] = template.parametrizations[path].latent_of(new.vertices)
    return Reunwrapped(template, new_latents, new_moments)


def _transfer_texture(transfer: TextureTransfer, kind: Kind, texture: Texture) -> Texture:
    # Normals are written in the tangent frames of a layout.
    texels = transfer.normals(texture) if kind == NORMAL else transfer.texels(texture)
    return dataclasses.replace(texture, texels=texels)
