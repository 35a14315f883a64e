"""How the cost grows with faces, pixels and distance: to show that there is no cliff."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from math import log
from pathlib import Path
from typing import Any

from benchmarks.ops_bench import Settings, time_work
from benchmarks.peers import PEERS
from benchmarks.works import Work, knobbly_sphere


@dataclass(frozen=True)
class Sweep:
    """One curve: works along it, and what grows.

    amount: what stands on the axis. linear: the amount in which the cost may grow linearly, or None where it should
    hardly change.
    """

    title: str
    works: tuple[Work, ...]
    amount: Callable[[Work], float]
    linear: bool


def sweeps(edges: str = "antialias") -> list[Sweep]:
    """Faces 1k to 1M, pixels 128 x 128 to 2048 x 2048, and an object that goes from filling the view to a dot."""
    faces = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
    sizes = (128, 256, 512, 1024, 2048)
    distances = (1.3, 2.0, 2.85, 5.0, 10.0, 30.0, 100.0)
    return [
        Sweep("faces, at 512 x 512", tuple(Work(edges, n, 512) for n in faces), _faces, True),
        Sweep("pixels, 6k faces", tuple(Work(edges, 6_000, size) for size in sizes), lambda w: w.size**2, True),
        Sweep(
            "distance, 100k faces, 512 x 512",
            tuple(Work(edges, 100_000, 512, distance=distance) for distance in distances),
            lambda work: work.distance,
            False,
        ),
    ]


def _faces(work: Work) -> float:
    return knobbly_sphere(work.faces).n_faces


@dataclass(frozen=True)
class Point:
    """One measurement on a curve: milliseconds of forward and backward together by contestant."""

    amount: float
    total_ms: dict[str, float]


def print_curves(settings: Settings, picture: Path | None) -> None:
    """Measure all sweeps, print them, and draw them to `picture` (PNG).

    growth: exponent between a line and the one before it, of the first contestant; 1 is linear, above 1 a cliff.
    """
    curves: list[tuple[Sweep, list[Point]]] = []
    for sweep in sweeps():
        points: list[Point] = []
        print(f"\nfwd+bwd ms against {sweep.title}", flush=True)
        for work in sweep.works:
            times = time_work(work, settings)
            total_ms = {name: item.milliseconds(settings.best)[1] for name, item in times.items() if name != "floor"}
            points.append(Point(sweep.amount(work), total_ms))
            if len(points) == 1:
                print("|    amount | " + " | ".join(f"{name:>11}" for name in total_ms) + " | growth |")
                print("|----------:|" + "------------:|" * len(total_ms) + "-------:|")
            cells = " | ".join(f"{value:11.2f}" for value in total_ms.values())
            growth = _growth(points) if sweep.linear else "-"
            print(f"| {points[-1].amount:9,.9g} | {cells} | {growth:>6} |", flush=True)
        curves.append((sweep, points))
    if picture is not None:
        draw(curves, picture)
        print(f"\nDrawn to {picture}")


def _growth(points: list[Point]) -> str:
    if len(points) < 2:
        return "-"
    before, now = points[-2:]
    name = next(iter(now.total_ms))
    return f"{log(now.total_ms[name] / before.total_ms[name]) / log(now.amount / before.amount):.2f}"


def draw(curves: list[tuple[Sweep, list[Point]]], path: Path) -> None:
    """The curves on double logarithmic axes, with a line of linear growth through the last point to compare."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.0 * len(curves), 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    for axes, (sweep, points) in zip(panels, curves, strict=True):
        amounts = [point.amount for point in points]
        styles = zip(points[0].total_ms, _styles(list(points[0].total_ms)), strict=True)
        for name, style in styles:
            axes.loglog(amounts, [point.total_ms[name] for point in points], "o-", ms=3.5, lw=1.4, **style)
        axes.set_xlabel(sweep.title)
        axes.grid(True, which="major", color="0.93")
        axes.spines[["top", "right"]].set_visible(False)
    lowest, highest = panels[0].get_ylim()
    for axes, (sweep, points) in zip(panels, curves, strict=True):
        if sweep.linear:
            end = points[-1]
            ms = min(end.total_ms.values())
            axes.loglog([end.amount * lowest / ms, end.amount], [lowest, ms], ":", color="0.6", lw=1, label="linear")
    panels[0].set_ylim(lowest, highest)
    panels[0].set_ylabel("forward + backward, ms")
    panels[0].legend(frameon=False, fontsize=8, loc="upper left")
    figure.savefig(path, dpi=150)


def _styles(names: list[str]) -> list[dict[str, Any]]:
    """Ours in blue, darker with more threads; peers in gray."""
    blues, grays = cycle(("#8dbbe8", "#2467b3", "#0b2f5e")), cycle(("0.45", "0.72"))
    styles: list[dict[str, Any]] = []
    for name in names:
        if name in PEERS:
            styles.append({"label": name, "color": next(grays)})
        else:
            threads = int(name.removeprefix("ours "))
            styles.append({"label": f"diffrender, {threads} thread{'s' * (threads > 1)}", "color": next(blues)})
    return styles
