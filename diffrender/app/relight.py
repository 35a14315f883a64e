"""Render a fitted scene under other lights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from diffrender.app.earlier_run import find_run
from diffrender.app.turntable import write_turntable
from diffrender.config.load import parse_config
from diffrender.config.overrides import Override
from diffrender.errors import ConfigError, DataError
from diffrender.imaging.tone_mapping import PLAIN, Display
from diffrender.render.render import render
from diffrender.scene.light import Light
from diffrender.scene.materials import MATERIALS
from diffrender.scene.target_views import evenly_spaced_indices
from diffrender.setup.fit_setup import choose_device
from diffrender.setup.lights import build_light
from diffrender.setup.local_origin import ZERO, Origin, shift_positions
from diffrender.setup.saved_scene import SCENE_FILE, load_scene
from diffrender.threads import kernel_threads, threads_to_kernels
from diffrender.writers.images.png import write_png

VIEWS = 8
FOLDER = "relight"
FILM = "relight.mp4"
# A minimal scene file; only its lights are used.
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
    """Render the fitted scene of a run under other lights, as pictures and a video, and return their folder.

    env: an environment map (.hdr, .exr or an image), rotated by `rotation_deg` about +y.
    lights: further lights, each an entry of a scene file's `lights`: "{type: point, position: [0, 3, 0]}".
    out: if None: <run>/relight.
    display: how light becomes a picture.
    Writes view_000.png and so on, from up to VIEWS of the fitted cameras, and relight.mp4, in which the objects turn
    while camera and lights stay. Raises ConfigError if the lights are invalid or no material depends on light;
    DataError if the run has no fitted scene, or a file cannot be read or written.
    """
    folder = find_run(run)
    if not (folder.path / SCENE_FILE).is_file():
        raise DataError(
            f"{run}: has no fitted scene ({SCENE_FILE}), the run has not ended; resume it: diffrender fit --resume"
        )
    scene, cameras, _, origin = load_scene(folder.path / SCENE_FILE)
    unlit = [name for name, item in scene.objects.items() if not item.material.needs_light]
    if len(unlit) == len(scene.objects):
        lit = ", ".join(name for name, material in MATERIALS.items() if material.needs_light)
        raise ConfigError(
            f"{run}: {', '.join(unlit)} cannot be relit: the material is unlit, so its colours include the light;"
            f" fit with `lights` and a material that depends on light ({lit})"
        )
    target = choose_device(device)
    scene = replace(scene, lights=read_lights(env, lights, rotation_deg, origin)).to(target)
    # The exposures of the photographs do not apply to other lights.
    cameras = cameras.without_gains().to(target)
    out = folder.path / FOLDER if out is None else out
    with threads_to_kernels(kernel_threads()), torch.no_grad():
        for number, view in enumerate(evenly_spaced_indices(len(cameras), VIEWS)):
            image = render(scene, cameras.select([view])).rgba[0, ..., :3]
            write_png(out / f"view_{number:03d}.png", display.map_tones(image))
        write_turntable(out / FILM, scene, cameras, render, display=display)
    return out


def read_lights(
    env: Path | None, lights: Sequence[str], rotation_deg: float = 0.0, origin: Origin = ZERO
) -> dict[str, Light]:
    """Read lights by name from an environment map and entries of a scene file, relative to a point of the world.

    Raises ConfigError if none are given.
    """
    entries = list(lights)
    if env is not None:
        if not env.is_file():
            raise DataError(f"{env}: environment map does not exist; check the path")
        turn = f", rotation: {{axis: [0, 1, 0], degrees: {rotation_deg}}}"
        quoted = "'" + str(env).replace("'", "''") + "'"
        entries.insert(0, f"{{type: environment, radiance: {quoted}{turn}}}")
    if not entries:
        raise ConfigError("relight: needs a light; give --env FILE.hdr, or --light '{type: directional, ...}'")
    override = Override("lights", f"[{', '.join(entries)}]", "--light" if env is None else "--env")
    x, y, z = origin
    config = shift_positions(parse_config(ONLY_LIGHTS, Path(), "relight", [override]), (-x, -y, -z))
    return {light.name or light.type: build_light(light) for light in config.lights or []}
