"""Small captures with a transforms.json, and what reading them gives."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from diffrender.errors import DataError
from diffrender.readers.captures.capture import CaptureOptions
from diffrender.readers.captures.transforms_json import read_transforms

WIDTH, HEIGHT = 8, 6
DISC = np.zeros((HEIGHT, WIDTH), np.uint8)
DISC[1:5, 2:6] = 255

# A camera at (0, 0, 5) that looks along -z with y up is the identity rotation in OpenGL's axes.
AT_Z5 = [[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 5], [0, 0, 0, 1]]
# One at (5, 0, 0) that looks along -x: its right is -z, its back is +x.
AT_X5 = [[0.0, 0, 1, 5], [0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1]]


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def flat(color, width=WIDTH, height=HEIGHT):
    return np.full((height, width, 3), color, np.uint8)


def capture(folder, changes=None, **top):
    """A good two-frame capture in `folder`; `top` changes its top level and changes[i] its frame i."""
    frames = []
    for index, matrix in enumerate((AT_Z5, AT_X5)):
        save(folder / "images" / f"{index}.png", flat((200, 100, 50 * index)))
        save(folder / "masks" / f"{index}.png", DISC)
        frames.append(
            {"file_path": f"images/{index}.png", "mask_path": f"masks/{index}.png", "transform_matrix": matrix}
        )
    for index, change in (changes or {}).items():
        frames[index] = {**frames[index], **change}
    content = {"fl_x": 10.0, "fl_y": 12.0, "cx": 4.5, "cy": 2.5, "w": WIDTH, "h": HEIGHT, "frames": frames, **top}
    content = {key: value for key, value in content.items() if value is not None}
    (folder / "transforms.json").write_text(json.dumps(content))
    return folder


def read(folder, **options):
    return read_transforms(folder, CaptureOptions(**options))


def fails(folder, *messages, **options):
    with pytest.raises(DataError) as caught:
        read(folder, **options)
    text = str(caught.value)
    assert str(folder) in text
    for message in messages:
        assert message in text, text
    return text
