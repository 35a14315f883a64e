"""Draw scenes/pictures/relaxations.webp: what each relaxation of a choice does to bias and variance of a derivative.

A ball is left or right, by a margin with logistic noise; the loss compares its image with one of the ball at the right,
whose background is brighter, so that the loss is not 0 there.
The derivative of the mean loss by the margin is known: the difference of both losses times the density of the noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

import diffrender as dr
from diffrender.geometry.primitives import icosphere
from diffrender.imaging.color import srgb_from_linear

MARGIN = torch.tensor(-0.5, dtype=torch.float64)
TEMPERATURES = torch.logspace(-2, 0.7, 16, dtype=torch.float64)
SAMPLES, DRAWS = 16, 4000
PLACES = 401
BALL = icosphere(3)
COLORS = {"smooth": "#1f77b4", "straight-through": "#d62728", "score function": "#7f7f7f", "with baseline": "#2ca02c"}


def image(right: Tensor, background: float = 0.05) -> Tensor:
    """Return the image [H, W, 3] of a ball that is left at 0 and right at 1."""
    cameras = dr.Cameras.perspective(torch.tensor([[0.0, 0.4, 3.2]]), height=64, width=64)
    x = 0.7 * right.float() - 0.35
    ball = dr.Mesh(0.55 * BALL.vertices.float() + torch.stack([x, 0 * x, 0 * x]), BALL.faces)
    lights = {"sun": dr.Directional(torch.tensor([-1.0, -1.0, -0.7])), "sky": dr.Ambient(torch.tensor(0.4))}
    scene = dr.Scene({"ball": dr.Object(ball, dr.Lambert(torch.tensor([0.85, 0.35, 0.15])))}, lights)
    return dr.render_scene(replace(scene, background=torch.full((3,), background)), cameras).rgba[0, ..., :3]


def tabulated_loss() -> Callable[[Tensor], Tensor]:
    """Return the loss as a function of where the ball is: rendered with its derivative at PLACES, cubic between."""
    target = image(torch.tensor(1.0), background=0.3)
    places = torch.linspace(0, 1, PLACES, dtype=torch.float64)
    rows = [torch.func.vjp(lambda x: (image(x) - target).square().mean(), place) for place in places]
    values = torch.stack([value for value, _ in rows]).double()
    slopes = torch.stack([pull(torch.ones(()))[0] for _, pull in rows]) / (PLACES - 1)

    def loss(right: Tensor) -> Tensor:
        k = (right.detach() * (PLACES - 1)).long().clamp(0, PLACES - 2)
        t = right * (PLACES - 1) - k
        ends = values[k] * (1 + 2 * t) * (1 - t) ** 2 + values[k + 1] * t**2 * (3 - 2 * t)
        return ends + slopes[k] * t * (1 - t) ** 2 + slopes[k + 1] * t**2 * (t - 1)

    return loss


def estimates(loss: Callable[[Tensor], Tensor], name: str, temperature: Tensor, generator: torch.Generator) -> Tensor:
    """Return DRAWS derivatives of the mean loss, each from SAMPLES samples of the noise."""
    uniform = torch.rand(DRAWS, SAMPLES, dtype=torch.float64, generator=generator)
    noise = uniform.log() - (1 - uniform).log()
    margins = MARGIN.expand(DRAWS, 1).clone().requires_grad_()
    if name in ("smooth", "straight-through"):
        mode = "smooth" if name == "smooth" else "straight_through"
        found = loss(dr.relaxed.step(margins + noise, temperature, mode)).mean(1)
    else:
        right = MARGIN + noise > 0
        log_probs = torch.nn.functional.logsigmoid(torch.where(right, margins, -margins))
        baseline = "leave_one_out" if name == "with baseline" else None
        found = torch.stack(
            [dr.relaxed.score_function(*rows, baseline) for rows in zip(loss(right.double()), log_probs, strict=True)]
        )
    return torch.autograd.grad(found.sum(), margins)[0][:, 0]


def draw(path: Path) -> None:
    """Compute all estimates, print them, and write the picture."""
    loss = tabulated_loss()
    chance = torch.sigmoid(MARGIN)
    ends = loss(torch.tensor([0.0, 1.0], dtype=torch.float64)).detach()
    true = float((ends[1] - ends[0]) * chance * (1 - chance))
    generator = torch.Generator().manual_seed(0)
    figure = Figure(figsize=(10, 3.1), dpi=100, layout="constrained")
    grid = figure.add_gridspec(3, 3, width_ratios=[0.62, 2, 2])
    for row, (place, words) in enumerate(((0.0, "margin < 0"), (1.0, "margin > 0"), (0.5, "smooth, margin 0"))):
        axes = figure.add_subplot(grid[row, 0])
        axes.imshow(srgb_from_linear(image(torch.tensor(place))).clamp(0, 1).numpy())
        axes.set_axis_off()
        axes.set_title(words, fontsize=8, pad=2)
    bias, spread = figure.add_subplot(grid[:, 1]), figure.add_subplot(grid[:, 2])
    for name, color in COLORS.items():
        rows = [estimates(loss, name, temperature, generator) for temperature in TEMPERATURES]
        off = [float(row.mean()) / true - 1 for row in rows]
        std = [float(row.std()) / abs(true) for row in rows]
        print(
            f"{name:18}", *(f"{float(t):.2g}: {b:.3f} {s:.2f};" for t, b, s in zip(TEMPERATURES, off, std, strict=True))
        )
        bias.errorbar(TEMPERATURES, off, [2 * s / DRAWS**0.5 for s in std], fmt="o-", color=color, ms=3, lw=1.3)
        spread.plot(TEMPERATURES, std, "o-", color=color, ms=3, lw=1.3, label=name)
    spread.set_yscale("log")
    for axes, title in ((bias, "bias"), (spread, f"standard deviation, {SAMPLES} samples")):
        axes.set(xscale="log", xlabel="temperature, in scales of the noise")
        axes.set_title(f"{title} / derivative", fontsize=9)
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=8)
    spread.legend(fontsize=8)
    figure.savefig(path.with_suffix(".png"))
    Image.open(path.with_suffix(".png")).convert("RGB").save(path, quality=88, method=6)
    path.with_suffix(".png").unlink()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    pictures = Path(__file__).resolve().parents[1] / "scenes" / "pictures"
    parser.add_argument("--out", type=Path, default=pictures / "relaxations.webp")
    draw(parser.parse_args().out)
