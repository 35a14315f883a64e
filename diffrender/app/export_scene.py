"""Write a scene's meshes, textures, lights and cameras in exchange formats to a run's folder."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from diffrender.scene.cameras import Cameras
from diffrender.scene.joined_parts import with_joined_normals
from diffrender.scene.move_scene import move_cameras, move_scene
from diffrender.scene.quantity_kinds import kinds_of, textures_of
from diffrender.scene.scene import Scene
from diffrender.setup.fit_setup import FitSetup
from diffrender.writers.capture import write_capture
from diffrender.writers.gltf.scene import GlbObject, write_glb
from diffrender.writers.images.textures import write_texture
from diffrender.writers.lights import write_lights
from diffrender.writers.meshes.obj import write_obj
from diffrender.writers.meshes.ply import write_ply
from diffrender.writers.run.run_folder import RunFolder

ORIGIN = (0.0, 0.0, 0.0)


def glb_path(folder: RunFolder, stem: str) -> Path:
    """Return the path of the GLB that `write_meshes` writes for `stem`."""
    return folder.mesh / f"{stem}.glb"


def obj_path(folder: RunFolder, stem: str) -> Path:
    """Return the path of an OBJ, in a folder of its own."""
    return folder.mesh / f"{stem}_obj" / f"{stem}.obj"


def ply_path(folder: RunFolder, stem: str) -> Path:
    """Return the path of a PLY."""
    return folder.mesh / f"{stem}.ply"


def write_meshes(
    folder: RunFolder,
    stem: str,
    formats: Collection[str],
    scene: Scene,
    cameras: Cameras | None = None,
    origin: Sequence[float] = ORIGIN,
) -> None:
    """Write the scene's meshes in world coordinates.

    glb: mesh/<stem>.glb with all posed objects. obj: mesh/<stem>_obj/<stem>.obj with its library and textures, a folder
    that can be moved; ply: mesh/<stem>.ply. Of these one per object, with <stem>_<object> for <stem>, if there are
    several.

    formats: any of the three. origin: that of `scene` in the user's world, in which all is written.
    """
    cameras = None if cameras is None else move_cameras(cameras, origin)
    scene = with_joined_normals(move_scene(scene, origin))
    if "glb" in formats:
        objects = [GlbObject.of(name, item) for name, item in scene.objects.items()]
        write_glb(glb_path(folder, stem), objects, cameras, scene.lights)
    for name, item in scene.objects.items():
        own = stem if len(scene.objects) == 1 else f"{stem}_{name}"
        surface = item.material.to_gltf()
        if "obj" in formats:
            write_obj(obj_path(folder, own), item.mesh_w(), surface=surface)
        if "ply" in formats:
            write_ply(ply_path(folder, own), item.mesh_w(), surface.base_color)


def write_appearance(folder: RunFolder, scene: Scene, origin: Sequence[float] = ORIGIN) -> None:
    """Write textures/<object>_<field>.png and lights/lights.json with environment maps.

    origin: as for `write_meshes`.
    """
    scene = move_scene(scene, origin)
    for name, item in scene.objects.items():
        kinds = kinds_of(item.material)
        for field, texture in textures_of(item.material).items():
            write_texture(folder.folder("textures") / f"{name}_{field}.png", kinds[field], texture)
    write_lights(folder.lights / "lights.json", scene.lights)


def write_cameras(folder: RunFolder, setup: FitSetup, fitted: Cameras, heldout: Cameras | None = None) -> None:
    """Write cameras/transforms.json, a capture of the fitted and the held-out views with these cameras.

    heldout: None: those of the targets.
    """
    views = [replace(setup.fit_views, cameras=fitted)]
    if setup.heldout_views is not None:
        views.append(setup.heldout_views if heldout is None else replace(setup.heldout_views, cameras=heldout))
    fit, *rest = (replace(each, cameras=move_cameras(each.cameras, setup.origin)) for each in views)
    box = None
    if setup.box is not None:
        box = [[value + start for value, start in zip(corner, setup.origin, strict=True)] for corner in setup.box]
    background = setup.config.background or ORIGIN
    has_own_masks = setup.has_found_masks or setup.config.targets.shrink_masks is not None
    write_capture(folder.cameras, fit, rest[0] if rest else None, background, box, has_own_masks)
