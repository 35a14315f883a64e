"""Materials as Wavefront MTL, with the extension for physically based materials (Pr, Pm, norm) that Blender reads."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from diffrender.scene.gltf_surface import GltfSurface
from diffrender.scene.quantity_kinds import SurfaceValue, kinds_of, textures_of
from diffrender.scene.textures.texture import Texture
from diffrender.writers.images.png import encode_srgb8, unit_interval, write_encoded_png
from diffrender.writers.images.textures import write_texture

MATERIAL_NAME = "surface"
# Field of the surface, MTL's number for it, and MTL's picture.
NUMBERS = (("roughness", "Pr", "map_Pr"), ("metallic", "Pm", "map_Pm"))


def material_lines(
    path: Path, uvs: Tensor | None, color: Tensor | None, texture: Texture | None, surface: GltfSurface | None
) -> list[str]:
    """Return the lines of the material of the OBJ at `path`; none if colours after the vertices say everything.

    uvs: [T, 2] texture coordinates. Where some are outside 0..1, pictures that are not repeated there say so.
    """
    is_outside = uvs is not None and bool(((uvs < 0) | (uvs > 1)).any())
    lines = [] if surface is None or surface.unlit else _shading_lines(path, surface, is_outside)
    if texture is None and not lines:
        return []
    kd = "1 1 1" if color is None or color.dim() != 1 else _numbers(unit_interval(color).tolist())
    head = [f"newmtl {MATERIAL_NAME}", "Ka 0 0 0", f"Kd {kd}", "Ks 0 0 0", "illum 1"]
    return head + ([] if texture is None else [f"map_Kd {_picture(texture, f'{path.stem}.png', is_outside)}"]) + lines


def write_maps(path: Path, texture: Texture | None, surface: GltfSurface | None) -> None:
    """Write the pictures that `material_lines` names. Raises: DataError where one cannot be written."""
    if texture is not None:
        write_encoded_png(path.with_suffix(".png"), encode_srgb8(texture.texels))
    if surface is None:
        return
    for field, value in textures_of(surface).items():
        if field != "base_color":
            write_texture(path.with_name(f"{path.stem}_{field}.png"), kinds_of(surface)[field], value)


def _shading_lines(path: Path, surface: GltfSurface, is_outside: bool) -> list[str]:
    if not surface.specular:
        return []
    lines = []
    for field, number, picture in NUMBERS:
        value: SurfaceValue = getattr(surface, field)
        if isinstance(value, Texture):
            lines += [f"{number} 1", f"{picture} {_picture(value, f'{path.stem}_{field}.png', is_outside)}"]
        elif value.dim() == 1:
            lines.append(f"{number} {_numbers(unit_interval(value).tolist())}")
    if isinstance(surface.emissive, Texture):
        lines += ["Ke 1 1 1", f"map_Ke {_picture(surface.emissive, f'{path.stem}_emissive.png', is_outside)}"]
    elif surface.emissive is not None and surface.emissive.dim() == 1:
        lines.append(f"Ke {_numbers(surface.emissive.detach().tolist())}")
    if isinstance(surface.normal, Texture):
        name = _picture(surface.normal, f"{path.stem}_normal.png", is_outside)
        # Two names for the same: older programs know only the first.
        lines += [f"map_Bump {name}", f"norm {name}"]
    return lines


def _picture(texture: Texture, name: str, is_outside: bool) -> str:
    """Return how a picture is named; its option only where it matters, because not every program reads options."""
    return f"-clamp on {name}" if is_outside and texture.wrap == "clamp" else name


def _numbers(values: list[float]) -> str:
    return " ".join(f"{value:.6g}" for value in values)
