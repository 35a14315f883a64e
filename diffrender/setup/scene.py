"""Build a Scene from the options of a scene file."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar

import torch
from pydantic import BaseModel

from diffrender.config.options.lights import AmbientOptions, AnyLight
from diffrender.config.options.materials import UnlitOptions
from diffrender.config.options.meshes import FileMesh, SphereMesh, VisualHullMesh
from diffrender.config.options.objects import CreaseOptions, ObjectOptions, PoseOptions, SceneParts
from diffrender.errors import ConfigError
from diffrender.geometry.rigid import make_rigid
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.readers.part_notes import notes_on_file
from diffrender.scene.joined_parts import join_parts
from diffrender.scene.materials import MATERIALS
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.setup.hull import note_left_out
from diffrender.setup.lights import build_light, name_lights, rotation_vector
from diffrender.setup.materials import build_material, material_of_file
from diffrender.setup.mesh_files import MeshFiles
from diffrender.setup.meshes import ObjectPose, build_mesh
from diffrender.setup.region import InitRegion

Parts = TypeVar("Parts", bound=SceneParts)


class BuiltScene(NamedTuple, Generic[Parts]):
    """A scene as its options describe it, on the CPU.

    parts: the options with defaults filled in, an object for each part of a mesh file. notes: on meshes.
    names: the names of the objects that each entry of the options became, by its own name.
    """

    scene: Scene
    parts: Parts
    notes: list[str]
    names: dict[str, list[str]]


def build_scene(parts: Parts, place: InitRegion) -> BuiltScene[Parts]:
    """Build the scene that `parts` describe.

    place: the default region of initial meshes, and the views for visual hulls.
    Raises ConfigError if options do not fit the files that they name, DataError if a file cannot be used or a visual
    hull is empty.
    """
    lights = _name_lights(parts)
    files = MeshFiles()
    objects: dict[str, Object] = {}
    filled: list[ObjectOptions] = []
    about_files: dict[str, dict[str, tuple[str, ...]]] = {}
    about_hulls: list[str] = []
    names: dict[str, list[str]] = {}
    for written in parts.all_objects():
        several = files.split(written, f"{written.name}_" if parts.objects is not None else "")
        names[written.name] = [options.name for options in several]
        where = f"objects.{written.name}." if parts.objects is not None else ""
        for options in several:
            if options.name in objects:
                raise ConfigError(f"{where}mesh: two objects would be named {options.name!r}; rename one of them")
            pose_options = options.pose or PoseOptions()
            pose, scale = _build_pose(pose_options)
            frame = None if options.pose is None else ObjectPose(pose, scale)
            mesh_options, data = build_mesh(options.mesh or SphereMesh(), place, frame, f"{where}mesh", files)
            if isinstance(mesh_options, FileMesh):
                about = data.all_notes
                about_files.setdefault(mesh_options.file, {})[options.name] = about
            is_found = getattr(options.mesh, "leave_out", None) is None
            if isinstance(mesh_options, VisualHullMesh) and mesh_options.leave_out and is_found:
                about_hulls.append(note_left_out(mesh_options.leave_out, f"{where}mesh"))
            default = material_of_file(data) if parts.lights else UnlitOptions()
            material_options = options.material or default
            material, material_options, data = build_material(material_options, data, f"{where}material")
            objects[options.name] = Object(_shaded(data.mesh, options), material, pose, scale)
            # A file without a pose is relative to the origin of the user's world, and stays so.
            is_moved = any(place.origin) and isinstance(mesh_options, FileMesh) and options.pose is None
            kept = None if is_moved else pose_options
            update = {"mesh": mesh_options, "material": material_options, "pose": kept}
            filled.append(options.model_copy(update=update))
    for surface, together in _parts_of_files(filled).items():
        objects |= join_parts({name: objects[name] for name in together}, surface)
    background = parts.background or (0.0, 0.0, 0.0)
    scene = Scene(objects, {name: build_light(light) for name, light in lights.items()}, torch.tensor(background))
    update = _one_or_several(filled, parts.objects is not None or len(filled) > 1)
    filled_parts = parts.model_copy(update=update | {"lights": list(lights.values()), "background": background})
    notes = [note for path, by_object in about_files.items() for note in notes_on_file(path, by_object)]
    return BuiltScene(scene, filled_parts, [*notes, *about_hulls, *_notes_on_starts(filled)], names)


def _notes_on_starts(filled: list[ObjectOptions]) -> list[str]:
    """Return a note on each group of objects that are the same at first, as those without a mesh are."""
    alike: dict[str, list[str]] = {}
    for options in filled:
        alike.setdefault(repr((options.mesh, options.pose)), []).append(options.name)
    return [
        f"objects {' and '.join(names)} start as the same mesh in the same place, where one hides the other; give each"
        " its own `mesh`, as in {init: sphere, center: [1, 0, 0], radius: 0.5}, or its own `pose`"
        for names in alike.values()
        if len(names) > 1
    ]


def _parts_of_files(filled: list[ObjectOptions]) -> dict[str, list[str]]:
    """Return the objects' names of each surface that became several objects, by a name of the surface.

    Parts of one surface follow each other, each once, in one pose and shading.
    """
    found: list[tuple[str, str, dict[str, str]]] = []
    for options in filled:
        mesh = options.mesh
        if not (isinstance(mesh, FileMesh) and mesh.part is not None and mesh.split != "none"):
            found.append(("", "", {}))
            continue
        alike = repr((mesh.model_copy(update={"part": None}), options.pose, options.shading))
        if not found or found[-1][1] != alike or mesh.part in found[-1][2]:
            found.append((mesh.file, alike, {}))
        found[-1][2][mesh.part] = options.name
    surfaces = [(file, list(names.values())) for file, _, names in found if len(names) > 1]
    return {f"{file} of {names[0]}": names for file, names in surfaces}


def _one_or_several(filled: list[ObjectOptions], as_list: bool) -> dict[str, Any]:
    only = filled[0]
    own = {"mesh": only.mesh, "material": only.material, "shading": only.shading, "pose": only.pose}
    return {"objects": filled, **dict.fromkeys(own)} if as_list else own


def _shaded(mesh: Mesh, options: ObjectOptions) -> Mesh:
    """Return the mesh with the normals that `shading` asks for; those of its file if it is omitted."""
    shading = options.shading
    if shading is None:
        return mesh
    if isinstance(shading, CreaseOptions):
        return mesh.with_crease(shading.crease)
    return mesh.with_crease(0.0 if shading == "flat" else None)


def constructor_options(options: BaseModel, *without: str) -> dict[str, Any]:
    """Return `options` as keyword arguments of the class that they configure, except for `type` and `without`."""
    return {name: getattr(options, name) for name in type(options).model_fields if name not in ("type", *without)}


def _name_lights(parts: SceneParts) -> dict[str, AnyLight]:
    """Return the lights by name; if omitted and a material needs light: ambient light of radiance 1."""
    lights = parts.lights
    if lights is None:
        materials = [options.material or UnlitOptions() for options in parts.all_objects()]
        is_lit = any(MATERIALS[material.type].needs_light for material in materials)
        lights = [AmbientOptions()] if is_lit else []
    return name_lights(lights)


def _build_pose(options: PoseOptions) -> tuple[torch.Tensor, torch.Tensor]:
    pose = make_rigid(axis_angle_to_matrix(rotation_vector(options.rotation)), torch.tensor(options.translation))
    return pose, torch.tensor(options.scale)
