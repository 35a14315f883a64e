"""Measure how far off the start of a pose may be: the share of random starts whose fits end within half a degree.

    python scripts/measure_basin.py          # the table in scenes/README.md, in two hours
    python scripts/measure_basin.py --starts 10 --meshes bumpy --ways "lm, antialias"

Each fit is that of a scene file like scenes/pose.yaml, of one picture of 64 x 64, whose object starts turned about a
random axis by as much as the row says, and shifted along another. No mesh has a symmetry, with its colours. Rows are
printed as they come; seconds are processor time of the median fit, on one thread.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

from diffrender.config.load import parse_config
from diffrender.fit.loop import fit
from diffrender.geometry.primitives import box
from diffrender.geometry.rotations import rotation_angle
from diffrender.imaging.color import srgb_from_linear
from diffrender.setup.fit_setup import build_fit
from diffrender.threads import threads_to_kernels

# Degrees, and the shift in radii of the object that goes with them.
OFFSETS = {1: 0.01, 10: 0.1, 40: 0.4}
NEAR_DEG = 0.5
# Options of `optimize` and `render.edges`; soft edges sharpen over half of the steps, and then are antialiased ones.
WAYS = {
    "lm, antialias": ("method: levenberg_marquardt", "antialias"),
    "lm, soft": ("method: levenberg_marquardt, resolution: 1", "{type: soft, sigma: 6}"),
    "adam, antialias": ("method: adam", "antialias"),
    "adam, soft": ("method: adam", "{type: soft}"),
}
SCENE = """
targets:
  resolution: 64
  test_every: null
  synthetic:
    {{views: 1, radius: 3.2, elevation_deg: [25, 25], mesh: {mesh}, material: {material}, lights: &lights [
      {{name: key, type: directional, direction: [-1, -1, -0.6], radiance: 2.2}},
      {{name: fill, type: ambient, radiance: 0.35}}]}}
mesh: {mesh}
material: {material}
lights: *lights
pose: {{translation: {shift}, rotation: {{axis: {axis}, degrees: {degrees}}}}}
render: {{edges: {edges}}}
optimize: {{{method}, pose: {{}}}}
loss: {{mask: null}}
device: cpu
"""


def knot(n: int = 160, around: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    """Return a trefoil whose tube is thicker on one side and coloured along its length: vertices, faces, colours."""
    t = torch.arange(n) * (2 * math.pi / n)
    middle = torch.stack([t.sin() + 2 * (2 * t).sin(), t.cos() - 2 * (2 * t).cos(), -(3 * t).sin()], 1) / 4
    along = torch.nn.functional.normalize(middle.roll(-1, 0) - middle.roll(1, 0), dim=1)
    side = torch.nn.functional.normalize(torch.linalg.cross(along, middle), dim=1)
    up = torch.linalg.cross(side, along)
    angle = torch.arange(around) * (2 * math.pi / around)
    size = (0.14 + 0.06 * t.cos())[:, None, None]
    ring = angle.cos()[:, None] * side[:, None] + angle.sin()[:, None] * up[:, None]
    i, k = torch.meshgrid(torch.arange(n), torch.arange(around), indexing="ij")
    a, b = i * around + k, i * around + (k + 1) % around
    c, d = ((each + around) % (n * around) for each in (a, b))
    faces = torch.cat([torch.stack([a, c, b], -1).reshape(-1, 3), torch.stack([b, c, d], -1).reshape(-1, 3)])
    waves = torch.stack([t, t + 2.1, t + 4.2], 1).sin()
    return (middle[:, None] + size * ring).reshape(-1, 3), faces, (0.5 + 0.35 * waves).repeat_interleave(around, 0)


def bracket() -> tuple[Tensor, Tensor, Tensor]:
    """Return three bars of unequal lengths along the axes, of one colour: vertices, faces, colours."""
    sizes = ((1.4, 0.3, 0.42), (0.34, 1.0, 0.36), (0.26, 0.28, 0.8))
    centers = ((0.5, 0.0, 0.0), (-0.06, 0.4, 0.0), (0.0, 0.02, 0.3))
    bars = [box(size) for size in sizes]
    vertices = torch.cat([bar.vertices + torch.tensor(center) for bar, center in zip(bars, centers, strict=True)])
    faces = torch.cat([bar.faces + 8 * k for k, bar in enumerate(bars)])
    return 1.1 * (vertices - torch.tensor([0.4, 0.25, 0.1])), faces, torch.full_like(vertices, 0.6)


MADE = {"knot": knot, "bracket": bracket}
MESHES = {"bumpy": "{init: bumpy, subdivisions: 3}", "knot": "knot.ply", "bracket": "bracket.ply"}


def write_ply(path: Path, vertices: Tensor, faces: Tensor, colors: Tensor) -> None:
    """Write a mesh with vertex colours, linear RGB, as text."""
    bytes_of = (255 * srgb_from_linear(colors)).round().int().tolist()
    lines = ["ply", "format ascii 1.0", f"element vertex {len(vertices)}"]
    lines += [f"property float {name}" for name in "xyz"]
    lines += [f"property uchar {name}" for name in ("red", "green", "blue")]
    lines += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header"]
    lines += [" ".join(map(str, (*v, *c))) for v, c in zip(vertices.tolist(), bytes_of, strict=True)]
    lines += [f"3 {' '.join(map(str, face))}" for face in faces.tolist()]
    path.write_text("\n".join([*lines, ""]))


def fits(folder: Path, mesh: str, way: str, degrees: int, starts: int) -> tuple[list[float], list[float]]:
    """Return how many degrees off each fit ends, and the processor time that it took in seconds."""
    generator = torch.Generator().manual_seed(degrees)
    method, edges = WAYS[way]
    errors, seconds = [], []
    for _ in range(starts):
        axis, along = torch.nn.functional.normalize(torch.randn(2, 3, generator=generator), dim=1)
        text = SCENE.format(
            mesh=MESHES[mesh], material="{type: lambert, base_color: own}", method=method, edges=edges,
            shift=(OFFSETS[degrees] * along).tolist(), axis=axis.tolist(), degrees=degrees,
        )  # fmt: skip
        setup = build_fit(parse_config(text, folder))
        began = time.process_time()
        result = fit(
            setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step,
            best=setup.best,
        )  # fmt: skip
        seconds.append(time.process_time() - began)
        (found,) = result.scene.objects.values()
        errors.append(float(torch.rad2deg(rotation_angle(found.pose[:3, :3].double(), torch.eye(3).double()))))
    return errors, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=100, help="of each cell of the table")
    parser.add_argument("--meshes", nargs="+", choices=MESHES, default=list(MESHES))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| mesh | off by |", " | ".join(options.ways), "|")
    print("|---|---|" + "---|" * len(options.ways))
    with tempfile.TemporaryDirectory() as folder, threads_to_kernels(1):
        for name, make in MADE.items():
            write_ply(Path(folder, f"{name}.ply"), *make())
        fits(Path(folder), "bumpy", options.ways[0], 1, 1)  # compiles the kernels
        for mesh in options.meshes:
            for degrees, shift in OFFSETS.items():
                cells = []
                for way in options.ways:
                    errors, seconds = fits(Path(folder), mesh, way, degrees, options.starts)
                    share = sum(error < NEAR_DEG for error in errors) / options.starts
                    cells.append(f"{share:.0%}, {statistics.median(seconds):.1f} s")
                print(f"| {mesh} | {degrees}°, {shift:g} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
