"""Photometric stereo: pictures from one fixed camera under changing light, and the directions of that light."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from diffrender.errors import DataError
from diffrender.imaging.color import srgb_from_linear
from diffrender.imaging.filters import resize_area
from diffrender.readers.captures.capture import Capture, CaptureOptions, CaptureReader
from diffrender.readers.images.image import read_image
from diffrender.readers.images.masks import read_mask
from diffrender.scene.cameras import Cameras
from diffrender.scene.target_views import Views

# The side of the square that the pictures are cut to, over that of the mask.
MARGIN = 1.04
# Share of the brightest pixel on a mirror ball from which on pixels show the lamp.
HIGHLIGHT = 0.9


@dataclass(frozen=True)
class _Pictures:
    """Files in the order of their numbers, and their mask [H, W] in 0..1."""

    files: list[Path]
    mask: Tensor


def read_photometric_stereo(folder: Path, options: CaptureOptions) -> Views:
    """Read the pictures of a fixed camera, cut to a square about the mask and black outside it.

    The folder holds <name>.0.png, <name>.1.png, ... and <name>.mask.png. Values of the pictures are taken as linear:
    measurements of light, not sRGB. The world: x right, y up, z towards the camera, which is orthographic; the square
    is -1..1 in x and y, and the object is near z = 0. Cameras are numbered in the order of the pictures.
    Raises DataError if files are missing, differ in size, or AOVs or pictures to ignore are asked for.
    """
    if options.aovs:
        raise DataError(
            f"{folder}: pictures of photometric stereo come without images of {options.aovs[0]};"
            f" remove loss.{options.aovs[0]}"
        )
    if options.ignore is not None:
        raise DataError(f"{folder}: pictures of photometric stereo have one mask; remove targets.ignore")
    pictures = _pictures(folder)
    rows, columns = torch.nonzero(pictures.mask > 0.5, as_tuple=True)
    top, left, side = _square(rows, columns)
    mask = _crop(pictures.mask[..., None], top, left, side)
    images = torch.stack([_crop(_linear(file, pictures.mask), top, left, side) * mask for file in pictures.files])
    size = side if options.resolution is None else min(side, options.resolution)
    images, masks = resize_area(images, size, size), resize_area(mask[None], size, size)[..., 0]
    eye = torch.tensor([[0.0, 0.0, 4.0]]).repeat(len(images), 1)
    cameras = Cameras.parallel(eye, view_height=2.0, height=size, width=size)
    cameras = replace(cameras, number=torch.arange(len(images)))
    names = tuple(file.stem for file in pictures.files)
    masks = masks.expand(len(images), -1, -1).contiguous() if options.use_masks else None
    return Views(cameras, images, masks, names)


def _claims(path: Path) -> bool:
    return path.is_dir() and len(list(path.glob("*.mask.png"))) == 1 and bool(_numbered_files(path))


def _read(path: Path, options: CaptureOptions) -> Capture:
    """Read the pictures; none is held out, since each shows the object in a light that no other shows."""
    return Capture(read_photometric_stereo(path, options), holds_out=False)


READER = CaptureReader("a folder with pictures <name>.0.png, <name>.1.png, ... and one <name>.mask.png", _claims, _read)


def read_light_directions(path: Path) -> Tensor:
    """Read the directions in which light travels, [L, 3] unit vectors in the world of `read_photometric_stereo`.

    path: a text file with the number of lights and, for each, a vector towards it (x right, y up, z to the viewer); or
        a folder with pictures of a mirror ball, one per lamp, as `read_photometric_stereo` takes them.
    Raises DataError if the file is something else, or a picture shows no lamp.
    """
    if path.is_dir():
        return _from_mirror_ball(path)
    try:
        words = [float(word) for word in path.read_text(encoding="utf-8").split()]
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{path}: must hold the number of lights and three numbers for each ({error})") from error
    if not words or len(words) != 1 + 3 * words[0]:
        raise DataError(f"{path}: must hold the number of lights and three numbers for each, got {len(words)} numbers")
    towards = torch.tensor(words[1:]).reshape(-1, 3)
    if not bool((towards.norm(dim=1) > 0).all()):
        raise DataError(f"{path}: a direction is zero")
    return -torch.nn.functional.normalize(towards, dim=1)


def _from_mirror_ball(folder: Path) -> Tensor:
    """Return the light directions: the normal at a highlight halves the angle between camera and lamp."""
    pictures = _pictures(folder)
    rows, columns = torch.nonzero(pictures.mask > 0.5, as_tuple=True)
    low = torch.stack([columns.min(), rows.min()]).float()
    high = torch.stack([columns.max(), rows.max()]).float() + 1
    middle, radius = (low + high) / 2, (high - low).mean() / 2
    directions = []
    for file in pictures.files:
        bright = _linear(file, pictures.mask).mean(2) * (pictures.mask > 0.5)
        lamp = torch.nonzero(bright >= HIGHLIGHT * bright.max()).float() + 0.5
        x, y = (lamp.mean(0).flip(0) - middle) / radius
        squared = float(x * x + y * y)
        if float(bright.max()) == 0 or squared >= 1:
            raise DataError(f"{file}: shows no lamp on the ball; give directions of the lights as a text file")
        normal = torch.stack([x, -y, (1 - x * x - y * y).sqrt()])
        directions.append(normal.new_tensor([0.0, 0.0, 1.0]) - 2 * normal[2] * normal)
    return torch.stack(directions)


def _pictures(folder: Path) -> _Pictures:
    masks, files = sorted(folder.glob("*.mask.png")), _numbered_files(folder)
    if len(masks) != 1 or not files:
        raise DataError(
            f"{folder}: must hold pictures <name>.0.png, <name>.1.png, ... and one <name>.mask.png, got {len(files)} of"
            f" the former and {len(masks)} of the latter"
        )
    mask = read_mask(masks[0])
    if not bool((mask > 0.5).any()):
        raise DataError(f"{masks[0]}: the mask holds no object")
    return _Pictures(files, mask)


def _numbered_files(folder: Path) -> list[Path]:
    numbers = {int(found[1]): file for file in folder.iterdir() if (found := re.search(r"\.(\d+)\.png$", file.name))}
    return [numbers[number] for number in sorted(numbers)]


def _linear(file: Path, mask: Tensor) -> Tensor:
    """Return values [H, W, 3] as the file has them: undoes the decoding from sRGB."""
    image = srgb_from_linear(read_image(file).rgb)
    if image.shape[:2] != mask.shape:
        raise DataError(
            f"{file}: is {image.shape[1]} x {image.shape[0]}, but the mask is {mask.shape[1]} x {mask.shape[0]}"
        )
    return image


def _square(rows: Tensor, columns: Tensor) -> tuple[int, int, int]:
    """Return top, left and side of a square about the mask, with a margin; it may extend beyond the picture."""
    height, width = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
    side = round(MARGIN * max(height, width))
    return int(rows.min()) - (side - height) // 2, int(columns.min()) - (side - width) // 2, side


def _crop(image: Tensor, top: int, left: int, side: int) -> Tensor:
    """Crop an image [H, W, C] to [side, side, C]; black beyond its borders."""
    height, width = image.shape[:2]
    around = (0, 0, max(0, -left), max(0, left + side - width), max(0, -top), max(0, top + side - height))
    padded = torch.nn.functional.pad(image, around)
    return padded[max(0, top) :, max(0, left) :][:side, :side]
