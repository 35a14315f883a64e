"""The curves of a fit: loss terms and PSNR against the step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffrender.errors import DataError
from diffrender.writers.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, QUIET, GRID = "#24292f", "#6e7781", "#e6e8eb"
# Okabe and Ito (2008), distinguishable with all kinds of colour vision; the total has the colour of ink.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1")
# A batch's loss jumps with the views in it: the bold line is a running mean over this share of the steps.
SMOOTHED_SHARE = 0.04


def write_curves(rows: Sequence[Mapping[str, object]], path: Path) -> None:
    """Draw the loss terms (logarithmic) and the PSNR against the step: a faint line and its bold running mean.

    rows: one mapping per step, as in metrics.jsonl: "step" (int), "total" (float), "terms" (mapping of name to float),
        "psnr_db" (float). Missing, zero and non-finite values leave gaps.

    Raises DataError without any row, or if the file cannot be written.
    """
    if not rows:
        raise DataError(f"cannot draw {path}: there is no step to draw")
    # Not pyplot, which would keep the figure alive and look for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.4, 3.9), dpi=150, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    steps = np.array([_number(row["step"]) for row in rows])
    _style(left, "loss", steps)
    _style(right, "PSNR of the batch, dB", steps)
    _draw_losses(left, rows, steps)
    _line(right, steps, _series(rows, "psnr_db"), COLORS[0], 2.0)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1, wspace=0.06)  # type: ignore[union-attr]
    with replacing(Path(path)) as temporary:
        figure.savefig(temporary, format="png")


def _draw_losses(axes: Axes, rows: Sequence[Mapping[str, object]], steps: np.ndarray) -> None:
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(_terms(row)))
    curves = {"total": (_series(rows, "total"), INK)}
    # A single term equals the total: one line would hide the other.
    if len(names) > 1:
        for index, name in enumerate(names):
            values = np.array([_number(_terms(row)[name]) if name in _terms(row) else np.nan for row in rows])
            curves[name] = (values, COLORS[index % len(COLORS)])
    positive = {name: (np.where(values > 0, values, np.nan), color) for name, (values, color) in curves.items()}
    drawn = {name: entry for name, entry in positive.items() if np.isfinite(entry[0]).any()}
    if not drawn:
        return
    axes.set_yscale("log")
    for name, (values, color) in drawn.items():
        _line(axes, steps, values, color, 2.2 if name == "total" else 1.6)
    _label_ends(axes, steps, drawn)


def _label_ends(axes: Axes, steps: np.ndarray, drawn: Mapping[str, tuple[np.ndarray, str]]) -> None:
    """Write each curve's name at its right end, quicker to read than a legend; names that would overlap move apart."""
    ends = {name: _smooth(values)[np.isfinite(values)][-1] for name, (values, _) in drawn.items()}
    low, high = (np.log10(limit) for limit in axes.get_ylim())
    spacing = 0.065
    heights: dict[str, float] = {}
    floor = 0.0
    for name in sorted(ends, key=lambda key: ends[key]):
        heights[name] = max((np.log10(ends[name]) - low) / (high - low), floor)
        floor = heights[name] + spacing
    # Names pushed above the frame move back down, in order.
    ceiling = 1.0
    for name in sorted(heights, key=lambda key: -heights[key]):
        heights[name] = min(heights[name], ceiling)
        ceiling = heights[name] - spacing
    for name, height in heights.items():
        weight = "bold" if name == "total" else "normal"
        axes.annotate(
            name,
            (1.015, height),
            xycoords="axes fraction",
            color=drawn[name][1],
            fontsize=9,
            fontweight=weight,
            va="center",
            annotation_clip=False,
        )


def _style(axes: Axes, title: str, steps: np.ndarray) -> None:
    axes.set_title(title, loc="left", fontsize=11, color=INK, fontweight="bold", pad=10)
    axes.set_xlabel("step", fontsize=9, color=QUIET)
    axes.tick_params(which="both", colors=QUIET, labelsize=9, length=0)
    axes.grid(True, which="major", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    low, high = float(np.nanmin(steps)), float(np.nanmax(steps))
    axes.set_xlim(low, high if high > low else low + 1)


def _line(axes: Axes, steps: np.ndarray, values: np.ndarray, color: str, width: float) -> None:
    if not np.isfinite(values).any():
        return
    marker = "o" if len(steps) == 1 else ""
    axes.plot(steps, values, color=color, linewidth=0.7, alpha=0.28)
    axes.plot(
        steps, _smooth(values), color=color, linewidth=width, marker=marker, solid_capstyle="round", clip_on=False
    )


def _smooth(values: np.ndarray) -> np.ndarray:
    """Return a centred running mean that skips gaps and keeps them."""
    reach = max(0, round(len(values) * SMOOTHED_SHARE / 2))
    finite = np.isfinite(values)
    kernel = np.ones(2 * reach + 1)
    total = np.convolve(np.pad(np.where(finite, values, 0.0), reach), kernel, mode="valid")
    count = np.convolve(np.pad(finite.astype(float), reach), kernel, mode="valid")
    return np.where(finite, total / np.maximum(count, 1.0), np.nan)


def _series(rows: Sequence[Mapping[str, object]], key: str) -> np.ndarray:
    return np.array([_number(row[key]) if key in row else np.nan for row in rows])


def _terms(row: Mapping[str, object]) -> Mapping[str, object]:
    if "terms" not in row:
        return {}
    terms = row["terms"]
    if not isinstance(terms, Mapping):
        raise DataError(f"write_curves: a row's terms must be a mapping of numbers, got {type(terms).__name__}")
    return terms


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else np.nan
