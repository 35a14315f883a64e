"""A fitted scene in another light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from diffrender.app.resume import find_run
from diffrender.app.scene_file import SCENE_FILE, load_scene
from diffrender.app.turntable import write_turntable
from diffrender.config.load import parse_config
from diffrender.config.overrides import Override
from diffrender.errors import ConfigError, DataError
from diffrender.imaging.tone_mapping import PLAIN, Display
from diffrender.render.render import render
from diffrender.scene.light import Light
from diffrender.scene.materials import MATERIALS
from diffrender.scene.views import evenly_spaced_indices
from diffrender.setup.fit_setup import choose_device
from diffrender.setup.lights import build_light
from diffrender.threads import kernel_threads, threads_to_kernels
from diffrender.writers.images.png import write_png

VIEWS = 8
FOLDER = "relight"
FILM = "relight.mp4"
# The least that a scene file can say; only its lights are looked at.
ONLY_LIGHTS = "targets: {synthetic: {}}"


def relight_run(
    run: Path,
    env: Path | None = None,
    lights: Sequence[str] = (),
    rotation_deg: float = 0.0,
    out: Path | None = None,
    device: str = "auto",
    display: Display = PLAIN,
) -> Path:
    """Renders the fitted scene of a run's folder under other lights: pictures and a film; returns their folder.

    env: an environment map (.hdr, .exr or an image), turned by `rotation_deg` about +y.
    lights: more, each as an entry of a scene file's `lights`: "{type: point, position: [0, 3, 0], intensity: 9}".
    out: left out: <run>/relight.
    display: how light becomes a picture.
    Writes view_000.png and so on, from up to VIEWS of the fitted cameras, and relight.mp4, in which the objects turn
    while camera and lights stay. Raises ConfigError for lights that are none, a run without a fitted scene, or one
    whose materials do not depend on light; DataError where a file cannot be read or written.
    """
    folder = find_run(run)
    if not (folder.path / SCENE_FILE).is_file():
        raise DataError(
            f"{run}: has no fitted scene ({SCENE_FILE}); the run has not ended, go on with it: diffrender fit --resume"
        )
    scene, cameras = load_scene(folder.path / SCENE_FILE)
    baked = [name for name, item in scene.objects.items() if not item.material.needs_light]
    if len(baked) == len(scene.objects):
        lit = ", ".join(name for name, material in MATERIALS.items() if material.needs_light)
        raise ConfigError(
            f"{run}: {', '.join(baked)} cannot be relit: its material is unlit, and the light that it was seen in is"
            f" part of its colours; fit it with a material that needs light ({lit}) and `lights`"
        )
    target = choose_device(device)
    scene = replace(scene, lights=read_lights(env, lights, rotation_deg)).to(target)
    # In other light, what was found about each photograph's exposure means nothing.
    cameras = cameras.without_gains().to(target)
    out = folder.path / FOLDER if out is None else out
    with threads_to_kernels(kernel_threads()), torch.no_grad():
        for number, view in enumerate(evenly_spaced_indices(len(cameras), VIEWS)):
            image = render(scene, cameras.select([view])).rgba[0, ..., :3]
            write_png(out / f"view_{number:03d}.png", display.map_tones(image))
        write_turntable(out / FILM, scene, cameras, render, display=display)
    return out


def read_lights(env: Path | None, lights: Sequence[str], rotation_deg: float = 0.0) -> dict[str, Light]:
    """Lights by name, from an environment map and entries of a scene file. Raises ConfigError where there are none."""
    entries = list(lights)
    if env is not None:
        if not env.is_file():
            raise DataError(f"{env}: there is no such environment map; check the path")
        turn = f", rotation: {{axis: [0, 1, 0], degrees: {rotation_deg}}}"
        quoted = "'" + str(env).replace("'", "''") + "'"
        entries.insert(0, f"{{type: environment, radiance: {quoted}{turn}}}")
    if not entries:
        raise ConfigError("relight: there is no light; give --env FILE.hdr, or --light '{type: directional, ...}'")
    override = Override("lights", f"[{', '.join(entries)}]", "--light" if env is None else "--env")
    config = parse_config(ONLY_LIGHTS, Path(), "relight", [override])
    return {light.name or light.type: build_light(light) for light in config.lights or []}
