"""What is doubtful about the pictures of a capture, or is not used of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from diffrender.readers.captures.picture_files import some

if TYPE_CHECKING:
    from PIL import Image

# Masks that are nowhere whiter have another white than 255, or show nothing but edges.
DIM = 0.95
# Linear light, of 1: pictures of 12 bits in files of 16 reach half of it.
DARK = 0.01
# Words in the descriptions of colour profiles whose numbers are those of sRGB; c2 is a small one of the web.
OF_SRGB = ("srgb", "sgray", "c2")
GAMMA_OF_SRGB = 0.45455
# Phones add a small or a second picture to a JPEG's own.
MULTI_PICTURE = "MPO"


def doubt_files(files: Mapping[str, Path]) -> list[str]:
    """Return notes on image files, by name, that hold several pictures or are not in sRGB. Only headers are read."""
    from PIL import Image

    several, foreign = [], {}
    for name, path in files.items():
        try:
            with Image.open(path) as picture:
                if picture.format != MULTI_PICTURE and getattr(picture, "n_frames", 1) > 1:
                    several.append(name)
                profile = _foreign_profile(picture)
        except Exception:  # of no format that Pillow knows, or damaged: reading it says so
            continue
        if profile is not None:
            foreign.setdefault(profile, []).append(name)
    notes = []
    if several:
        notes.append(
            f"{len(several)} of its image files hold several pictures, of which the first is used: {some(several)}"
        )
    for profile, names in foreign.items():
        notes.append(
            f"{len(names)} of its images are in {profile} and are taken as sRGB; convert them if their colours matter:"
            f" {some(names)}"
        )
    return notes


def _foreign_profile(picture: Image.Image) -> str | None:
    """Return what a picture's numbers mean, None if they are of sRGB or say nothing."""
    if picture.mode == "CMYK":
        return "CMYK"
    data = picture.info.get("icc_profile")
    if data:
        name = _description(data)
        return None if any(word in name.lower() for word in OF_SRGB) else f"the colour profile {name!r}"
    gamma = picture.info.get("gamma")
    if gamma is None or "srgb" in picture.info or abs(gamma - GAMMA_OF_SRGB) < 0.01:
        return None
    return f"the gamma {gamma:.4g} of PNG"


def _description(data: bytes) -> str:
    try:
        from PIL import ImageCms

        return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(data))).strip() or "without a name"
    except Exception:  # damaged, or Pillow was built without colour management
        return "that cannot be read"


def doubt_brightness(names: Sequence[str], images: Sequence[float | None], masks: Sequence[float | None]) -> list[str]:
    """Return notes on pictures that are nearly black and masks that are nowhere white.

    images, masks: the largest value of each, in linear light and as a share of 1. None: not of 16 bits, no mask.
    """
    notes = []
    brightest = max((image for image in images if image is not None), default=1.0)
    if brightest < DARK:
        notes.append(
            f"its images are nearly black: their brightest value is {brightest:.2g} of 1 in linear light; if they"
            " have 10 or 12 bits in files of 16, scale them to 16"
        )
    dim = [name for name, mask in zip(names, masks, strict=True) if mask is not None and mask < DIM]
    if dim:
        peak = max(mask for mask in masks if mask is not None and mask < DIM)
        notes.append(
            f"{len(dim)} of its {len(names)} masks are nowhere white, but at most {round(peak * 255)} of 255, and count"
            f" as partly transparent; if that means object, make it 255: {some(dim)}"
        )
    return notes


def doubt_copies(names: Sequence[str], images: Sequence[Tensor]) -> list[str]:
    """Return a note on images [H, W, 3] that are the same, unless they are of one colour and a background."""
    first: dict[tuple[object, ...], str] = {}
    copies = []
    for name, image in zip(names, images, strict=True):
        earlier = first.setdefault((image.shape, image.numpy().tobytes()), name)
        if earlier != name and len(image.reshape(-1, 3).unique(dim=0)) > 2:
            copies.append(f"{name} of {earlier}")
    if not copies:
        return []
    return [f"{len(copies)} of its images are copies of others, with cameras of their own: {some(copies)}"]
