"""Textures as picture files, as programs that shade with them want each."""

from __future__ import annotations

from pathlib import Path

from diffrender.scene.textures.texture import Texture
from diffrender.writers.gltf.materials import encode_normals8, encode_numbers8
from diffrender.writers.images.hdr import write_hdr_image
from diffrender.writers.images.png import encode_srgb8, write_encoded_png

COLORS = ("base_color", "specular", "emissive")
# Of materials' fields that are not in 0..1: a float file holds them.
UNBOUNDED = ("emissive", "shininess")


def write_texture(path: Path, field: str, texture: Texture) -> None:
    """Write the texture of a material's `field` as a PNG of 8 bits: colours in sRGB, numbers in 0..1 as they stand.

    Normals go from -1..1 to 0..255, green up in the image. What exceeds 1 where the field may (emissive, shininess) is
    written as OpenEXR, linear, beside it, with the same name; the PNG is clamped.
    Raises: DataError where a file cannot be written.
    """
    texels = texture.texels.detach()
    if field == "normal":
        write_encoded_png(path, encode_normals8(texels))
    elif field in COLORS:
        write_encoded_png(path, encode_srgb8(texels))
    else:
        write_encoded_png(path, encode_numbers8(texels.expand(-1, -1, 3)))
    if field in UNBOUNDED and float(texels.max()) > 1:
        write_hdr_image(path.with_suffix(".exr"), texels.expand(-1, -1, 3))
