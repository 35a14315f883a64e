"""What belongs to photographs that their cameras mark to be turned: masks, depths, lenses, and the files of a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.any_capture import fails, read
from support.transforms_captures import AT_Z5

from diffrender.writers.capture import write_capture

HEIGHT, WIDTH = 6, 8
UPPER = np.zeros((HEIGHT, WIDTH), np.uint8)
UPPER[:2] = 255  # turned clockwise, the two columns on the right


def capture(folder: Path, is_turned: bool, matrices: bool = False, **frame: object) -> Path:
    """A photograph marked with 6, white above as stored, with a mask, in the size of which its camera is."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.stack([UPPER] * 3, -1)).save(folder / "a.png", exif=exif)
    shown = np.rot90(UPPER, -1) if is_turned else UPPER
    Image.fromarray(np.ascontiguousarray(shown)).save(folder / "mask.png")
    np.save(folder / "depth.npy", np.where(shown > 0, 3.0, 0.0))
    height, width = shown.shape
    if matrices:
        lens = [[10.0, 0, width / 2], [0, 10.0, height / 2], [0, 0, 1]]
        content = {"images": ["a.png"], "masks": ["mask.png"], "K": lens, "width": width, "height": height,
                   "convention": "opencv", "cam_from_world": np.eye(4)[None].tolist()}  # fmt: skip
        (folder / "cameras.json").write_text(json.dumps(content))
        return folder / "cameras.json"
    files = {"file_path": "a.png", "mask_path": "mask.png", "depth_path": "depth.npy", "transform_matrix": AT_Z5}
    content = {"fl_x": 10, "w": width, "h": height, "frames": [{**files, **frame}]}
    (folder / "transforms.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("matrices", [False, True])
@pytest.mark.parametrize("is_turned", [False, True])
def test_masks_are_in_the_size_that_is_stated(tmp_path: Path, is_turned: bool, matrices: bool) -> None:
    views = read(capture(tmp_path, is_turned, matrices)).views
    assert views.masks is not None
    torch.testing.assert_close(views.images[..., 0], views.masks)
    assert views.masks[0].sum().item() == 2 * WIDTH
    assert views.masks.shape[1:] == ((WIDTH, HEIGHT) if is_turned else (HEIGHT, WIDTH))
    Image.fromarray(np.ascontiguousarray(np.rot90(UPPER, 0 if is_turned else 1))).save(tmp_path / "mask.png")
    fails(
        tmp_path / "cameras.json" if matrices else tmp_path,
        "it may have any size, but must have the shape of its image",
    )


@pytest.mark.parametrize("lens", [{}, {"k1": 1e-9}, {"k1": 0.05}])
@pytest.mark.parametrize("is_turned", [False, True])
def test_depths_and_lenses_follow(tmp_path: Path, is_turned: bool, lens: dict[str, float]) -> None:
    views = read(capture(tmp_path, is_turned, **lens), aovs=("depth",)).views
    assert views.masks is not None
    depth = views.aovs["depth"][..., 0]
    is_whole = (views.masks == 1) & depth.isfinite()
    assert int(is_whole.sum()) >= HEIGHT
    torch.testing.assert_close(depth[is_whole], torch.full_like(depth[is_whole], 3.0))
    # What a run writes is the same picture again.
    write_capture(tmp_path / "run", views)
    again = read(tmp_path / "run").views
    torch.testing.assert_close(again.images, views.images)
    torch.testing.assert_close(again.masks, views.masks)
    torch.testing.assert_close(
        read(tmp_path / "run", aovs=("depth",)).views.aovs["depth"], views.aovs["depth"], equal_nan=True
    )
    assert not (tmp_path / "run" / "images").exists()
