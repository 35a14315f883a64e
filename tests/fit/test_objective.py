import math
from dataclasses import replace

import pytest
import torch
from support.fit_fakes import blob_cameras, blob_scene, blob_views, render_blob

from diffrender.errors import ConfigError
from diffrender.fit.loss_inputs import LossInputs
from diffrender.fit.losses import IMAGE_LOSSES, MASK_LOSSES
from diffrender.fit.objective import EARLY_UNTIL, Objective, Term
from diffrender.fit.regularizers import REGULARIZERS

IMAGE = Term("image", 2.0, IMAGE_LOSSES["l1"]())
MASK = Term("mask", 0.5, MASK_LOSSES["mask_iou"]())
SMOOTH = Term("laplacian", 0.25, REGULARIZERS["laplacian"]())


def example():
    scene, cameras = blob_scene(1), blob_cameras(3)
    views = blob_views(scene, cameras)
    moved = replace(scene, background=scene.background + 0.1)
    return LossInputs(render_blob(moved, cameras), views), moved


def test_total_is_the_weighted_sum_of_unweighted_values():
    comparison, scene = example()
    terms = Objective((IMAGE, MASK, SMOOTH))(comparison, scene)
    assert list(terms.values) == ["image", "mask", "laplacian"]
    assert list(terms.per_view) == ["image", "mask"]
    torch.testing.assert_close(terms.values["image"], IMAGE.measure(comparison).mean())
    torch.testing.assert_close(terms.values["laplacian"], SMOOTH.measure(scene))
    torch.testing.assert_close(
        terms.total, 2 * terms.values["image"] + 0.5 * terms.values["mask"] + 0.25 * terms.values["laplacian"]
    )
    assert terms.per_view["image"].shape == (3,)


def test_terms_of_weight_zero_are_left_out():
    comparison, scene = example()
    terms = Objective((IMAGE, Term("mask", 0.0, MASK.measure)))(comparison, scene)
    assert list(terms.values) == ["image"]


def test_nothing_to_minimise_is_refused():
    for terms in ((), (Term("image", 0.0, IMAGE.measure),)):
        with pytest.raises(ConfigError, match="nothing to minimise"):
            Objective(terms)


def test_one_name_twice_is_refused():
    with pytest.raises(ConfigError, match="must have its own name"):
        Objective((IMAGE, IMAGE))


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_bad_weights_are_refused(weight):
    with pytest.raises(ConfigError, match=r"loss\.image: the weight must be a finite number"):
        Term("image", weight, IMAGE.measure)


def test_views_without_masks_are_refused_before_the_first_step():
    scene, cameras = blob_scene(), blob_cameras(2)
    bare = replace(blob_views(scene, cameras), masks=None)
    Objective((IMAGE, SMOOTH)).check(bare)
    Objective((IMAGE, Term("mask", 0.0, MASK.measure))).check(bare)
    with pytest.raises(ConfigError, match=r"loss\.mask: the targets have no masks"):
        Objective((IMAGE, MASK)).check(bare)


def test_early_weights_fall_to_their_own() -> None:
    term = Term("normal_consistency", 0.5, SMOOTH.measure, early=4.0)
    assert [term.weight_at(progress) for progress in (0, EARLY_UNTIL / 2, EARLY_UNTIL, 1)] == [2, 1, 0.5, 0.5]
    assert Term("mask", 2.0, MASK.measure).weight_at(0) == 2
    with pytest.raises(ConfigError, match=r"loss\.mask: early must be a finite number above 0, got 0"):
        Term("mask", 2.0, MASK.measure, early=0.0)
    comparison, scene = example()
    early, late = (Objective((IMAGE, term))(comparison, scene, progress) for progress in (0.0, 1.0))
    assert float(early.total - late.total) == pytest.approx(1.5 * float(late.values["normal_consistency"]))


def test_a_relative_weight_is_times_the_value_of_another_term_without_its_gradient() -> None:
    comparison, scene = example()
    relative = replace(SMOOTH, relative_to="image")
    terms = Objective((IMAGE, relative))(comparison, scene)
    expected = 2 * terms.values["image"] + 0.25 * terms.values["image"] * terms.values["laplacian"]
    torch.testing.assert_close(terms.total, expected)
    image = torch.tensor(3.0, requires_grad=True)

    class Given(type(IMAGE.measure)):  # type: ignore[misc]
        def __call__(self, comparison: LossInputs) -> torch.Tensor:
            return image.expand(3)

    total = Objective((Term("image", 2.0, Given()), relative))(comparison, scene).total
    assert torch.autograd.grad(total, image)[0].item() == pytest.approx(2)  # of the image alone
    for others in ((), (replace(IMAGE, weight=0.0),)):
        with pytest.raises(ConfigError, match=r"loss\.laplacian: its weight is times image, which is no term"):
            Objective((*others, relative))
