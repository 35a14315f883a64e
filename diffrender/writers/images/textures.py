"""Textures as picture files, as programs that shade with them want each."""

from __future__ import annotations

from pathlib import Path

from diffrender.scene.quantity_kinds import NORMAL, Kind
from diffrender.scene.textures.texture import Texture
from diffrender.writers.images.float_images import write_hdr_image
from diffrender.writers.images.png import encode_normals8, encode_numbers8, encode_srgb8, write_encoded_png


def write_texture(path: Path, kind: Kind, texture: Texture) -> None:
    """Write the texture of a quantity as a PNG of 8 bits: colours in sRGB, numbers in 0..1 as they stand.

    Normals go from -1..1 to 0..255, green up in the image. What exceeds 1 where the kind may (emissive, shininess) is
    written as OpenEXR, linear, beside it, with the same name; the PNG is clamped.
    Raises: DataError where a file cannot be written.
    """
    texels = texture.texels.detach()
    if kind == NORMAL:
        write_encoded_png(path, encode_normals8(texels))
    elif kind.is_color:
        write_encoded_png(path, encode_srgb8(texels))
    else:
        write_encoded_png(path, encode_numbers8(texels.expand(-1, -1, 3)))
    if not kind.is_bounded and float(texels.max()) > 1:
        write_hdr_image(path.with_suffix(".exr"), texels.expand(-1, -1, 3))
