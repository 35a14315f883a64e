"""glTF's materials, and their textures as PNG.

Source: glTF 2.0 specification, sections 3.8.3 and 3.9, and the extensions KHR_materials_unlit, KHR_materials_specular
and KHR_materials_emissive_strength.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image
from torch import Tensor

from diffrender.checks import check_shape
from diffrender.errors import ShapeError
from diffrender.scene.gltf_surface import GltfSurface
from diffrender.scene.mesh import Mesh
from diffrender.scene.quantity_kinds import SurfaceValue, textures_of
from diffrender.scene.textures.texture import Texture
from diffrender.writers.gltf.document import GltfFile, Json
from diffrender.writers.gltf.pbr import pack_metallic_roughness
from diffrender.writers.images.png import encode_normals8, encode_numbers8, encode_srgb8, unit_interval

LINEAR, LINEAR_MIPMAP_LINEAR = 9729, 9987
WRAP_CODES = {"repeat": 10497, "clamp": 33071}
UNLIT, SPECULAR = "KHR_materials_unlit", "KHR_materials_specular"
EMISSIVE_STRENGTH = "KHR_materials_emissive_strength"


def add_material(gltf: GltfFile, name: str, mesh: Mesh, surface: GltfSurface) -> int:
    """Add a material and its textures, but not vertex colours, which belong to the mesh; return the material's index.

    Raises ShapeError if there is a texture, but the mesh has no texture coordinates.
    """
    if textures_of(surface) and mesh.uvs is None:
        raise ShapeError(f"write_glb: object {name!r} has a texture, but its mesh has no uvs")
    base: Json = {}
    material: Json = {"name": name, "doubleSided": True, "pbrMetallicRoughness": base}
    extensions: Json = {}
    if isinstance(surface.base_color, Texture):
        base["baseColorTexture"] = _reference(gltf, f"{name}_base_color", surface.base_color, encode_srgb8)
    elif surface.base_color.dim() == 1:
        check_shape("write_glb", f"base_color of object {name!r}", surface.base_color, (3,))
        base["baseColorFactor"] = [*unit_interval(surface.base_color).tolist(), 1.0]
    if surface.unlit:
        # For viewers without the extension.
        base |= {"metallicFactor": 0.0, "roughnessFactor": 1.0}
        extensions[UNLIT] = {}
    else:
        both = pack_metallic_roughness(surface.metallic, surface.roughness)
        base |= {"metallicFactor": both.metallic_factor, "roughnessFactor": both.roughness_factor}
        if both.texture is not None:
            texture = _reference(gltf, f"{name}_metallic_roughness", both.texture, encode_numbers8)
            base["metallicRoughnessTexture"] = texture
        if surface.normal is not None:
            material["normalTexture"] = _reference(gltf, f"{name}_normal", _as_texture(surface.normal), encode_normals8)
        if surface.emissive is not None:
            _add_emissive(gltf, name, surface.emissive, material, extensions)
        if not surface.specular:
            extensions[SPECULAR] = {"specularFactor": 0.0}
    if extensions:
        gltf.extensions_used |= set(extensions)
        material["extensions"] = extensions
    return gltf.add("materials", material)


def _add_emissive(gltf: GltfFile, name: str, emissive: SurfaceValue, material: Json, extensions: Json) -> None:
    """Return the entries of emission: the factor is at most 1; what is brighter goes into the extension's strength."""
    values = (emissive.texels if isinstance(emissive, Texture) else emissive).detach().nan_to_num(nan=0.0)
    strength = max(1.0, float(values.max()))
    if isinstance(emissive, Texture):
        material["emissiveFactor"] = [1.0, 1.0, 1.0]
        scaled = Texture(values / strength, emissive.wrap)
        material["emissiveTexture"] = _reference(gltf, f"{name}_emissive", scaled, encode_srgb8)
    else:
        material["emissiveFactor"] = unit_interval(values / strength).tolist()
    if strength > 1:
        extensions[EMISSIVE_STRENGTH] = {"emissiveStrength": strength}


def _as_texture(normal: SurfaceValue) -> Texture:
    """Return a uniform vector as a texture of one texel."""
    return normal if isinstance(normal, Texture) else Texture(normal[None, None])


def _reference(gltf: GltfFile, name: str, texture: Texture, encode: Callable[[Tensor], np.ndarray]) -> Json:
    stream = io.BytesIO()
    Image.fromarray(encode(texture.texels)).save(stream, format="PNG", optimize=True)
    view = gltf.add_bytes(stream.getvalue())
    image = gltf.add("images", {"name": name, "bufferView": view, "mimeType": "image/png"})
    wrap: Json = {"wrapS": WRAP_CODES[texture.wrap], "wrapT": WRAP_CODES[texture.wrap]}
    sampler = gltf.add("samplers", {"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP_LINEAR} | wrap)
    return {"index": gltf.add("textures", {"sampler": sampler, "source": image})}
