"""The pendulum of the target video, by other means than the fit's: scipy's DOP853 of order 8, in NumPy."""

import numpy as np
import torch
from scipy.integrate import solve_ivp


def film(length, damping, angle, time):
    """Return where bob and rod are at each time."""
    length, damping, angle = (float(value) for value in (length, damping, angle))
    times = time.numpy()

    def motion(_, state):
        return [state[1], -9.81 / length * np.sin(state[0]) - damping * state[1]]

    found = solve_ivp(motion, (0, times[-1]), [angle, 0.0], "DOP853", times, rtol=1e-12, atol=1e-12)
    poses = np.tile(np.eye(4), (2, len(times), 1, 1))
    sine, cosine = np.sin(found.y[0]), np.cos(found.y[0])
    poses[0, :, :3, 3] = np.stack([length * sine, 1 - length * cosine, 0 * sine], 1)
    poses[1, :, :2, :2] = np.array([[cosine, -sine], [sine, cosine]]).transpose(2, 0, 1)
    poses[1, :, 1, 3] = 1
    return {"objects.bob.pose": poses[0], "objects.rod.pose": poses[1], "objects.rod.scale": torch.tensor(length)}
