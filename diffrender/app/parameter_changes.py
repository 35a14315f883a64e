"""Describe each learned value before and after the fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from diffrender.app.camera_errors import camera_errors, describe_camera_error
from diffrender.app.program_results import program_run, units_of
from diffrender.app.uncertainty import Deviations, describe_deviation
from diffrender.config.options.parameters import DISTORTION
from diffrender.evaluate.exposure import EXPOSURE, RESPONSE, VIGNETTING, WHITE_BALANCE
from diffrender.fit.loop import FitResult
from diffrender.geometry.rotations import axis_angle_to_matrix, rotation_angle
from diffrender.imaging.color import srgb_from_linear
from diffrender.scene.parameter_paths import ParameterPath, get_value, kind_of
from diffrender.scene.quantity_kinds import (
    ANGLE,
    BLUR,
    CAMERA_POSES,
    COLOR,
    DIRECTION,
    HARMONICS,
    PARAMETER,
    POSE,
    POSITION,
    RADIANCE,
    ROTATION,
    SCALE,
    VERTICES,
    Kind,
    textures_of,
)
from diffrender.setup.fit_setup import FitSetup
from diffrender.writers.report.report import LearnedValue

# Values with more numbers are described by how far they moved. Nine coefficients of spherical harmonics have 27.
MOST_NUMBERS = 27
FOCAL, CENTER = "cameras.focal", "cameras.center"
# Listed view by view: what the numbers are.
XY = "pixels, x and y"
PER_VIEW = {
    EXPOSURE: "stops",
    WHITE_BALANCE: "gains of red, green, blue",
    VIGNETTING: "of r^2, r^4, r^6, where r = 1 in the corners",
    RESPONSE: "sRGB values that even steps of sRGB values, without 0 and 1, become",
    "cameras.k1": "of r^2, r in focal lengths",
    "cameras.k2": "of r^4",
    "cameras.p1": "of 2 x y, in focal lengths",
    "cameras.p2": "of r^2 + 2 x^2",
    FOCAL: XY,
    CENTER: XY,
}
ROUNDING = 1e-7
UNITS = {
    COLOR: "linear RGB",
    RADIANCE: "linear RGB",
    HARMONICS: "linear RGB per coefficient",
    POSITION: "world units",
    ANGLE: "degrees",
    SCALE: "times the size of the mesh",
    BLUR: "pixels: standard deviation of a Gaussian",
}


def describe_parameter_changes(setup: FitSetup, result: FitResult, deviations: Deviations) -> list[LearnedValue]:
    """Return one row per path under `optimize`, with its standard deviations if they are known."""
    rows = []
    errors = camera_errors(setup, result)
    reunwrapped = _find_reunwrapped_textures(setup, result)
    for path in setup.config.optimize.parameters():
        kind = kind_of(setup.scene, setup.fit_views.cameras, path)
        before, after = (
            _move_to_origin(get_value(scene, cameras, path).detach().cpu().double(), path, kind, setup)
            for scene, cameras in ((setup.scene, setup.fit_views.cameras), (result.scene, result.cameras))
        )
        if kind == PARAMETER:
            rows.append(_describe_program(setup, result, path, before, after))
        elif path in PER_VIEW:
            start, end = (_list_views(path, setup.fit_views.names, values) for values in (before, after))
            rows.append(LearnedValue(path, start, end, PER_VIEW[path]))
        elif setup.model.full_path(path) in reunwrapped:
            became = "transferred to new texture coordinates" if before.dim() == 3 else "of vertices at first"
            rows.append(LearnedValue(path, "", "", f"{count_values(kind, after)}; {became}"))
        else:
            rows.append(_describe_change(path, kind, before, after))
        words = [rows[-1].words]
        if path in errors:
            words.append(describe_camera_error(path, errors[path]["found"]))
        deviation = deviations.get(setup.model.latent_path(path))
        if deviation is not None and after.numel() <= MOST_NUMBERS:
            words.append(describe_deviation(deviation))
        rows[-1] = replace(rows[-1], words="; ".join(filter(None, words)))
    return rows


def learned_values(setup: FitSetup, result: FitResult) -> dict[str, Any]:
    """Return what was found of each path under `optimize` of few numbers, in the user's world, for metrics.json."""
    values = {}
    for path in setup.config.optimize.parameters():
        kind = kind_of(setup.scene, setup.fit_views.cameras, path)
        value = get_value(result.scene, result.cameras, path).detach()
        if value.numel() <= MOST_NUMBERS and kind != VERTICES:
            values[path] = _move_to_origin(value.cpu().double(), path, kind, setup).tolist()
    return values


def _describe_program(setup: FitSetup, result: FitResult, path: str, before: Tensor, after: Tensor) -> LearnedValue:
    """Describe a parameter of the program, with its unit, and with the true one if that is known."""
    name = ParameterPath.parse(path).field
    true = program_run(setup, result).true.get(name)
    words = [units_of(setup).get(name, "")]
    if true is not None and true.shape == after.shape:
        words.append(f"true: {_format(true)}, off by {float((after - true).abs().max()):.2g}")
    return LearnedValue(path, _format(before), _format(after), "; ".join(filter(None, words)))


def _find_reunwrapped_textures(setup: FitSetup, result: FitResult) -> set[str]:
    """Return the canonical paths of textures on objects that were unwrapped again: their texels have moved."""
    paths = set()
    for path, options in setup.config.optimize.parameters().items():
        # Remeshing alone changes texture coordinates too, but not which point a texel shows.
        if options.remesh is None or not options.remesh.unwrap:
            continue
        name = ParameterPath.parse(setup.model.full_path(path)).name
        before, after = (scene.objects[name] for scene in (setup.scene, result.scene))
        uvs = [item.mesh.uvs for item in (before, after)]
        if uvs[1] is None or (uvs[0] is not None and torch.equal(uvs[0].cpu(), uvs[1].cpu())):
            continue
        paths |= {str(ParameterPath.material(name, field)) for field in textures_of(after.material)}
    return paths


def _move_to_origin(value: Tensor, path: str, kind: Kind, setup: FitSetup) -> Tensor:
    """Return a position or an object's pose in the user's world; other values as they are."""
    parsed = ParameterPath.parse(setup.model.full_path(path))
    origin = value.new_tensor(setup.origin)
    if kind == POSITION and getattr(setup.scene.lights[parsed.name], "frame", "world") == "world":
        return value + origin
    if kind == POSE and parsed.root == "objects":
        value = value.clone()
        value[:3, 3] += origin
    return value


def count_values(kind: Kind, value: Tensor) -> str:
    """Return how many values a tensor holds: "2,562 vertices", "24 poses", "768 numbers"."""
    if kind in (POSE, CAMERA_POSES):
        return "1 pose" if value.dim() == 2 else f"{len(value):,} poses"
    if kind == VERTICES:
        return f"{len(value):,} vertices"
    return "1 number" if value.numel() == 1 else f"{value.numel():,} numbers"


def _list_views(path: str, names: tuple[str, ...], values: Tensor) -> str:
    """List the exposure in stops, the gains or the focal lengths of each view; once if all are equal."""
    form = {
        EXPOSURE: "+.2f",
        **dict.fromkeys(DISTORTION, "+.5f"),
        VIGNETTING: "+.4f",
        WHITE_BALANCE: ".3f",
        RESPONSE: ".4f",
    }.get(path, ".2f")
    words = [" ".join(format(x, form) for x in row) for row in values.reshape(len(names), -1).tolist()]
    if len(set(words)) == 1:
        return words[0]
    return ", ".join(f"{name} {word}" for name, word in zip(names, words, strict=True))


def _describe_change(path: str, kind: Kind, before: Tensor, after: Tensor) -> LearnedValue:
    if before.shape != after.shape:
        # Per-vertex values after remeshing: there is no correspondence between old and new vertices.
        return LearnedValue(path, count_values(kind, before), count_values(kind, after), "")
    if kind in (POSE, CAMERA_POSES):
        return _describe_pose(path, before, after)
    if kind == ROTATION:
        turned = torch.rad2deg(rotation_angle(axis_angle_to_matrix(before), axis_angle_to_matrix(after)))
        return LearnedValue(path, _format_turn(before), _format_turn(after), f"turned by {float(turned):.3g} degrees")
    if kind == DIRECTION and after.shape == (3,):
        turned = torch.rad2deg(torch.atan2(torch.linalg.cross(before, after).norm(), before @ after))
        return LearnedValue(path, _format(before), _format(after), f"turned by {float(turned):.3g} degrees")
    if after.numel() <= MOST_NUMBERS and kind != VERTICES:
        is_color = kind == COLOR and after.shape == (3,)
        colors = [_css_color(color) if is_color else None for color in (before, after)]
        return LearnedValue(path, _format(before), _format(after), UNITS.get(kind, ""), *colors)
    moved = (after - before).norm(dim=-1) if after.dim() > 1 else (after - before).abs()
    verb = "moved" if kind == VERTICES else "changed"
    mean, most = float(moved.mean()), float(moved.max())
    words = f"{count_values(kind, after)}; {verb} by {mean:.3g} on average, at most {most:.3g}"
    return LearnedValue(path, "", "", words)


def _describe_pose(path: str, before: Tensor, after: Tensor) -> LearnedValue:
    """Describe poses [..., 4, 4] and the motion between them; the matrix of a single one is written out."""
    degrees = torch.rad2deg(rotation_angle(before[..., :3, :3], after[..., :3, :3])).mean()
    moved = (_positions(after) - _positions(before)).norm(dim=-1).mean()
    if before.dim() > 2:
        words = f"turned by {float(degrees):.3g} degrees and moved by {float(moved):.3g} on average"
        return LearnedValue(path, "", "", f"{count_values(POSE, after)}; {words}; all are in cameras/transforms.json")
    words = f"world from object, in world units; turned by {float(degrees):.3g} degrees and moved by {float(moved):.3g}"
    return LearnedValue(path, _format(before), _format(after), words)


def _positions(pose: Tensor) -> Tensor:
    """Return the world position of an object's origin, or of camera centres (camera poses are world-to-camera)."""
    rotation, translation = pose[..., :3, :3], pose[..., :3, 3]
    return translation if pose.dim() == 2 else -(rotation.mT @ translation[..., None])[..., 0]


def _format(value: Tensor) -> str:
    """Write a number, a vector, or a matrix of a line per row; what only rounding makes differ from 0 is 0."""
    rows = value.reshape(1, -1) if value.dim() < 2 else value.reshape(-1, value.shape[-1])
    rows = torch.where(rows.abs() > ROUNDING * rows.abs().max(), rows, 0.0)
    digits = ".4g" if value.dim() < 2 else ".5g"
    return "\n".join(", ".join(format(x, digits) for x in row) for row in rows.tolist())


def _format_turn(rotation: Tensor) -> str:
    """Write a rotation vector in radians as an angle in degrees and a unit axis."""
    angle = rotation.norm()
    axis = rotation / angle if angle > 0 else rotation.new_tensor([0.0, 1.0, 0.0])
    return f"{float(torch.rad2deg(angle)):.4g} degrees about ({_format(axis)})"


def _css_color(linear: Tensor) -> str:
    red, green, blue = (srgb_from_linear(linear).clamp(0, 1) * 255).round().int().tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"
