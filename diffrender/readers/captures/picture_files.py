"""Pictures that are found by names which another system or program wrote."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".exr", ".hdr")


def real_path(path: Path) -> Path:
    """Return `path` without links; as it is where it cannot be the name of a file."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):
        return path


def shrunk_folders(parent: Path) -> list[Path]:
    """Return images_2, images_4, ... in `parent`, the largest pictures first."""
    numbered = [entry for entry in parent.glob("images_*") if entry.name[7:].isdecimal() and entry.is_dir()]
    return sorted(numbered, key=lambda entry: int(entry.name[7:]))


def some(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


class PictureFolder:
    """A folder whose files are found whatever the separators and the case of their names; it is listed once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listings: dict[Path, dict[str, list[str]]] = {}

    def find(self, name: str) -> Path | None:
        """Return the file that is called `name`, a path below the folder; the very name comes first."""
        if os.path.isfile(self.path / name):
            return self.path / name
        *folders, last = _parts(name) or ("",)
        return self._in(folders, last)

    def find_picture(self, stem: str) -> Path | None:
        """Return the picture that is called `stem` and a suffix; of several the first by PICTURE_SUFFIXES."""
        *folders, last = _parts(stem) or ("",)
        found = (self._in(folders, last + suffix) for suffix in PICTURE_SUFFIXES)
        return next((file for file in found if file is not None), None)

    def find_companion(self, name: str) -> Path | None:
        """Return the picture that goes with the image `name`: <name>.<suffix>, <name>, <stem>[_mask].<suffix>."""
        stem = os.path.splitext(name)[0]
        return (
            self.find_picture(name) or self.find(name) or self.find_picture(stem) or self.find_picture(f"{stem}_mask")
        )

    def _in(self, folders: list[str], last: str) -> Path | None:
        place: Path | None = self.path
        for folder in folders:
            place = None if place is None else self._child(place, folder)
        file = None if place is None else self._child(place, last)
        return file if file is not None and os.path.isfile(file) else None

    def _child(self, folder: Path, name: str) -> Path | None:
        """Return the entry of `folder` with this name, or else the only one whose name differs in case."""
        if folder not in self._listings:
            listing: dict[str, list[str]] = {}
            for entry in os.listdir(folder) if os.path.isdir(folder) else ():
                listing.setdefault(entry.casefold(), []).append(entry)
            self._listings[folder] = listing
        names = self._listings[folder].get(name.casefold(), [])
        if name in names:
            return folder / name
        return folder / names[0] if len(names) == 1 else None


def _parts(name: str) -> tuple[str, ...]:
    return PurePosixPath(name.replace("\\", "/")).parts
