from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from diffrender.errors import ConfigError, ShapeError
from diffrender.fit.loss_inputs import LossInputs
from diffrender.fit.losses.aov_loss import AovLoss
from diffrender.fit.losses.mask_losses import MaskIoU
from diffrender.fit.losses.pointwise import L1
from diffrender.fit.objective import Objective, Term
from diffrender.scene.cameras import Cameras
from diffrender.scene.target_views import Views


def views_with(aovs):
    cameras = Cameras.perspective(torch.tensor([[0.0, 0.0, 3.0]]).expand(2, 3), height=4, width=5)
    return Views(cameras, torch.zeros(2, 4, 5, 3), torch.zeros(2, 4, 5), ("a", "b"), aovs)


def compare(name, rendered, target):
    return LossInputs(SimpleNamespace(aov=lambda asked: {name: rendered}[asked]), views_with({name: target}))


@pytest.mark.parametrize(("of", "wanted"), [("l1", [0.5, 0.0]), ("l2", [0.25, 0.0]), ("huber", [0.45, 0.0])])
def test_the_mean_cost_of_each_view(of, wanted):
    target = torch.rand(2, 4, 5, 3)
    rendered = target.clone()
    rendered[0] += 0.5
    value = AovLoss("normal", of)(compare("normal", rendered, target))
    torch.testing.assert_close(value, torch.tensor(wanted))


def test_unknown_pixels_cost_and_pull_nothing():
    target = torch.ones(2, 4, 5, 1)
    target[0, 1, 2] = torch.nan
    rendered = torch.full((2, 4, 5, 1), 3.0, requires_grad=True)
    value = AovLoss("depth")(compare("depth", rendered, target))
    torch.testing.assert_close(value, torch.tensor([2 * 19 / 20, 2.0]))
    value.sum().backward()
    assert rendered.grad[0, 1, 2] == 0
    assert rendered.grad[0, 1, 1] == pytest.approx(1 / 20)


def test_the_mean_is_over_what_views_know():
    target = torch.ones(2, 4, 5, 1)
    target[:, :2] = 1000
    rendered = torch.full((2, 4, 5, 1), 3.0, requires_grad=True)
    comparison = compare("depth", rendered, target)
    comparison.views = replace(comparison.views, weights=(target[..., 0] == 1).float())
    value = AovLoss("depth")(comparison)
    torch.testing.assert_close(value, torch.full((2,), 2.0))
    value.sum().backward()
    assert not rendered.grad[:, :2].any()


def test_a_fit_renders_what_its_terms_compare():
    normal, mask, image = Term("normal", 1, AovLoss("normal")), Term("mask", 1, MaskIoU()), Term("image", 1, L1())
    assert Objective((normal, mask)).aovs() == ("normal",)
    assert Objective((mask,)).aovs() == ("color",)
    assert Objective((image, normal, mask)).aovs() == ("color", "normal")


def test_targets_without_the_aov_are_refused_with_the_remedy():
    with pytest.raises(ConfigError, match=r"loss.depth: the targets have no depths; .*depth_path"):
        Objective((Term("depth", 1, AovLoss("depth")),)).check(views_with({}))
    with pytest.raises(ConfigError, match=r"normal: type must be one of l1, l2, .*, got 'l3'"):
        AovLoss("normal", "l3")


def test_views_carry_their_aovs_along():
    views = views_with({"normal": torch.arange(2 * 4 * 5 * 3.0).reshape(2, 4, 5, 3)})
    assert torch.equal(views.select([1]).aovs["normal"], views.aovs["normal"][1:])
    with pytest.raises(ShapeError, match="normal"):
        views_with({"normal": torch.zeros(2, 4, 4, 3)})
