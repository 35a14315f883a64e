"""What is wrong with the frames of a capture: collected, and told together."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from diffrender.errors import DataError
from diffrender.readers.captures.picture_files import some

T = TypeVar("T")
# How many problems of a capture a message lists.
LISTED_PROBLEMS = 12
# Not those of names, as of k1.
NUMBER = re.compile(r"(?<![\w.])-?\d+(\.\d+)?(e[-+]?\d+)?")


def problems_error(source: Path, problems: Sequence[str], n_frames: int) -> DataError:
    """Return one error for everything that is wrong with what `source` lists; what several frames share is said once.

    problems: each with the frame, image or row it is about, "place: what", or about all. Of what is said of a file of
        each frame, "place: path: what", the first file is named, and of what differs only in its numbers, the first is
        told if all frames have it; of many that remain, the first are told.
    """
    places: dict[str, list[str]] = {}
    files: dict[str, str] = {}
    for problem in problems:
        is_of_frame = problem.startswith(("frame ", "image ", "row ")) and "): " in problem
        place, colon, what = problem.partition("): ") if is_of_frame else ("", "", problem)
        file, _, about_file = what.partition(": ")
        if is_of_frame and about_file and (os.path.isabs(file) or os.path.exists(file)):
            what = about_file
            files.setdefault(what, file)
        places.setdefault(what, []).append(place + colon.rstrip(": "))
    _unite(places, n_frames)
    lines = []
    for what, named in places.items():
        where = f"all {n_frames} frames" if n_frames == len(named) > 1 else some(named)
        file = files.get(what, "")
        told = what if not file else f"{file}: {what}" if len(named) == 1 else f"{what} (the first: {file})"
        lines.append(f"{where}: {told}" if named[0] else told)
    if len(lines) == 1:
        return DataError(f"{source}: {lines[0]}")
    more = [f"and {len(lines) - LISTED_PROBLEMS} more"] if len(lines) > LISTED_PROBLEMS else []
    listed = "\n".join(f"  - {line}" for line in lines[:LISTED_PROBLEMS] + more)
    return DataError(f"{source}: {len(lines)} problems\n{listed}")


def _unite(places: dict[str, list[str]], n_frames: int) -> None:
    """Make what all frames have but for its numbers one entry of `places`, with the text of the first."""
    alike: dict[str, list[str]] = {}
    for what in places:
        alike.setdefault(NUMBER.sub("0", what.partition(", got ")[0]), []).append(what)
    for texts in alike.values():
        named = [place for what in texts for place in places[what]]
        if len(texts) > 1 and len(named) == n_frames and all(named):
            for what in texts:
                del places[what]
            places[f"{texts[0]} (the first)"] = named


def load_or_note(place: str, problems: list[str], load: Callable[[], T]) -> T | None:
    """Return `load()`, or None and add an entry to `problems` about `place` if it raises DataError."""
    try:
        return load()
    except DataError as error:
        problems.append(f"{place}: {error}")
        return None
