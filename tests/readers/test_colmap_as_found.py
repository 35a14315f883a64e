"""Folders of COLMAP models as programs leave them: shrunk images, other places, names and masks."""

from __future__ import annotations

import numpy as np
import pytest
from support.any_capture import fails, read
from support.colmap_files import IMAGES, write_capture, write_pictures, write_text
from support.transforms_captures import DISC, save

# A camera of 16 x 12 pixels.
LARGE = (3, "PINHOLE", 1, 16, 12, (20.0, 22.0, 9.0, 5.0))
NAMES = {image[4]: 50 + image[0] for image in IMAGES}


def named(*names):
    return tuple((*image[:4], name, image[5]) for image, name in zip(IMAGES, names, strict=True))


@pytest.mark.parametrize("place", ["images", "images_2", "input"])
def test_lenses_are_scaled_to_shrunk_images(tmp_path, place):
    write_text(tmp_path / "sparse/0", cameras=(LARGE,))
    write_pictures(tmp_path / place, NAMES, (8, 6))
    capture = read(tmp_path)
    assert capture.views.cameras.focal_px.tolist() == [[10, 11]] * 2
    assert capture.views.cameras.center_px.tolist() == [[4.5, 2.5]] * 2
    assert capture.notes == (
        "2 of its 2 images have another size than their cameras (8 x 6 (width x height) and not 16 x 12): focal"
        " lengths and principal points are scaled",
    )


def test_each_axis_is_scaled_by_itself_when_sides_were_rounded(tmp_path):
    camera = (3, "PINHOLE", 1, 607, 1081, (500.0, 500.0, 300.0, 500.0))
    write_text(tmp_path / "sparse/0", cameras=(camera,))
    write_pictures(tmp_path / "images_8", NAMES, (75, 135))
    focal = read(tmp_path).views.cameras.focal_px[0].tolist()
    assert focal == pytest.approx([500 * 75 / 607, 500 * 135 / 1081])
    write_pictures(tmp_path / "images_8", NAMES, (75, 138))
    fails(tmp_path, "all 2 frames: is 75 x 138 (width x height), but its camera 3", "607 x 1081, of another shape")


def test_the_full_size_comes_first_and_then_the_largest(tmp_path):
    write_text(tmp_path / "sparse/0", cameras=(LARGE,))
    write_pictures(tmp_path / "images_4", NAMES, (4, 3))
    write_pictures(tmp_path / "images_2", {name.replace(".png", ".jpg"): 90 for name in NAMES}, (8, 6))
    capture = read(tmp_path)
    assert capture.views.images.shape == (2, 6, 8, 3)
    assert "2 of its images have other names than in the model, as a first.jpg for a first.png" in capture.notes
    write_pictures(tmp_path / "images", NAMES, (16, 12))
    capture = read(tmp_path)
    assert capture.views.images.shape == (2, 12, 16, 3) and capture.notes == ()


def test_shrunk_images_have_shrunk_masks(tmp_path):
    write_text(tmp_path / "sparse/0", cameras=(LARGE,))
    write_pictures(tmp_path / "images_2", NAMES, (8, 6))
    for name in NAMES:
        save(tmp_path / "masks" / name, np.kron(DISC, np.ones((2, 2), np.uint8)))
        save(tmp_path / "masks_2" / name, DISC)
    assert read(tmp_path).views.masks.sum((1, 2)).tolist() == [16, 16]


@pytest.mark.parametrize(
    ("model", "images"),
    [("dense/sparse", "dense/images"), ("dense/0/sparse", "dense/0/images"), ("distorted/sparse/0", "input")],
)
def test_places_of_other_programs(tmp_path, model, images):
    write_text(tmp_path / model)
    write_pictures(tmp_path / images, NAMES)
    assert len(read(tmp_path).views) == len(read(tmp_path / model).views) == 2


def test_images_of_a_model_before_and_after_undistortion(tmp_path):
    """3DGS keeps both: `input` is of distorted/sparse/0, `images` is of sparse/0; names and sizes may be the same."""
    write_text(tmp_path / "sparse/0")
    write_text(tmp_path / "distorted/sparse/0")
    write_pictures(tmp_path / "images", dict.fromkeys(NAMES, 255))
    write_pictures(tmp_path / "input", dict.fromkeys(NAMES, 0))
    assert bool((read(tmp_path).views.images == 1).all())
    assert bool((read(tmp_path / "distorted/sparse/0").views.images == 0).all())


def test_the_first_model_whose_images_exist_is_read(tmp_path):
    write_text(tmp_path / "sparse/0")
    write_capture(tmp_path / "dense")
    (tmp_path / "dense/sparse/0").rename(tmp_path / "dense/model")
    (tmp_path / "dense/sparse").rmdir()
    (tmp_path / "dense/model").rename(tmp_path / "dense/sparse")
    (note,) = read(tmp_path).notes
    assert note.startswith("its model dense/sparse is used, as there are no images of another: ")
    assert "none of its 2 images (a first.png, b/second.png) is in" in note


def test_llff_is_named_where_only_its_images_are_left(tmp_path):
    write_text(tmp_path / "sparse/0")
    np.save(tmp_path / "poses_bounds.npy", np.zeros((2, 17)))
    write_pictures(tmp_path / "images_8", {"image000.png": 1, "image001.png": 1})
    fails(tmp_path, f"or name {tmp_path / 'poses_bounds.npy'} to read LLFF's cameras instead")


def test_names_of_windows_and_of_another_case(tmp_path):
    write_text(tmp_path / "sparse/0", images=named("S\\b\\second.png", "a first.jpg"))
    write_pictures(tmp_path / "images", {"s/b/second.png": 9, "A First.JPG": 9})
    capture = read(tmp_path)
    assert len(capture.views) == 2
    assert capture.notes == (
        "2 of its images have other names than in the model, as s/b/second.png for S\\b\\second.png",
    )
    write_text(tmp_path / "sparse/0", images=named("s\\b\\second.png", "A First.JPG"))
    assert read(tmp_path).notes == ()


def test_a_file_is_of_one_image(tmp_path):
    write_text(tmp_path / "sparse/0", images=named("a.png", "a.jpg"))
    write_pictures(tmp_path / "images", {"a.png": 9})
    fails(tmp_path, "a.jpg: does not exist")


@pytest.mark.parametrize("suffixes", [("png.PNG", "JPG"), ("tif", "png.webp")])
def test_masks_of_any_suffix(tmp_path, suffixes):
    write_capture(tmp_path)
    for name, suffix in zip(NAMES, suffixes, strict=True):
        save(tmp_path / "masks" / name.replace("png", suffix), DISC)
    capture = read(tmp_path)
    assert (capture.views.masks > 0.5).sum((1, 2)).tolist() == [16, 16]
    assert capture.notes == (
        "its 2 masks are taken for the object: white is the object; what to leave out goes to targets.ignore",
    )


def test_masks_that_are_nearly_white_are_doubted(tmp_path):
    """COLMAP's own masks are black where no features are to be found."""
    write_capture(tmp_path)
    mask = np.full((6, 8), 255, np.uint8)
    mask[:2, :2] = 0
    for name in NAMES:
        save(tmp_path / "masks" / f"{name}.png", mask)
    (note,) = read(tmp_path).notes
    assert note.endswith("goes to targets.ignore, and they are white in 92% of the images: are they for that?")


def test_masks_of_other_names_are_an_error(tmp_path):
    write_capture(tmp_path)
    save(tmp_path / "masks" / "mask0.png", DISC)
    fails(tmp_path, "masks: is a folder with mask0.png; none of its files is named as an image, as a first.png.png")
    assert read(tmp_path, use_masks=False).views.masks is None


def test_a_lens_of_another_picture_is_doubted_in_words_of_any_format(tmp_path):
    camera = (3, "PINHOLE", 1, 8, 6, (10.0, 10.0, -5.0, 3.0))
    (note,) = read(write_capture(tmp_path, cameras=(camera,))).notes
    assert note.startswith("the principal point of 2 of its 2 images is outside the picture;") and "cx" not in note


def test_a_text_file_that_says_more_than_it_holds_is_told(tmp_path):
    write_capture(tmp_path, "text")
    file = tmp_path / "sparse" / "0" / "images.txt"
    text = file.read_text()
    for count, is_told in ((2, False), (3, True)):
        file.write_text(f"# Number of images: {count}, mean observations per image: 1\n{text}")
        notes = read(tmp_path).notes
        assert ("its images.txt says that it holds 3 images, but 2 are in it: it may be cut short" in notes) == is_told


def test_photographs_that_colmap_found_no_camera_for_are_told(tmp_path):
    write_text(tmp_path / "sparse/0")
    write_pictures(tmp_path / "images", NAMES)
    assert read(tmp_path).notes == ()
    write_pictures(tmp_path / "images", {"lost.png": 9})
    (tmp_path / "images" / "notes.txt").write_text("no picture")
    assert read(tmp_path).notes == ("1 of the 3 pictures in its folders have no camera in the model: lost.png",)
