"""Build materials from their options."""

from __future__ import annotations

from typing import Any

from diffrender.config.options.material_inputs import PerVertex
from diffrender.config.options.materials import AnyMaterial
from diffrender.config.options.value_types import Albedo
from diffrender.config.scene_dependent_defaults import GRAY
from diffrender.readers.mesh_data import MeshData
from diffrender.scene import material as scene_material
from diffrender.scene.materials import MATERIALS
from diffrender.scene.quantity_kinds import kinds_of
from diffrender.setup.material_inputs import build_value, with_layout


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
