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
    """Draw pairs of turns and of shifts with their ellipses, and the intervals of all six, from what was found."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    axes = figure.subplots(2, 4)
    for row, (name, first, scale, what) in enumerate(
        (("turn", 0, 180 / math.pi, "turn about {}, degrees"), ("shift", 3, 1000, "shift along {}, thousandths"))
    ):
        # From what was found, as the truth is.
        true = scale * (run.true[name] - run.found[name]) if name in run.true else None
        for column, (i, j) in enumerate(((0, 1), (0, 2), (1, 2))):
            own, pair = axes[row, column], [first + i, first + j]
            for share in INTERVALS if run.covariance is not None else ():
                points = scale * ellipse(run.covariance[pair][:, pair], share)
                own.plot(points[:, 0], points[:, 1], label=f"{share:.0%}")
            own.plot(0, 0, "k+", label="found")
            if true is not None:
                own.plot(true[i], true[j], "rx", label="true")
            own.set(xlabel=what.format(NAMES[i]), ylabel=what.format(NAMES[j]))
        last = axes[row, 3]
        for share, reach in INTERVALS.items() if run.deviations else ():
            reaches = reach * scale * run.deviations[name]
            last.errorbar(NAMES, [0.0] * 3, reaches, fmt="none", capsize=18 - 7 * reach, label=f"{share:.0%}")
        if true is not None:
            last.plot(NAMES, true, "rx")
        last.set(ylabel=what.replace(" about {}", "").replace(" along {}", ""), xlim=(-0.5, 2.5))
    for each in axes.flat:
        each.locator_params(axis="y", nbins=5)
    for each in axes[:, :3].flat:
        each.locator_params(axis="x", nbins=4)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure
