"""Pictures of one fixed camera under changing light, and where that light came from."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from diffrender.errors import DataError
from diffrender.imaging.color import srgb_from_linear
from diffrender.imaging.filters import resize_area
from diffrender.readers.images.image import read_image
from diffrender.readers.images.masks import read_mask
from diffrender.scene.cameras import Cameras
from diffrender.scene.views import Views

# Half the side of the square that the pictures are cut to, over that of the mask.
MARGIN = 1.04
# Of the brightest pixel on a mirror ball: what belongs to the image of the lamp.
HIGHLIGHT = 0.9


@dataclass(frozen=True)
class _Pictures:
    """files: in the order of their numbers. mask: [H, W] in 0..1."""

    files: list[Path]
    mask: Tensor


def is_photometric_stereo(folder: Path) -> bool:
    """Whether the folder holds <name>.<number>.png and <name>.mask.png."""
    return folder.is_dir() and len(list(folder.glob("*.mask.png"))) == 1 and bool(_number_of(folder))


def read_photometric_stereo(folder: Path, resolution: int | None, use_masks: bool = True) -> Views:
    """The pictures of a fixed camera, cut to a square about the mask, black outside it; their cameras are numbered.

    The folder holds <name>.0.png, <name>.1.png, ... and <name>.mask.png. Values of the pictures are taken as linear:
    measurements of light, not sRGB. The world: x right, y up, z towards the camera, which is orthographic; the square
    reaches from -1 to 1 in x and y, and what is seen lies about z = 0.
    resolution: side of the square in pixels; larger ones are shrunk, None keeps them.
    Raises DataError where files are missing or differ in size.
    """
    pictures = _pictures(folder)
    rows, columns = torch.nonzero(pictures.mask > 0.5, as_tuple=True)
    top, left, side = _square(rows, columns)
    mask = _crop(pictures.mask[..., None], top, left, side)
    images = torch.stack([_crop(_linear(file, pictures.mask), top, left, side) * mask for file in pictures.files])
    size = side if resolution is None else min(side, resolution)
    images, masks = resize_area(images, size, size), resize_area(mask[None], size, size)[..., 0]
    eye = torch.tensor([[0.0, 0.0, 4.0]]).repeat(len(images), 1)
    cameras = Cameras.parallel(eye, view_height=2.0, height=size, width=size)
    cameras = replace(cameras, number=torch.arange(len(images)))
    names = tuple(file.stem for file in pictures.files)
    return Views(cameras, images, masks.expand(len(images), -1, -1).contiguous() if use_masks else None, names)


def read_light_directions(path: Path) -> Tensor:
    """[L, 3] unit directions in which light travels, in the world of `read_photometric_stereo`.

    path: a text file, the number of lights and then for each a vector towards it (x right, y up, z to the viewer); or
        a folder of pictures of a mirror ball, in which each lamp shows itself.
    Raises DataError where the file is something else, or the pictures show no lamp.
    """
    if path.is_dir():
        return _from_mirror_ball(path)
    try:
        words = [float(word) for word in path.read_text(encoding="utf-8").split()]
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{path}: wanted a number of lights and three numbers for each; {error}") from error
    if not words or len(words) != 1 + 3 * words[0]:
        raise DataError(f"{path}: wanted a number of lights and three numbers for each, found {len(words)} numbers")
    towards = torch.tensor(words[1:]).reshape(-1, 3)
    if not bool((towards.norm(dim=1) > 0).all()):
        raise DataError(f"{path}: a direction is zero")
    return -torch.nn.functional.normalize(towards, dim=1)


def _from_mirror_ball(folder: Path) -> Tensor:
    """Where the middle of the highlight is, the mirror's normal halves the angle between camera and lamp."""
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
    masks, files = sorted(folder.glob("*.mask.png")), _number_of(folder)
    if len(masks) != 1 or not files:
        raise DataError(
            f"{folder}: wanted pictures <name>.0.png, <name>.1.png, ... and one <name>.mask.png, found {len(files)} and"
            f" {len(masks)}"
        )
    mask = read_mask(masks[0])
    if not bool((mask > 0.5).any()):
        raise DataError(f"{masks[0]}: the mask holds no object")
    return _Pictures(files, mask)


def _number_of(folder: Path) -> list[Path]:
    numbers = {int(found[1]): file for file in folder.iterdir() if (found := re.search(r"\.(\d+)\.png$", file.name))}
    return [numbers[number] for number in sorted(numbers)]


def _linear(file: Path, mask: Tensor) -> Tensor:
    """[H, W, 3] as the file has it: what the reader of images took from sRGB is put back."""
    image = srgb_from_linear(read_image(file).rgb)
    if image.shape[:2] != mask.shape:
        raise DataError(
            f"{file}: is {image.shape[1]} x {image.shape[0]}, but the mask is {mask.shape[1]} x {mask.shape[0]}"
        )
    return image


def _square(rows: Tensor, columns: Tensor) -> tuple[int, int, int]:
    """Top, left and side of a square about the mask, with a margin; it may reach over the picture."""
    height, width = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
    side = round(MARGIN * max(height, width))
    return int(rows.min()) - (side - height) // 2, int(columns.min()) - (side - width) // 2, side


def _crop(image: Tensor, top: int, left: int, side: int) -> Tensor:
    """[side, side, C] of an image [H, W, C]; black where there is none."""
    height, width = image.shape[:2]
    around = (0, 0, max(0, -left), max(0, left + side - width), max(0, -top), max(0, top + side - height))
    padded = torch.nn.functional.pad(image, around)
    return padded[max(0, top) :, max(0, left) :][:side, :side]
