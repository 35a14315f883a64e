"""Unwrap objects again during a fit, and transfer their textures to the new layouts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.fit.model import SceneModel, SceneTemplate
from diffrender.fit.optimizer.adam import AdamState
from diffrender.imaging.inpaint import fill_nearest
from diffrender.scene.object import Object
from diffrender.scene.parameter_paths import ParameterPath
from diffrender.scene.quantity_kinds import NORMAL, Kind, kinds_of, textures_of
from diffrender.scene.textures.bake import unwrap_mesh
from diffrender.scene.textures.texel_to_surface import covered_texels
from diffrender.scene.textures.texture import Texture
from diffrender.scene.textures.transfer import TextureTransfer, texture_transfer


class Reunwrapped(NamedTuple):
    """A model's state after objects were unwrapped: the arguments of `SceneModel.restore`, and all moments."""

    template: SceneTemplate
    latents: dict[str, Tensor]
    moments: dict[str, AdamState]


@torch.no_grad()
def reunwrap(
    model: SceneModel, names: Sequence[str], moments: Mapping[str, AdamState], optimizers: Mapping[str, str]
) -> Reunwrapped:
    """Return the state of `model` with the objects `names` unwrapped again, those with textures, at current vertices.

    names: all learned parts of a surface, or one object. moments: of all learned values, by path; those of textures are
        reset, since latents of coarser images have no counterpart in another layout. optimizers: the names of their
        ADAM_VARIANTS, by path.
    """
    scene = model.snapshot()[0]
    new_latents = {path: latent.detach() for path, latent in model.latents.items()}
    new_moments, items = dict(moments), {}
    for name in names:
        mesh = scene.objects[name].mesh
        items[name] = dataclasses.replace(model.template.scene.objects[name], mesh=mesh)
        if textures_of(items[name].material):
            items[name] = _unwrap_object(model, name, items[name], new_latents, new_moments, optimizers)
    template = model.with_objects(model.template, items)
    path = model.latent_path(str(ParameterPath.vertices(names[0])))
    if path in new_latents:
        new_latents[path] = template.parametrizations[path].latent_of(template.mesh_at(path).vertices)
    return Reunwrapped(template, new_latents, new_moments)


def _unwrap_object(
    model: SceneModel,
    name: str,
    item: Object,
    latents: dict[str, Tensor],
    moments: dict[str, AdamState],
    optimizers: Mapping[str, str],
) -> Object:
    """Return `item` with texture coordinates and textures of another layout; change their latents and moments."""
    old, textures = item.mesh, textures_of(item.material)
    new = unwrap_mesh(old, max(max(texture.texels.shape[:2]) for texture in textures.values()))
    sizes = {(texture.texels.shape[0], texture.texels.shape[1]) for texture in textures.values()}
    kinds = kinds_of(item.material)
    transfers = {size: texture_transfer(old, new, *size) for size in sizes}
    fields = {}
    for field, texture in textures.items():
        size = texture.texels.shape[0], texture.texels.shape[1]
        at = str(ParameterPath.material(name, field))
        if at in latents:
            method = model.parametrization(at)
            # Texels next to the charts contribute only through their corners, so their values may be arbitrary.
            texels = fill_nearest(method.value_of(latents[at]), covered_texels(old, *size))
            texture = dataclasses.replace(texture, texels=texels)
        fields[field] = _transfer_texture(transfers[size], kinds[field], texture)
        if at in latents:
            latents[at] = method.latent_of(fields[field].texels)
            moments[at] = AdamState.fresh(optimizers[at], latents[at])
    return item.with_values(fields, new)


def _transfer_texture(transfer: TextureTransfer, kind: Kind, texture: Texture) -> Texture:
    # Normals are written in the tangent frames of a layout.
    texels = transfer.normals(texture) if kind == NORMAL else transfer.texels(texture)
    return dataclasses.replace(texture, texels=texels)
