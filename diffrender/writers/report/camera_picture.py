"""cameras.png: cameras and object from outside, from two sides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffrender.scene.cameras import Cameras
from diffrender.writers.atomic import replacing

INK, GRAY, CAMERA, HELDOUT, ODD = "#24292f", "#8b949e", "#0072b2", "#009e73", "#d55e00"
# Length of a frustum, in usual distances from the object; with many cameras it shrinks.
LENGTH, MANY = 0.18, 30
# All cameras have their names up to this number; then only odd ones.
MOST_NAMES = 24
MOST_POINTS = 1500
# Elevation and azimuth in degrees.
SIDES = ((18, -60), (80, -90))
CORNERS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])


def write_camera_picture(
    path: Path,
    cameras: Cameras,
    names: Sequence[str],
    points_w: Tensor,
    odd: Sequence[int] = (),
    heldout: Sequence[int] = (),
    box: tuple[Sequence[float], Sequence[float]] | None = None,
    origin: Sequence[float] = (0.0, 0.0, 0.0),
) -> None:
    """Draw N cameras as frusta, with the object between them. Raises DataError if the file cannot be written.

    points_w: [V, 3] points of the object. odd, heldout: views with colours of their own. box: low and high corner of
    the object's region. origin: the point of the user's world that is the origin of all of these.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from mpl_toolkits.mplot3d.art3d import Line3DCollection

    shift = np.asarray(origin, np.float64)
    points = points_w.detach().cpu().double().numpy()[:: max(1, len(points_w) // MOST_POINTS)] + shift
    eyes = cameras.positions_w().cpu().double().numpy() + shift
    distance = float(np.median(np.linalg.norm(eyes - points.mean(0), axis=1)))
    lines = _frusta(cameras, LENGTH * distance * min(1.0, (MANY / len(eyes)) ** 0.5)) + shift
    colors = [ODD if i in odd else HELDOUT if i in heldout else CAMERA for i in range(len(eyes))]
    everything = np.concatenate([eyes, points, lines.reshape(-1, 3)])
    middle, half = (everything.max(0) + everything.min(0)) / 2, (everything.max(0) - everything.min(0)).max() / 2
    up = -cameras.cam_from_world[:, 1, :3].cpu().mean(0)
    vertical = "xyz"[int(up.abs().argmax())]
    figure = Figure(figsize=(14, 7), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    for place, (elevation, azimuth) in enumerate(SIDES):
        axes: Any = figure.add_axes((0.5 * place, 0.02, 0.5, 0.96), projection="3d")
        axes.scatter(*points.T, s=2, color=GRAY, alpha=0.5, linewidths=0)
        for index, frustum in enumerate(lines):
            width = 1.6 if index in odd else 1.0 if len(eyes) <= MANY else 0.6
            axes.add_collection3d(Line3DCollection(frustum, colors=colors[index], linewidths=width))
            if len(eyes) <= MOST_NAMES or index in odd:
                axes.text(*eyes[index], names[index], fontsize=7, color=colors[index])
        if box is not None:
            axes.add_collection3d(Line3DCollection(_box_edges(np.asarray(box) + shift), colors=INK, linewidths=0.8))
        for k, name in enumerate("xyz"):
            getattr(axes, f"set_{name}lim")(middle[k] - half, middle[k] + half)
            getattr(axes, f"set_{name}label")(name, color=INK)
        axes.tick_params(labelsize=7, colors=INK)
        axes.set_box_aspect((1, 1, 1), zoom=1.0)
        axes.view_init(elevation, azimuth, vertical_axis=vertical)
    kinds = {"camera": CAMERA, "held out": HELDOUT, "does not agree with the others": ODD}
    shown = [Line2D([], [], color=color, label=name) for name, color in kinds.items() if color in colors]
    shown.append(Line2D([], [], color=GRAY, marker=".", linestyle="", label="start"))
    shown += [Line2D([], [], color=INK, label="region of the object")] if box is not None else []
    figure.legend(handles=shown, loc="lower center", ncols=len(shown), frameon=False, fontsize=9)
    with replacing(path) as file:
        figure.savefig(file, format="png")


def _frusta(cameras: Cameras, length: float) -> np.ndarray:
    """Return the edges [N, 8, 2, 3] of the cameras' frusta in the world, their upper side doubled by a tip."""
    cameras = cameras.to("cpu")
    size = torch.tensor([float(cameras.width), float(cameras.height)])
    pixels = torch.cat([CORNERS * size, torch.tensor([[0.5, -0.3]]) * size]).expand(len(cameras), 5, 2)
    eye, direction = cameras.rays(pixels)
    forward = cameras.cam_from_world[:, 2, :3]
    along = (direction * forward[:, None]).sum(2, keepdim=True).clamp_min(0.1)
    ends = eye + length * direction / along
    pairs = [(eye[:, k], ends[:, k]) for k in range(4)] + [(ends[:, k], ends[:, (k + 1) % 4]) for k in range(4)]
    pairs += [(ends[:, 0], ends[:, 4]), (ends[:, 1], ends[:, 4])]
    return torch.stack([torch.stack(pair, 1) for pair in pairs], 1).double().numpy()


def _box_edges(box: np.ndarray) -> np.ndarray:
    """Return the 12 edges [12, 2, 3] of a box [2, 3]."""
    corners = np.array([[box[(i >> k) & 1, k] for k in range(3)] for i in range(8)])
    pairs = [(i, i | 1 << k) for i in range(8) for k in range(3) if not i >> k & 1]
    return corners[np.array(pairs)]
