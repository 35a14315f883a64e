"""Check an exported GLB: read it back, render it, and compare with the scene that it was written from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from diffrender.imaging.color import srgb_from_linear
from diffrender.imaging.metrics import MOST_DB, psnr_db
from diffrender.readers.gltf.scene import read_gltf_scene
from diffrender.render.render import RenderViews
from diffrender.scene.cameras import Cameras
from diffrender.scene.light import Light, PunctualLight
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import evenly_spaced_indices

VIEWS = 4


@torch.no_grad()
def export_psnr_db(
    path: Path, scene: Scene, cameras: Cameras, render_views: RenderViews, origin: Sequence[float] = (0.0, 0.0, 0.0)
) -> float:
    """Return the PSNR in dB of the GLB at `path` against `scene`, at most MOST_DB; NaN if nothing is in view.

    It is the mean over up to VIEWS evenly spaced cameras, of the sRGB pixels, clamped to 0..1, that either covers.
    Exposures of the cameras are ignored, since dark images would hide differences.
    Lights come from the file if glTF can express them; environments, lights fixed to cameras, shadows and the
    background are those of `scene`. origin: that of `scene` in the world of the file.
    Raises DataError if the file cannot be read.
    """
    read = read_gltf_scene(path, origin=origin).scene
    lights = {name: _with_shadow_of(light, read.lights.get(name, light)) for name, light in scene.lights.items()}
    exported = replace(read, lights=lights, background=scene.background).to(scene.background.device)
    cameras = cameras.without_gains()
    scores = []
    for view in evenly_spaced_indices(len(cameras), VIEWS):
        images = [render_views(shown, cameras.select([view])).rgba for shown in (scene, exported)]
        first, second = (srgb_from_linear(image[..., :3]).clamp(0, 1) for image in images)
        covered = (torch.maximum(images[0][..., 3], images[1][..., 3]) > 0).to(first.dtype)
        scores += [min(score, MOST_DB) for score in psnr_db(first, second, covered).tolist() if not math.isnan(score)]
    return sum(scores) / len(scores) if scores else math.nan


def _with_shadow_of(light: Light, read: Light) -> Light:
    """Return `read` with the shadow options of `light`, which glTF cannot express."""
    if isinstance(light, PunctualLight) and isinstance(read, PunctualLight):
        return replace(read, shadow=light.shadow)  # type: ignore[arg-type]
    return read
