from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.any_capture import read
from support.colmap_files import write_capture as write_colmap
from support.transforms_captures import AT_Z5, DISC, flat, save

from diffrender.errors import DataError
from diffrender.readers.captures import CAPTURE_READERS, read_capture
from diffrender.readers.captures.capture import CaptureOptions
from diffrender.writers import capture as writers
from diffrender.writers.images.png import write_png

FRAME = {
    "file_path": "a.png",
    "fl_x": 10.0,
    "transform_matrix": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 5], [0, 0, 0, 1]],
}


def write_capture(path: Path, **entries: object) -> Path:
    path.write_text(json.dumps({"frames": [FRAME]} | entries))
    write_png(path.with_name("a.png"), torch.full((4, 6, 3), 0.5))
    return path


def write_photometric_stereo(folder: Path) -> Path:
    for name in ("ball.0.png", "ball.1.png", "ball.mask.png"):
        write_png(folder / name, torch.ones(8, 8, 3))
    return folder


def test_each_path_is_claimed_by_one_reader_at_most(tmp_path: Path) -> None:
    write_capture(tmp_path / "cameras.json")
    write_png(tmp_path / "a.png", torch.zeros(2, 2, 3))
    paths = {tmp_path / "cameras.json": 1, tmp_path: 0, tmp_path / "a.png": 1, tmp_path / "lost.png": 0}
    for path, expected in paths.items():
        assert sum(reader.claims(path) for reader in CAPTURE_READERS) == expected, path
    folders = (write_photometric_stereo(tmp_path), write_colmap(tmp_path / "photographs"))
    for folder in folders:
        assert sum(reader.claims(folder) for reader in CAPTURE_READERS) == 1, folder


def test_a_transforms_json_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_capture(tmp_path / "transforms.json", aabb=[[-1, -1, -1], [1, 1, 1]], train_filenames=["a.png"])
    parse, parsed = json.loads, []
    monkeypatch.setattr(json, "loads", lambda text, **hooks: parsed.append(text) or parse(text, **hooks))
    read_capture(file, CaptureOptions())
    assert len(parsed) == 1


def test_views_of_transforms_are_held_out_unless_the_capture_sets_some_apart(tmp_path: Path) -> None:
    box = [[-1.0, -2.0, -3.0], [1.0, 2.0, 3.0]]
    write_capture(tmp_path / "transforms_train.json", aabb=box)
    capture = read_capture(tmp_path, CaptureOptions())
    assert capture.holds_out and capture.read_heldout is None
    assert capture.aabb is not None and capture.aabb.tolist() == box
    write_capture(tmp_path / "transforms_test.json", camera_angle_x=1.0)
    capture = read_capture(str(tmp_path), CaptureOptions(resolution=3))
    assert not capture.holds_out and capture.read_heldout is not None
    assert capture.read_heldout()[0].images.shape == (1, 2, 3, 3)


@pytest.mark.parametrize("name", ["masks", "mask"])
@pytest.mark.parametrize("beside", [False, True])
def test_a_folder_of_masks_counts_where_the_capture_names_none(tmp_path: Path, name: str, beside: bool) -> None:
    frames = []
    for index in range(2):
        path = f"images/{index}.jpg"
        save(tmp_path / path, flat((200, 100, 50)))
        save(tmp_path / ("images" if beside else "") / name / f"{index}.png", DISC)
        frames.append({"file_path": path, "transform_matrix": AT_Z5})
    (tmp_path / "transforms.json").write_text(json.dumps({"fl_x": 10.0, "frames": frames}))
    capture = read(tmp_path)
    assert capture.views.masks is not None and capture.views.masks[1].equal(torch.from_numpy(DISC / 255).float())
    told = f"its 2 masks are those in its folder {name}, white for the object"
    assert any(note.startswith(told) for note in capture.notes)
    assert read(tmp_path, use_masks=False).views.masks is None
    folder = tmp_path / ("images" if beside else "") / name
    for index in range(2):
        (folder / f"{index}.png").rename(folder / f"other_{index}.png")
    capture = read(tmp_path)
    assert capture.views.masks is None
    assert f"masks in its folder {name} are not used: it has none of 0.jpg" in capture.notes
    save(folder / "0.png", DISC)
    capture = read(tmp_path)
    assert capture.views.masks is None
    assert (
        f"masks in its folder {name} are not used: it has none of 1.jpg; `missing: skip` leaves such images out"
        in capture.notes
    )
    assert len(read(tmp_path, skip_missing=True).views) == 1


def test_folders_of_masks_of_what_to_keep_are_not_of_an_object(tmp_path: Path) -> None:
    """As nerfstudio and COLMAP have them: black where something moves."""
    frames = []
    for index in range(2):
        save(tmp_path / "images" / f"{index}.png", flat((200, 100, 50)))
        save(tmp_path / "masks" / f"{index}.png", 255 - DISC // 255 * (index + 254))
        frames.append({"file_path": f"images/{index}.png", "transform_matrix": AT_Z5})
    (tmp_path / "transforms.json").write_text(json.dumps({"fl_x": 10.0, "frames": frames}))
    capture = read(tmp_path)
    assert capture.views.masks is None
    assert any(
        "white almost everywhere, as of what to keep; what to leave out is white" in note for note in capture.notes
    )


def test_names_of_folders_and_files_of_masks_differ(tmp_path: Path) -> None:
    save(tmp_path / "images" / "0.JPG", flat((200, 100, 50)))
    save(tmp_path / "Masks" / "0_mask.png", DISC)
    frame = {"file_path": "images/0.JPG", "transform_matrix": AT_Z5}
    (tmp_path / "transforms.json").write_text(json.dumps({"fl_x": 10.0, "frames": [frame]}))
    assert read(tmp_path).views.masks is not None


def test_folders_of_masks_are_those_of_the_capture_and_what_was_not_used_stays_so(tmp_path: Path) -> None:
    """Photographs in folders of cameras, masks likewise; those of another capture above; a run without masks."""
    frames = []
    for camera in "ab":
        save(tmp_path / "bike" / "images" / camera / "0.png", flat((200, 100, 50)))
        save(tmp_path / "bike" / "masks" / camera / "0.png", DISC)
        frames.append({"file_path": f"images/{camera}/0.png", "transform_matrix": AT_Z5})
    file = tmp_path / "bike" / "transforms.json"
    file.write_text(json.dumps({"fl_x": 10.0, "frames": frames}))
    assert read(file).views.masks is not None
    views = read(file, use_masks=False).views
    writers.write_capture(tmp_path / "run", views)
    assert read(tmp_path / "run").views.masks is None
    (tmp_path / "bike" / "masks").rename(tmp_path / "masks")
    assert read(file).views.masks is None
    writers.write_capture(tmp_path / "bike" / "run", read(file).views)
    assert read(tmp_path / "bike" / "run").views.masks is None


def test_no_view_of_photometric_stereo_is_held_out(tmp_path: Path) -> None:
    capture = read_capture(write_photometric_stereo(tmp_path), CaptureOptions())
    assert (len(capture.views), capture.holds_out, capture.read_heldout, capture.aabb) == (2, False, None, None)
    with pytest.raises(DataError, match=r"come without images of depth; remove loss\.depth"):
        read_capture(tmp_path, CaptureOptions(aovs=("depth",)))


def test_a_path_of_no_known_format_is_told_what_there_is_and_what_is_known(tmp_path: Path) -> None:
    known = r"it must be a folder with pictures <name>\.0\.png.*, or a folder with transforms\.json"
    with pytest.raises(DataError, match=f"is an empty folder; {known}"):
        read_capture(tmp_path, CaptureOptions())
    with pytest.raises(DataError, match=f"none: does not exist; {known}"):
        read_capture(tmp_path / "none", CaptureOptions())
    for index in range(8):
        (tmp_path / f"{index}.txt").touch()
    with pytest.raises(DataError, match=rf"with 0\.txt, 1\.txt, .*5\.txt and 2 more; {known}"):
        read_capture(tmp_path, CaptureOptions())
    with pytest.raises(DataError, match=f"is a file of another kind; {known}"):
        read_capture(tmp_path / "0.txt", CaptureOptions())
    with pytest.raises(DataError, match=r"none\.json: does not exist"):
        read_capture(tmp_path / "none.json", CaptureOptions())


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", r"holds photographs \(a.png, b.png\), but nothing .* COLMAP finds that: put its model into sparse/0"),
        ("images", r"holds photographs \(a.png, b.png\), but nothing .* COLMAP finds that"),
    ],
)
def test_photographs_without_cameras_are_told_what_finds_them(tmp_path: Path, path: str, words: str) -> None:
    (tmp_path / "images").mkdir()
    for name in "ab":
        write_png(tmp_path / "images" / f"{name}.png", torch.zeros(2, 2, 3))
    with pytest.raises(DataError, match=words):
        read_capture(tmp_path / path, CaptureOptions())
