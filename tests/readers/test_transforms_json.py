import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.transforms_captures import AT_X5, AT_Z5, DISC, HEIGHT, WIDTH, capture, fails, flat, read, save

from diffrender.errors import DataError
from diffrender.imaging.color import linear_from_srgb
from diffrender.readers.captures import read_capture
from diffrender.readers.captures.capture import CaptureOptions
from diffrender.readers.captures.transforms_json import find_transforms, read_aabb
from diffrender.scene.projections.orthographic import Orthographic

DATA = Path(__file__).parents[3] / "shared" / "data"


def test_opengl_cameras_become_opencv_cameras(tmp_path):
    cameras = read(capture(tmp_path)).cameras
    torch.testing.assert_close(cameras.positions_w(), torch.tensor([[0.0, 0, 5], [5, 0, 0]]))
    points = torch.tensor([[0.0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]])
    pixels = cameras.world_to_pixels(points)
    # Up in the world is up in the image, so a smaller y; +x is right of the first camera, -z of the second.
    torch.testing.assert_close(pixels[:, 0], torch.tensor([[4.5, 2.5, 5.0]]).expand(2, 3))
    torch.testing.assert_close(pixels[:, 1, 1], torch.full((2,), 2.5 - 12 / 5))
    torch.testing.assert_close(pixels[0, 2], torch.tensor([4.5 + 10 / 5, 2.5, 5.0]))
    torch.testing.assert_close(pixels[1, 3], torch.tensor([4.5 - 10 / 5, 2.5, 5.0]))


def test_images_are_linear_over_the_background_where_the_mask_is_off(tmp_path):
    views = read(capture(tmp_path), background=(0.0, 0.25, 1.0))
    inside = linear_from_srgb(torch.tensor([200, 100, 50]) / 255)
    mask = torch.from_numpy(DISC / 255).float()
    torch.testing.assert_close(views.masks, mask.expand(2, HEIGHT, WIDTH))
    wanted = torch.where(mask[..., None] > 0, inside, torch.tensor([0.0, 0.25, 1.0]))
    torch.testing.assert_close(views.images[1], wanted)
    assert views.names == ("0", "1")


def test_without_masks_the_images_stay_and_masks_are_none(tmp_path):
    views = read(capture(tmp_path), use_masks=False, background=(0.0, 0.0, 1.0))
    assert views.masks is None
    torch.testing.assert_close(views.images[0, 0, 0], linear_from_srgb(torch.tensor([200, 100, 0]) / 255))


def test_resolution_shrinks_images_masks_and_cameras_alike_but_never_enlarges(tmp_path):
    folder = capture(tmp_path)
    full, half = read(folder), read(folder, resolution=4)
    assert half.images.shape == (2, 3, 4, 3)
    torch.testing.assert_close(half.images, full.images.reshape(2, 3, 2, 4, 2, 3).mean((2, 4)))
    torch.testing.assert_close(half.masks, full.masks.reshape(2, 3, 2, 4, 2).mean((2, 4)))
    torch.testing.assert_close(half.cameras.focal_px, torch.tensor([[5.0, 6.0]] * 2))
    torch.testing.assert_close(half.cameras.center_px, torch.tensor([[2.25, 1.25]] * 2))
    assert read(folder, resolution=100).images.shape == full.images.shape


def test_nerf_synthetic_dialect(tmp_path):
    frames = [
        {"file_path": "./train/r_0", "transform_matrix": AT_Z5},
        {"file_path": "./train/r_1.5", "transform_matrix": AT_X5},
    ]
    for name in ("r_0", "r_1.5"):
        save(tmp_path / "train" / f"{name}.png", np.dstack([flat((255, 0, 0)), DISC // 255 * 200]))
    content = {"camera_angle_x": math.pi / 2, "frames": frames}
    (tmp_path / "transforms_train.json").write_text(json.dumps(content))
    views = read(tmp_path, background=(0.0, 0.0, 1.0))
    torch.testing.assert_close(views.cameras.focal_px, torch.full((2, 2), WIDTH / 2))
    torch.testing.assert_close(views.cameras.center_px, torch.tensor([[4.0, 3.0]] * 2))
    alpha = 200 / 255
    torch.testing.assert_close(views.images[0, 3, 3], torch.tensor([alpha, 0, 1 - alpha]), msg="not straight alpha")
    torch.testing.assert_close(views.images[0, 0, 0], torch.tensor([0.0, 0, 1]))
    torch.testing.assert_close(views.masks[0, 3, 3], torch.tensor(alpha))
    assert views.names == ("r_0", "r_1.5")
    assert find_transforms(tmp_path) == tmp_path / "transforms_train.json"


def test_frames_override_the_values_for_all(tmp_path):
    change = {"fl_x": 20.0, "fl_y": 21.0, "cx": 1.0}
    cameras = read(capture(tmp_path, {1: change})).cameras
    torch.testing.assert_close(cameras.focal_px, torch.tensor([[10.0, 12.0], [20.0, 21.0]]))
    torch.testing.assert_close(cameras.center_px, torch.tensor([[4.5, 2.5], [1.0, 2.5]]))


def test_exposures_and_white_balances_are_read_and_null_says_nothing(tmp_path):
    told = {"exposure": -20, "white_balance": [2, 1, 0.5]}
    cameras = read(capture(tmp_path, {0: {"exposure": None, "white_balance": None}, 1: told})).cameras
    assert cameras.exposure.tolist() == [0, -20]
    assert cameras.white_balance.tolist() == [[1, 1, 1], [2, 1, 0.5]]
    assert read(capture(tmp_path, {0: {"exposure": None, "white_balance": None}})).cameras.gains() is None


def test_times_are_read_if_every_frame_has_one(tmp_path):
    n_frames = len(read(capture(tmp_path)).cameras)
    timed = {index: {"time": 0.25 * index} for index in range(n_frames)}
    assert read(capture(tmp_path, timed)).cameras.time.tolist() == [0.25 * index for index in range(n_frames)]
    for no_time in (None, "12:30:01", True, math.inf):
        assert read(capture(tmp_path, {**timed, 1: {"time": no_time}})).cameras.time is None


@pytest.mark.parametrize("exposure", [600, -20.5, math.inf, math.nan, True, "1"])
def test_exposures_that_no_picture_has_are_refused(tmp_path, exposure):
    found = json.dumps(exposure)
    message = f"frame 1 (images/1.png): exposure must be in -20..20, in stops, got {found}"
    fails(capture(tmp_path, {1: {"exposure": exposure}}), message)


@pytest.mark.parametrize("gain", [0, -1, 1e-50, 1e39, math.nan])
def test_white_balances_that_are_no_gains_are_refused(tmp_path, gain):
    message = "frame 0 (images/0.png): white_balance must be three gains above 0, for R, G and B, got [1, 1,"
    fails(capture(tmp_path, {0: {"white_balance": [1, 1, gain]}}), message)


def test_pixels_are_square_and_centred_where_nothing_is_said(tmp_path):
    folder = capture(tmp_path, fl_y=None, cx=None, cy=None, w=None, h=None)
    cameras = read(folder).cameras
    torch.testing.assert_close(cameras.focal_px, torch.full((2, 2), 10.0))
    torch.testing.assert_close(cameras.center_px, torch.tensor([[4.0, 3.0]] * 2))


def test_rounded_and_three_row_matrices_are_accepted_and_made_rigid(tmp_path):
    turn = math.radians(30)
    rounded = [[round(math.cos(turn), 4), 0, round(math.sin(turn), 4), 1], [0, 1, 0, 2]]
    rounded.append([round(-math.sin(turn), 4), 0, round(math.cos(turn), 4), 3])
    rotation = read(capture(tmp_path, {0: {"transform_matrix": rounded}})).cameras.cam_from_world[0, :3, :3].double()
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64), atol=2e-7, rtol=0)


def test_alpha_that_is_opaque_everywhere_is_no_mask(tmp_path):
    folder = capture(tmp_path, {0: {"mask_path": None}, 1: {"mask_path": None}})
    for index in range(2):
        save(folder / "images" / f"{index}.png", np.dstack([flat(99), np.full((HEIGHT, WIDTH), 255, np.uint8)]))
    shutil.rmtree(folder / "masks")
    assert read(folder).masks is None


def test_names_are_paths_where_stems_repeat(tmp_path):
    folder = capture(tmp_path, {1: {"file_path": "other/0.png"}})
    save(folder / "other" / "0.png", flat(7))
    assert read(folder).names == ("images/0.png", "other/0.png")


def test_aabb(tmp_path):
    assert read_aabb(capture(tmp_path)) is None
    assert read_aabb(capture(tmp_path, aabb=[[-1, -2, -3], [1, 2, 3]])).tolist() == [[-1, -2, -3], [1, 2, 3]]
    for bad in ([[1, 1, 1], [0, 2, 2]], [[0, 0], [1, 1]], "box", [[0, 0, math.nan], [1, 1, 1]]):
        with pytest.raises(DataError, match='"aabb" must be'):
            read_aabb(capture(tmp_path, aabb=bad))


def test_missing_captures_say_what_was_looked_for_and_found(tmp_path):
    with pytest.raises(DataError, match=r"does not exist; it must be a folder with transforms\.json"):
        read(tmp_path / "none")
    save(tmp_path / "photo.png", flat(0))
    with pytest.raises(DataError, match=r"is a folder with photo\.png; it must be a folder with transforms\.json"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"frames": [,]}', "line 1, column 13: not valid JSON"),
        ("[]", 'must be an object with "frames"'),
        ("{}", '"frames" must be a list with at least one frame, got nothing'),
        ('{"frames": []}', "at least one frame"),
        ('{"frames": [3]}', "frame 0: must be an object with file_path, got 3"),
        ('{"frames": [{}]}', "frame 0: file_path must be"),
    ],
)
def test_bad_json_is_refused_with_place(tmp_path, text, message):
    (tmp_path / "transforms.json").write_text(text)
    fails(tmp_path, message)


SCALED = [[2.0, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 5], [0, 0, 0, 1]]
NAN = [[math.nan, 0, 0, 0], *AT_Z5[1:]]
MIRRORED = [[-1.0, 0, 0, 0], *AT_Z5[1:]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transform_matrix": None}, "transform_matrix must be 4 rows of 4 numbers (or 3 of 4), got nothing"),
        ({"transform_matrix": AT_Z5[:2]}, "transform_matrix must be 4 rows"),
        ({"transform_matrix": NAN}, "transform_matrix must be finite, got nan at index [0, 0]"),
        ({"transform_matrix": SCALED}, "its rotation is scaled by 2"),
        ({"transform_matrix": MIRRORED}, "mirror image"),
        ({"fl_x": 0}, "fl_x must be a number above 0, got 0; give the focal length in pixels"),
        ({"fl_y": math.inf}, "fl_y must be a number above 0, got Infinity"),
        ({"cx": "middle"}, 'cx must be a finite number, got "middle"'),
        ({"camera_angle_x": 40}, "camera_angle_x must be an angle in radians between 0 and pi, got 40"),
        ({"w": 640}, "the image is 8 x 6 (width x height), but w is stated as 640"),
        ({"h": 5}, "but h is stated as 5"),
        ({"h": 5.5}, "h must be a whole number of pixels, got 5.5"),
        ({"camera_model": "EUCM"}, 'camera_model "EUCM" is not supported; undistort the images to PINHOLE first'),
        ({"camera_model": ["OPENCV"]}, 'camera_model ["OPENCV"] is not supported'),
        ({"camera_model": "PINHOLE", "k1": 0.1}, "k1 = 0.1 is no coefficient of PINHOLE; correct camera_model"),
        ({"camera_model": "ORTHOGRAPHIC", "k1": 0.1}, "k1 = 0.1 is no coefficient of ORTHOGRAPHIC"),
        ({"camera_model": "OPENCV", "k4": 0.1}, "k4 = 0.1 is no coefficient of OPENCV"),
        ({"k5": 0.1, "k6": 0.2}, "k5 = 0.1, k6 = 0.2 is no coefficient of a frame that names no camera_model"),
        ({"camera_model": "OPENCV_FISHEYE", "p1": 0.1}, "p1 = 0.1 is no coefficient of OPENCV_FISHEYE"),
        ({"camera_model": "OPENCV", "is_fisheye": True}, "is_fisheye is true, but OPENCV is no fisheye"),
        ({"k1": math.nan}, "k1 must be a finite number, got NaN"),
        ({"k1": 1e9}, "the image shows nothing when it is undistorted"),
        ({"mask_path": 7}, "mask_path must be a path, got 7"),
        ({"mask_path": "masks/none.png"}, "none.png: does not exist"),
        (
            {"mask_path": None},
            "frame 1 (images/1.png) has no mask while others have one; give every frame a",
        ),
    ],
)
def test_bad_frames_are_refused_with_frame_and_value(tmp_path, change, message):
    fails(capture(tmp_path, {1: change}), "frame 1 (images/1.png)", message)


def test_a_problem_of_one_frame_ends_in_its_remedy(tmp_path):
    text = fails(capture(tmp_path, {1: {"mask_path": None}}))
    assert text.endswith("targets.missing: skip, or fit without masks by targets.masks: false")


def test_missing_focal_length_is_named(tmp_path):
    fails(capture(tmp_path, fl_x=None, fl_y=None), "no focal length; give fl_x (pixels) or camera_angle_x")


def test_zero_distortion_is_accepted(tmp_path):
    assert len(read(capture(tmp_path, k1=0, k2=0.0, p1=0, p2=0, camera_model="OPENCV"))) == 2


def test_bad_images_and_masks_are_listed_all_at_once(tmp_path):
    folder = capture(tmp_path)
    (folder / "images" / "0.png").unlink()
    save(folder / "masks" / "1.png", DISC[:, :4])
    text = fails(folder, "2 problems", "frame 0 (images/0.png)", "does not exist", "frame 1 (images/1.png)")
    assert "1.png: the mask is 4 x 6 (width x height), but its image is 8 x 6" in text


def test_orthographic_cameras(tmp_path):
    cameras = read(capture(tmp_path, camera_model="ORTHOGRAPHIC")).cameras
    assert cameras.projection == Orthographic() and cameras.near == 0
    pixels = cameras.world_to_pixels(torch.tensor([[0.1, 0.2, 0.0]]))
    torch.testing.assert_close(pixels[0, 0], torch.tensor([4.5 + 10 * 0.1, 2.5 - 12 * 0.2, 5.0]))
    mixed = capture(tmp_path, {1: {"camera_model": "ORTHOGRAPHIC"}})
    fails(mixed, "some cameras are orthographic and others perspective; split the capture")


def test_what_is_wrong_with_a_file_of_each_frame_is_one_line(tmp_path):
    folder = capture(tmp_path)
    for name in "01":
        save(folder / "masks" / f"{name}.png", DISC[:, :4])
    text = fails(folder, "all 2 frames: the mask is 4 x 6 (width x height), but its image is 8 x 6")
    assert "\n" not in text and f"(the first: {folder / 'masks' / '0.png'})" in text


@pytest.mark.parametrize("value", [0, 1])
def test_a_mask_without_object_is_refused_also_if_it_holds_ones(tmp_path, value):
    folder = capture(tmp_path)
    save(folder / "masks" / "1.png", DISC // 255 * value)
    fails(folder, "frame 1 (images/1.png)", "the mask holds no object", f"largest value is {value} of 255")
    assert read(folder, use_masks=False).masks is None


def test_the_same_image_twice_is_refused(tmp_path):
    folder = capture(tmp_path, {1: {"file_path": "./images/../images/0.png"}})
    fails(folder, "frame 1", "the same image as frame 0 (images/0.png)")


def test_zero_resolution_is_refused(tmp_path):
    fails(capture(tmp_path), "resolution must be at least 1 pixel, got 0", resolution=0)


@pytest.mark.skipif(not DATA.is_dir(), reason="shared/data is absent")
def test_dino_photographs_their_object_projects_into_its_masks():
    folder = DATA / "middlebury_dino_sparse_ring"
    views = read(folder, resolution=80)
    assert views.images.shape == (16, 60, 80, 3) and views.masks is not None
    corners = read_aabb(folder)
    assert corners is not None
    box = torch.cartesian_prod(*corners.unbind(1))
    pixels = views.cameras.world_to_pixels(box)[..., :2]
    for mask, place in zip(views.masks, pixels, strict=True):
        rows, columns = (mask > 0.5).nonzero().unbind(1)
        low, high = place.amin(0), place.amax(0)
        inside = (columns + 0.5 > low[0]) & (columns + 0.5 < high[0]) & (rows + 0.5 > low[1]) & (rows + 0.5 < high[1])
        assert inside.float().mean() > 0.97, "the mask lies outside the projected box"


@pytest.mark.skipif(not DATA.is_dir(), reason="shared/data is absent")
def test_lego_renders():
    views = read(DATA / "nerf_synthetic_lego" / "transforms_test.json", resolution=50, background=(1.0, 1.0, 1.0))
    assert views.images.shape == (13, 50, 50, 3) and views.masks is not None
    torch.testing.assert_close(views.images[:, 0, 0], torch.ones(13, 3))
    torch.testing.assert_close(views.cameras.positions_w().norm(dim=1), torch.full((13,), 4.0311), atol=1e-3, rtol=0)


def test_images_without_masks_are_skipped_where_missing_ones_are(tmp_path):
    folder = capture(tmp_path, {1: {"mask_path": None}}, aabb=[[-1, -1, -1], [1, 1, 1]])
    found = read_capture(folder, CaptureOptions(skip_missing=True))
    assert found.notes == ("1 of its 2 images have no mask while others have one, and are skipped: 1",)
    assert found.views.names == ("0",) and found.views.masks is not None
    assert len(read(folder, use_masks=False)) == 2


@pytest.mark.parametrize(
    ("mark", "size", "is_turned"), [(6, (8, 6), False), (6, (6, 8), True), (6, (), None), (3, (8, 6), None)]
)
def test_photographs_marked_to_be_turned_are_read_if_their_size_tells_how(tmp_path, mark, size, is_turned):
    halves, exif = np.zeros((6, 8, 3), np.uint8), Image.Exif()
    halves[:3] = 255  # above; turned clockwise, on the right
    exif[0x0112] = mark
    Image.fromarray(halves).save(tmp_path / "0.png", exif=exif)
    content = {"fl_x": 10, **dict(zip("wh", size, strict=False))}
    content["frames"] = [{"file_path": "0.png", "transform_matrix": AT_Z5}]
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    if is_turned is None:
        fails(tmp_path, "0.png: has an EXIF orientation", "state their width and height")
        return
    image = read(tmp_path).images[0]
    assert bool((image[:, 3:] if is_turned else image[:3]).eq(1).all())
    assert image.shape == (*reversed(size), 3)
