"""From what a scene file says about colours to what lies on a mesh, with texture coordinates where they are missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from diffrender.config.shelf import TextureColors, VertexColors
from diffrender.errors import ConfigError
from diffrender.readers.images import read_image
from diffrender.readers.mesh_data import MeshData
from diffrender.scene.baking import bake_to_texture, carry_texture, unwrapped
from diffrender.scene.material import SurfaceValue
from diffrender.scene.texture import Texture


def with_layout(data: MeshData, options: Sequence[Any], where: str) -> MeshData:
    """`data` whose mesh can carry what `options` say: unwrapped where one of them is a texture that needs it.

    A texture of the file itself is carried to the new layout. Raises ConfigError for an image file on a mesh whose
    texture coordinates are missing, or would be replaced: it could not lie right.
    """
    textures = [each for each in options if isinstance(each, TextureColors)]
    wanted = [each for each in textures if each.unwrap or (each.unwrap is None and data.mesh.uvs is None)]
    from_file = next((each for each in textures if isinstance(each.texture, str) and each.texture != "own"), None)
    if data.mesh.uvs is None and (from_file is not None or len(wanted) < len(textures)):
        raise ConfigError(
            f"{where}: {'a texture' if from_file is None else 'an image file as a texture'} needs a mesh with texture"
            " coordinates, and this one has none; use {texture: a colour}, which makes some, or {vertex: a colour}"
        )
    if not wanted:
        return data
    if from_file is not None:
        raise ConfigError(f"{where}: unwrap: true would tear up {from_file.texture}; take out `unwrap`")
    paddings = [each.padding for each in wanted if each.padding is not None]
    mesh = unwrapped(data.mesh, max(each.resolution for each in wanted), max(paddings) if paddings else None)
    texture = data.texture
    if texture is not None:
        texture = carry_texture(texture, data.mesh, mesh)
    return dataclasses.replace(data, mesh=mesh, texture=texture)


def build_color(options: Any, data: MeshData, where: str) -> SurfaceValue:
    """The colour that `options` describe, on the mesh of `data`."""
    if options == "own":
        return _own(data, where)
    if isinstance(options, VertexColors):
        return torch.tensor(options.vertex).repeat(data.mesh.n_vertices, 1)
    if not isinstance(options, TextureColors):
        return torch.tensor(options)
    if options.texture == "own":
        own = _own(data, where)
        return own if isinstance(own, Texture) else bake_to_texture(data.mesh, own, options.resolution)
    if isinstance(options.texture, str):
        return Texture(read_image(options.texture).rgb)
    return Texture(torch.tensor(options.texture).repeat(options.resolution, options.resolution, 1))


def _own(data: MeshData, where: str) -> torch.Tensor | Texture:
    own = data.texture if data.texture is not None else data.vertex_colors
    if own is None:
        note = data.texture_note or "the mesh has neither a texture nor vertex colours"
        raise ConfigError(f"{where}: own: {note}; give a colour, {{vertex: a colour}} or {{texture: file.png}}")
    return own
