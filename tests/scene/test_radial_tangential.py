"""The lens that is learned: its formula, its edge, and how far a straight edge is from the curve that it is."""

import numpy as np
import torch

from diffrender.imaging.lens_distortion import BrownConrady
from diffrender.scene.projections.radial_tangential import LARGEST_SQUARED, RadialTangential


def seen(k1, k2, xy, p1=0.0, p2=0.0):
    points = torch.cat([xy, torch.ones_like(xy[..., :1])], -1)[None]
    lens = RadialTangential(*(torch.tensor([value], dtype=xy.dtype) for value in (k1, k2, p1, p2)))
    return lens.to_image_plane(2.5 * points)[0][0] / 2.5


def test_image_points_move_along_their_radius_by_the_polynomial():
    xy = torch.tensor([[0.3, 0.4], [0.0, 0.0], [-0.6, 0.8]], dtype=torch.float64)
    factor = torch.tensor([1 + 0.1 * 0.25 - 0.02 * 0.0625, 1, 1 + 0.1 - 0.02], dtype=torch.float64)
    torch.testing.assert_close(seen(0.1, -0.02, xy), xy * factor[:, None])


def test_it_is_the_lens_of_readers_and_has_an_inverse():
    generator = torch.Generator().manual_seed(0)
    xy = 1.2 * torch.rand(500, 2, generator=generator, dtype=torch.float64) - 0.6
    for k1, k2, p1, p2 in ((-0.2, 0.03, 0.01, -0.02), (0.0, 0.0, 0.03, 0.0), (0.1, 0.0, 0.0, 0.03)):
        moved = seen(k1, k2, xy, p1, p2)
        expected = BrownConrady(k1, k2, p1, p2).distort(*xy.numpy().T)
        torch.testing.assert_close(moved, torch.from_numpy(np.stack(expected, 1)), rtol=0, atol=1e-12)
        lens = RadialTangential(*(torch.tensor([value], dtype=torch.float64) for value in (k1, k2, p1, p2)))
        back = lens.from_image_plane(moved[None], torch.full((1, 500, 1), 3.0).double())
        torch.testing.assert_close(back[0, :, :2] / 3, xy, rtol=0, atol=1e-8)


def test_rays_far_outside_stay_apart_and_finite():
    radius = torch.linspace(1, 50, 200, dtype=torch.float64)
    moved = seen(-0.3, 0.0, torch.stack([radius, 0.5 * radius], -1), 0.01, -0.02)
    assert bool((moved.diff(dim=0) > 0).all())
    lens = RadialTangential(*torch.tensor([[-0.3], [0.0], [0.01], [-0.02]]))
    behind = lens.to_image_plane(torch.tensor([[[1.0, 2.0, -1.0], [1.0, 2.0, 0.0], [0.0, 0.0, 0.0]]]))
    assert all(bool(part.isfinite().all()) for part in behind)


def test_no_two_rays_are_seen_at_one_point_even_where_the_polynomial_folds():
    radius = torch.linspace(0, 5, 2000, dtype=torch.float64)
    for k1, k2 in ((-0.3, 0.0), (-0.2, 0.03), (0.1, -0.1), (0.3, 0.2), (0.0, 0.0)):
        moved = seen(k1, k2, torch.stack([radius, 0 * radius], -1))[:, 0]
        assert bool((moved.diff() > 0).all())
        torch.testing.assert_close(moved[:100], (radius * (1 + k1 * radius**2 + k2 * radius**4))[:100])
        lens = RadialTangential(*(torch.tensor([value], dtype=torch.float64) for value in (k1, k2, 0, 0)))
        back = lens.from_image_plane(torch.stack([moved, 0 * moved], -1)[None], torch.ones(1, 2000, 1).double())
        torch.testing.assert_close(back[0, :, 0], radius, atol=1e-6, rtol=1e-6)
    assert LARGEST_SQUARED < 25


def test_chords_are_as_near_to_the_curve_as_is_stated():
    """Edges of ten pixels of a focal length of 600, in all directions about r = .5."""
    k1, k2, focal, length, r = -0.05, 0.03, 600.0, 10.0, 0.5
    bound = length**2 / (8 * focal) * (6 * abs(k1) * r + 20 * abs(k2) * r**3)
    worst = 0.0
    for angle in torch.linspace(0, 3.14, 9, dtype=torch.float64):
        direction = torch.stack([angle.cos(), angle.sin()])
        along = torch.linspace(-0.5, 0.5, 101, dtype=torch.float64)[:, None] * length / focal
        curve = seen(k1, k2, torch.tensor([r, 0.0]).double() + along * direction)
        chord = curve[0] + torch.linspace(0, 1, 101, dtype=torch.float64)[:, None] * (curve[-1] - curve[0])
        worst = max(worst, float((curve - chord).norm(dim=1).max()) * focal)
    assert bound / 4 < worst < bound
