"""Pictures as programs and cameras write them: what is not used of them, or is probably not meant, is told."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms
from support.transforms_captures import DISC, HEIGHT, WIDTH, capture, fails, flat, save

from diffrender.readers.captures import read_capture
from diffrender.readers.captures.capture import CaptureOptions

PICTURE = Image.fromarray(flat((200, 100, 50)))
OTHER = Image.fromarray(flat((0, 255, 0)))


def notes_on(folder, name, data, **options):
    (folder / "images" / name).write_bytes(data)
    return read_capture(capture(folder, {0: {"file_path": f"images/{name}"}}), CaptureOptions(**options)).notes


def encoded(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def with_gamma(gamma):
    data = encoded(PICTURE, "PNG")
    chunk = b"gAMA" + struct.pack(">I", round(gamma * 100_000))
    return data[:33] + struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]


def profile(name):
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()


@pytest.mark.parametrize(("kind", "is_told"), [("GIF", 1), ("PNG", 1), ("WEBP", 1), ("TIFF", 1), ("MPO", 0)])
def test_files_of_several_pictures_are_told(tmp_path, kind, is_told):
    capture(tmp_path)
    data = encoded(PICTURE, kind, save_all=True, append_images=[OTHER])
    name = f"a.{'jpg' if kind == 'MPO' else kind.lower()}"
    note = "1 of its image files hold several pictures, of which the first is used: a"
    assert notes_on(tmp_path, name, data) == (note,) * is_told


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.jpg", encoded(PICTURE.convert("CMYK"), "JPEG"), "CMYK"),
        ("a.png", with_gamma(1.0), "the gamma 1 of PNG"),
        ("a.png", with_gamma(0.45455), None),
        ("a.png", encoded(PICTURE, "PNG", icc_profile=profile("XYZ")), "the colour profile 'XYZ identity"),
        ("a.png", encoded(PICTURE, "PNG", icc_profile=b"damaged" * 9), "the colour profile 'that cannot be read'"),
        ("a.jpg", encoded(PICTURE, "JPEG", icc_profile=profile("sRGB")), None),
    ],
    ids=["cmyk", "linear", "gamma of sRGB", "another profile", "damaged profile", "sRGB"],
)
def test_colours_that_are_not_those_of_srgb_are_told(tmp_path, name, data, told):
    notes = notes_on(capture(tmp_path), name, data)
    assert len(notes) == (told is not None)
    if told is not None:
        assert notes[0].startswith(f"1 of its images are in {told}") and "are taken as sRGB" in notes[0]


@pytest.mark.parametrize(("white", "is_told"), [(200, True), (250, False)])
def test_masks_that_are_nowhere_white_are_told(tmp_path, white, is_told):
    folder = capture(tmp_path)
    save(folder / "masks" / "1.png", (DISC // 255 * white).astype(np.uint8))
    notes = read_capture(folder, CaptureOptions(resolution=2)).notes
    assert len(notes) == is_told
    if is_told:
        assert notes[0].startswith("1 of its 2 masks are nowhere white, but at most 200 of 255, and count as partly")
    assert read_capture(folder, CaptureOptions(use_masks=False)).notes == ()


def test_masks_that_are_white_all_over_are_told(tmp_path):
    folder = capture(tmp_path)
    for name in ("0.png", "1.png"):
        save(folder / "masks" / name, np.full_like(DISC, 255))
    found = read_capture(folder, CaptureOptions())
    assert found.views.masks is None
    assert found.notes == ("its 2 masks are white all over, and say nothing: white must mark the object alone",)
    assert read_capture(folder, CaptureOptions(use_masks=False)).notes == ()


def test_pictures_of_12_bits_in_files_of_16_are_told(tmp_path):
    folder = capture(tmp_path)
    for bits, is_told in ((12, True), (16, False)):
        for index in range(2):
            values = np.linspace(0, 2**bits - 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) - index
            save(folder / "images" / f"{index}.png", values.clip(0).astype(np.uint16))
        notes = read_capture(folder, CaptureOptions()).notes
        assert [note.startswith("its images are nearly black: their brightest value is 0.0") for note in notes] == (
            [True] * is_told
        )


def test_whole_numbers_of_32_bits_are_refused(tmp_path):
    folder = capture(tmp_path, {0: {"file_path": "images/a.tif"}})
    Image.fromarray(np.full((HEIGHT, WIDTH), 40_000, np.int32)).save(folder / "images" / "a.tif")
    fails(folder, "frame 0", "has whole numbers of 32 bits", "save it with 16")


def test_copies_of_an_image_are_told(tmp_path):
    folder = capture(tmp_path)
    for index in range(2):
        save(
            folder / "images" / f"{index}.png", np.arange(HEIGHT * WIDTH * 3, dtype=np.uint8).reshape(HEIGHT, WIDTH, 3)
        )
    notes = read_capture(folder, CaptureOptions()).notes
    assert notes == ("1 of its images are copies of others, with cameras of their own: 1 of 0",)


def test_images_whose_masks_are_lost_are_skipped_if_asked_for(tmp_path):
    folder = capture(tmp_path)
    (folder / "masks" / "0.png").unlink()
    fails(folder, "masks/0.png: does not exist")
    found = read_capture(folder, CaptureOptions(skip_missing=True))
    assert found.views.names == ("1",)
    assert found.notes == ("1 of its 2 images are skipped, as their masks do not exist: images/0.png",)
    (folder / "masks" / "1.png").unlink()
    fails(folder, "does not exist", skip_missing=True)
