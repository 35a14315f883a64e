"""report.html: one self-contained page with the results of a run."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path

from PIL import Image

from diffrender.errors import DataError
from diffrender.writers.atomic import write_text

TEMPLATE, STYLE, SCRIPT = "report.html.jinja", "report.css", "report.js"
# Of the progress pictures: how many at most, their width, and a WebP quality at which 8 are about a megabyte.
MOST_PICTURES = 9
WIDEST = 1600
QUALITY = 86
# Of the table of views; the rest is folded away.
MOST_ROWS = 10
UNKNOWN = "-"


@dataclass(frozen=True)
class Score:
    """A number before and after the fit; NaN if unknown. unit: "dB", or "" for plain numbers."""

    what: str
    unit: str
    before: float
    after: float

    @property
    def before_text(self) -> str:
        """As a person reads it, with its unit."""
        return format_score(self.before, self.unit)

    @property
    def after_text(self) -> str:
        """As a person reads it, with its unit."""
        return format_score(self.after, self.unit)


@dataclass(frozen=True)
class LearnedValue:
    """A learned value. before, after: its numbers, if they are few; words: a remark.

    before_color, after_color: in CSS, if the value is a colour.
    """

    path: str
    before: str
    after: str
    words: str
    before_color: str | None = None
    after_color: str | None = None


@dataclass(frozen=True)
class Table:
    """A table of text: a title per column, and rows of as many cells."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Report:
    """The content of the page.

    scene: its name. started: local time.
    verdict: "good", "doubtful" or "failed"; reasons: (what was found, what to change).
    headline, summary: how the run ended and what its scores are of, a sentence each.
    notes: what of the files was changed or not read, and what could not be written.
    scores: those that count most; other_scores: the others.
    views: the scores of each view, the worst first.
    pictures: (caption, file) of the progress pictures in order.
    shape, worst, curves, program: pictures of the shape, of the worst views, of the course of the fit, and by the
        scene's program, or None.
    mesh_facts: (whether it is as it should be, a sentence) of all objects as one mesh; objects: (name, words) of each
        if there are several. learned: see there. timing: (what, words).
    files: (what, path inside the run's folder). command: the command line.
    """

    scene: str
    started: datetime
    verdict: str
    reasons: Sequence[tuple[str, str]]
    headline: str
    summary: str
    notes: Sequence[str]
    scores: Sequence[Score]
    other_scores: Sequence[Score]
    views: Table
    pictures: Sequence[tuple[str, Path]]
    shape: Path | None
    worst: Path | None
    curves: Path | None
    learned: Sequence[LearnedValue]
    mesh_facts: Sequence[tuple[bool, str]]
    objects: Sequence[tuple[str, str]]
    timing: Sequence[tuple[str, str]]
    files: Sequence[tuple[str, str]]
    command: str
    program: Path | None = None


def write_report(path: Path, report: Report) -> None:
    """Write the page. It needs no other file and no network; its links are to files beside it.

    Raises DataError if a picture cannot be read or the page cannot be written.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(_read_packaged(TEMPLATE)).render(
        report=report,
        style=_read_packaged(STYLE),
        script=_read_packaged(SCRIPT),
        pictures=[(caption, _as_webp(file)) for caption, file in _some(report.pictures)],
        **{
            name: None if path is None else _as_webp(path)
            for name, path in (
                ("shape", report.shape),
                ("worst", report.worst),
                ("curves", report.curves),
                ("program", report.program),
            )
        },
        most_rows=MOST_ROWS,
        paths=[place for _, place in report.files],
    )
    write_text(Path(path), page)


def _some(pictures: Sequence[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """Return the first, the last, and some evenly spaced between them."""
    if len(pictures) <= MOST_PICTURES:
        return list(pictures)
    return [pictures[round(i * (len(pictures) - 1) / (MOST_PICTURES - 1))] for i in range(MOST_PICTURES)]


def _as_webp(path: Path) -> str:
    """Return the picture as a data URI."""
    try:
        with Image.open(path) as picture:
            picture.load()
            picture = picture.convert("RGB")
    except OSError as error:
        raise DataError(f"cannot read the picture {path} for the report: {error}") from error
    if picture.width > WIDEST:
        picture = picture.resize((WIDEST, round(picture.height * WIDEST / picture.width)), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    picture.save(content, "webp", quality=QUALITY)
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode("ascii")


def _read_packaged(name: str) -> str:
    return resources.files("diffrender.writers.report").joinpath(name).read_text(encoding="utf-8")


def format_score(value: float, unit: str) -> str:
    """Write decibels to a tenth, everything else to three digits."""
    if not math.isfinite(value):
        return UNKNOWN
    return f"{value:.1f} {unit}" if unit == "dB" else f"{value:#.3g} {unit}".rstrip()
