"""Build the inputs of a material (uniform, per vertex, texture) and the texture coordinates that they need."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffrender.config.options.material_inputs import Pattern, PerVertex, TextureOf
from diffrender.config.options.objects import ObjectOptions
from diffrender.errors import ConfigError
from diffrender.imaging.color import srgb_from_linear
from diffrender.imaging.inpaint import fill_nearest
from diffrender.readers.images.high_bit_depth import LINEAR_SUFFIXES
from diffrender.readers.images.image import read_image
from diffrender.readers.mesh_data import MeshData, with_mesh
from diffrender.scene.mesh import Mesh
from diffrender.scene.parameter_paths import ParameterPath
from diffrender.scene.quantity_kinds import NORMAL, Kind, SurfaceValue
from diffrender.scene.textures.bake import bake_to_texture, unwrap_mesh
from diffrender.scene.textures.texel_to_surface import texel_map
from diffrender.scene.textures.texture import Texture

# The texel of a normal map that leaves the normals of the mesh as they are.
FLAT = (0.0, 0.0, 1.0)
# Of patches: the number of waves that are summed, and how much steeper than their sum the borders are.
WAVES, PATCH_CONTRAST = 12, 5.0


class _Map(NamedTuple):
    """A quantity's texture in a mesh file (MeshData.maps), and its channels there."""

    file: str
    channels: slice


# What mesh files may hold besides the colour.
MAPS: Mapping[str, _Map] = {
    "roughness": _Map("metallic_roughness", slice(1, 2)),
    "metallic": _Map("metallic_roughness", slice(2, 3)),
    "normal": _Map("normal", slice(0, 3)),
    "emissive": _Map("emissive", slice(0, 3)),
}


def with_layout(data: MeshData, options: Mapping[str, Any], where: str) -> MeshData:
    """Return `data` with the texture coordinates that a material's `options` need: unwrapped if a texture needs it.

    Textures of the mesh file are transferred to the new layout. Raises ConfigError for an image file on a mesh without
    texture coordinates, or whose texture coordinates would be replaced.
    """
    textures = {
        name: option for name, option in options.items() if isinstance(option, TextureOf) and not option.from_vertices
    }
    unwrapped = [
        texture for texture in textures.values() if texture.unwrap or (texture.unwrap is None and data.mesh.uvs is None)
    ]
    files = {name: texture.texture for name, texture in textures.items() if isinstance(texture.texture, str)}
    files = {name: file for name, file in files.items() if file not in ("own", "flat")}
    name, from_file = next(iter(files.items()), (next(iter(textures), ""), None))
    where = f"{where}.{name}"
    if data.mesh.uvs is None and (from_file is not None or len(unwrapped) < len(textures)):
        raise ConfigError(
            f"{where}: {'a texture' if from_file is None else 'an image file as a texture'} needs a mesh with texture"
            " coordinates, but this one has none; use {texture: a colour}, which unwraps it, or {vertex: a colour}"
        )
    if not unwrapped:
        return data
    if from_file is not None:
        raise ConfigError(f"{where}: unwrap: true would invalidate {from_file}; remove `unwrap`")
    paddings = [texture.padding for texture in unwrapped if texture.padding is not None]
    resolution = max(texture.resolution for texture in unwrapped)
    mesh = unwrap_mesh(data.mesh, resolution, max(paddings) if paddings else None)
    return with_mesh(data, mesh)


def later_textures(objects: Iterable[ObjectOptions]) -> dict[str, int]:
    """Return the texels along each side of textures that are learned at vertices first, by canonical path."""
    return {
        str(ParameterPath.material(item.name, field)): form.resolution
        for item in objects
        for field, form in dict(item.material or ()).items()
        if isinstance(form, TextureOf) and form.from_vertices
    }


def build_value(name: str, kind: Kind, options: Any, data: MeshData, where: str) -> SurfaceValue:
    """Build the quantity `name` of a material on the mesh of `data`, as `options` describe it."""
    if options == "own":
        return _own_value(name, data, where)
    if isinstance(options, PerVertex):
        return _row(options.vertex).repeat(data.mesh.n_vertices, 1)
    if not isinstance(options, TextureOf):
        return _row(options)
    texture = options.texture
    if texture == "own":
        own = _own_value(name, data, where)
        return own if isinstance(own, Texture) else bake_to_texture(data.mesh, own, options.resolution)
    if isinstance(texture, Pattern):
        return patches(data.mesh, texture, options.resolution)
    if isinstance(texture, str) and texture != "flat":
        return _read_texture(kind, texture)
    texel = _row(FLAT if texture == "flat" else texture)
    if options.from_vertices:
        return texel.repeat(data.mesh.n_vertices, 1)
    return Texture(texel.repeat(options.resolution, options.resolution, 1))


def patches(mesh: Mesh, options: Pattern, resolution: int) -> Texture:
    """Build a texture of smooth patches of two values [C], as a function of position, so that it has no seams."""
    first, second = (_row(value) for value in options.between)
    generator = torch.Generator().manual_seed(options.seed)
    vertices = mesh.vertices.double()
    middle = (vertices.amin(0) + vertices.amax(0)) / 2
    radius = (vertices - middle).norm(dim=1).max().clamp_min(1e-12)
    texels_of = texel_map(mesh, resolution, resolution)
    places = texels_of.values((vertices - middle) / radius, mesh.faces)
    waves = torch.nn.functional.normalize(torch.randn(WAVES, 3, generator=generator, dtype=torch.float64), dim=1)
    phases = 2 * math.pi * torch.rand(WAVES, generator=generator, dtype=torch.float64)
    # A patch is half a wavelength wide.
    height = torch.sin(places @ waves.T * (math.pi / options.size) + phases).mean(1, keepdim=True)
    share = torch.sigmoid(height * (PATCH_CONTRAST * WAVES**0.5)).float()
    texels = first.new_zeros(resolution, resolution, len(first))
    texels[texels_of.covered] = first + share * (second - first)
    return Texture(fill_nearest(texels, texels_of.covered))


def _read_texture(kind: Kind, file: str) -> Texture:
    values = read_image(file).rgb
    if kind.is_color:
        return Texture(values)
    # 8-bit files of numbers are not sRGB, but were decoded as such; files of floats were not.
    if not file.lower().endswith(LINEAR_SUFFIXES):
        values = srgb_from_linear(values)
    return Texture(2 * values - 1 if kind == NORMAL else values.mean(2, keepdim=True))


def _own_value(name: str, data: MeshData, where: str) -> SurfaceValue:
    if name in MAPS:
        found = data.maps.get(MAPS[name].file)
        if found is None:
            raise ConfigError(f"{where}: own: the mesh file has no {name} texture; give a value or an image file")
        return dataclasses.replace(found, texels=found.texels[:, :, MAPS[name].channels].contiguous())
    if name != "base_color":
        raise ConfigError(f"{where}: own: mesh files have no {name}; give a colour")
    own = data.texture if data.texture is not None else data.vertex_colors
    if own is None:
        note = data.texture_note or "the mesh has neither a texture nor vertex colours"
        raise ConfigError(f"{where}: own: {note}; give a colour, {{vertex: a colour}} or {{texture: file.png}}")
    return own


def _row(value: Any) -> Tensor:
    """Return a number or a colour as [C]."""
    return torch.tensor(value, dtype=torch.float32).reshape(-1)
