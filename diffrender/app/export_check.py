"""The proof of an exported GLB: read back and rendered, it looks like the scene that it was written from."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch

from diffrender.imaging.color import srgb_from_linear
from diffrender.imaging.metrics import psnr_db
from diffrender.readers.gltf.scene import read_gltf_scene
from diffrender.render.render import RenderViews
from diffrender.scene.cameras import Cameras
from diffrender.scene.light import Light, PunctualLight
from diffrender.scene.scene import Scene
from diffrender.scene.views import evenly_spaced_indices

VIEWS = 4
# Identical images have infinitely many decibels, which JSON has no number for; 8-bit images that differ have at most 96
# at a megapixel.
MOST_DB = 99.0


@torch.no_grad()
def export_psnr_db(path: Path, scene: Scene, cameras: Cameras, render_views: RenderViews) -> float:
    """PSNR in dB of the GLB at `path`, read back, against `scene`, at most MOST_DB; NaN where nothing is in view.

    Over the pixels that either covers, sRGB clamped to 0..1, the mean over up to VIEWS of the cameras, spread evenly.
    All have the exposure of the scene itself: dark pictures would hide what differs.
    Lights come from the file as far as glTF has them; skies, lights that go with the cameras, shadows and the
    background are those of `scene`. Raises DataError where the file cannot be read.
    """
    found = read_gltf_scene(path).scene
    lights = {name: _like(light, found.lights.get(name, light)) for name, light in scene.lights.items()}
    again = replace(found, lights=lights, background=scene.background).to(scene.background.device)
    cameras = cameras.without_gains()
    scores = []
    for view in evenly_spaced_indices(len(cameras), VIEWS):
        images = [render_views(each, cameras.select([view])).rgba for each in (scene, again)]
        first, second = (srgb_from_linear(image[..., :3]).clamp(0, 1) for image in images)
        covered = (torch.maximum(images[0][..., 3], images[1][..., 3]) > 0).to(first.dtype)
        scores += [min(score, MOST_DB) for score in psnr_db(first, second, covered).tolist() if not math.isnan(score)]
    return sum(scores) / len(scores) if scores else math.nan


def _like(light: Light, read: Light) -> Light:
    """The light that was read, casting shadows as the one that was written: files do not say who casts any."""
    if isinstance(light, PunctualLight) and isinstance(read, PunctualLight):
        return replace(read, shadow=light.shadow)  # type: ignore[arg-type]
    return read
