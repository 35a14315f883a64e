"""Parametrisations, by their names in scene.yaml under `optimize: {<path>: {method: ...}}`."""

from diffrender.fit.parametrization import Parametrization
from diffrender.fit.parametrizations.bounded import Bounded
from diffrender.fit.parametrizations.camera_poses import CameraPoses
from diffrender.fit.parametrizations.direction import Direction
from diffrender.fit.parametrizations.identity import Identity
from diffrender.fit.parametrizations.large_steps import LargeSteps
from diffrender.fit.parametrizations.mean_free_gains import Balanced
from diffrender.fit.parametrizations.monotone import Monotone
from diffrender.fit.parametrizations.pose import Pose
from diffrender.fit.parametrizations.positive import Positive
from diffrender.fit.parametrizations.unit_interval import UnitInterval
from diffrender.fit.parametrizations.zero_mean import ZeroMean

PARAMETRIZATIONS: dict[str, type[Parametrization]] = {
    "identity": Identity,
    "positive": Positive,
    "unit_interval": UnitInterval,
    "bounded": Bounded,
    "direction": Direction,
    "pose": Pose,
    "camera_poses": CameraPoses,
    "large_steps": LargeSteps,
    "zero_mean": ZeroMean,
    "balanced": Balanced,
    "monotone": Monotone,
}
