from dataclasses import replace

import pytest
import torch
from support.shapes import oblique_cameras

from diffrender.errors import ShapeError
from diffrender.scene.target_views import Views


def views(masks=True):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 8, 8, 3, generator=generator)
    return Views(oblique_cameras(3, 8), images, images[..., 0] if masks else None, ("a", "b", "c"))


@pytest.mark.parametrize("index", [[2, 0], torch.tensor([2, 0])])
def test_select_keeps_everything_together(index):
    every = views()
    some = every.select(index)
    assert len(some) == 2 and some.names == ("c", "a")
    assert torch.equal(some.images, every.images[[2, 0]]) and torch.equal(some.masks, every.masks[[2, 0]])
    assert torch.equal(some.cameras.cam_from_world, every.cameras.cam_from_world[[2, 0]])


def test_select_nothing_and_views_without_masks():
    assert len(views().select([])) == 0
    assert views(masks=False).select([1]).masks is None


def test_to_keeps_the_values():
    moved = views().to("cpu")
    assert torch.equal(moved.images, views().images) and moved.names == ("a", "b", "c")


def test_errors():
    every = views()
    with pytest.raises(ShapeError, match=r"images must have shape \[3, 8, 8, 3\], got \[3, 9, 8, 3\]"):
        Views(every.cameras, torch.zeros(3, 9, 8, 3), None, every.names)
    with pytest.raises(ShapeError, match=r"masks must have shape \[3, 8, 8\]"):
        Views(every.cameras, every.images, torch.zeros(2, 8, 8), every.names)
    with pytest.raises(ShapeError, match=r"one entry per camera \(3\), got 2"):
        Views(every.cameras, every.images, None, ("a", "b"))
    with pytest.raises(ShapeError, match=r"^Views: cameras must be a Cameras, got Tensor"):
        Views(every.images, every.cameras, None, every.names)
    with pytest.raises(ShapeError, match=r"^Views: images must be floats, linear RGB in 0..1, got torch.uint8"):
        Views(every.cameras, (every.images * 255).byte(), None, every.names)
    with pytest.raises(ShapeError, match=r"^Views: masks must be float32 or float64, got torch.bool"):
        Views(every.cameras, every.images, every.masks > 0.5, every.names)


def test_borders_are_of_what_is_known():
    every = views()
    plain = torch.ones(3, 8, 8, dtype=torch.bool)
    plain[:, 1:-1, 2:-2] = False
    assert torch.equal(every.borders(1, 2), plain)
    weights = torch.zeros(3, 8, 8)
    weights[0, 2:6], weights[1, :, :5], weights[2, 3:6, 3:7] = 1, 1, 1
    boxes = torch.tensor([[2, 0, 4, 8], [0, 0, 8, 8], [0, 0, 8, 8]])
    borders = replace(every, weights=weights, boxes=boxes).borders(1, 1)
    assert borders[0].nonzero()[:, 0].min() == 2 and int(borders[0].sum()) == 20  # about the photograph
    assert int(borders[1].sum()) == 8 + 4 + 4  # not along what hides a side of it
    assert int(borders[2].sum()) == 10  # nothing of its border is known


def test_masks_of_what_is_known():
    weights = torch.ones(3, 8, 8)
    weights[:, :4], weights[:, 4] = 0, 0.5
    every = replace(views(), weights=weights)
    every.masks[:, :4] = torch.nan
    torch.testing.assert_close(
        every.known_masks[:, 3:6],
        torch.cat([torch.zeros(3, 1, 8), weights[:, 4:5] * every.masks[:, 4:5], every.masks[:, 5:6]], 1),
    )
    torch.testing.assert_close(every.mask_shares(), every.known_masks.sum((1, 2)) / 28)
    assert every.select([2]).weights.shape == (1, 8, 8)
