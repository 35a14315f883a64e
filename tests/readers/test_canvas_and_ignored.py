"""Images of several sizes in one capture, and what is ignored in them."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from support.transforms_captures import AT_X5, DISC, capture, fails, flat, read, save

from diffrender.errors import DataError
from diffrender.readers.captures import read_capture
from diffrender.readers.captures.capture import CaptureOptions
from diffrender.readers.captures.transforms_json import read_transforms
from diffrender.writers.cameras import write_transforms

UPRIGHT = {"w": 6, "h": 10, "cx": 2.0, "cy": 5.5, "fl_x": 11.0, "fl_y": 13.0}


def upright(folder, **others):
    """A capture of an image of 8 x 6 and one of 6 x 10."""
    capture(folder, {1: {**UPRIGHT, **others}})
    save(folder / "images" / "1.png", flat((0, 0, 250), 6, 10))
    save(folder / "masks" / "1.png", np.pad(DISC[:, :6], ((2, 2), (0, 0))))
    return folder


def test_images_of_several_sizes_are_in_the_middle_of_one_canvas(tmp_path):
    views = read(upright(tmp_path))
    assert views.images.shape == (2, 10, 8, 3)
    assert views.boxes.tolist() == [[2, 0, 6, 8], [0, 1, 10, 6]]
    known = torch.zeros(2, 10, 8)
    known[0, 2:8], known[1, :, 1:7] = 1, 1
    assert torch.equal(views.weights, known)
    assert bool((views.images[1, :, 1:7, 2] >= 0.9 * views.masks[1, :, 1:7]).all())
    assert not views.images[known == 0].any() and not views.masks[known == 0].any()
    torch.testing.assert_close(views.masks[0, 2:8], torch.from_numpy(DISC / 255).float())
    torch.testing.assert_close(views.cameras.focal_px, torch.tensor([[10.0, 12.0], [11.0, 13.0]]))
    torch.testing.assert_close(views.cameras.center_px, torch.tensor([[4.5, 2.5 + 2], [2.0 + 1, 5.5]]))


def test_each_image_is_shrunk_by_itself(tmp_path):
    views = read(upright(tmp_path), resolution=5)
    assert views.boxes.tolist() == [[0, 0, 4, 5], [0, 1, 5, 3]]
    torch.testing.assert_close(views.cameras.focal_px, torch.tensor([[10 * 5 / 8, 12 * 4 / 6], [5.5, 6.5]]))
    torch.testing.assert_close(
        views.cameras.center_px, torch.tensor([[4.5 * 5 / 8, 2.5 * 4 / 6], [2.0 / 2 + 1, 5.5 / 2]])
    )
    # What is left of them keeps its own size and lens.
    write_transforms(tmp_path / "cameras.json", views.cameras, views.names, views.photo_boxes())
    frames = json.loads((tmp_path / "cameras.json").read_text())["frames"]
    assert [(frame["w"], frame["h"]) for frame in frames] == [(5, 4), (3, 5)]
    assert [frame["cx"] for frame in frames] == pytest.approx([4.5 * 5 / 8, 1.0])


def test_several_sizes_are_told_and_so_is_a_lens_that_they_share(tmp_path):
    folder = upright(tmp_path)
    (sizes,) = read_capture(folder, CaptureOptions()).notes
    assert "several sizes (1 of 8 x 6, 1 of 6 x 10)" in sizes and "a canvas of 8 x 10" in sizes
    content = json.loads((folder / "transforms.json").read_text())
    for key in ("cx", "cy", "fl_x", "fl_y"):
        del content["frames"][1][key]
    (folder / "transforms.json").write_text(json.dumps(content))
    notes = read_capture(folder, CaptureOptions()).notes
    assert any("several sizes have the same cx, cy;" in note for note in notes)


def test_depths_are_where_their_images_are(tmp_path):
    folder = upright(tmp_path, depth_path="1.npy")
    np.save(folder / "1.npy", np.full((10, 6), 3.0))
    np.save(folder / "0.npy", np.full((6, 8), 2.0))
    content = json.loads((folder / "transforms.json").read_text())
    content["frames"][0]["depth_path"] = "0.npy"
    (folder / "transforms.json").write_text(json.dumps(content))
    views = read_transforms(folder, CaptureOptions(aovs=("depth",)))
    wanted = views.masks * torch.tensor([2.0, 3.0])[:, None, None]
    torch.testing.assert_close(views.aovs["depth"][..., 0], wanted)


IGNORED = np.zeros((6, 8), np.uint8)
IGNORED[:, :2], IGNORED[:, 2] = 255, 51


def test_what_is_ignored_has_no_weight_and_no_part_in_means(tmp_path):
    folder = capture(tmp_path, {1: {"ignore_path": "ignore/1.png"}})
    save(folder / "ignore" / "1.png", IGNORED)
    image = flat((200, 100, 50))
    image[:, :2] = 255
    save(folder / "images" / "1.png", image)
    views, half = read(folder, use_masks=False), read(folder, resolution=4, use_masks=False)
    torch.testing.assert_close(views.weights[1], 1 - torch.from_numpy(IGNORED / 255).float())
    assert bool((views.weights[0] == 1).all())
    torch.testing.assert_close(half.weights[1, 0], torch.tensor([0, 0.9, 1, 1]))
    torch.testing.assert_close(half.images[1, :, 1:], half.images[1, :1, 3:].expand(3, 3, 3))
    assert not half.images[1, :, 0].any()


def test_rounding_is_not_a_part_that_is_unknown(tmp_path):
    folder = capture(tmp_path, {1: {"ignore_path": "ignore/1.png"}}, w=1920, h=1080, cx=960.0, cy=540.0)
    ignored = np.zeros((1080, 1920), np.uint8)
    ignored[:8, :8] = 255
    save(folder / "ignore" / "1.png", ignored)
    for index in range(2):
        save(folder / "images" / f"{index}.png", flat((200, 100, 50), 1920, 1080))
        np.save(folder / f"n{index}.npy", np.ones((1080, 1920, 3), np.float32))
    content = json.loads((folder / "transforms.json").read_text())
    for index, frame in enumerate(content["frames"]):
        frame["normal_path"] = f"n{index}.npy"
        del frame["mask_path"]
    shutil.rmtree(folder / "masks")
    (folder / "transforms.json").write_text(json.dumps(content))
    views = read(folder, resolution=800, aovs=("normal",))
    assert int((views.weights[1] != 1).sum()) <= 16 and float(views.weights.max()) == 1
    assert int(views.aovs["normal"][1].isnan().any(-1).sum()) <= 16


@pytest.mark.parametrize("name", ["1.png", "1.jpg", "1.png.png"])
def test_a_folder_may_say_what_to_ignore(tmp_path, name):
    folder = capture(tmp_path)
    save(tmp_path / "hands" / name, IGNORED if name != "1.jpg" else IGNORED // 255 * 255)
    found = read_capture(folder, CaptureOptions(ignore=tmp_path / "hands"))
    assert float(found.views.weights[1, :, :2].max()) < 0.1
    assert bool((found.views.weights[0] == 1).all())
    assert any("parts of 1 of its 2 images are ignored, 2" in note for note in found.notes)
    assert any("1 of its 2 images have no picture in hands of what to ignore: images/0.png" in n for n in found.notes)


def nerf_synthetic(folder, test="test/r_0"):
    """Two images to fit, train/r_0 and train/r_1, and one that is held out."""
    for name, files in (("train", ("train/r_0", "train/r_1")), ("test", (test,))):
        frames = [{"file_path": file, "transform_matrix": AT_X5} for file in files]
        (folder / f"transforms_{name}.json").write_text(json.dumps({"fl_x": 10.0, "frames": frames}))
        for file in files:
            save(folder / f"{file}.png", flat((200, 100, 50)))
    return folder


def shares(views):
    return [0.0] * len(views) if views.weights is None else (1 - views.weights).mean((1, 2)).tolist()


PART = pytest.approx(2.2 / 8)


def test_pictures_of_what_to_ignore_may_be_in_the_folders_of_their_images(tmp_path):
    folder = nerf_synthetic(tmp_path)
    save(tmp_path / "ignore/train/r_0.png", IGNORED)
    found = read_capture(folder, CaptureOptions(ignore=tmp_path / "ignore"))
    assert shares(found.views) == [PART, 0] and shares(found.read_heldout()[0]) == [0]
    assert any("2 of its 3 images have no picture in ignore of what to ignore: train/r_1.png" in n for n in found.notes)
    save(tmp_path / "ignore/r_0.png", IGNORED)  # for what has no nearer one
    found = read_capture(folder, CaptureOptions(ignore=tmp_path / "ignore"))
    assert shares(found.read_heldout()[0]) == [PART]
    assert any("parts of 1 of its 1 images are ignored" in note for note in found.read_heldout()[1])


def test_a_picture_of_what_to_ignore_in_several_images_is_refused(tmp_path):
    folder = nerf_synthetic(tmp_path)
    save(tmp_path / "ignore/r_0.png", IGNORED)
    with pytest.raises(DataError, match=r"r_0\.png: is named as 2 images: .*train/r_0\.png, .*test/r_0\.png; put"):
        read_capture(folder, CaptureOptions(ignore=tmp_path / "ignore"))


@pytest.mark.parametrize("name", ["train/r_0.png", "t_0.png"])
def test_images_that_are_fitted_or_held_out_may_all_be_without_a_picture(tmp_path, name):
    folder = nerf_synthetic(tmp_path, "test/t_0")
    save(tmp_path / "ignore" / name, IGNORED)
    found = read_capture(folder, CaptureOptions(ignore=tmp_path / "ignore"))
    of_fit = name != "t_0.png"
    assert shares(found.views) == [PART if of_fit else 0, 0]
    assert shares(found.read_heldout()[0]) == [0 if of_fit else PART]


def test_a_bad_file_of_what_is_held_out_is_no_obstacle_to_a_fit(tmp_path):
    (nerf_synthetic(tmp_path) / "transforms_test.json").write_text("{")
    found = read_capture(tmp_path, CaptureOptions())
    assert len(found.views) == 2 and not found.holds_out
    with pytest.raises(DataError, match=r"transforms_test\.json, line 1"):
        found.read_heldout()


def test_masks_and_what_is_ignored_may_have_another_size_but_not_another_shape(tmp_path):
    folder = capture(tmp_path, {0: {"ignore_path": "ignore/0.png"}})
    save(folder / "ignore" / "0.png", IGNORED)
    expected = read(folder)
    for factor in (2, 3):
        for path in ("masks/0.png", "ignore/0.png"):
            save(folder / path, np.kron(np.array(Image.open(folder / path)), np.ones((factor, factor), np.uint8)))
        views = read_capture(folder, CaptureOptions())
        torch.testing.assert_close(views.views.masks[0], expected.masks[0])
        torch.testing.assert_close(views.views.weights[0], expected.weights[0])
        assert any("1 of its 2 masks have another size than their images" in note for note in views.notes)
    save(folder / "masks" / "0.png", DISC[1:5, 2:5])
    fails(folder, "is 3 x 4 (width x height), but its image is 8 x 6; it may have any size, but must have the shape")
    save(folder / "masks" / "0.png", DISC)
    save(folder / "masks" / "1.png", np.full((3, 4), 255, np.uint8))  # smaller
    assert bool((read(folder).masks[1] == 1).all())


def test_bad_pictures_of_what_to_ignore_are_refused(tmp_path):
    folder = capture(tmp_path, {0: {"ignore_path": 3}})
    fails(folder, "frame 0 (images/0.png): ignore_path must be a path, got 3")
    folder = capture(tmp_path, {0: {"ignore_path": "ignore/0.png"}})
    fails(folder, "frame 0 (images/0.png)", "0.png: ")
    for picture, message in (
        (IGNORED[:4], "is 8 x 4 (width x height), but its image is 8 x 6"),
        (IGNORED // 255, "holds 0 and 1 of 255 only"),
        (np.full_like(IGNORED, 255), "nothing of its image is left"),
        (np.maximum(IGNORED, DISC), "its largest value, where it is not ignored, is 0 of 255"),
    ):
        save(folder / "ignore" / "0.png", picture)
        fails(folder, "frame 0 (images/0.png)", message)
    fails(capture(tmp_path), "none of them is named as an image, such as 0.png", ignore=folder / "ignore" / "..")


def test_masks_of_what_is_ignored_do_not_make_an_image_transparent(tmp_path):
    folder = capture(tmp_path, {1: {"ignore_path": "ignore.png", "mask_path": None}, 0: {"mask_path": None}})
    shutil.rmtree(folder / "masks")
    save(folder / "ignore.png", IGNORED)
    alpha = np.where(IGNORED == 255, 0, 255).astype(np.uint8)
    save(folder / "images" / "1.png", np.dstack([flat((200, 100, 50)), alpha]))
    content = json.loads((folder / "transforms.json").read_text())
    content["frames"] = [{k: v for k, v in frame.items() if v is not None} for frame in content["frames"]]
    content["frames"][1]["transform_matrix"] = AT_X5
    (folder / "transforms.json").write_text(json.dumps(content))
    views = read(folder)
    assert views.masks is None and not views.is_composited
