"""Write a scene's meshes, textures, lights and cameras in exchange formats to a run's folder."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from diffrender.scene.cameras import Cameras
from diffrender.scene.fields import kinds_of, textures_of
from diffrender.scene.scene import Scene
from diffrender.writers.cameras import write_transforms
from diffrender.writers.gltf.glb import GlbObject, write_glb
from diffrender.writers.images.textures import write_texture
from diffrender.writers.lights import write_lights
from diffrender.writers.meshes.obj import write_obj
from diffrender.writers.run.run_folder import RunFolder


def glb_path(folder: RunFolder, stem: str) -> Path:
    """Return the path of the GLB that `write_meshes` writes for `stem`."""
    return folder.mesh / f"{stem}.glb"


def write_meshes(
    folder: RunFolder, stem: str, formats: Collection[str], scene: Scene, cameras: Cameras | None = None
) -> None:
    """Write mesh/<stem>.glb with all posed objects, and mesh/<stem>.obj, or one per object, in world coordinates.

    formats: any of glb and obj.
    """
    if "glb" in formats:
        objects = [GlbObject.of(name, item) for name, item in scene.objects.items()]
        write_glb(glb_path(folder, stem), objects, cameras, scene.lights)
    if "obj" in formats:
        for name, item in scene.objects.items():
            file = f"{stem}.obj" if len(scene.objects) == 1 else f"{stem}_{name}.obj"
            write_obj(folder.mesh / file, item.mesh.with_vertices(item.vertices_w()), surface=item.material.to_gltf())


def write_appearance(folder: RunFolder, scene: Scene, cameras: Cameras, view_names: Sequence[str]) -> None:
    """Write textures/<object>_<field>.png, lights/lights.json with environment maps, and cameras/transforms.json."""
    for name, item in scene.objects.items():
        kinds = kinds_of(item.material)
        for field, texture in textures_of(item.material).items():
            write_texture(folder.folder("textures") / f"{name}_{field}.png", kinds[field], texture)
    write_lights(folder.lights / "lights.json", scene.lights)
    write_transforms(folder.cameras / "transforms.json", cameras, view_names)
