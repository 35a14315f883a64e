"""Format mistakes in scene files: position, message, quoted line, hints."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# Longer lines are cut around the caret, so that it stays below the character that it marks.
LONGEST_SHOWN = 110


@dataclass(frozen=True)
class SourceSpan:
    """A span of characters in one line.

    source: the file's name, or the command-line option.
    line, column: counted from 1; line 0 is the command line.
    text: the whole line.
    width: number of characters.
    """

    source: str
    line: int
    column: int
    text: str
    width: int = 1

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True)
class Diagnostic:
    """One thing that is wrong: a sentence at a span of the source, with notes that help."""

    place: SourceSpan
    message: str
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.place}: {self.message}", *_quote(self.place), *(f"      {note}" for note in self.notes)]
        return "\n".join(lines)


class MistakeError(Exception):
    """Raised with the one mistake that stopped the reading of a text."""

    def __init__(self, mistake: Diagnostic):
        super().__init__(mistake.message)
        self.mistake = mistake


def report(mistakes: Sequence[Diagnostic]) -> str:
    """Return all mistakes as one text, in the order of the file, each of them once."""
    # The command line, which has no lines, comes last and keeps its order.
    ordered = sorted(mistakes, key=lambda m: (m.place.line == 0, m.place.line, m.place.column if m.place.line else 0))
    unique = list(dict.fromkeys(ordered))
    count = "1 mistake" if len(unique) == 1 else f"{len(unique)} mistakes"
    return "\n\n".join([f"the scene cannot be used: {count}", *(str(mistake) for mistake in unique)])


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return the most similar of the `known` words as a question, or None if none is similar."""
    near = most_similar(word, known)
    return None if near is None else f"did you mean `{near}`?"


def most_similar(word: str, known: Iterable[str]) -> str | None:
    """Return the most similar of the `known` words, or None if none is similar."""
    known = list(known)
    by_lower = {name.lower(): name for name in reversed(known)}
    near = difflib.get_close_matches(word.lower(), list(by_lower), n=1, cutoff=0.6)
    return by_lower[near[0]] if near else None


def _quote(place: SourceSpan) -> list[str]:
    if not place.text.strip():
        return []
    text, column = place.text.replace("\t", " ").rstrip(), place.column - 1
    start = 0
    if len(text) > LONGEST_SHOWN:
        start = min(max(0, column - LONGEST_SHOWN // 2), len(text) - LONGEST_SHOWN)
    shown = text[start : start + LONGEST_SHOWN]
    width = max(1, min(place.width, len(shown) - (column - start)))
    number = f"{place.line:5d}" if place.line else "     "
    return [f"{number} | {shown}", f"      | {' ' * (column - start)}{'^' * width}"]
