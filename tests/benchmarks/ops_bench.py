"""The table of `scripts/bench_ops.py`: what a whole image and each op inside it cost, against the floor and a peer.

All contestants of a row run in turns in one process, so only the ratios within a row mean much on a busy machine.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from math import isnan, nan

import torch
from benchmarks.memory import OURS, bytes_per_pixel, can_measure
from benchmarks.peers import PEERS, compare_with_deodr
from benchmarks.timing import Contestant, Times, floor_task, race
from benchmarks.works import LIGHTINGS, Work, knobbly_sphere, ops_of, task_of

from diffrender.ops.backend import OPS
from diffrender.render.edge_models import EDGE_MODELS
from diffrender.threads import threads_to_kernels

# The peers draw the same thing as this edge model.
PEER_EDGES = "antialias"
# Texels a side of the textured rows.
TEXTURE = 512


@dataclass(frozen=True)
class Settings:
    """How to measure.

    threads: every number of kernel threads to try. seconds: about so long a row, after warming up.
    best: report the quickest run instead of the median: less true, but steadier on a busy machine.
    processor_time: count the processor's time (of all threads together) instead of the wall's: what one thread would
        take if nothing else ran.
    """

    threads: tuple[int, ...] = (1, 2)
    seconds: float = 2.0
    best: bool = False
    processor_time: bool = False
    peers: bool = False
    memory: bool = True

    @property
    def clock(self) -> Callable[[], float]:
        """What the times are read from, in seconds."""
        return time.process_time if self.processor_time else time.perf_counter


@dataclass(frozen=True)
class Row:
    """One line of the table.

    by: who did it. threads: of its kernels.
    forward_ms, total_ms: per view, forward alone, and forward and backward together (NaN where nothing is
        differentiable).
    forward_floors, total_floors: how many times as long as the plain copies of `floor_task`.
    bytes_per_pixel: peak extra memory of forward and backward.
    peers: how many times as quick as each peer, (forward, forward and backward).
    """

    work: Work
    n_faces: int
    by: str
    threads: int
    forward_ms: float
    total_ms: float
    forward_floors: float
    total_floors: float
    bytes_per_pixel: float = nan
    peers: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def _number(value: float, digits: int = 1) -> str:
    return "-" if isnan(value) else f"{value:,.{digits}f}"


COLUMNS: dict[str, Callable[[Row], str]] = {
    "work": lambda row: row.work.name,
    "size": lambda row: str(row.work.size),
    "faces": lambda row: f"{row.n_faces:,}",
    "by": lambda row: row.by,
    "threads": lambda row: str(row.threads),
    "fwd ms": lambda row: _number(row.forward_ms, 2),
    "fwd+bwd ms": lambda row: _number(row.total_ms, 2),
    "bytes/px": lambda row: _number(row.bytes_per_pixel, 0),
    "fwd/floor": lambda row: _number(row.forward_floors),
    "fwd+bwd/floor": lambda row: _number(row.total_floors),
}


# Room for the longest entries.
LEAST_WIDTHS = {"by": 11, "faces": 9, "fwd ms": 8}


def peer_columns() -> dict[str, Callable[[Row], str]]:
    """A column for each peer: how many times as quick we are, forward / forward and backward."""

    def against(name: str) -> Callable[[Row], str]:
        return lambda row: " / ".join(f"{ratio:.2f}" for ratio in row.peers[name]) if name in row.peers else "-"

    return {f"x {name}": against(name) for name in PEERS}


def works(quick: bool) -> list[Work]:
    """The rows: whole images with every edge model that has an edge, several at once, and of a mesh whose vertices are
    not shared; then the ops of an antialiased image; a textured image and what it takes beside; glTF's material in two
    lights; images in forward mode, beside those without."""
    if quick:
        images = [("antialias", 6_000, 256), ("antialias", 6_000, 512), ("soft", 6_000, 256)]
    else:
        images = [("antialias", 6_000, size) for size in (256, 512, 1024)]
        images += [("antialias", 100_000, 512), ("antialias", 1_000_000, 1024)]
        images += [("soft", 6_000, size) for size in (256, 512)]
    rows = [Work(*image) for image in images if image[0] in EDGE_MODELS]
    rows += [Work(PEER_EDGES, 6_000, size, views=8) for size in (256, 512)]
    rows += [Work(PEER_EDGES, faces, 512, unshared=True) for faces in ((6_000,) if quick else (6_000, 100_000))]
    # An op that several edge models take is measured once.
    edges_of_op = {
        op: edges for edges in reversed(("antialias", "soft")) if edges in EDGE_MODELS for op in ops_of(edges)
    }
    for faces in (6_000,) if quick else (6_000, 100_000):
        rows += [Work(edges_of_op[op], faces, 512, op) for op in OPS if op in edges_of_op]
        of_textures = [op for op in ops_of(PEER_EDGES, TEXTURE) if op not in edges_of_op]
        rows += [Work(PEER_EDGES, faces, 512, op, texture=TEXTURE) for op in (None, *of_textures)]
    rows += [Work(PEER_EDGES, 6_000, 256, texture=TEXTURE, lighting=lighting) for lighting in LIGHTINGS]
    for size, lighting in product((256, 512), ("", "sun")):
        rows += [Work(PEER_EDGES, 6_000, size, lighting=lighting, tangents=count) for count in (0, 1, 6)]
    return rows


def time_work(work: Work, settings: Settings) -> dict[str, Times]:
    """Times of "ours 1", "ours 2"..., of "floor", and of the peers by name, as far as wanted."""
    task = task_of(work)
    contestants = {f"ours {n}": Contestant(task, partial(threads_to_kernels, n)) for n in settings.threads}
    contestants["floor"] = Contestant(floor_task(task), partial(threads_to_kernels, 1))
    if settings.peers and has_peers(work):
        one = replace(work, views=1, unshared=False)
        contestants |= {name: Contestant(make_task(one)) for name, make_task in PEERS.items()}
    return race(contestants, settings.seconds, settings.clock)


def has_peers(work: Work) -> bool:
    """Whether the peers do the same work."""
    return work.op is None and work.edges == PEER_EDGES and not (work.texture or work.lighting or work.tangents)


def measure(some: Sequence[Work], settings: Settings) -> Iterator[Row]:
    """The rows of `some`, each work as soon as it is known: ours for each number of threads, then the peers."""
    memory: dict[tuple[str, Work], float] = {}
    if settings.memory and can_measure():
        memory = _memory(some, settings)
    for work in some:
        times = time_work(work, settings)
        peer_ms = {name: times[name].milliseconds(settings.best) for name in PEERS if name in times}
        per_view = {name: found.milliseconds(settings.best, work.views) for name, found in times.items()}
        floor_ms = per_view["floor"]
        lines = [(OURS, n, per_view[f"ours {n}"]) for n in settings.threads]
        lines += [(name, 1, peer_ms[name]) for name in peer_ms]
        for by, threads, (forward_ms, total_ms) in lines:
            ratios = {name: (theirs[0] / forward_ms, theirs[1] / total_ms) for name, theirs in peer_ms.items()}
            yield Row(
                work,
                knobbly_sphere(work.faces).n_faces,
                by,
                threads,
                forward_ms,
                total_ms,
                forward_ms / floor_ms[0],
                total_ms / floor_ms[1],
                memory.get((by, work), nan),
                ratios if by == OURS else {},
            )


def _memory(some: Sequence[Work], settings: Settings) -> dict[tuple[str, Work], float]:
    """Bytes per pixel by who did it and what."""
    found = zip(some, bytes_per_pixel(list(some), OURS, max(settings.threads)), strict=True)
    memory = {(OURS, work): value for work, value in found}
    raced = [work for work in some if settings.peers and has_peers(work)]
    for name in PEERS if raced else ():
        one = [replace(work, views=1, unshared=False) for work in raced]
        memory |= {(name, work): value for work, value in zip(raced, bytes_per_pixel(one, name, 1), strict=True)}
    return memory


def print_table(some: Sequence[Work], settings: Settings) -> None:
    """Measure `some` and print them as a Markdown table, line by line, with what one needs to judge it."""
    print(describe_machine(settings), flush=True)
    columns = COLUMNS | peer_columns() if settings.peers else COLUMNS
    texts = ("work", "by")
    widths = {name: max(len(name), LEAST_WIDTHS.get(name, 0)) for name in columns}
    widths["work"] = max((len(work.name) for work in some), default=0)
    print("\n| " + " | ".join(f"{name:{width}}" for name, width in widths.items()) + " |")
    print("|" + "|".join("-" * (width + 1) + ("-" if name in texts else ":") for name, width in widths.items()) + "|")
    for row in measure(some, settings):
        cells = [f"{show(row):{'<' if name in texts else '>'}{widths[name]}}" for name, show in columns.items()]
        print("| " + " | ".join(cells) + " |", flush=True)
    if settings.peers:
        agreement = compare_with_deodr(Work(PEER_EDGES, 6_000, 512))
        print(
            "\nx deodr: how many times as quick we are, fwd / fwd+bwd. It draws the same (6k faces, 512 x 512): RMSE"
            f" {agreement.rmse:.4f}, away from outlines {agreement.rmse_inside:.4f}; gradients of one smooth loss have"
            f" cosine {agreement.cosine_vertices:.4f} (vertices) and {agreement.cosine_colors:.4f} (colours)."
        )


def describe_machine(settings: Settings) -> str:
    """What was measured, how, on what, and how busy that was."""
    statistic = "quickest runs" if settings.best else "medians"
    clock = "processor time of all threads" if settings.processor_time else "time on the wall"
    busy = f"{os.getloadavg()[0]:.1f}" if os.name == "posix" else "unknown"
    return (
        f"{_processor()}, {os.cpu_count()} cores, load {busy} at the start; Python {platform.python_version()},"
        f" torch {torch.__version__}\n"
        f"Milliseconds: {clock}, {statistic}; fwd+bwd gives gradients to all vertices and colours. bytes/px: peak extra"
        " memory of fwd+bwd.\nfloor: a plain copy of the buffers given (fwd), and also of the gradients that come in"
        " (fwd+bwd)."
    )


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
