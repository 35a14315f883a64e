import math
from dataclasses import replace

import pytest
import torch
from support.fit_fakes import output_of

from diffrender.errors import ConfigError
from diffrender.fit.loss_inputs import LossInputs, cameras_to_compare
from diffrender.fit.losses import IMAGE_LOSSES, MASK_LOSSES
from diffrender.fit.losses.mask_losses import MaskIoU
from diffrender.fit.losses.pointwise import L1, L2, Charbonnier, Huber, PointwiseLoss
from diffrender.fit.losses.pyramid import Pyramid
from diffrender.render.render import RenderOutput
from diffrender.scene.cameras import Cameras
from diffrender.scene.target_views import Views

VARIANTS = {
    "l1": [{}, {"space": "linear"}, {"space": "log"}, {"trim": 0.2}],
    "l2": [{}, {"space": "linear"}],
    "huber": [{}, {"delta": 0.02, "space": "linear"}],
    "charbonnier": [{}, {"epsilon": 0.2, "space": "linear"}],
    "pyramid": [{}, {"of": "l2", "levels": 1}, {"of": "huber", "levels": 9, "space": "linear"}],
}
LOSSES = [
    *(
        pytest.param(IMAGE_LOSSES[each](**options), id=f"{each}-{options}")
        for each in VARIANTS
        for options in VARIANTS[each]
    ),
    *(pytest.param(MASK_LOSSES[name](), id=f"mask {name}") for name in MASK_LOSSES),
]


def views_of(rgba):
    n_views, height, width, _ = rgba.shape
    cameras = Cameras.perspective(torch.tensor([[0.0, 0.0, 3.0]]).expand(n_views, 3), height=height, width=width)
    return Views(cameras, rgba[..., :3], rgba[..., 3], tuple(map(str, range(n_views))))


def compare(rendered, target):
    return LossInputs(output_of(rendered), views_of(target))


def images(seed, n_views=3, height=7, width=9):
    return torch.rand(n_views, height, width, 4, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("loss", LOSSES)
def test_zero_at_equality_with_zero_gradient_or_none(loss):
    rendered = images(0).requires_grad_()
    value = loss(compare(rendered, images(0)))
    assert torch.equal(value, torch.zeros(3))
    (gradient,) = torch.autograd.grad(value.sum(), rendered)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_positive_otherwise_and_each_view_by_itself(loss):
    rendered = images(0)
    rendered[1] = images(1)[1]
    value = loss(compare(rendered, images(0)))
    assert value.shape == (3,)
    assert value[1] > 0.01
    assert value[0] == 0
    assert value[2] == 0
    alone = loss(compare(rendered[1:2], images(0)[1:2]))
    torch.testing.assert_close(alone, value[1:2])


@pytest.mark.parametrize("loss", LOSSES)
def test_tangents_are_those_of_the_gradient(loss):
    rendered, target, motion = (images(seed).double() for seed in range(3))

    def total(rendered):
        return loss(compare(rendered, target)).sum()

    _, tangent = torch.func.jvp(total, (rendered,), (motion,))
    assert float(tangent) == pytest.approx(float((torch.func.grad(total)(rendered) * motion).sum()), rel=1e-9)


@pytest.mark.parametrize("added", [None, torch.tensor([[0.5, -0.25, 0.0]]).expand(3, 3)])
@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_not_known_counts_as_if_it_were_not_there(loss, added):
    rendered, target = images(0, height=8, width=8).requires_grad_(), images(1, height=8, width=8)
    weights = torch.ones(3, 8, 8)
    weights[:, :, 4:], weights[2] = 0, 0
    target[weights == 0] = math.nan
    views = [replace(views_of(target), weights=weights), views_of(target[:2, :, :4])]
    parts = [rendered, rendered[:2, :, :4]]
    offsets = [None, None] if added is None else [added, added[:2]]
    pairs = [LossInputs(output_of(rgba), *others) for rgba, *others in zip(parts, views, offsets, strict=True)]
    whole, part = loss(pairs[0]), loss(pairs[1])
    torch.testing.assert_close(whole[:2], part)
    assert whole[2] == 0
    gradients = [torch.autograd.grad(value.sum(), rendered)[0] for value in (whole, part)]
    torch.testing.assert_close(*gradients)
    if isinstance(loss, PointwiseLoss) and loss.trim == 0:
        without_kernel = pairs[0].mean(loss.penalty(pairs[0].difference(loss.space)))
        torch.testing.assert_close(without_kernel, whole)


@pytest.mark.parametrize("loss", LOSSES)
def test_pixels_count_by_their_weights(loss):
    rendered, target = images(0, height=8, width=8), images(1, height=8, width=8)
    # Known by halves all over: as if all were known.
    half = compare(rendered, target)
    half.views = replace(half.views, weights=torch.full((3, 8, 8), 0.5))
    torch.testing.assert_close(loss(half), loss(compare(rendered, target)))


@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_down_the_gradient_lowers_it(loss):
    rendered, target = images(2).requires_grad_(), images(3)
    before = loss(compare(rendered, target)).sum()
    (gradient,) = torch.autograd.grad(before, rendered)
    after = loss(compare(rendered.detach() - 1e-3 * gradient / gradient.norm(), target)).sum()
    assert after < before


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_is_finite_for_extreme_images(loss):
    for fill in (0.0, 1.0, -0.5, 30.0):
        rendered = torch.full((1, 4, 5, 4), fill, requires_grad=True)
        for target in (torch.zeros(1, 4, 5, 4), torch.ones(1, 4, 5, 4)):
            value = loss(compare(rendered, target)).sum()
            (gradient,) = torch.autograd.grad(value, rendered)
            assert torch.isfinite(value)
            assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_the_same_bits_on_any_number_of_threads(loss):
    # Large and odd: torch uses threads from 32768 numbers on, and rounding may differ where their ranges meet.
    target, results = images(4, 2, 133, 157), []
    threads = torch.get_num_threads()
    for n in (1, 2):
        torch.set_num_threads(n)
        for some in (slice(0, 2), slice(0, 1)):
            rendered = images(5, 2, 133, 157)[some].requires_grad_()
            value = loss(compare(rendered, target[some]))
            results.append((value.detach(), torch.autograd.grad(value.sum(), rendered)[0]))
    torch.set_num_threads(threads)
    for one, two in zip(results[:2], results[2:], strict=True):
        assert torch.equal(one[0], two[0])
        assert torch.equal(one[1], two[1])


def constant(red_difference):
    target = torch.full((1, 2, 2, 4), 0.25)
    rendered = target.clone()
    rendered[..., 0] += red_difference
    return compare(rendered, target)


def test_worked_examples_in_linear_space():
    difference = constant(0.5)
    torch.testing.assert_close(L1(space="linear")(difference), torch.tensor([0.5 / 3]))
    torch.testing.assert_close(L2(space="linear")(difference), torch.tensor([0.25 / 3]))
    torch.testing.assert_close(Huber(delta=0.2, space="linear")(difference), torch.tensor([0.4 / 3]))
    torch.testing.assert_close(Huber(delta=1.0, space="linear")(difference), torch.tensor([0.125 / 3]))


def test_srgb_is_the_default_space():
    # IEC 61966-2-1: linear 0.25 is 0.5370987 encoded, linear 0.75 is 0.8808250.
    torch.testing.assert_close(L1()(constant(0.5)), torch.tensor([(0.8808250 - 0.5370987) / 3]), rtol=1e-5, atol=0)


def test_log_space_compares_ratios_far_above_one_and_goes_on_below_zero():
    bright, brighter = (torch.full((1, 2, 2, 4), value) for value in (99.0, 199.0))
    torch.testing.assert_close(L1(space="log")(compare(brighter, bright)), torch.tensor([math.log(2)]))
    negative = torch.full((1, 2, 2, 4), -0.5).requires_grad_()
    value = L1(space="log")(compare(negative, torch.zeros(1, 2, 2, 4)))
    torch.testing.assert_close(value.detach(), torch.tensor([0.5]))
    (gradient,) = torch.autograd.grad(value, negative)
    assert (gradient[..., :3] < 0).all()


def test_a_pyramid_of_one_level_is_the_loss_itself():
    pair = compare(images(0), images(1))
    torch.testing.assert_close(Pyramid(of="l2", levels=1)(pair), L2()(pair))


def test_coarse_levels_forgive_detail_but_not_the_mean():
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2
    rendered = board[None, :, :, None].float().expand(1, 8, 8, 4)
    average = torch.full((1, 8, 8, 4), 0.5)
    # Level 0 differs by one half everywhere, all other levels are equal.
    torch.testing.assert_close(Pyramid(levels=4, space="linear")(compare(rendered, average)), torch.tensor([0.125]))
    shifted = compare(average + 0.25, average)
    torch.testing.assert_close(Pyramid(levels=4, space="linear")(shifted), torch.tensor([0.25]))


def test_iou_of_squares():
    rendered, target = torch.zeros(1, 6, 6, 4), torch.zeros(1, 6, 6, 4)
    rendered[:, 0:4, 0:4] = 1
    target[:, 2:6, 0:4] = 1
    torch.testing.assert_close(MaskIoU()(compare(rendered, target)), torch.tensor([1 - 8 / 24]))
    target[:] = 0
    target[:, 4:6, 4:6] = 1
    assert MaskIoU()(compare(rendered, target)) == 1
    assert MaskIoU()(compare(torch.zeros(1, 6, 6, 4), torch.zeros(1, 6, 6, 4))) == 0


def test_iou_is_the_product_form_for_binary_masks():
    rendered, target = images(6), images(7).round()
    a, m = rendered[..., 3].flatten(1), target[..., 3].flatten(1)
    wanted = 1 - (a * m).sum(1) / (a + m - a * m).sum(1)
    torch.testing.assert_close(MaskIoU()(compare(rendered, target)), wanted)


def test_mask_loss_without_masks_says_what_to_do():
    views = views_of(images(0))
    bare = Views(views.cameras, views.images, None, views.names)
    with pytest.raises(ConfigError, match="no masks; remove this term, or give images with an alpha channel"):
        MaskIoU()(LossInputs(output_of(images(0)), bare))


@pytest.mark.parametrize("name", IMAGE_LOSSES)
def test_unknown_space_is_refused(name):
    with pytest.raises(ConfigError, match=f"{name}: space must be one of linear, srgb, log, got 'rgb'"):
        IMAGE_LOSSES[name](space="rgb")


def test_trim_leaves_out_the_pixels_that_differ_most_and_changes_nothing_else():
    rendered, target = images(0, height=6, width=10).requires_grad_(), images(1, height=6, width=10)
    spoilt = target.clone()
    spoilt[:, :3, :2, :3] += 5  # 6 of 60 pixels, a tenth
    known = torch.ones(3, 6, 10)
    known[:, :3, :2] = 0
    for loss, name in ((L1, "l1"), (Huber, "huber"), (Charbonnier, "charbonnier")):
        comparison = compare(rendered, spoilt)
        value, wanted = loss(trim=0.1)(comparison), loss()(compare(rendered, target).weighted(known))
        torch.testing.assert_close(value, wanted, msg=name)
        gradients = [torch.autograd.grad(each.sum(), rendered)[0] for each in (value, wanted)]
        torch.testing.assert_close(*gradients, msg=name)
        # The PSNR that is told is that of all pixels.
        torch.testing.assert_close(comparison.squared_error(), compare(rendered, spoilt).squared_error())


def test_trim_is_a_share_of_what_is_known():
    rendered, target = images(0, height=6, width=10), images(1, height=6, width=10)
    target[:, 3:] += 7  # unknown
    target[:, 0, :3] += 5  # 3 of 30 that are known
    known, kept = torch.ones(3, 6, 10), torch.ones(3, 6, 10)
    known[:, 3:] = 0
    kept[:, 3:], kept[:, 0, :3] = 0, 0
    comparison = compare(rendered, target).weighted(known)
    torch.testing.assert_close(L1(trim=0.1)(comparison), L1()(comparison.weighted(kept)))
    assert not L1(trim=0.5)(comparison.weighted(torch.zeros(3, 6, 10))).any()


@pytest.mark.parametrize("weights", [None, torch.ones(1, 7, 9)])
def test_trim_does_not_hide_a_nan(weights):
    rendered = images(0, 1)
    rendered[0, 2, 3, 0] = math.nan
    assert L1(trim=0.5)(compare(rendered, images(1, 1)).weighted(weights)).isnan().all()


@pytest.mark.parametrize("trim", [-0.1, 0.6, math.nan])
def test_trims_that_keep_too_little_are_refused(trim):
    with pytest.raises(ConfigError, match=r"l2: trim must be in 0..0.5"):
        L2(trim=trim)


@pytest.mark.parametrize("delta", [0.0, -1.0, math.nan, math.inf])
def test_huber_refuses_bad_deltas(delta):
    with pytest.raises(ConfigError, match="delta"):
        Huber(delta=delta)


def test_pyramid_refuses_bad_options():
    with pytest.raises(ConfigError, match=r"of must be one of l1, l2, .*, got 'mask_iou'"):
        Pyramid(of="mask_iou")
    with pytest.raises(ConfigError, match="levels must be at least 1, got 0"):
        Pyramid(levels=0)


def test_trim_does_not_lose_an_object_that_is_smaller_than_it():
    wanted = images(1, 1)
    rendered = wanted.clone()
    rendered[:, 2:4, 3:5] = 1 - rendered[:, 2:4, 3:5].round()  # 4 of 63 pixels, all of them wrong
    leaf = rendered.requires_grad_()
    value = L1(trim=0.25)(compare(leaf, wanted))
    assert bool(value > 0)
    (grad,) = torch.autograd.grad(value.sum(), leaf)
    assert int(grad.any(-1).sum()) == 3  # one of the four is trimmed


@pytest.mark.parametrize("is_composited", [False, True])
def test_the_edge_of_a_background_that_was_put_there_teaches_no_blur(is_composited):
    target = images(0)
    target[..., 3] = (target[..., 3] > 0.5).float() * 0.5
    views = replace(views_of(target), is_composited=is_composited)
    assert cameras_to_compare(views.cameras, views) is views.cameras  # which have no blur
    cameras = replace(views.cameras, blur_px=torch.tensor(1.0))
    mask = cameras_to_compare(cameras, views).blur_mask
    assert mask is None if not is_composited else torch.equal(mask, target[..., 3] > 0)
    assert cameras_to_compare(cameras, replace(views, masks=None)).blur_mask is None


@pytest.mark.parametrize("aovs", [("color",), ("color", "depth")])
def test_losses_of_one_comparison_have_the_gradients_that_they_have_alone(aovs):
    """Also after one that looks at the colours without a gradient first, to leave out the worst."""
    target = torch.rand(2, 6, 7, 4, generator=torch.Generator().manual_seed(0))
    image = torch.rand(2, 6, 7, 4 + (len(aovs) > 1), generator=torch.Generator().manual_seed(1)).requires_grad_()
    nothing = torch.zeros(2, 6, 7)
    losses = [L1(trim=0.2), MaskIoU(), L2(), Pyramid()]

    def comparison():
        return LossInputs(RenderOutput(image, aovs, nothing.long(), nothing, None), views_of(target))

    together = comparison()
    total = sum(loss(together).sum() for loss in losses)
    (found,) = torch.autograd.grad(total, image)
    alone = [torch.autograd.grad(loss(comparison()).sum(), image)[0] for loss in losses]
    torch.testing.assert_close(found, sum(alone))
    assert float(alone[1][..., -1].abs().sum()) > 0.1
