"""What scripts/bench_gpu.py measures: parity with the CPU, images and their gradients, whole fits."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from benchmarks.works import Setting, Work, edge_model, rendered, setting_of, upstream_gradient
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from diffrender.app.run import run_fit
from diffrender.config.load import load_config
from diffrender.recorded import Recorded

REPEATS, WARMUPS = 30, 5
# Work, and the target for forward and backward together in ms, None for none.
IMAGES: tuple[tuple[Work, float | None], ...] = (
    (Work("antialias", 6_000, 512, views=8), 1.2),
    (Work("antialias", 100_000, 1024, views=8), 4.0),
    (Work("antialias", 100_000, 1024, texture=1024, views=8), None),
    (Work("antialias", 6_000, 512, lighting="sun", views=8), None),
    (Work("antialias", 1_000_000, 2048), None),
    (Work("soft", 6_000, 512, views=8), None),
)
PARITY = (
    Work("antialias", 6_000, 256),
    Work("antialias", 100_000, 512),
    Work("antialias", 6_000, 256, texture=256),
    Work("antialias", 6_000, 256, texture=128, lighting="sun"),
    Work("antialias", 6_000, 128, lighting="environment"),
    Work("soft", 6_000, 256),
    Work("hard", 6_000, 256),
)
SCENES = Path(__file__).parents[2] / "scenes"
FITS = (
    ("quickstart", ()),
    ("quickstart", ("targets.resolution=512", "optimize.batch_size=8", "optimize.steps=600")),
    ("genus_one", ()),
    ("texture", ()),
    ("shadow", ()),
)


@dataclass(frozen=True)
class Row:
    """One line of a table: what was measured, and numbers by column."""

    name: str
    values: dict[str, Any]


def on_device(setting: Setting, device: str, dtype: torch.dtype = torch.float32) -> Setting:
    """Return a setting with all its tensors on a device, its numbers in `dtype`."""

    def moved(tensor: Tensor) -> Tensor:
        return tensor.to(device, dtype if tensor.is_floating_point() else None)

    mesh = replace(
        setting.mesh,
        **{
            name: moved(value)
            for name in ("vertices", "faces", "uvs", "uv_faces")
            if (value := getattr(setting.mesh, name)) is not None
        },
    )
    cameras, others = setting.cameras.to(device).in_dtype(dtype), tuple(map(moved, setting.others))
    return Setting(mesh, moved(setting.colors), cameras, moved(setting.background), setting.lighting, others)


class Image:
    """The images of a work from several views on a device, and the gradients of everything that they are made of."""

    def __init__(self, work: Work, device: str, dtype: torch.dtype = torch.float32) -> None:
        self.setting, self.edges = on_device(setting_of(work), device, dtype), edge_model(work.edges)
        parts = (self.setting.mesh.vertices, self.setting.colors, *self.setting.others)
        self.leaves = [part.clone().requires_grad_() for part in parts]
        self.gradient = upstream_gradient(work.size, work.views).to(device, dtype)
        self._recorded = Recorded(self._draw)

    def _draw(self, vertices: Tensor, colors: Tensor, *others: Tensor) -> Tensor:
        return rendered(self.setting, self.edges, vertices, colors, others).rgba

    def forward(self, recorded: bool = False) -> Tensor:
        """Return the images, replayed from a recording or not."""
        return (self._recorded if recorded else self._draw)(*self.leaves)

    def both(self, recorded: bool = False) -> tuple[Tensor, Sequence[Tensor]]:
        """Return the images and all gradients, replayed from a recording or not."""
        image = self.forward(recorded)
        return image, torch.autograd.grad(image, self.leaves, self.gradient)


def measure_parity() -> Iterator[Row]:
    """Yield how far images and gradients on the GPU are from those of the CPU's kernels.

    In float64: where an outline cuts a pixel, rounding of float32 by a bit changes images by 1e-5 on either.
    """
    for work in PARITY:
        (expected, wanted), (image, gradients) = (
            Image(replace(work, views=2), device, torch.float64).both() for device in ("cpu", "cuda")
        )
        error = (image.detach().cpu() - expected.detach()).abs()
        relative = [float((g.cpu() - w).norm() / w.norm()) for g, w in zip(gradients, wanted, strict=True)]
        yield Row(
            f"{work.name}, {work.faces:,} faces, {work.size} px",
            {"largest": float(error.max()), "mean": float(error.mean()), "gradients": max(relative)},
        )


def milliseconds(task: Callable[[], object]) -> float:
    """Return the median time of a task on the GPU."""
    for _ in range(WARMUPS):
        task()
    times = []
    for _ in range(REPEATS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        task()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def measure_images() -> Iterator[Row]:
    """Yield times, launches and memory of whole images, and the kernels that take longest."""
    for work, target in IMAGES:
        image = Image(work, "cuda")
        forward, both = milliseconds(image.forward), milliseconds(image.both)
        replayed = [milliseconds(partial(task, recorded=True)) for task in (image.forward, image.both)]
        pairs = zip(image.both(recorded=True)[1], image.both()[1], strict=True)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        image.both()
        extra = torch.cuda.max_memory_allocated() - before
        with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as recorded:
            image.both()
            torch.cuda.synchronize()
        kernels = [e for e in recorded.key_averages() if e.device_type == torch.autograd.DeviceType.CUDA]
        slowest = sorted(kernels, key=lambda e: -e.self_device_time_total)[:8]
        values = {
            "forward ms": forward,
            "both ms": both,
            "recorded forward ms": replayed[0],
            "recorded both ms": replayed[1],
            "recorded gradients": max(float((own - plain).norm() / plain.norm()) for own, plain in pairs),
            "target ms": target,
            "kernels ms": sum(e.self_device_time_total for e in kernels) / 1000,
            "launches": sum(e.count for e in kernels),
            "bytes per pixel": extra / (work.views * work.size**2),
            "slowest": {e.key[:60]: round(e.self_device_time_total / 1000, 3) for e in slowest},
        }
        yield Row(f"{work.name}, {work.faces:,} faces, {work.size} px", values)


def measure_fits() -> Iterator[Row]:
    """Yield steps per second and scores of fits on both devices."""
    for name, overrides in FITS:
        for device in ("cuda", "cpu"):
            if device == "cpu" and overrides:
                continue  # the same scene, larger: only its speed on the GPU is asked for
            config = load_config(
                SCENES / f"{name}.yaml", [*overrides, f"device={device}", "progress={video: false, turntable: false}"]
            )
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                metrics = run_fit(config, name, out=folder).metrics
                wall = time.perf_counter() - start
            scores = metrics.get("heldout") or metrics["fit"]
            yield Row(
                f"{name} {' '.join(overrides)} on {device}",
                {
                    "steps/s": metrics["steps_per_s"],
                    "replayed": metrics.get("replayed_steps", 0),
                    "fit s": metrics["fit_s"],
                    "wall s": wall,
                    "dB": scores["psnr_db"],
                    "verdict": metrics["verdict"],
                },
            )


def main(folder: Path, only: str) -> None:
    """Measure everything, print it as it comes, and write gpu.json and gpu.md into the folder."""
    torch.set_float32_matmul_precision("highest")
    found: dict[str, Any] = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    print(found, flush=True)
    for title, rows in (("parity", measure_parity), ("images", measure_images), ("fits", measure_fits)):
        if only and title not in only:
            continue
        found[title] = []
        for row in rows():
            found[title].append({"name": row.name, **row.values})
            print(title, row.name, json.dumps(row.values), flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gpu.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    (folder / "gpu.md").write_text(markdown(found), encoding="utf-8")


def markdown(found: dict[str, Any]) -> str:
    """Return the tables as Markdown."""
    lines = [f"{found['device']}, PyTorch {found['torch']}", ""]
    for title in ("parity", "images", "fits"):
        rows = found.get(title, [])
        if not rows:
            continue
        columns = [key for key in rows[0] if key != "slowest"]
        lines += [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
        for row in rows:
            cells = [row[key] for key in columns]
            lines.append(f"| {' | '.join(f'{cell:.3g}' if isinstance(cell, float) else str(cell) for cell in cells)} |")
        lines.append("")
    return "\n".join(lines)
