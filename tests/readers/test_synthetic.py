import pytest
import torch

from diffrender.errors import ShapeError
from diffrender.geometry.orbits import grid_positions
from diffrender.geometry.primitives import icosphere
from diffrender.readers.captures.synthetic import synthetic_views
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials import MATERIALS, Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene

COLOR = torch.tensor([0.8, 0.2, 0.1])
BACKGROUND = torch.tensor([0.0, 0.1, 0.4])


def ball():
    return Scene(
        {"ball": Object(Mesh(*icosphere(4)), MATERIALS["unlit"](base_color=COLOR))},
        background=BACKGROUND,
    )


def ring(n):
    return Cameras.parallel(grid_positions(n, 1, 3.0), view_height=4.0, height=16, width=20)


def test_synthetic_views_are_the_area_means_of_the_scene():
    cameras = ring(3)
    views = synthetic_views(ball(), cameras, samples=8)
    assert views.cameras is cameras and views.names == ("view_000", "view_001", "view_002")
    assert views.masks is not None and views.images.shape == (3, 16, 20, 3)
    # A unit ball in a picture of 4 x 5 world units.
    torch.testing.assert_close(views.masks.mean((1, 2)), torch.full((3,), torch.pi / 20), atol=1e-3, rtol=0)
    assert ((views.masks > 0.05) & (views.masks < 0.95)).any(), "edges are hard"
    mask = views.masks[..., None]
    torch.testing.assert_close(views.images, mask * COLOR + (1 - mask) * BACKGROUND, atol=1e-5, rtol=0)
    assert not views.images.requires_grad


def test_bad_arguments_are_named():
    with pytest.raises(ShapeError, match="samples must be at least 1, got 0"):
        synthetic_views(ball(), ring(1), samples=0)
    with pytest.raises(ShapeError, match="at least one camera"):
        synthetic_views(ball(), ring(1).select([]))


def test_targets_are_not_made_by_the_renderer_that_is_fitted() -> None:
    mesh = icosphere(2, 0.7)
    scene = Scene({"ball": Object(Mesh(mesh.vertices, mesh.faces), Unlit(torch.tensor([0.9, 0.5, 0.1])))})
    cameras = Cameras.perspective(torch.tensor([[0.3, 0.2, 3.0]]), height=24, width=24)
    views = synthetic_views(scene, cameras, samples=5)
    assert views.masks is not None
    # The mean of 5 x 5 hard samples: coverage in steps of 1 / 25. Edges of the renderer come in steps of 1 / 16.
    covered = views.masks * 25
    torch.testing.assert_close(covered, covered.round(), rtol=0, atol=1e-4)
    assert int(((views.masks > 0) & (views.masks < 1)).sum()) > 20
    assert not torch.equal(views.masks, render(scene, cameras).rgba[..., 3])
