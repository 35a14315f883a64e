"""Build materials from their options."""

from __future__ import annotations

from typing import Any

from diffrender.config.options.material_inputs import PerVertex
from diffrender.config.options.materials import AnyMaterial, GgxOptions, LambertOptions, UnlitOptions
from diffrender.config.options.value_types import Albedo
from diffrender.config.scene_dependent_defaults import GRAY
from diffrender.readers.mesh_data import MeshData
from diffrender.scene import material as scene_material
from diffrender.scene.materials import MATERIALS
from diffrender.scene.quantity_kinds import kinds_of
from diffrender.setup.material_inputs import build_value, with_layout

# The texture of the mesh file, as scene files have it.
OWN = {"texture": "own"}


def material_of_file(data: MeshData) -> AnyMaterial:
    """Return the options of the material that a mesh file states; lambert for what states none.

    A rough metal without textures is what glTF has for materials that state nothing: lambert, too.
    """
    finish, maps = data.finish, data.maps
    if finish.unlit:
        return UnlitOptions()
    own: dict[str, Any] = {name: OWN for name in ("normal", "emissive") if name in maps}
    if "metallic_roughness" in maps:
        own |= {"metallic": OWN, "roughness": OWN}
    elif (finish.metallic, finish.roughness) != (1.0, 1.0):
        own |= {"metallic": finish.metallic, "roughness": finish.roughness}
    if finish.emissive is not None and "emissive" not in own:
        own["emissive"] = list(finish.emissive)
    shines = own.get("metallic", 0.0) != 0 or (finish.specular and own.get("roughness", 1.0) != 1)
    if shines or "emissive" in own:
        return GgxOptions.model_validate({"metallic": 0.0, "roughness": 1.0} | own)
    return LambertOptions.model_validate({name: value for name, value in own.items() if name == "normal"})


def build_material(
    options: AnyMaterial, data: MeshData, where: str
) -> tuple[scene_material.Material, AnyMaterial, MeshData]:
    """Return the material on a mesh, `options` with defaults filled in, and the mesh, unwrapped if necessary.

    where: the material's dotted path, for messages. Raises ConfigError if options do not fit the mesh, DataError if an
    image file cannot be used.
    """
    if options.base_color is None:
        has_own = data.texture is not None or data.vertex_colors is not None
        options = options.model_copy(update={"base_color": "own" if has_own else PerVertex[Albedo](vertex=GRAY)})
    written = {name: getattr(options, name) for name in type(options).model_fields if name != "type"}
    written = {name: value for name, value in written.items() if value is not None}
    data = with_layout(data, written, where)
    make: Any = MATERIALS[options.type]
    kinds = kinds_of(make)
    values = {
        name: build_value(name, kinds[name], value, data, f"{where}.{name}") if name in kinds else value
        for name, value in written.items()
    }
    return make(**values), options, data
