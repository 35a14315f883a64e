"""Unwrap objects again during a fit, and transfer their textures to the new layouts."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.fit.model import SceneModel, SceneTemplate
from diffrender.fit.optimizer.adam import AdamState
from diffrender.imaging.inpaint import fill_nearest
from diffrender.scene.object import Object
from diffrender.scene.parameter_paths import ParameterPath
from diffrender.scene.quantity_kinds import NORMAL, Kind, kinds_of, textures_of, vertex_fields_of
from diffrender.scene.textures.bake import bake_to_texture, unwrap_mesh
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
    model: SceneModel,
    names: Sequence[str],
    moments: Mapping[str, AdamState],
    optimizers: Mapping[str, str],
    sides: Mapping[str, int],
) -> Reunwrapped:
    """Return the state of `model` with the objects `names` unwrapped again, those with textures, at current vertices.

    names: all learned parts of a surface, or one object. moments: of all learned values, by path; those of textures are
        carried to the new layout, but are reset of normal maps, whose axes turn, and of sums of images of several
        sizes, the coarser of which have no counterpart there. optimizers: the names of their
        ADAM_VARIANTS, by path. sides: by path, texels along each side of the textures that values of vertices become.
    """
    scene = model.snapshot()[0]
    items, transfers, new_moments = {}, {}, dict(moments)
    latents = {path: latent.detach() for path, latent in model.latents.items()}
    for name in names:
        before = model.template.scene.objects[name]
        items[name], transfers[name] = _unwrap_object(before, scene.objects[name], name, latents, sides)
    template = model.with_objects(model.template, items)
    for name, item in items.items():
        for field, texture in textures_of(item.material).items():
            path = str(ParameterPath.material(name, field))
            if path in latents:
                transfer = transfers[name].get(tuple(latents[path].shape[:2]))
                latents[path] = template.parametrizations[path].latent_of(texture.texels)
                fresh = AdamState.fresh(optimizers[path], latents[path])
                is_carried = kinds_of(item.material)[field] != NORMAL and transfer is not None
                new_moments[path] = _carried(moments[path], fresh, transfer) if is_carried else fresh
    path = model.latent_path(str(ParameterPath.vertices(names[0])))
    if path in latents:
        latents[path] = template.parametrizations[path].latent_of(template.mesh_at(path).vertices)
    return Reunwrapped(template, latents, new_moments)


def _carried(old: AdamState, fresh: AdamState, transfer: TextureTransfer) -> AdamState:
    """Return the moments of a texture in a new layout; fresh ones if they are not those of its texels."""
    if not old.mean.shape == old.square.shape == fresh.mean.shape or old.mean.dim() != 3:
        return fresh
    covered = covered_texels(transfer.old, *old.mean.shape[:2])
    return old.with_rows(*(transfer.texels(Texture(fill_nearest(each, covered))) for each in old.rows()))


def _unwrap_object(
    item: Object, now: Object, name: str, learned: Container[str], sides: Mapping[str, int]
) -> tuple[Object, dict[tuple[int, int], TextureTransfer]]:
    """Return `item` with the vertices of `now`, and with textures of new texture coordinates, if it has textures then.

    And how textures came there, by their size.

    now: the object with its learned values. learned: their paths.
    """
    old, textures = now.mesh, textures_of(item.material)
    at = {field: str(ParameterPath.material(name, field)) for field in kinds_of(item.material)}
    at_vertices = vertex_fields_of(now.material, old.n_vertices)
    rows = {field: value for field, value in at_vertices.items() if at.get(field) in sides}
    sizes = {field: (len(texture.texels), texture.texels.shape[1]) for field, texture in textures.items()}
    sides_here = [*map(max, sizes.values()), *(sides[at[field]] for field in rows)]
    if not sides_here:
        return dataclasses.replace(item, mesh=old), {}
    new = unwrap_mesh(old, max(sides_here))
    kinds, fields = kinds_of(item.material), {}
    transfers = {size: texture_transfer(old, new, *size) for size in set(sizes.values())}
    for field, texture in textures.items():
        if at[field] in learned:
            # Texels next to the charts contribute only through their corners, so their values may be arbitrary.
            texels = fill_nearest(getattr(now.material, field).texels, covered_texels(old, *sizes[field]))
            texture = dataclasses.replace(texture, texels=texels)
        fields[field] = _transfer_texture(transfers[sizes[field]], kinds[field], texture)
    baked = {field: bake_to_texture(new, value, sides[at[field]]) for field, value in rows.items()}
    return item.with_values(fields | baked, new), transfers


def _transfer_texture(transfer: TextureTransfer, kind: Kind, texture: Texture) -> Texture:
    # Normals are written in the tangent frames of a layout.
    texels = transfer.normals(texture) if kind == NORMAL else transfer.texels(texture)
    return dataclasses.replace(texture, texels=texels)
