"""COLMAP models; the numbers of lenses are those of pycolmap 4.2.1, which `tests/readers/test_undistort.py` has too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from support.any_capture import fails, read
from support.colmap_files import CAMERA, IMAGES, WRITERS, write_binary, write_capture, write_pictures, write_text
from support.transforms_captures import DISC, save

from diffrender.errors import DataError
from diffrender.imaging.lens_distortion import BrownConrady, Fisheye
from diffrender.readers.captures.camera_models import CAMERA_MODELS, UNKNOWN_LENSES
from diffrender.readers.captures.colmap import read_colmap
from diffrender.readers.captures.colmap_model import read_model


@pytest.mark.parametrize("kind", WRITERS)
def test_cameras_and_images_are_as_colmap_has_them(tmp_path, kind):
    views = read(write_capture(tmp_path, kind)).views
    assert views.names == ("a first", "second")  # sorted by path
    cameras = views.cameras
    assert cameras.focal_px.tolist() == [[10, 10]] * 2 and cameras.center_px.tolist() == [[4.5, 2.5]] * 2
    point = torch.tensor([[0.5, 0.25, 1.0]])
    pixels = cameras.world_to_pixels(point)
    # The second camera has x = -y + 0.25, y = x - 0.5, z = z + 5.
    expected = [[10 * 0.5 / 5 + 4.5, 10 * 0.25 / 5 + 2.5, 5], [10 * 0 / 6 + 4.5, 10 * 0 / 6 + 2.5, 6]]
    torch.testing.assert_close(pixels[:, 0], torch.tensor(expected))
    levels = [round(float(image.mean()) ** (1 / 2.2) * 255) for image in views.images]
    assert levels[0] < levels[1]  # those of 52 and of 57 of 255
    assert views.masks is None and views.weights is None


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("name", CAMERA_MODELS)
def test_each_model_of_a_camera(tmp_path, kind, name):
    model = CAMERA_MODELS[name]
    values = {"f": 10.0, "fx": 11.0, "fy": 12.0, "cx": 4.25, "cy": 2.75}
    values |= {name: 0.01 + 0.001 * i for i, name in enumerate(model.coefficients())}
    camera = (3, name, model.number, 8, 6, tuple(values[key] for key in model.parameters))
    found = read_model(WRITERS[kind](tmp_path, cameras=(camera,)))
    lens = found.intrinsics(found.images[0])
    focal = (10.0, 10.0) if "f" in model.parameters else (11.0, 12.0)
    assert lens.resolved(8, 6) == (*focal, 4.25, 2.75)
    coefficients = {key: values[key] for key in model.parameters if key not in ("f", "fx", "fy", "cx", "cy")}
    expected = None if model.lens is None else model.lens(**coefficients)
    assert lens.distortion == expected


def test_the_numbers_of_a_camera_are_in_the_order_of_colmap():
    order = {name: " ".join(model.parameters) for name, model in CAMERA_MODELS.items()}
    assert order["FULL_OPENCV"] == "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6"
    assert order["OPENCV_FISHEYE"] == "fx fy cx cy k1 k2 k3 k4"
    assert order["RADIAL_FISHEYE"] == "f cx cy k1 k2"
    kinds = {name: model.lens for name, model in CAMERA_MODELS.items()}
    assert kinds["OPENCV"] is BrownConrady and kinds["SIMPLE_FISHEYE"] is Fisheye
    numbers = {model.number for model in CAMERA_MODELS.values()} | {number for number, _ in UNKNOWN_LENSES.values()}
    assert numbers == set(range(18))


@pytest.mark.parametrize("kind", WRITERS)
def test_other_lenses_are_refused_by_name_with_the_remedy(tmp_path, kind):
    camera = (3, "EUCM", 16, 8, 6, (10.0, 10.0, 4.0, 3.0, 0.5, 1.0))
    fails(write_capture(tmp_path, kind, cameras=(camera,)), "camera 3: EUCM is not supported; undistort", "OPENCV")


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        ((3, "PINHOLE", 1, 8, 6, (0.0, 9.0, 4.0, 3.0)), "camera 3: the focal length fx must be above 0, got 0; export"),
        ((3, "SIMPLE_PINHOLE", 0, 8, 6, (-5.0, 4.0, 3.0)), "camera 3: the focal length f must be above 0, got -5"),
        ((3, "SIMPLE_PINHOLE", 0, 8, 6, (float("nan"), 4.0, 3.0)), "camera 3: f must be a finite number, got nan"),
        ((3, "SIMPLE_PINHOLE", 0, 0, 6, (5.0, 4.0, 3.0)), "camera 3: width must be 1..1048576 pixels, got 0"),
        ((4, *CAMERA[1:]), "camera 3 is not in cameras; there are 4"),
    ],
)
@pytest.mark.parametrize("kind", WRITERS)
def test_bad_cameras(tmp_path, kind, camera, message):
    fails(write_capture(tmp_path, kind, cameras=(camera,)), str(tmp_path), message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({1: (0.0, 0.0, 0.0, 0.0)}, "image 2 (a first.png): the quaternion of its pose has length 0"),
        ({2: (0.0, float("inf"), 0.0)}, "image 2 (a first.png): its pose must be finite numbers"),
        ({4: "b/second.png"}, "b/second.png: is in it 2 times; remove the others"),
    ],
)
@pytest.mark.parametrize("kind", WRITERS)
def test_bad_images(tmp_path, kind, change, message):
    image = tuple(change.get(index, value) for index, value in enumerate(IMAGES[1]))
    fails(write_capture(tmp_path, kind, images=(IMAGES[0], image)), str(tmp_path), message)


def test_files_without_cameras_or_images(tmp_path):
    fails(write_capture(tmp_path / "a", cameras=()), "cameras.bin: holds no camera; run COLMAP's mapper again")
    fails(write_capture(tmp_path / "b", images=()), "images.bin: holds no image; run COLMAP's mapper again")


def test_binary_files_that_are_cut_short_or_damaged(tmp_path):
    folder = write_capture(tmp_path)
    for name in ("cameras.bin", "images.bin"):
        file = folder / "sparse" / "0" / name
        data = file.read_bytes()
        for length in range(len(data)):
            file.write_bytes(data[:length])
            fails(folder, f"{name}: ends at byte {length}, within")
        file.write_bytes(data + b"\0\0")
        fails(folder, f"{name}: 2 bytes follow the last of its {name[:-4]}")
        file.write_bytes(b"\xff" * 8 + data[8:])  # a count that no file can hold
        fails(folder, f"{name}: ends at byte {len(data)}")
        file.write_bytes(data)
    cameras = write_binary(folder / "sparse" / "0", cameras=((3, "", 99, 8, 6, ()),)) / "cameras.bin"
    fails(folder, f"{cameras}: camera 1 of 1, at byte 32: 99 is the number of no camera model of COLMAP")


@pytest.mark.parametrize(
    ("name", "line", "text", "message"),
    [
        ("cameras.txt", 2, "3 PINHOLE 8", "cameras.txt, line 3: must be a camera: CAMERA_ID MODEL WIDTH HEIGHT"),
        ("cameras.txt", 2, "3 PINHOLE 8 6 1 2 3 4 5", "PINHOLE must have 4 numbers (fx, fy, cx, cy), got 5"),
        ("cameras.txt", 2, "3 LENS 8 6 1 2 3", "camera 3: LENS is no camera model of COLMAP; it must be one of"),
        ("images.txt", 1, "7 1 0 0 0 0 0 zero 3 b.png", "images.txt, line 2: must be an image: IMAGE_ID QW"),
        (
            "images.txt",
            2,
            "1.5 2.5 9 0.5 0.5",
            "images.txt, line 3: must be the points of image 7, triples X Y POINT3D_ID",
        ),
        ("images.txt", 2, "1.5 2.5 9.5", "images.txt, line 3: must be the points of image 7, triples X Y"),
    ],
)
def test_lines_of_text_that_are_wrong(tmp_path, name, line, text, message):
    folder = write_capture(tmp_path, "text")
    file = folder / "sparse" / "0" / name
    lines = file.read_text().split("\n")
    lines[line] = text
    file.write_text("\n".join(lines))
    fails(folder, message)


@pytest.mark.parametrize("name", ["{}.png", "my {}.png", "my own {}.png", "my very own {}.png"])
def test_the_lines_of_points_may_be_left_out(tmp_path, name):
    names = [name.format(letter) for letter in "abcd"]
    file = write_text(tmp_path) / "images.txt"
    lines = [f"{number} 1 0 0 0 0 0 4 3 {name}" for number, name in enumerate(names)]
    for text in (lines, [*lines[:2], "1.5 2.5 9 0.5 0.5 -1", lines[2], "", lines[3]]):
        file.write_text("\n".join(text) + "\n")
        assert [image.name for image in read_model(tmp_path).images] == names


def test_where_models_and_images_may_be(tmp_path):
    for place in ("sparse/0", "sparse", "colmap/sparse/0", "."):
        folder = tmp_path / place.replace("/", "_")
        write_text(folder / place)
        write_pictures(folder / "images", {"a first.png": 1, "b/second.png": 1})
        assert len(read(folder).views) == 2
        assert len(read(folder / place / "images.txt").views) == 2
        assert len(read(folder / place).views) == 2  # the model itself, with images up to three folders above
    beside = write_text(tmp_path / "beside")
    write_pictures(beside, {"a first.png": 1, "b/second.png": 1})
    assert len(read(beside).views) == 2


def test_of_several_models_the_one_with_most_images_is_read(tmp_path):
    folder = write_capture(tmp_path, images=IMAGES[:1])
    write_pictures(folder / "images", {"a first.png": 1})
    write_text(folder / "sparse" / "1")
    capture = read(folder)
    assert len(capture.views) == 2
    assert capture.notes == (
        "its model sparse/1 is used, which has the most images; there are sparse/0 with 1 images, sparse/1 with 2"
        " images",
    )


def test_masks_may_have_three_kinds_of_names(tmp_path):
    folder = write_capture(tmp_path)
    masks = {name: folder / "masks" / name for name in ("a first.png.png", "b/second.png")}
    for file in masks.values():
        save(file, DISC)
    assert read(folder).views.masks.sum((1, 2)).tolist() == [16, 16]
    assert read(folder, use_masks=False).views.masks is None
    masks["a first.png.png"].unlink()
    fails(folder, "image 2 (a first.png) has no mask while others have one")
    masks["b/second.png"].unlink()
    jpegs = tuple((*image[:4], image[4].replace(".png", ".jpg"), image[5]) for image in IMAGES)
    write_capture(folder, images=jpegs)
    save(folder / "masks" / "a first.png", DISC)
    save(folder / "masks" / "b" / "second.png", DISC)
    assert read(folder).views.masks.sum((1, 2)).tolist() == [16, 16]


def test_missing_images(tmp_path):
    folder = write_capture(tmp_path)
    (folder / "images" / "a first.png").unlink()
    fails(folder, "image 2 (a first.png)", "does not exist")
    capture = read(folder, skip_missing=True)
    assert capture.views.names == ("second",)
    assert capture.notes == ("1 of its 2 images do not exist and are skipped: a first.png",)
    (folder / "images" / "b" / "second.png").unlink()
    fails(folder, "none of its 2 images (a first.png, b/second.png) is in", f"put the photographs into {folder}")


def test_photographs_marked_to_be_turned_are_taken_as_colmap_took_them(tmp_path):
    """COLMAP ignores the mark: pixels as stored have the camera's size. If somebody turned them before, they do not."""
    folder = write_capture(tmp_path, images=IMAGES[1:])
    exif = Image.Exif()
    exif[0x0112] = 6
    halves = np.zeros((6, 8, 3), np.uint8)
    halves[:3] = 255
    file = folder / "images" / "a first.png"
    Image.fromarray(halves).save(file, exif=exif)
    assert bool((read(folder).views.images[0, :3] == 1).all())
    Image.fromarray(halves.swapaxes(0, 1)).save(file, exif=exif)  # white on the left: turned clockwise, above
    assert bool((read(folder).views.images[0, :3] == 1).all())
    Image.fromarray(np.zeros((5, 8, 3), np.uint8)).save(file, exif=exif)
    fails(folder, "a first.png: is 8 x 5 (width x height), but its camera 3 was found for images of 8 x 6")


@pytest.mark.parametrize(("mark", "is_named"), [(None, True), (6, True), (3, False)])
def test_photographs_are_named_where_their_size_tells_how_they_are_read(tmp_path, mark, is_named):
    folder = write_capture(tmp_path, images=IMAGES[1:])
    file, exif = folder / "images" / "a first.png", Image.Exif()
    if mark is not None:
        exif[0x0112] = mark
    Image.fromarray(np.full((6, 8, 3), 255, np.uint8)).save(file, exif=exif)
    (found,) = read(folder).views.files
    assert (found is not None) == is_named
    assert found is None or (found.image, found.width, found.height) == (file, 8, 6)


def test_distorted_photographs_are_undistorted(tmp_path):
    camera = (*CAMERA[:5], (10.0, 4.5, 2.5, 3.0))
    capture = read(write_capture(tmp_path, cameras=(camera,)))
    assert capture.views.weights is not None and capture.views.weights.min() == 0
    assert capture.notes[0].startswith("its 2 images are undistorted, to a pinhole with the same focal lengths")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(DataError, match="is an empty folder; it must be a folder with a COLMAP model"):
        read_colmap(tmp_path)
    with pytest.raises(DataError, match=r"as \.bin or as \.txt"):
        read_model(tmp_path)
