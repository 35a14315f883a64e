import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from diffrender.errors import DataError
from diffrender.imaging.color import linear_from_srgb
from diffrender.readers.images.image import read_image
from diffrender.readers.images.masks import read_mask

RGB = np.array([[[255, 0, 0], [0, 128, 0]], [[0, 0, 64], [10, 188, 255]], [[1, 2, 3], [254, 253, 252]]], np.uint8)
ALPHA = np.array([[255, 0], [128, 64], [1, 254]], np.uint8)


def save(path, values, mode=None, **options):
    picture = Image.fromarray(values)
    (picture if mode is None else picture.convert(mode)).save(path, **options)
    return path


def linear(values):
    return linear_from_srgb(torch.from_numpy(values.astype(np.float64)) / 255).float()


def test_rgb_png_is_linear_and_row_column_channel(tmp_path):
    image = read_image(save(tmp_path / "a.png", RGB))
    assert image.rgb.dtype == torch.float32 and image.alpha is None
    torch.testing.assert_close(image.rgb, linear(RGB))
    assert image.rgb[1, 1, 1].item() == pytest.approx(0.503, abs=1e-3)


@pytest.mark.parametrize("suffix", ["png", "webp", "tiff"])
def test_transparent_files_keep_colour_and_alpha_apart(tmp_path, suffix):
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    image = read_image(save(tmp_path / f"a.{suffix}", np.dstack([RGB, ALPHA]), **options))
    torch.testing.assert_close(image.rgb, linear(RGB))
    torch.testing.assert_close(image.alpha, torch.from_numpy(ALPHA / 255).float())


def test_gray_gray_alpha_palette_and_one_bit_files(tmp_path):
    gray = RGB[:, :, 1]
    image = read_image(save(tmp_path / "gray.png", gray))
    torch.testing.assert_close(image.rgb, linear(gray)[..., None].expand(3, 2, 3))
    with_alpha = Image.merge("LA", [Image.fromarray(gray), Image.fromarray(ALPHA)])
    with_alpha.save(tmp_path / "la.png")
    image = read_image(tmp_path / "la.png")
    torch.testing.assert_close(image.rgb, linear(gray)[..., None].expand(3, 2, 3))
    torch.testing.assert_close(image.alpha, torch.from_numpy(ALPHA / 255).float())
    Image.fromarray(RGB).quantize(6).save(tmp_path / "p.png")
    torch.testing.assert_close(read_image(tmp_path / "p.png").rgb, linear(RGB))
    Image.fromarray(RGB).quantize(6).save(tmp_path / "pt.png", transparency=0)
    palette_alpha = read_image(tmp_path / "pt.png").alpha
    assert palette_alpha is not None and sorted(set(palette_alpha.flatten().tolist())) == [0, 1]
    Image.fromarray(gray).convert("1", dither=Image.Dither.NONE).save(tmp_path / "one.png")
    assert set(read_image(tmp_path / "one.png").rgb.flatten().tolist()) == {0.0, 1.0}


def test_jpeg_is_read(tmp_path):
    flat = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    rgb = read_image(save(tmp_path / "a.jpg", flat, quality=95)).rgb
    torch.testing.assert_close(rgb, linear(flat), atol=0.02, rtol=0)


def test_masks_from_gray_colour_and_transparency(tmp_path):
    gray = np.array([[0, 255], [128, 51]], np.uint8)
    wanted = torch.from_numpy(gray / 255).float()
    torch.testing.assert_close(read_mask(save(tmp_path / "l.png", gray)), wanted)
    torch.testing.assert_close(read_mask(save(tmp_path / "rgb.png", np.dstack([gray] * 3))), wanted)
    torch.testing.assert_close(read_mask(save(tmp_path / "red.png", np.dstack([gray, 0 * gray, 0 * gray]))), wanted)
    white = np.full((2, 2, 3), 255, np.uint8)
    torch.testing.assert_close(read_mask(save(tmp_path / "rgba.png", np.dstack([white, gray]))), wanted)
    # A transparency that is the same everywhere says nothing: then the picture itself counts.
    opaque = np.dstack([gray, gray, gray, np.full((2, 2), 255, np.uint8)])
    torch.testing.assert_close(read_mask(save(tmp_path / "opaque.png", opaque)), wanted)
    torch.testing.assert_close(read_mask(save(tmp_path / "bits.png", gray > 100)), (wanted > 0.4).float())


@pytest.mark.parametrize("reader", [read_image, read_mask])
def test_missing_folder_and_foreign_files_are_named(tmp_path, reader):
    with pytest.raises(DataError, match=r"none\.png: does not exist"):
        reader(tmp_path / "none.png")
    with pytest.raises(DataError, match="is a folder"):
        reader(tmp_path)
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(DataError, match=r"text\.png: is not an image in a known format"):
        reader(tmp_path / "text.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(DataError, match=r"empty\.png"):
        reader(tmp_path / "empty.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp"])
def test_damaged_files_give_data_errors_or_pixels_but_nothing_else(tmp_path, suffix):
    values = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    whole = save(tmp_path / f"whole.{suffix}", values).read_bytes()
    random = np.random.default_rng(1)
    n_errors = 0
    for trial in range(60):
        content = bytearray(whole)
        if trial % 2:
            content = content[: random.integers(1, len(content))]
        else:
            for place in random.integers(0, min(len(content), 400), 4):
                content[place] = random.integers(256)
        path = tmp_path / f"{trial}.{suffix}"
        path.write_bytes(content)
        try:
            assert torch.isfinite(read_image(path).rgb).all()
        except DataError as error:
            n_errors += 1
            assert str(path) in str(error)
    assert n_errors > 10


def test_sixteen_bit_png_keeps_all_its_bits(tmp_path):
    """Pillow would silently read the colours as 8 bits."""
    (tmp_path / "rgb.png").write_bytes(_colour_png_of_16_bits())
    expected = linear_from_srgb(torch.tensor([1000.0, 2000.0, 3000.0], dtype=torch.float64) / 65535).float()
    torch.testing.assert_close(read_image(tmp_path / "rgb.png").rgb, expected.expand(1, 1, 3), rtol=1e-4, atol=0)
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(tmp_path / "gray.png")
    gray = float(linear_from_srgb(torch.tensor(40_000 / 65535)))
    torch.testing.assert_close(read_image(tmp_path / "gray.png").rgb, torch.full((4, 4, 3), gray))


def test_sixteen_bit_and_float_tiff_are_read(tmp_path):
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(tmp_path / "a.tiff")
    Image.fromarray(np.full((4, 4), 2.5, np.float32)).save(tmp_path / "b.tiff")
    gray = float(linear_from_srgb(torch.tensor(40_000 / 65535)))
    torch.testing.assert_close(read_image(tmp_path / "a.tiff").rgb, torch.full((4, 4, 3), gray))
    torch.testing.assert_close(read_image(tmp_path / "b.tiff").rgb, torch.full((4, 4, 3), 2.5))  # floats are linear


def test_photographs_marked_to_be_turned_are_refused(tmp_path):
    picture = Image.fromarray(RGB)
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=exif)
    with pytest.raises(DataError, match="EXIF orientation"):
        read_image(tmp_path / "a.jpg")
    exif[0x0112] = 1
    picture.save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").rgb.shape == (3, 2, 3)


def _colour_png_of_16_bits():
    """A 1 x 1 PNG of 16 bits a channel, which Pillow would read as 8-bit RGB without a word."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" + struct.pack(">HHH", 1000, 2000, 3000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_pictures_that_say_more_than_they_hold(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[16:24] = struct.pack(">II", 8, 7_000_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: says 8 x 7000000 pixels, which its \d+ bytes cannot hold"):
        read_image(tmp_path / "a.png")
    with pytest.raises(DataError, match="does not exist"):
        read_image(tmp_path / ("x" * 300 + ".png"))


def test_the_most_compressible_picture_is_read(tmp_path):
    Image.new("1", (8_000, 1_000)).save(tmp_path / "a.png", optimize=True)
    assert read_image(tmp_path / "a.png").rgb.shape == (1_000, 8_000, 3)
