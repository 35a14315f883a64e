"""Notes on a mesh file that was read as one or several parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


def notes_on_file(path: str | Path, by_part: Mapping[str, Sequence[str]]) -> list[str]:
    """Return sentences that begin with the file's name: notes on all parts once, others with the names of the parts."""
    notes = []
    for note in dict.fromkeys(note for about in by_part.values() for note in about):
        concerned = [name for name, about in by_part.items() if note in about]
        of = "" if len(concerned) == len(by_part) else f" ({', '.join(concerned)})"
        notes.append(f"{Path(path).name}{of}: {note}")
    return notes
