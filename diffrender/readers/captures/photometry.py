"""What a capture says of how light became its pictures: exposure, white balance, vignetting, response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from diffrender.imaging.response import straight_response
from diffrender.readers.captures.json_values import is_number, matrix_of, shorten

LARGEST_EXPOSURE_STOPS = 20  # either way, as in scene files; beyond, a file means something else by the word


@dataclass(frozen=True)
class Photometry:
    """What a frame says, as in scene.cameras, in its own image; None for what it omits.

    exposure: stops. white_balance: [3] gains. vignetting: [3] coefficients. response: [K - 1] values of the curve.
    """

    exposure: Tensor | None = None
    white_balance: Tensor | None = None
    vignetting: Tensor | None = None
    response: Tensor | None = None


def photometry_of(frame: Mapping[str, Any], problems: list[str]) -> Photometry:
    """Read what a frame of a transforms.json says; adds what is wrong to `problems`."""
    exposure = _exposure(frame, problems)
    white_balance = _row(frame, "white_balance", 3, "three gains above 0, for R, G and B", problems)
    vignetting = _row(frame, "vignetting", 3, "three numbers, the coefficients of r^2, r^4 and r^6", problems)
    n_knots = len(straight_response())
    response = _row(frame, "response", n_knots, f"{n_knots} numbers that increase from 0 to 1", problems)
    return Photometry(exposure, white_balance, vignetting, response)


def photometry_of_cameras(
    frames: Sequence[Photometry], boxes: Tensor, height: int, width: int
) -> dict[str, Tensor | None]:
    """Return the fields of Cameras that frames say, neutral for those that say nothing; None if none does.

    boxes: [N, 4] (top, left, height, width) of each photograph in its image of `height` x `width`, whose diagonal is
        the unit of vignetting then.
    """
    neutral = Photometry(torch.zeros(()), torch.ones(3), torch.zeros(3), straight_response())
    result: dict[str, Tensor | None] = {}
    for name in (field.name for field in fields(Photometry)):
        told = [getattr(frame, name) for frame in frames]
        rows = [getattr(neutral, name) if value is None else value for value in told]
        result[name] = torch.stack(rows) if any(value is not None for value in told) else None
    if result["vignetting"] is not None:
        squared = (height**2 + width**2) / boxes[:, 2:].float().square().sum(1, keepdim=True)
        result["vignetting"] = result["vignetting"] * torch.cat([squared, squared**2, squared**3], 1)
    return result


def _exposure(frame: Mapping[str, Any], problems: list[str]) -> Tensor | None:
    value = frame.get("exposure")
    if is_number(value) and -LARGEST_EXPOSURE_STOPS <= value <= LARGEST_EXPOSURE_STOPS:
        return torch.tensor(float(value))
    if value is not None:
        problems.append(
            f"exposure must be in {-LARGEST_EXPOSURE_STOPS}..{LARGEST_EXPOSURE_STOPS}, in stops, got {shorten(value)}"
        )
    return None


def _row(frame: Mapping[str, Any], key: str, length: int, wanted: str, problems: list[str]) -> Tensor | None:
    value = frame.get(key)
    if value is None:
        return None
    row = matrix_of([value], (1,), length)
    # In float32, as cameras have it: there 1e-50 is 0.
    row = None if row is None else row.float()[0]
    if row is not None and bool(torch.isfinite(row).all()) and _is_of(key, row):
        return row
    problems.append(f"{key} must be {wanted}, got {shorten(value)}")
    return None


def _is_of(key: str, row: Tensor) -> bool:
    if key == "response":
        return bool((torch.cat([row.new_zeros(1), row, row.new_ones(1)]).diff() > 0).all())
    return key != "white_balance" or bool((row > 0).all())
