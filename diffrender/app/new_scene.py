"""Scene files of captures: what `fit` takes for a folder of photographs, and what `new` writes for one to be edited."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diffrender.config.load import load_config, parse_config
from diffrender.config.overrides import Override
from diffrender.config.scene_dependent_defaults import PHOTO_RESOLUTION
from diffrender.config.schema import FitConfig
from diffrender.errors import ConfigError, DataError

if TYPE_CHECKING:
    from diffrender.setup.bounds import Bounds

SCENE_FILES = ("scene.yaml", "scene.yml")
# Files of captures, which may be named as such; a .json may also be a scene file.
SCENES, CAPTURES = (".yaml", ".yml"), (".json", ".npz", ".npy")

# Without their "# " lines are valid; those of `optimize` together with it.
CHOSEN = """\

# All that follows is chosen if it is not given; scene.resolved.yaml of a run says what, and why.
# optimize:
#   steps: 400
#   minutes: 2                   # instead of steps: what fits into this time
"""
CHOICES = f"""\
  # test_every: 8                # every 8th view is held out, to judge the result; null: none
  # missing: skip                # images that do not exist, or lack a mask that others have, are left out
{CHOSEN}\
#   cameras.pose: {{}}             # corrects cameras that are not exact; the default where pictures tell so; or: off
#   cameras.exposure: {{}}         # for photographs of unequal brightness
{{mesh}}
# material: {{type: lambert}}      # with lights; without, colours hold the photographed shading
# lights: [{{type: ambient}}, {{type: directional, direction: [-1, -1, -1]}}]
# export: [glb, obj, ply]
"""
CHOICES_OF_ONE = f"""\
  # fov_deg: 55                  # of the camera, along the long side
{CHOSEN}\
#   pose: {{}}                     # where the mesh is, and how it is turned: for a mesh that is known
#   mesh.vertices: off           # its shape is kept
# mesh: sphere                   # better a file, such as cup.glb: one photograph shows no depth
# pose: {{translation: [0, 0, 0], rotation: {{axis: [0, 1, 0], degrees: 0}}}}  # of its start
# export: [glb, obj, ply]
"""
# Names of folders that say nothing of what is photographed.
USUAL = re.compile(
    r"cameras|images(_\d+)?|input|capture|colmap|sparse|dense|(un)?distorted|data|latest|\d", re.IGNORECASE
)


def find_scene_file(path: Path) -> Path | None:
    """Return the scene file that `path` means: itself, or one in the folder; None if `path` is a capture."""
    if path.is_dir():
        return next((path / name for name in SCENE_FILES if (path / name).is_file()), None)
    suffix = path.suffix.lower()
    if suffix in SCENES or not path.is_file():
        return path
    if suffix not in CAPTURES:
        # This loads torch, which scene files are read without.
        from diffrender.readers.captures.picture_files import PICTURE_SUFFIXES

        return None if suffix in PICTURE_SUFFIXES else path
    return path if suffix == ".json" and _has_targets(path) else None


def _has_targets(path: Path) -> bool:
    """Return whether a JSON file is a scene file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and "targets" in content


def name_of_capture(path: Path) -> str:
    """Return what a run of a capture, or of its scene.yaml, is called: by its folder, or as the only photograph."""
    from diffrender.readers.captures.picture_files import PICTURE_SUFFIXES

    whole = Path(os.path.abspath(path))
    if whole.suffix.lower() in PICTURE_SUFFIXES:
        return whole.stem
    folder = whole if whole.is_dir() else whole.parent
    names = [folder.name]
    while USUAL.fullmatch(names[0]):
        folder = folder.parent
        names.insert(0, folder.name)
    return "_".join(filter(None, names)) or "capture"


def scene_of_capture(path: Path) -> str:
    """Return a scene file, for any folder, that fits the capture at `path` as well as we know how to."""
    return f"targets: {{path: {_quoted(os.path.realpath(path))}, resolution: {PHOTO_RESOLUTION}}}\n"


def load_scene(
    path: Path, overrides: Sequence[Override], no_programs: bool = False
) -> tuple[FitConfig, str, Path | None]:
    """Return what to fit, its name, and the scene file; None for a capture, which is fitted as is best.

    The name is that of the file or, of scene.yaml and captures, of its folder.

    path: a scene file, a folder that holds one, or a capture. no_programs: whether to refuse scene files with programs.
    Raises ConfigError.
    """
    file = find_scene_file(path)
    if file is None:
        return parse_config(scene_of_capture(path), Path(), str(path), overrides), name_of_capture(path), None
    config = load_config(file, overrides)
    synthetic = config.targets.synthetic
    places = {"program": config, "targets.synthetic.program": synthetic}
    for key, parts in places.items() if no_programs else ():
        if parts is not None and parts.program is not None:
            raise ConfigError(
                f"{file}: `{key}` would run {parts.program.file}, which --no-programs refuses; read that file, and omit"
                " --no-programs if you trust it"
            )
    return config, name_of_capture(file) if file.name.casefold() in SCENE_FILES else file.stem, file


def write_new_scene(path: Path, out: Path | None) -> tuple[Path, str]:
    """Write a commented scene file of the capture at `path`, to `out` or into its folder; return where, and its text.

    Raises DataError if the capture cannot be used, if the file exists, or if it cannot be written.
    """
    from diffrender.app.inspect_file import capture_rows, read_photographs
    from diffrender.setup.bounds import find_bounds
    from diffrender.writers.atomic import write_text

    file = out or _place_of_scene(path)
    if file.exists():
        raise DataError(f"{file}: exists already; give another name with --out, or fit it: diffrender fit {file}")
    capture = read_photographs(path)
    bounds = find_bounds(capture)
    # Also those that a fit finds before a backdrop.
    has_masks = capture.views.masks is not None or (bounds is not None and bounds.by == "masks")
    rows = capture_rows(capture, bounds)
    width = max(len(name) for name, _ in rows)
    found = [f"#   {name:{width}}  {_in_a_line(text)}".rstrip() for name, text in rows]
    try:
        to_capture = os.path.relpath(os.path.realpath(path), os.path.dirname(os.path.realpath(file)))
    except ValueError:  # on another drive of Windows
        to_capture = os.path.realpath(path)
    text = "\n".join(
        [
            f"# Fit it: diffrender fit {_in_a_line(file.name)}",
            f"# What {_in_a_line(path.name) or 'the folder'} holds (diffrender inspect):",
            *found,
            "targets:",
            f"  path: {_quoted(to_capture)}",
            f"  resolution: {PHOTO_RESOLUTION}              # most pixels of a long side; more: slower, finer texture",
            CHOICES_OF_ONE if len(capture.views) == 1 else CHOICES.replace("{mesh}", _mesh_line(bounds, has_masks)),
        ]
    )
    parse_config(text, file.parent, str(file))
    write_text(file, text)
    return file, text


def _place_of_scene(path: Path) -> Path:
    """Return where the scene file of a capture is written: into its folder, or beside the only photograph."""
    from diffrender.readers.captures.picture_files import PICTURE_SUFFIXES

    if path.suffix.lower() in PICTURE_SUFFIXES and not path.is_dir():
        return path.with_suffix(".yaml")
    return (path if path.is_dir() else path.parent) / SCENE_FILES[0]


def _mesh_line(bounds: Bounds | None, has_masks: bool) -> str:
    """Return the lines that bound what is fitted, by a box that was found."""
    kind = "visual_hull" if has_masks else "stereo"
    what = "the object in the masks" if has_masks else "all that pictures show, in place of one object"
    if bounds is None:
        return f"# mesh: {kind:24} # {what}"
    least = float((bounds.high - bounds.low).min())
    if least <= 0:
        return f"# mesh: {kind:24} # {what}"
    # Outwards, to a thousandth of the shortest side.
    digits = max(0, 3 - math.floor(math.log10(least)))
    unit, rounding = 10.0**digits, 1e-4
    low = [round(math.floor(value * unit + rounding) / unit, digits) for value in bounds.low.tolist()]
    high = [round(math.ceil(value * unit - rounding) / unit, digits) for value in bounds.high.tolist()]
    return f"# mesh: {{init: {kind}, aabb: [{low}, {high}]}}  # {what}; a smaller box cuts off"


def _in_a_line(text: str) -> str:
    """Return a text that a YAML comment can hold."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _quoted(text: str) -> str:
    """Return a YAML string. Raises DataError for a name that is not text."""
    parts = []
    for letter in text:
        code = ord(letter)
        if 0xD800 <= code < 0xE000:
            raise DataError(f"{text!r}: the name is not valid UTF-8, which a scene file cannot hold; rename it")
        if letter in '"\\':
            parts.append(f"\\{letter}")
        elif letter.isprintable():
            parts.append(letter)
        else:
            parts.append(f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return f'"{"".join(parts)}"'
