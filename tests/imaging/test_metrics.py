import math

import pytest
import torch

from diffrender.errors import ShapeError
from diffrender.imaging import metrics
from diffrender.imaging.metrics import mask_iou, psnr_db, ssim


def random_image(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_psnr_of_known_errors_is_one_number_per_image():
    a = torch.full((2, 4, 5, 3), 0.5)
    b = a.clone()
    b[0] += 0.1
    b[1] += 0.01
    torch.testing.assert_close(psnr_db(a, b), torch.tensor([20.0, 40.0]), atol=1e-3, rtol=0)
    assert psnr_db(a[0], b[0]).shape == ()
    assert psnr_db(a[0], a[0]).item() == math.inf


def test_psnr_counts_only_pixels_with_weight():
    a = torch.zeros(1, 2, 2, 3)
    b = a.clone()
    b[0, 0] = 0.1
    b[0, 1] = 0.9
    upper = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    torch.testing.assert_close(psnr_db(a, b, upper), torch.tensor([20.0]))
    torch.testing.assert_close(psnr_db(a, b, 7 * upper), torch.tensor([20.0]))
    torch.testing.assert_close(psnr_db(a, b, torch.ones(1, 2, 2)), psnr_db(a, b))
    assert psnr_db(a, b, torch.zeros(1, 2, 2)).isnan().all()


def test_ssim_of_identical_constant_and_noisy_images():
    image = random_image(3, 20, 24, 3)
    torch.testing.assert_close(ssim(image, image), torch.ones(3))
    # Two constants have no structure; what remains is (2 m n + c1) / (m^2 + n^2 + c1).
    dark, bright = torch.full((16, 16, 3), 0.2), torch.full((16, 16, 3), 0.4)
    expected = (2 * 0.2 * 0.4 + 1e-4) / (0.2**2 + 0.4**2 + 1e-4)
    torch.testing.assert_close(ssim(dark, bright), torch.tensor(expected), atol=1e-3, rtol=0)
    slightly = ssim(image, image + 0.02 * torch.randn(image.shape, generator=torch.Generator().manual_seed(1)))
    unrelated = ssim(image, random_image(3, 20, 24, 3, seed=2))
    assert (slightly > 0.95).all() and (unrelated < 0.2).all()


def test_ssim_matches_a_direct_evaluation_of_the_formula():
    a, b = random_image(12, 13, 1).double(), random_image(12, 13, 1, seed=1).double()
    offset = torch.arange(11, dtype=torch.float64) - 5
    window = torch.exp(-(offset[:, None] ** 2 + offset[None, :] ** 2) / (2 * 1.5**2))
    window = window / window.sum()
    values = []
    for row in range(2):
        for column in range(3):
            x, y = (image[row : row + 11, column : column + 11, 0] for image in (a, b))
            mx, my = (window * x).sum(), (window * y).sum()
            vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
            cov = (window * (x - mx) * (y - my)).sum()
            values.append((2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4)))
    torch.testing.assert_close(ssim(a, b), torch.stack(values).mean())


def test_ssim_of_a_region_is_the_mean_of_the_windows_about_its_pixels():
    a, b = random_image(2, 24, 20, 3), random_image(2, 24, 20, 3, seed=1)
    region = torch.zeros(2, 24, 20, dtype=torch.bool)
    region[0, 9:13, 8:12] = True
    region[:, 0] = True  # no window is about a pixel at the border
    whole_windows = ssim(a[:, 4:18, 3:17], b[:, 4:18, 3:17])  # those about rows 9 to 12, columns 8 to 11
    found = ssim(a, b, region=region)
    torch.testing.assert_close(found[0], whole_windows[0])
    assert found[1].isnan()
    left = torch.zeros(2, 24, 20)
    left[:, :, :15] = 1  # of these, windows about columns 8 and 9 are known
    torch.testing.assert_close(ssim(a, b, left, region)[0], ssim(a[0, 4:18, 3:15], b[0, 4:18, 3:15]))
    with pytest.raises(ShapeError, match="region must have shape"):
        ssim(a, b, region=region[0])


def test_mask_iou_by_hand_thresholded_and_soft():
    a = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
    b = torch.tensor([[[0.0, 0.8, 0.6, 0.2]]])
    torch.testing.assert_close(mask_iou(a, b), torch.tensor([1 / 3]))
    torch.testing.assert_close(mask_iou(a, b, threshold=None), torch.tensor([0.8 / 2.8]))
    torch.testing.assert_close(mask_iou(b, b, threshold=None), torch.ones(1))
    assert mask_iou(a, torch.zeros_like(a)).item() == 0
    assert mask_iou(torch.zeros(2, 3, 3), torch.zeros(2, 3, 3)).tolist() == [1, 1]


def test_soft_mask_iou_of_an_empty_union_has_a_finite_gradient():
    mask = torch.zeros(1, 2, 2, requires_grad=True)
    mask_iou(mask, torch.zeros(1, 2, 2), threshold=None).sum().backward()
    assert mask.grad is not None and torch.isfinite(mask.grad).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: psnr_db(torch.zeros(4, 4, 3), torch.zeros(4, 5, 3)), r"psnr_db: a and b must have the same shape"),
        (lambda: psnr_db(torch.zeros(4, 3), torch.zeros(4, 3)), r"psnr_db: a must have shape \[\.\.\., H, W, C\]"),
        (lambda: psnr_db(torch.zeros(4, 4, 3), torch.zeros(4, 4, 3), torch.zeros(4)), "weight must have shape"),
        (lambda: ssim(torch.zeros(10, 20, 3), torch.zeros(10, 20, 3)), "at least 11 pixels"),
        (lambda: mask_iou(torch.zeros(4), torch.zeros(4)), r"mask_iou: a must have shape \[\.\.\., H, W\]"),
    ],
)
def test_invalid_arguments_are_named(call, message):
    with pytest.raises(ShapeError, match=message):
        call()


def test_what_is_not_known_is_not_looked_at():
    a, b = random_image(2, 20, 24, 3), random_image(2, 20, 24, 3, seed=1)
    left = torch.zeros(2, 20, 24)
    left[:, :, :15] = 1
    spoilt, masks = a.clone(), random_image(2, 20, 24)
    spoilt[:, :, 15:] = torch.nan
    torch.testing.assert_close(psnr_db(spoilt, b, left), psnr_db(a[:, :, :15], b[:, :, :15]))
    # Only windows that are known throughout count: those inside the known part.
    torch.testing.assert_close(ssim(spoilt, b, left), ssim(a[:, :, :15], b[:, :, :15]))
    for threshold in (0.5, None):
        found = mask_iou(spoilt[..., 0], masks, threshold, left)
        torch.testing.assert_close(found, mask_iou(a[:, :, :15, 0], masks[:, :, :15], threshold))
    assert ssim(a, b, torch.zeros(2, 20, 24)).isnan().all()
    with pytest.raises(ShapeError, match="weight must have shape"):
        ssim(a, b, left[0])


def test_similarity_in_bands_is_that_of_whole_images(monkeypatch):
    a, b = random_image(2, 41, 30, 3).double(), random_image(2, 41, 30, 3, seed=2).double()
    whole, known = metrics.ssim_map(a, b)
    monkeypatch.setattr(metrics, "_BAND_PIXELS", 7 * 30)  # 31 rows of windows: four bands and a part of one
    in_bands, _ = metrics.ssim_map(a, b)
    torch.testing.assert_close(in_bands, whole, atol=1e-12, rtol=0)
    assert known.all() and in_bands.std() > 0.05
    assert (metrics.ssim_map(a, a)[0] == 1).all()
    a.requires_grad_()
    assert torch.autograd.gradcheck(lambda part: ssim(part, b[0, :12, :13]), a[0, :12, :13])


def test_similarity_to_no_numbers_is_no_number():
    a, b = random_image(2, 20, 24, 3), random_image(2, 20, 24, 3, seed=2)
    a[1, 7, 9, 0] = torch.nan
    assert ssim(a, b).isnan().tolist() == [False, True]
