"""An object unwrapped anew during a fit: its textures go along."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.fit.model import Frame, SceneModel
from diffrender.fit.optimizer.adam import Moments
from diffrender.fit.remeshing.remesh_object import texture_fields, with_mesh_and_fields
from diffrender.imaging.inpaint import fill_nearest
from diffrender.scene.textures.bake import unwrapped
from diffrender.scene.textures.texel_to_surface import texel_map
from diffrender.scene.textures.texture import Texture
from diffrender.scene.textures.transfer import Carrier, carrier

# The field of a material whose vectors are written in the tangent frames of a layout.
NORMALS = "normal"


class Relaid(NamedTuple):
    """A model's state with one object in another layout: what `SceneModel.put_back` takes, and all moments."""

    frame: Frame
    latents: dict[str, Tensor]
    moments: dict[str, Moments]


@torch.no_grad()
def relaid(model: SceneModel, name: str, moments: Mapping[str, Moments], optimizers: Mapping[str, str]) -> Relaid:
    """The state of `model` with the object `name` unwrapped anew, as its vertices are now.

    moments: of all learned values, by path; those of its textures begin anew, since latents of coarser images have no
        counterpart in another layout. optimizers: the names of what moves them, by path.
    """
    frame, latents = model.frame, {path: latent.detach() for path, latent in model.latents.items()}
    item = frame.scene.objects[name]
    path = f"objects.{name}.mesh.vertices"
    old = item.mesh
    if path in latents:
        old = old.with_vertices(model.parametrization(path).value_of(latents[path]))
    textures = texture_fields(item)
    new = unwrapped(old, max(max(each.texels.shape[:2]) for each in textures.values()))
    sizes = {(each.texels.shape[0], each.texels.shape[1]) for each in textures.values()}
    carriers = {size: carrier(old, new, *size) for size in sizes}
    new_latents, new_moments, fields = dict(latents), dict(moments), {}
    for field, texture in textures.items():
        size = texture.texels.shape[0], texture.texels.shape[1]
        at = f"objects.{name}.material.{field}"
        if at in latents:
            method = model.parametrization(at)
            # Texels beside the charts are seen through their corners only, and may have learned anything.
            texels = fill_nearest(method.value_of(latents[at]), texel_map(old, *size).covered)
            texture = dataclasses.replace(texture, texels=texels)
        fields[field] = _carried(carriers[size], field, texture)
        if at in latents:
            new_latents[at] = method.latent_of(fields[field].texels)
            new_moments[at] = Moments.fresh(optimizers[at], new_latents[at])
    frame = model.with_mesh(frame, name, with_mesh_and_fields(item, new, fields))
    if path in latents:
        new_latents[path] = frame.parametrizations[path].latent_of(new.vertices)
    return Relaid(frame, new_latents, new_moments)


def _carried(mover: Carrier, field: str, texture: Texture) -> Texture:
    texels = mover.normals(texture) if field == NORMALS else mover.texels(texture)
    return dataclasses.replace(texture, texels=texels)
