import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from support.fit_fakes import blob_cameras, blob_scene, blob_views, render_blob

from diffrender.errors import ShapeError
from diffrender.evaluate.views import ViewScores, evaluate_views, mean_scores, score_views, sort_worst_first


def shifted(amount):
    """The blob with sRGB values off by `amount` in its upper half."""

    def render_views(scene, cameras):
        rgba = torch.full((len(cameras), cameras.height, cameras.width, 4), 0.2)
        rgba[:, : cameras.height // 2, :, :3] = linear(encoded(0.2) + amount)
        return SimpleNamespace(rgba=rgba)

    return render_views


def encoded(linear_value):
    return 1.055 * linear_value ** (1 / 2.4) - 0.055


def linear(encoded_value):
    return ((encoded_value + 0.055) / 1.055) ** 2.4


def gray_views(masks):
    views = blob_views(blob_scene(), blob_cameras(5, 8, 6))
    return replace(views, images=torch.full_like(views.images, 0.2), masks=masks)


def test_equal_images_have_the_largest_finite_psnr():
    scene, cameras = blob_scene(), blob_cameras(5, 24, 24)
    scores = evaluate_views(scene, blob_views(scene, cameras), render_blob)
    assert scores.pop("known") == 1
    assert scores.pop("brightness") == pytest.approx(scores.pop("target_brightness")) and scores.pop("uncovered") == 0
    assert scores == {"psnr_db": 99.0, "psnr_masked_db": 99.0, "mask_iou": 1.0, "ssim": 1.0, "ssim_masked": 1.0}


def test_psnr_is_that_of_srgb_values_and_the_masked_one_looks_inside_only():
    masks = torch.zeros(5, 8, 6)
    masks[:, :2] = 1
    scores = evaluate_views(blob_scene(), gray_views(masks), shifted(0.1))
    # An error of 0.1 is 20 dB; over half of the pixels, 10 log10(2) more.
    assert scores["psnr_masked_db"] == pytest.approx(20, abs=1e-3)
    assert scores["psnr_db"] == pytest.approx(20 + 10 * math.log10(2), abs=1e-3)


def test_one_perfect_view_does_not_hide_the_others():
    views = gray_views(torch.ones(5, 8, 6))
    views.images[2, :4] = linear(encoded(0.2) + 0.1)
    scores = evaluate_views(blob_scene(), views, shifted(0.1))
    expected = (99 + 4 * (20 + 10 * math.log10(2))) / 5
    assert scores["psnr_db"] == scores["psnr_masked_db"] == pytest.approx(expected, abs=1e-3)


def test_views_with_an_empty_mask_do_not_count_inside_the_mask():
    masks = torch.zeros(5, 8, 6)
    masks[2] = 1
    scores = evaluate_views(blob_scene(), gray_views(masks), shifted(0.1))
    assert scores["psnr_masked_db"] == pytest.approx(23.0103, abs=1e-3)


def test_overexposed_pixels_are_white():
    def bright(scene, cameras):
        return SimpleNamespace(rgba=torch.full((len(cameras), cameras.height, cameras.width, 4), 7.0))

    views = gray_views(None)
    assert evaluate_views(blob_scene(), replace(views, images=torch.ones_like(views.images)), bright)["psnr_db"] == 99


def test_without_masks_the_mask_scores_are_no_numbers():
    scores = evaluate_views(blob_scene(), gray_views(None), shifted(0.1))
    assert math.isnan(scores["psnr_masked_db"])
    assert math.isnan(scores["mask_iou"])
    assert math.isfinite(scores["psnr_db"])


def test_similarity_is_that_of_srgb_values_and_the_masked_one_is_of_windows_about_the_object():
    views = blob_views(blob_scene(), blob_cameras(5, 40, 24))
    views = replace(views, images=torch.full_like(views.images, 0.2), masks=torch.zeros(5, 40, 24))
    views.masks[:, :15] = 1  # the upper half, in which all differs by .1, without windows that see the lower one
    scores = evaluate_views(blob_scene(), views, shifted(0.1))
    a, b = encoded(0.2), encoded(0.2) + 0.1
    expected = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
    assert scores["ssim_masked"] == pytest.approx(expected, abs=1e-4)
    assert scores["ssim"] < scores["ssim_masked"] - 0.05  # windows on the edge in the middle, which the target lacks


def test_the_share_that_is_scored_is_told():
    views = gray_views(torch.ones(5, 8, 6))
    weights = torch.ones(5, 8, 6)
    weights[1] = 0.5
    weights[2, :4] = 0
    scores = score_views(blob_scene(), replace(views, weights=weights), shifted(0.1))
    assert [view.known for view in scores] == [1, 0.5, 0.5, 1, 1]
    assert mean_scores(scores)["known"] == pytest.approx(0.8)


def test_images_smaller_than_the_window_have_no_similarity():
    scores = evaluate_views(blob_scene(), gray_views(torch.ones(5, 8, 6)), shifted(0.1))
    assert math.isnan(scores["ssim"]) and math.isnan(scores["ssim_masked"])


def test_a_part_of_the_views_is_the_mean_of_their_scores():
    scene, cameras = blob_scene(), blob_cameras(5)
    views = blob_views(scene, cameras)
    moved = replace(scene, background=torch.tensor([0.5, 0.1, 0.9]))
    single = [evaluate_views(moved, views.select([i]), render_blob) for i in range(5)]
    together = evaluate_views(moved, views, render_blob)
    for name, score in together.items():
        assert score == pytest.approx(sum(one[name] for one in single) / 5, nan_ok=True)


def test_each_view_has_its_own_scores():
    masks = torch.zeros(5, 8, 6)
    masks[2] = 1
    views = gray_views(masks)
    scores = score_views(blob_scene(), views, shifted(0.1))
    assert [view.name for view in scores] == list(views.names)
    assert [view.psnr_db for view in scores] == pytest.approx([23.0103] * 5, abs=1e-3)
    assert [math.isnan(view.psnr_masked_db) for view in scores] == [True, True, False, True, True]
    assert [view.mask_iou for view in scores] == [1, 1, 0, 1, 1]  # two empty masks are alike


def test_the_worst_view_is_first_and_a_mean_does_not_hide_nan():
    psnr_db = {"a": 30.0, "b": math.nan, "c": 20.0}
    scores = [ViewScores(name, value, *[1.0] * 8) for name, value in psnr_db.items()]
    assert [view.name for view in sort_worst_first(scores)] == ["b", "c", "a"]
    assert math.isnan(mean_scores(scores)["psnr_db"])


def test_no_views():
    scene, cameras = blob_scene(), blob_cameras(2)
    with pytest.raises(ShapeError, match="no views"):
        evaluate_views(scene, blob_views(scene, cameras).select([]), render_blob)


def test_scores_are_of_what_is_known() -> None:
    masks = torch.zeros(5, 8, 6)
    masks[:, :, :4] = 1
    views = gray_views(masks)
    views = replace(views, weights=torch.ones(5, 8, 6), images=views.images.clone())
    views.weights[:, :4, :3] = 0
    wanted = 20 - 10 * math.log10(12 / 36), 20 - 10 * math.log10(4 / 20)
    for garbage in (0.0, 1.0, math.nan):
        views.images[:, :4, :3], views.masks[:, :4, :3] = garbage, garbage
        scores = evaluate_views(blob_scene(), views, shifted(0.1))
        assert (scores["psnr_db"], scores["psnr_masked_db"]) == pytest.approx(wanted, abs=1e-3)
        assert scores["mask_iou"] == 0


def test_what_is_deep_within_an_uncovered_part_of_the_mask_is_counted():
    """Rims of two pixels do not count, nor what is unknown."""
    scene, cameras = blob_scene(), blob_cameras(5, 24, 24)
    views = blob_views(scene, cameras)
    assert views.masks is not None
    masks = torch.zeros_like(views.masks)
    masks[0, :9, :7] = 1  # at the border of the picture, beyond which nothing is known
    masks[1, 3:12, 3:8] = 1
    masks[2, 3:7] = 1

    def empty(scene, cameras):
        image = torch.zeros(len(cameras), 24, 24, 4)
        return SimpleNamespace(rgba=image)

    found = score_views(scene, replace(views, masks=masks), empty)
    assert [view.uncovered for view in found] == [7 * 5, 5 * 1, 0, 0, 0]
    weights = torch.ones_like(masks)
    weights[1, 7] = 0
    found = score_views(scene, replace(views, masks=masks, weights=weights), empty)
    assert [view.uncovered for view in found][:2] == [35, 0]
