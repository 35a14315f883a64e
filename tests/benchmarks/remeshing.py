"""What a pass of remeshing costs, for meshes of several sizes and with more or less to carry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from benchmarks.ops_bench import Settings
from benchmarks.timing import Contestant, race
from benchmarks.works import Task, knobbly_sphere

from diffrender.geometry.remesh.remesh import remesh
from diffrender.scene.mesh import Mesh

# Colours, a latent, and both moments of each: what a fit of vertices and colours carries, with room.
N_VALUES = 24
QUICK_SIZES, SIZES = (2_000, 20_000), (2_000, 20_000, 100_000, 500_000)


@dataclass(frozen=True)
class Pass:
    """One row: `what` is done to a mesh of n_faces; the median milliseconds, and edits per edge."""

    what: str
    n_faces: int
    milliseconds: float
    edits: float


def _mean_length(mesh: Mesh) -> float:
    ends = mesh.vertices[mesh.topology.edges]
    return float((ends[:, 0] - ends[:, 1]).norm(dim=1).mean())


def measure_passes(n_faces: int, settings: Settings) -> Iterator[Pass]:
    """Passes over a mesh with far too uneven edges, over a good one, and over a good one that carries a texture too."""
    mesh = knobbly_sphere(n_faces)
    target = _mean_length(mesh)
    values = torch.rand(mesh.n_vertices, N_VALUES)
    good = remesh(mesh.vertices, mesh.faces, target, values, passes=5)
    uv = good.vertices[good.faces][..., :2].contiguous()
    works = {
        "uneven": (mesh.vertices, mesh.faces, target, values),
        "good": (good.vertices, good.faces, target, good.attributes),
        "good, alone": (good.vertices, good.faces, target),
        "good, texture": (good.vertices, good.faces, target, good.attributes, uv),
    }
    contestants = {name: Contestant(Task(lambda given=given: remesh(*given), None)) for name, given in works.items()}
    times = race(contestants, settings.seconds, settings.clock)
    for name, given in works.items():
        edits = remesh(*given).edits
        n_edits = edits.splits + edits.collapses + edits.flips
        yield Pass(name, len(given[1]), times[name].milliseconds(settings.best)[0], n_edits / (1.5 * len(given[1])))


def print_passes(settings: Settings, quick: bool) -> None:
    """The table."""
    print(f"One pass of remeshing on one thread; {N_VALUES} values a vertex but for 'alone'.")
    print(f"| {'mesh':<14} | {'faces':>8} | {'ms':>8} | edits/edge |\n|{'-' * 16}|{'-' * 10}|{'-' * 10}|{'-' * 12}|")
    for n_faces in QUICK_SIZES if quick else SIZES:
        for row in measure_passes(n_faces, settings):
            print(f"| {row.what:<14} | {row.n_faces:>8,} | {row.milliseconds:>8.1f} | {row.edits:>10.4f} |", flush=True)
