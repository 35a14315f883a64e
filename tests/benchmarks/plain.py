"""A loop as users write it against one inside `threads_to_kernels`, alone and beside another program; and fits."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import torch
from benchmarks.ops_bench import Settings
from benchmarks.timing import Contestant, race
from benchmarks.works import Task, Work, edge_model, rendered, setting_of
from torch import Tensor

from diffrender.app.run import run_fit
from diffrender.config.load import load_config
from diffrender.ops.compare_colors import compare_colors
from diffrender.threads import threads_to_kernels

WORKS = (
    Work("antialias", 6_000, 256),
    Work("antialias", 6_000, 512),
    Work("antialias", 6_000, 256, views=4),
    Work("antialias", 100_000, 512),
)
LOSSES = {
    "compare_colors": lambda rgba, wanted: compare_colors(rgba, wanted, space="linear")[0].mean(),
    "PyTorch": lambda rgba, wanted: (rgba[..., :3] - wanted).abs().mean(),
}
QUICKSTART = Path(__file__).resolve().parents[2] / "scenes" / "quickstart.yaml"


@contextmanager
def busy_program() -> Iterator[None]:
    """Another process that takes a core."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


@contextmanager
def torch_threads(n_threads: int) -> Iterator[None]:
    """The state of a plain script: torch has threads of its own."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def step_task(work: Work, loss: str) -> Task:
    """Forward: an image and its loss. Backward: to all vertices and colours."""
    setting, edges = setting_of(work), edge_model(work.edges)
    leaves = [part.clone().requires_grad_() for part in (setting.mesh.vertices, setting.colors)]
    wanted = torch.rand(work.views, work.size, work.size, 3, generator=torch.Generator().manual_seed(2))

    def forward() -> Tensor:
        return LOSSES[loss](rendered(setting, edges, *leaves).rgba, wanted)

    return Task(forward, lambda cost: torch.autograd.grad(cost, leaves))


def measure_plain(work: Work, loss: str, settings: Settings, beside: bool) -> dict[str, float]:
    """Milliseconds of a step by contestant, the loop as it stands ("plain") and inside `threads_to_kernels`."""
    task, n_threads = step_task(work, loss), max(settings.threads)
    contestants = {"plain": Contestant(task, partial(torch_threads, n_threads))}
    contestants |= {f"{n} threads": Contestant(task, partial(threads_to_kernels, n)) for n in settings.threads}
    with busy_program() if beside else nullcontext():
        times = race(contestants, settings.seconds, settings.clock)
    return {name: found.milliseconds(settings.best)[1] for name, found in times.items()}


def print_plain(settings: Settings, works: Sequence[Work] = WORKS) -> None:
    """The table."""
    names = ["plain", *(f"{n} threads" for n in settings.threads)]
    print(f"| image and loss, forward + backward, ms | beside | {' | '.join(names)} |\n|---|---{'|---:' * len(names)}|")
    for beside in (False, True):
        for work in works:
            for loss in LOSSES:
                found = measure_plain(work, loss, settings, beside)
                cells = " | ".join(f"{found[name]:.1f}" for name in names)
                what = f"{work.name}, {work.size}, {work.faces:,} faces, loss by {loss}"
                print(f"| {what} | {'a busy program' if beside else 'nothing'} | {cells} |", flush=True)


def print_quickstart(settings: Settings) -> None:
    """Steps per second of the quickstart's fit, for each number of threads."""
    for n_threads in settings.threads:
        config = load_config(QUICKSTART, ["progress={video: false, turntable: false}"])
        with tempfile.TemporaryDirectory() as folder, torch_threads(n_threads):
            metrics = run_fit(config, "quickstart", out=folder).metrics
        print(f"quickstart, {n_threads} threads: {metrics['steps_per_s']:.1f} steps/s", flush=True)
