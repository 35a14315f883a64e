"""What was changed or not read of files, in the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text


def show_notes(notes: Iterable[str], console: Console) -> None:
    """Print a line for each note."""
    for note in notes:
        console.print(Text.assemble("  ", ("note", "dim"), "  ", note), soft_wrap=True)
