"""One photograph as a capture: its camera is assumed, and the scene is placed before it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch
from PIL import ExifTags, Image

from diffrender.geometry.rigid import OPENCV_FROM_OPENGL
from diffrender.readers.captures.capture import Capture, CaptureOptions, CaptureReader
from diffrender.readers.captures.picture_files import PICTURE_SUFFIXES
from diffrender.readers.captures.posed_capture import read_posed_capture
from diffrender.readers.captures.posed_image import Intrinsics, PosedImage
from diffrender.readers.images.image import read_image, stored_and_turned_size

# Of phones and of normal lenses, along the long side.
USUAL_FOV_DEG = 55.0
# In millimetres: of telescopes, beyond which files tell nonsense.
LONGEST_FOCAL = 5000
# The diagonal of a film frame in millimetres, which "focal length in 35 mm film" is for.
FILM_DIAGONAL = math.hypot(36, 24)


def read_single_image(path: str | Path, options: CaptureOptions | None = None) -> Capture:
    """Read one photograph, turned as its EXIF says, with a camera that is assumed.

    It looks from (0, 0, d) at the world's origin, with y up, such that a ball of radius 1 there just fits in.
    Its field of view along the long side is that of the options, or else follows from the focal length in EXIF, or is
    USUAL_FOV_DEG; a note says which. Source of the focal length: CIPA DC-008, "Exchangeable image file format",
    FocalLengthIn35mmFilm.
    Raises DataError if it cannot be read.
    """
    path, options = Path(path), options or CaptureOptions()
    sizes = stored_and_turned_size(path)
    long_side, short_side = sorted(sizes[0] if sizes else read_image(path).rgb.shape[:2], reverse=True)
    by_exif = None if options.fov_deg else _focal_by_exif(path, math.hypot(long_side, short_side))
    stated = options.fov_deg or USUAL_FOV_DEG
    focal = by_exif or long_side / 2 / math.tan(math.radians(stated) / 2)
    distance = math.hypot(1, 2 * focal / short_side)
    by = "as stated" if options.fov_deg else "by its EXIF" if by_exif else "a usual one: state targets.fov_deg"
    field = 2 * math.degrees(math.atan(long_side / 2 / focal))
    note = (
        f"its camera is assumed to look at the origin from (0, 0, {distance:.3g}), with a field of view of {field:.1f}"
        f" degrees along the long side ({by})"
    )
    pose = torch.eye(4, dtype=torch.float64)
    pose[2, 3] = -distance
    frame = PosedImage(
        name=path.name,
        place=path.name,
        image_path=path,
        mask_path=None,
        cam_from_world=OPENCV_FROM_OPENGL.double() @ pose,
        intrinsics=Intrinsics(focal_x_px=focal),
        turn=True,
    )
    return replace(read_posed_capture(path, [frame], options, [note]), holds_out=False)


def _focal_by_exif(path: Path, diagonal: float) -> float | None:
    """Return the focal length in pixels of a picture whose diagonal has so many, None if it does not tell."""
    try:
        with Image.open(path) as picture:
            value = picture.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.FocalLengthIn35mmFilm)
    except (OSError, ValueError, SyntaxError):  # of formats that are no photographs of cameras
        return None
    is_number = isinstance(value, int | float) and 1 <= value <= LONGEST_FOCAL
    return float(value) / FILM_DIAGONAL * diagonal if is_number else None


READER = CaptureReader(
    "one photograph",
    lambda path: path.is_file() and path.suffix.lower() in PICTURE_SUFFIXES,
    read_single_image,
)
