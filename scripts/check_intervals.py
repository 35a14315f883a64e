"""Count how often what is true lies in the intervals that fits by Levenberg-Marquardt's method give.

    python scripts/check_intervals.py                                    # all rows of the table in scenes/README.md
    python scripts/check_intervals.py scenes/pose_posterior.yaml --draws 200 --set targets.synthetic.noise=0.02

A scene is fitted once per draw of its noise and of what is true: the parameters of its program or, if it has none, the
lens of its cameras (`targets.synthetic.camera_errors`). True values are drawn evenly from as far on either side of the
start as they are in the file.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.app.program_results import program_run
from diffrender.app.uncertainty import Posterior, find_posterior
from diffrender.config.load import load_config
from diffrender.config.overrides import Override
from diffrender.config.schema import FitConfig
from diffrender.fit.loop import FitResult, fit
from diffrender.scene.cameras import Cameras
from diffrender.scene.projections.radial_tangential import RadialTangential
from diffrender.setup.fit_setup import FitSetup, build_fit
from diffrender.threads import kernel_threads, threads_to_kernels

# How many deviations intervals of a normal distribution reach from their middle.
REACH = {0.68: 0.9945, 0.95: 1.96}
SCENES = Path(__file__).resolve().parents[1] / "scenes"
SMALL, CLEAN = ("targets.resolution=64",), ("targets.synthetic.noise=0.01",)
LENS = ("cameras.focal", "cameras.center", "cameras.k1")


class Row(NamedTuple):
    """A row of the table: what it says, scene, draws, overrides."""

    words: str
    scene: str
    draws: int
    overrides: tuple[str, ...] = ()


ROWS = (
    Row("`pose_posterior.yaml`: six numbers, 50 draws, noise .03", "pose_posterior", 50),
    Row("the same at 64 x 64", "pose_posterior", 50, SMALL),
    Row("the same at 64 x 64, 24 draws, noise .01", "pose_posterior", 24, SMALL + CLEAN),
    Row("and with 4 x 4 samples at edges", "pose_posterior", 24, (*SMALL, *CLEAN, "render.edges.samples=4")),
    Row("`robot_arm.yaml`: five angles, 12 draws, noise .02", "robot_arm", 12),
    Row("`calibration.yaml`: four numbers of the lens, 8 draws, noise .02", "calibration", 8),
)


class Errors(NamedTuple):
    """Of D fits: errors of all K numbers in standard deviations [D, K], and e^T C^-1 e [D], of which K is expected."""

    errors: Tensor
    sizes: Tensor

    def inside(self, share: float) -> Tensor:
        """Return which intervals that should hold this share of all truths hold theirs, [D, K]."""
        return self.errors.abs() < REACH[share]


def errors_in_deviations(scene: Path, draws: int, overrides: Sequence[str] = ()) -> Errors:
    """Fit a scene `draws` times, each time to other true values and other noise.

    Raises SystemExit for a scene without true values, or a fit that does not tell how certain it is.
    """
    generator = torch.Generator().manual_seed(0)
    config = load_config(scene, overrides)
    errors, sizes = [], []
    for draw in range(draws):
        drawn = [*_true_values(config, generator), f"optimize.seed={draw}"]
        with threads_to_kernels(kernel_threads()):
            setup = build_fit(load_config(scene, [Override.parse(each) for each in (*overrides, *drawn)]))
            measured = setup.model, setup.fit_views, setup.objective, setup.optimizer
            result = fit(*measured, setup.settings, setup.render_step)
            posterior = find_posterior(setup, result)
            if posterior is None:
                raise SystemExit(f"{scene}: the fit does not tell how certain it is: {result.stop_reason}")
            error, covariance = (_of_program if config.program else _of_lens)(setup, result, posterior)
        errors.append(error / covariance.diagonal().sqrt())
        sizes.append(error @ torch.linalg.solve(covariance, error))
    return Errors(torch.stack(errors), torch.stack(sizes))


def _true_values(config: FitConfig, generator: torch.Generator) -> list[str]:
    """Return overrides that draw what is true anew."""

    def around(start: float | Sequence[float], true: float | Sequence[float]) -> list[float] | float:
        middle, end = (torch.as_tensor(each, dtype=torch.float64) for each in (start, true))
        return (middle + (end - middle) * (2 * torch.rand(middle.shape, generator=generator).double() - 1)).tolist()

    synthetic = config.targets.synthetic
    if synthetic is not None and config.program is not None and synthetic.program is not None:
        starts, truths = (each.parameters.by_name() for each in (config.program, synthetic.program))
        where = "targets.synthetic.program.parameters"
        return [f"{where}.{name}={around(starts[name].value, each.value)}" for name, each in truths.items()]
    if synthetic is not None and config.program is None and synthetic.camera_errors is not None:
        errors, where = synthetic.camera_errors, "targets.synthetic.camera_errors"
        told = {"focal": 1.0, "center": [0.0, 0.0], "k1": 0.0}
        return [f"{where}.{name}={around(start, getattr(errors, name))}" for name, start in told.items()]
    raise SystemExit("needs a scene whose targets have a program, or camera_errors, of their own")


def _of_program(setup: FitSetup, result: FitResult, posterior: Posterior) -> tuple[Tensor, Tensor]:
    """Return the errors [K] of a program's parameters, and their covariance."""
    run = program_run(setup, result)
    covariance = posterior.covariance_of([f"program.{name}" for name in run.found])
    error = torch.cat([(value - run.true[name]).reshape(-1) for name, value in run.found.items()])
    return error, _determined(covariance)


def _of_lens(setup: FitSetup, result: FitResult, posterior: Posterior) -> tuple[Tensor, Tensor]:
    """Return the errors of focal length, principal point and k1 of the one lens of all views, and their covariance."""
    assert setup.target_cameras is not None
    error = _lens(result.cameras) - _lens(setup.target_cameras)
    sizes = [posterior.of(path)[0].numel() for path in LENS]
    starts = torch.tensor([0, *sizes]).cumsum(0).tolist()
    first = [starts[0], starts[1], starts[1] + 1, starts[2]]  # those of the first view
    return error, _determined(posterior.covariance_of(LENS))[first][:, first]


def _lens(cameras: Cameras) -> Tensor:
    lens = cameras.projection
    k1 = lens.k1[:1] if isinstance(lens, RadialTangential) else torch.zeros(1)
    return torch.cat([cameras.focal_px[0, :1], cameras.center_px[0], k1]).detach().double()


def _determined(covariance: Tensor | None) -> Tensor:
    if covariance is None:
        raise SystemExit("the pictures do not determine what is asked for")
    return covariance


def print_scene(scene: Path, draws: int, overrides: Sequence[str]) -> None:
    """Fit a scene and print what becomes of each of its numbers."""
    found = errors_in_deviations(scene, draws, overrides)
    for share in REACH:
        inside = found.inside(share)
        each = ", ".join(f"{count}" for count in inside.sum(0).tolist())
        print(f"{share:.0%} intervals hold {inside.double().mean():.1%} of all numbers; of {draws}: {each}")
    bias, spread = found.errors.mean(0).tolist(), found.errors.square().mean(0).sqrt().tolist()
    print("errors in deviations: mean", ", ".join(f"{x:+.2f}" for x in bias))
    print("                      size", ", ".join(f"{x:.2f}" for x in spread))
    print(f"squared, all together: {found.sizes.mean():.2f} of {found.errors.shape[1]} expected")


def print_table(rows: Sequence[Row]) -> None:
    """Print the table of scenes/README.md, row by row."""
    print("| | 68 % intervals hold | 95 % intervals hold | squared error by covariance |\n|---|---|---|---|")
    for words, scene, draws, overrides in rows:
        found = errors_in_deviations(SCENES / f"{scene}.yaml", draws, overrides)
        shares = " | ".join(f"{100 * float(found.inside(share).double().mean()):.0f} %" for share in REACH)
        print(f"| {words} | {shares} | {found.sizes.mean():.1f} of {found.errors.shape[1]} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path, nargs="?", help="if omitted: all rows of the table")
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="key=value")
    options = parser.parse_args()
    if options.scene is None:
        print_table(ROWS)
    else:
        print_scene(options.scene, options.draws, options.overrides)


if __name__ == "__main__":
    main()
