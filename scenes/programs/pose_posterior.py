"""The pose of an object as six numbers, and a picture of what is known of them."""

import math

import torch

# Of a normal distribution: how many deviations from the middle intervals reach, and ellipses of two numbers.
INTERVALS = {0.68: 1.0, 0.95: 1.96}
NAMES = ("x", "y", "z")


def place(turn, shift):
    """Return where the object is: turned by a rotation vector in radians, and shifted."""
    return {"objects.it.rotation": turn, "objects.it.position": shift}


def ellipse(covariance, share):
    """Return points [64, 2] around 0 of the ellipse that holds a `share` of a normal distribution of two numbers."""
    values, vectors = torch.linalg.eigh(covariance)
    around = torch.linspace(0, 2 * math.pi, 64, dtype=torch.float64)
    circle = math.sqrt(-2 * math.log(1 - share)) * torch.stack([around.cos(), around.sin()], 1)
    return (circle * values.clamp_min(0).sqrt()) @ vectors.T


def report(run):
    """Draw the pairs of shifts and of turns with their ellipses, and the intervals of all six numbers."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.4), layout="constrained")
    axes = figure.subplots(2, 4, width_ratios=[1, 1, 1, 1.1])
    for row, (name, first, scale, unit) in enumerate((("turn", 0, 180 / math.pi, "degrees"), ("shift", 3, 1, ""))):
        found, true = scale * run.found[name], run.true.get(name)
        for column, (i, j) in enumerate(((0, 1), (0, 2), (1, 2))):
            pair = [first + i, first + j]
            for share in INTERVALS:
                points = found[[i, j]] + scale * ellipse(run.covariance[pair][:, pair], share)
                axes[row, column].plot(*points.T, label=f"{share:.0%}")
            axes[row, column].plot(*found[[i, j]], "k+", label="found")
            if true is not None:
                axes[row, column].plot(*(scale * true[[i, j]]), "rx", label="true")
            labels = [f"{name} about {NAMES[k]}" if unit else f"{name} in {NAMES[k]}" for k in (i, j)]
            axes[row, column].set(xlabel=f"{labels[0]} {unit}", ylabel=f"{labels[1]} {unit}")
        last, deviation = axes[row, 3], scale * run.deviations[name]
        for share, reach in INTERVALS.items():
            last.errorbar(NAMES, 0 * found, reach * deviation, fmt="none", capsize=9 - 3 * reach, label=f"{share:.0%}")
        if true is not None:
            last.plot(NAMES, scale * true - found, "rx", label="true")
        last.set(ylabel=f"{name}, from what was found {unit}")
    axes[0, 0].legend()
    return figure
