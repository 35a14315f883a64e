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
