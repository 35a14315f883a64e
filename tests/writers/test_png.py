from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from diffrender.errors import DataError, ShapeError
from diffrender.writers.images.png import encode_srgb8, write_png


def test_known_values():
    # IEC 61966-2-1: linear .5 is sRGB .7354, .0031308 the end of the straight part; outside values are clamped.
    linear = torch.tensor([[0.0, 0.5, 1.0], [0.0031308, -1.0, 7.0], [torch.nan, torch.inf, -torch.inf]])
    assert encode_srgb8(linear).tolist() == [[0, 188, 255], [10, 0, 255], [0, 255, 0]]


def test_every_byte_survives_decoding_and_encoding():
    value = np.arange(256) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    grey = torch.from_numpy(linear).float()[:, None].expand(-1, 3)
    assert (encode_srgb8(grey) == np.arange(256)[:, None]).all()


def test_png_round_trip_with_alpha_left_linear(tmp_path):
    image = torch.zeros(2, 3, 4)
    image[0, 1] = torch.tensor([1.0, 0.5, 0.0, 0.5])
    write_png(tmp_path / "new" / "a.png", image.requires_grad_())
    with Image.open(tmp_path / "new" / "a.png") as picture:
        assert (picture.mode, picture.size) == ("RGBA", (3, 2))
        assert picture.getpixel((1, 0)) == (255, 188, 0, 128)


def test_wrong_shapes_and_places(tmp_path):
    with pytest.raises(ShapeError, match=r"write_png: image must have shape .* got \[3, 3\]"):
        write_png(tmp_path / "a.png", torch.zeros(3, 3))
    with pytest.raises(ShapeError, match=r"encode_srgb8: .* got \[2, 2, 2\]"):
        encode_srgb8(torch.zeros(2, 2, 2))
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        write_png(tmp_path / "file" / "a.png", torch.zeros(2, 2, 3))
