"""transforms.json as programs and people write it: what is changed, chosen or not used is told."""

import json
import math
import re

import pytest
import torch
from support.transforms_captures import DISC, capture, fails, flat, read, save

from diffrender.errors import DataError
from diffrender.readers.captures import read_capture
from diffrender.readers.captures.capture import CaptureOptions


def test_paths_from_windows_and_a_byte_order_mark(tmp_path):
    folder = capture(tmp_path, {0: {"file_path": "images\\0.png", "mask_path": ".\\masks\\0.png"}})
    text = (folder / "transforms.json").read_text()
    (folder / "transforms.json").write_text(text, encoding="utf-8-sig")
    assert len(read(folder)) == 2


def test_numbers_that_are_null_and_names_of_another_case(tmp_path):
    folder = capture(tmp_path, {0: {"file_path": "images/0.PNG"}, 1: {"k3": None, "fl_y": None}})
    assert len(read(folder)) == 2
    fails(capture(tmp_path, fl_x=None, fl_y=None), "no focal length; give fl_x (pixels) or camera_angle_x")
    content = json.loads((tmp_path / "transforms.json").read_text())
    (tmp_path / "transforms.json").write_text(json.dumps(content | {"fl_x": None, "fl_y": None}))
    fails(tmp_path, "no focal length; give fl_x (pixels) or camera_angle_x")


def turned(degrees, digits):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    rows = [[c, 0, s, 5], [0.6 * s, 0.8, -0.6 * c, 0], [-0.8 * s, 0.6, 0.8 * c, 0], [0, 0, 0, 1]]
    return [[round(value, digits) for value in row] for row in rows]


def test_matrices_of_three_digits_become_rotations_with_a_note(tmp_path):
    found = read_capture(capture(tmp_path, {0: {"transform_matrix": turned(33, 3)}}), CaptureOptions())
    (note,) = found.notes
    assert note.startswith("1 of its 2 transform matrices are rotations only to 0.0")
    rotation = found.views.cameras.cam_from_world[0, :3, :3].double()
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3).double(), rtol=0, atol=1e-6)
    exact = read_capture(capture(tmp_path, {0: {"transform_matrix": turned(33, 9)}}), CaptureOptions())
    assert exact.notes == ()
    difference = rotation - exact.views.cameras.cam_from_world[0, :3, :3].double()
    assert 0 < float(difference.abs().max()) < 1e-3


@pytest.mark.parametrize("heldout", ["test_filenames", "val_filenames"])
def test_the_split_of_a_capture_is_kept(tmp_path, heldout):
    names = {"train_filenames": ["images/1.png"], heldout: ["./images/0.png"]}
    found = read_capture(capture(tmp_path, **names), CaptureOptions())
    assert found.views.names == ("1",) and not found.holds_out
    assert found.read_heldout is not None and found.read_heldout()[0].names == ("0",)
    with pytest.raises(DataError, match="names none of its frames"):
        read_capture(capture(tmp_path, **names | {"train_filenames": ["7.png"]}), CaptureOptions())


@pytest.mark.parametrize(
    ("names", "notes"),
    [
        (
            {"train_filenames": ["images/0.png", "images/1.png", "images/2.png"], "test_filenames": ["images/1.png"]},
            ("1 of its 3 train_filenames are no frames of it", "1 of its frames are both fitted and held out: 1"),
        ),
        (
            {"train_filenames": ["images/0.png"]},
            ("its train_filenames are not used: it does not also say which to hold out or to fit",),
        ),
    ],
)
def test_splits_that_do_not_fit_the_frames_are_told(tmp_path, names, notes):
    assert read_capture(capture(tmp_path, **names), CaptureOptions()).notes == notes


def test_frames_that_are_in_no_split_are_told(tmp_path):
    folder = capture(tmp_path)
    content = json.loads((folder / "transforms.json").read_text())
    save(folder / "images" / "2.png", flat(9))
    third = {**content["frames"][1], "file_path": "images/2.png"}
    split = {"train_filenames": ["images/0.png"], "val_filenames": ["images/1.png"]}
    (folder / "transforms.json").write_text(json.dumps(content | {"frames": [*content["frames"], third]} | split))
    notes = read_capture(folder, CaptureOptions()).notes
    assert notes == ("1 of its frames are neither in train_filenames nor in val_filenames: 2",)


@pytest.mark.parametrize(
    ("top", "note"),
    [
        (
            {"cx": 2.0, "cy": 1.5},
            r"the principal point of 2 of its 2 images is at 25% of the width and of the height, and not",
        ),
        ({"cx": 2.0, "cy": 2.5}, None),
        ({"fl_x": 20.0}, r"the focal lengths of 2 of its 2 images differ along x and y, by a factor of 1\.67"),
        ({"cx": 45.0, "cy": 25.0}, r"the principal point of 2 of its 2 images is outside the picture; focal lengths"),
        ({"camera_angle_x": 0.3}, r"its camera_angle_x is 17\.19 degrees, but by fl_x .* it is 43\.6; fl_x is used"),
        ({"camera_angle_x": 2 * math.atan(0.4), "camera_angle_y": 2 * math.atan(0.25)}, None),
    ],
)
@pytest.mark.parametrize("resolution", [None, 4])
def test_lenses_of_pictures_of_another_size_are_told(tmp_path, top, note, resolution):
    notes = read_capture(capture(tmp_path, w=None, h=None, **top), CaptureOptions(resolution)).notes
    assert len(notes) == (note is not None) and (note is None or re.match(note, notes[0]))


def test_lost_images_are_skipped_if_asked_for(tmp_path):
    folder = capture(tmp_path)
    (folder / "images" / "0.png").unlink()
    found = read_capture(folder, CaptureOptions(skip_missing=True))
    assert len(found.views) == 1
    assert found.notes == ("1 of its 2 images do not exist and are skipped: images/0.png",)
    (folder / "images" / "1.png").unlink()
    fails(folder, "none of its 2 images exists", skip_missing=True)


def test_what_all_frames_share_is_said_once(tmp_path):
    text = fails(capture(tmp_path, camera_model="EUCM"), "all 2 frames: camera_model")
    assert text.count("EUCM") == 1 and "\n" not in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: list(zip(*rows, strict=True)), r"it is transposed: .* in the last column \(the first\)$"),
        (
            lambda rows: [value for row in rows for value in row],
            r"must be 4 rows of 4 numbers \(or 3 of 4\), got .* \(the first\)$",
        ),
    ],
)
def test_what_all_frames_share_but_for_its_numbers_is_said_once(tmp_path, change, message):
    folder = capture(tmp_path)
    content = json.loads((folder / "transforms.json").read_text())
    for x, frame in enumerate(content["frames"]):
        frame["transform_matrix"][0][3] += x
        frame["transform_matrix"] = change(frame["transform_matrix"])
    (folder / "transforms.json").write_text(json.dumps(content))
    assert re.search(f"all 2 frames: transform_matrix.* {message}", fails(folder, "transform_matrix"))
    content["frames"][1]["transform_matrix"] = "none"  # another cause for the first message, the same for the second
    (folder / "transforms.json").write_text(json.dumps(content))
    assert ("2 problems" in fails(folder, "transform_matrix")) == ("transposed" in message)


def test_a_file_that_is_not_utf_8_says_so(tmp_path):
    file = capture(tmp_path) / "transforms.json"
    for encoding in ("utf-16", "latin-1"):
        file.write_bytes(json.dumps({"name": "ä", "frames": []}, ensure_ascii=False).encode(encoding))
        fails(tmp_path, "transforms.json: is not text in UTF-8, but UTF-16 or another", "; save it as UTF-8")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"fl_x": 20.0, "fl_x": 10.0, ', '"fl_x" is in one object twice, as 20.0 and as 10.0'),
        ('{"a": ' + "[" * 100_000, "cannot be read as JSON (maximum recursion depth exceeded"),
        ('{"a": ' + "1" * 5000 + ", ", "cannot be read as JSON (Exceeds the limit"),
        ('{"w": 1' + "0" * 400 + ", ", "w must be a number above 0, got 1000"),
    ],
)
def test_json_that_other_readers_take_in_silence_or_fail_on(tmp_path, text, message):
    file = capture(tmp_path, fl_x=None, w=None) / "transforms.json"
    file.write_text(text + file.read_text()[1:])
    fails(tmp_path, message)


def test_a_key_twice_with_one_value_is_taken(tmp_path):
    file = capture(tmp_path) / "transforms.json"
    file.write_text('{"fl_x": 10, ' + file.read_text()[1:])
    assert len(read(tmp_path)) == 2


@pytest.mark.parametrize("name", ["images/\0.png", "images/loop.png", "x" * 5000])
def test_names_that_no_file_can_have(tmp_path, name):
    folder = capture(tmp_path, {0: {"file_path": name}})
    (folder / "images" / "loop.png").symlink_to("loop.png")
    fails(folder, "frame 0", "does not exist")


def test_names_of_a_split_may_lack_their_suffix_as_frames_may(tmp_path):
    names = {"train_filenames": ["images/1"], "test_filenames": ["images\\0"]}
    assert read_capture(capture(tmp_path, **names), CaptureOptions()).views.names == ("1",)


def test_masks_of_zeros_and_ones_are_taken_as_meant_with_a_note(tmp_path):
    folder = capture(tmp_path)
    for name in "01":
        save(folder / "masks" / f"{name}.png", DISC // 255)
    found = read_capture(folder, CaptureOptions())
    assert found.notes == ("its 2 masks hold 0 and 1 of 255 only; 1 is taken for the object",)
    torch.testing.assert_close(found.views.masks[0], torch.from_numpy(DISC / 255).float())


def test_keys_that_are_not_read_are_told_unless_they_say_nothing_of_pictures(tmp_path):
    silent = {"aabb_scale": 16, "applied_scale": 0.5, "_by": "hand", "rotation": 0.01, "rolling_shutter_time": 0}
    assert read_capture(capture(tmp_path / "a", **silent), CaptureOptions()).notes == ()
    told = read_capture(capture(tmp_path / "b", skew=3.0, **silent), CaptureOptions()).notes
    assert told == ("keys of its file that are not read: skew",)
