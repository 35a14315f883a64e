"""The folder of one run: <root>/<scene>/<time>/, and `latest` beside it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from diffrender.errors import DataError
from diffrender.writers.atomic import unwritable

TIME_FORMAT = "%Y-%m-%d_%H-%M-%S"
LATEST = "latest"
# Runs that may start within one second; beyond it, something else is wrong.
SUFFIX_LIMIT = 1000


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run; each subfolder is made when it is first used.

    path: the run's own folder. notes: what was not as usual when it was made.
    """

    path: Path
    notes: tuple[str, ...] = ()

    def folder(self, name: str) -> Path:
        """Return the subfolder `name` (it may contain slashes), made if it is missing."""
        folder = self.path / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(folder, error) from error
        return folder

    @property
    def progress(self) -> Path:
        """The folder of progress pictures."""
        return self.folder("progress")

    @property
    def mesh(self) -> Path:
        """The folder of the meshes."""
        return self.folder("mesh")

    @property
    def cameras(self) -> Path:
        """The folder of the cameras."""
        return self.folder("cameras")

    @property
    def lights(self) -> Path:
        """The folder of the lights."""
        return self.folder("lights")

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder("checkpoints")

    def progress_picture(self, step: int) -> Path:
        """Return the path of the progress picture of `step`; names sort by step."""
        return self.progress / f"step_{step:05d}.png"


def check_writable(root: Path) -> None:
    """Raise DataError unless `root`, or folders in it, can be made. Nothing is made."""
    existing = Path(root).absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise unwritable(Path(root), NotADirectoryError(f"{existing} is a file"))
    if not os.access(existing, os.W_OK | os.X_OK):
        raise unwritable(Path(root), PermissionError(f"no permission to write in {existing}"))


def create_run_folder(root: Path, scene_name: str, now: datetime) -> RunFolder:
    """Make the new folder <root>/<scene_name>/<time>/ and the link <root>/<scene_name>/latest to it.

    root: the folder of all runs, made if missing.
    scene_name: a folder name, usually the scene file's stem.
    now: the time in the folder's name; if that folder exists, `_2`, `_3`, ... is appended.

    If links are not allowed (some network drives, Windows), `latest` is a text file with the folder's name.

    Raises DataError if the folder cannot be made, or if scene_name is not a plain folder name.
    """
    if not scene_name or scene_name in (".", "..") or "/" in scene_name or "\\" in scene_name:
        raise DataError(f"the scene name {scene_name!r} cannot be a folder name; rename the scene file")
    parent = Path(root) / scene_name
    try:
        parent.mkdir(parents=True, exist_ok=True)
        path = _make_unique(parent, now.strftime(TIME_FORMAT))
    except OSError as error:
        raise unwritable(parent, error) from error
    return RunFolder(path, _point_latest_at(path))


def follow_latest(path: Path) -> Path:
    """Return the folder that `latest` names where it is a text file; any other path as it is."""
    return path.with_name(path.read_text(encoding="utf-8", errors="replace").strip()) if path.is_file() else path


def _make_unique(parent: Path, name: str) -> Path:
    for attempt in range(1, SUFFIX_LIMIT):
        path = parent / (name if attempt == 1 else f"{name}_{attempt}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise FileExistsError(f"{SUFFIX_LIMIT} runs named {name}")


def _point_latest_at(path: Path) -> tuple[str, ...]:
    """Let `latest` beside the folder name it; return a note if that fails."""
    latest = path.parent / LATEST
    # Made under another name and moved over the old one, so that `latest` exists at any time.
    temporary = path.parent / f".{LATEST}.{os.getpid()}"
    note: tuple[str, ...] = ()
    try:
        temporary.unlink(missing_ok=True)
        try:
            temporary.symlink_to(path.name, target_is_directory=True)
        except (OSError, NotImplementedError):
            temporary.write_text(path.name + "\n", encoding="utf-8")
        temporary.replace(latest)
    except OSError as error:  # the run matters more
        note = (f"{latest} is still what it was ({error.strerror}) and not this run; move it away",)
    with suppress(OSError):
        temporary.unlink(missing_ok=True)
    return note
