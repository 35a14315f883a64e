"""A damped pendulum: where its bob and its rod are at each time, by the equation of its motion."""

import torch
from torchdiffeq import odeint

GRAVITY = 9.81  # m / s^2
PIVOT = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)  # where it hangs, in metres


def swing(length, damping, angle, time):
    """Return the angle from the vertical in radians at each time, if it is let go at `angle` at time 0."""

    def motion(_, state):
        turned, speed = state
        return torch.stack([speed, -GRAVITY / length * torch.sin(turned) - damping * speed])

    start = torch.stack([angle, torch.zeros_like(angle)])
    return odeint(motion, start, time, rtol=1e-7, atol=1e-9)[:, 0]


def simulate(length, damping, angle, time):
    """Return where things are: `time` has all times of the video, so each value has a row per time."""
    turned = swing(length, damping, angle, time)
    zero = torch.zeros_like(turned)
    hanging = torch.stack([turned.sin(), -turned.cos(), zero], 1)
    return {
        "objects.bob.position": PIVOT + length * hanging,
        "objects.rod.rotation": torch.stack([zero, zero, turned], 1),
        "objects.rod.scale": length,  # its mesh is one metre long
    }


def report(run):
    """Draw the angle over time for report.html, as it was found, and as it is if the truth is known."""
    from matplotlib.figure import Figure

    time = torch.linspace(0, float(run.time[-1]), 400, dtype=torch.float64)
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    for label, parameters, style, width in (
        ("start", run.start, ":", 1.5), ("found", run.found, "-", 4), ("true", run.true, "--", 1.5),
    ):  # fmt: skip
        if parameters:
            axes.plot(time, torch.rad2deg(swing(**parameters, time=time)), style, linewidth=width, label=label)
    axes.set(xlabel="time in s", ylabel="angle in degrees")
    axes.legend()
    return figure
