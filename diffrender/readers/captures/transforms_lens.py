"""The lens of a frame of a transforms.json, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from diffrender.imaging.lens_distortion import BrownConrady, FieldOfView, LensDistortion
from diffrender.readers.captures.camera_models import CAMERA_MODELS
from diffrender.readers.captures.json_values import number_of, shorten
from diffrender.readers.captures.posed_image import Intrinsics
from diffrender.scene.projection import Projection
from diffrender.scene.projections import PROJECTIONS
from diffrender.scene.projections.perspective import Perspective

FOCAL = "; give the focal length in pixels of the image file, or camera_angle_x in its place"
_COEFFICIENTS = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")
# Of frames that name no model: those whose meaning is the same to all programs. k4 is not.
_UNNAMED = ("k1", "k2", "k3", "p1", "p2")


def intrinsics_of(lens: Mapping[str, Any], problems: list[str]) -> Intrinsics:
    """Return what the values of a frame, or else of all, say of its lens; adds what is wrong to `problems`."""
    model = lens.get("camera_model")
    projection = PROJECTIONS.get(model, Perspective) if isinstance(model, str) else Perspective
    if projection.is_undone_on_reading:
        projection = Perspective
    distortion = _distortion(lens, projection, problems)
    names = projection.parameter_names()
    result = Intrinsics(
        focal_x_px=number_of(lens, "fl_x", 0, math.inf, problems, FOCAL),
        focal_y_px=number_of(lens, "fl_y", 0, math.inf, problems, FOCAL),
        fov_x_rad=number_of(lens, "camera_angle_x", 0, math.pi, problems),
        fov_y_rad=number_of(lens, "camera_angle_y", 0, math.pi, problems),
        center_x_px=number_of(lens, "cx", -math.inf, math.inf, problems),
        center_y_px=number_of(lens, "cy", -math.inf, math.inf, problems),
        projection=projection,
        parameters={name: number_of(lens, name, -math.inf, math.inf, problems) or 0.0 for name in names},
        distortion=distortion,
    )
    if not any(key in lens for key in ("fl_x", "fl_y", "camera_angle_x", "camera_angle_y")):
        problems.append("no focal length; give fl_x (pixels) or camera_angle_x (radians), for all frames or for each")
    return result


def size_of(lens: Mapping[str, Any], key: str, problems: list[str]) -> int | None:
    """Return lens[key] as a number of pixels, None if it is absent or wrong; see `problems`."""
    value = number_of(lens, key, 0, math.inf, problems)
    if value is not None and value != round(value):
        problems.append(f"{key} must be a whole number of pixels, got {value}")
        return None
    return None if value is None else round(value)


def _distortion(lens: Mapping[str, Any], projection: type[Projection], problems: list[str]) -> LensDistortion | None:
    """Return the distortion of a lens, None if it has none."""
    model, is_fisheye = lens.get("camera_model"), lens.get("is_fisheye") or False
    if model is None and is_fisheye:  # instant-ngp names no model
        model = "OPENCV_FISHEYE"
    known = CAMERA_MODELS.get(model) if isinstance(model, str) else None
    kind: type[LensDistortion] | None
    if projection is not Perspective:  # whose own coefficients are rendered, not undistorted
        kind, accepted = None, projection.parameter_names()
    elif model is None or model == "OPENCV":
        kind, accepted = BrownConrady, _UNNAMED
    elif known is not None:
        kind, accepted = known.lens, known.coefficients()
    else:
        problems.append(
            f"camera_model {shorten(model)} is not supported; undistort the images to PINHOLE first (colmap"
            f" image_undistorter, or ns-process-data), or use one of {', '.join(CAMERA_MODELS | PROJECTIONS)}"
        )
        return None
    if is_fisheye and not (kind is not None and kind.is_fisheye):
        problems.append(f"is_fisheye is {shorten(is_fisheye)}, but {model} is no fisheye; remove one of the two")
        return None
    tells_focal = "fl_x" in lens or "fl_y" in lens or "camera_angle_x" not in lens
    if kind is not None and not (kind.keeps_focal or tells_focal):
        whose = "a fisheye" if kind.is_fisheye else model
        problems.append(f"camera_angle_x does not say the focal length of {whose}; give fl_x (pixels)")
    if kind is FieldOfView and not lens.get("omega"):
        problems.append("camera_model FOV needs omega, its field of view in radians; give it, or name PINHOLE")
    values = {
        key: number_of(lens, key, -math.inf, math.inf, problems) or 0.0
        for key in dict.fromkeys((*_COEFFICIENTS, *accepted))
    }
    foreign = [f"{key} = {lens[key]}" for key, value in values.items() if value and key not in accepted]
    if foreign:
        problems.append(
            f"{', '.join(foreign)} is no coefficient of {model or 'a frame that names no camera_model'}; correct"
            " camera_model: OPENCV has k1, k2, k3, p1, p2, FULL_OPENCV k4, k5, k6 as well (in a denominator),"
            f" OPENCV_FISHEYE k1 to k4{_those_of(model, accepted)}"
        )
    if kind is None:
        return None
    distortion = kind(**{key: values[key] for key in accepted})
    return None if distortion.is_identity() else distortion


def _those_of(model: object, accepted: Sequence[str]) -> str:
    """Return in words which coefficients a named model has that is none of the usual three."""
    is_usual = model in (None, "OPENCV", "FULL_OPENCV", "OPENCV_FISHEYE")
    return "" if is_usual else f", {model} {', '.join(accepted) or 'none'}"
