"""Describe each learned value before and after the fit."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.evaluate.exposure import EXPOSURE, WHITE_BALANCE
from diffrender.fit.loop import FitResult
from diffrender.geometry.rotations import rotation_angle
from diffrender.imaging.color import srgb_from_linear
from diffrender.scene.parameter_paths import ParameterPath, get_value, kind_of
from diffrender.scene.quantity_kinds import COLOR, POSE, VERTICES, Kind, textures_of
from diffrender.setup.fit_setup import FitSetup
from diffrender.writers.report.report import LearnedValue

# Values with more numbers are described by how far they moved.
MOST_NUMBERS = 4
# Listed view by view.
GAINS = (EXPOSURE, WHITE_BALANCE)


def describe_parameter_changes(setup: FitSetup, result: FitResult) -> list[LearnedValue]:
    """Return one row per path under `optimize`."""
    rows = []
    reunwrapped = _find_reunwrapped_textures(setup, result)
    for path in setup.config.optimize.parameters():
        before = get_value(setup.scene, setup.fit_views.cameras, path).detach().cpu().double()
        after = get_value(result.scene, result.cameras, path).detach().cpu().double()
        kind = kind_of(setup.scene, setup.fit_views.cameras, path)
        if path in GAINS:
            rows.append(LearnedValue(path, "", "", _describe_gains(setup.fit_views.names, after)))
        elif setup.model.full_path(path) in reunwrapped:
            rows.append(
                LearnedValue(path, "", "", f"{after.numel():,} numbers; transferred to new texture coordinates")
            )
        else:
            rows.append(_describe_change(path, kind, before, after))
    return rows


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
        if uvs[0] is None or uvs[1] is None or torch.equal(uvs[0].cpu(), uvs[1].cpu()):
            continue
        paths |= {str(ParameterPath.material(name, field)) for field in textures_of(before.material)}
    return paths


def _describe_gains(names: tuple[str, ...], values: Tensor) -> str:
    """Describe the exposure in stops, or the gains, of each view."""
    words = [
        f"{name} {float(value):+.2f}" if value.dim() == 0 else f"{name} {' '.join(f'{gain:.3f}' for gain in value)}"
        for name, value in zip(names, values, strict=True)
    ]
    return f"{'stops' if values.dim() == 1 else 'gains of red, green, blue'}: {', '.join(words)}"


def _describe_change(path: str, kind: Kind, before: Tensor, after: Tensor) -> LearnedValue:
    if before.shape != after.shape:
        # Per-vertex values after remeshing: there is no correspondence between old and new vertices.
        noun = "vertices" if kind == VERTICES else "values"
        return LearnedValue(path, f"{len(before):,} {noun}", f"{len(after):,} {noun}", "")
    if kind == POSE:
        return LearnedValue(path, "", "", _describe_motion(before, after))
    if after.numel() <= MOST_NUMBERS:
        is_color = kind == COLOR and after.shape == (3,)
        colors = [_css_color(color) if is_color else None for color in (before, after)]
        return LearnedValue(path, _format_numbers(before), _format_numbers(after), "", *colors)
    moved = (after - before).norm(dim=-1) if after.dim() > 1 else (after - before).abs()
    verb = "moved" if kind == VERTICES else "changed"
    mean, most = float(moved.mean()), float(moved.max())
    words = f"{after.numel():,} numbers; {verb} by {mean:.3g} on average, at most {most:.3g}"
    return LearnedValue(path, "", "", words)


def _describe_motion(before: Tensor, after: Tensor) -> str:
    """Describe the rotation and translation between poses [..., 4, 4]."""
    degrees = torch.rad2deg(rotation_angle(before[..., :3, :3], after[..., :3, :3])).mean()
    moved = (_positions(after) - _positions(before)).norm(dim=-1).mean()
    average = " on average" if before.dim() > 2 else ""
    return f"turned by {float(degrees):.3g} degrees and moved by {float(moved):.3g}{average}"


def _positions(pose: Tensor) -> Tensor:
    """Return the world position of an object's origin, or of camera centres (camera poses are world-to-camera)."""
    rotation, translation = pose[..., :3, :3], pose[..., :3, 3]
    return translation if pose.dim() == 2 else -(rotation.mT @ translation[..., None])[..., 0]


def _format_numbers(value: Tensor) -> str:
    return ", ".join(f"{number:.3g}" for number in value.reshape(-1).tolist())


def _css_color(linear: Tensor) -> str:
    red, green, blue = (srgb_from_linear(linear).clamp(0, 1) * 255).round().int().tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"
