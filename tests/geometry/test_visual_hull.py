from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffrender.errors import DataError, ShapeError
from diffrender.geometry.orbits import sphere_positions
from diffrender.geometry.primitives import icosphere
from diffrender.geometry.silhouette_distance import MaskDistanceField, MaskViews, signed_distance_px
from diffrender.geometry.topology import Topology
from diffrender.geometry.visual_hull import hull_bounds, visual_hull
from diffrender.scene.cameras import Cameras
from diffrender.scene.target_views import Views

SIZE = 64
LOW, HIGH = torch.full((3,), -1.5), torch.full((3,), 1.5)
PIXEL = 4.0 / SIZE  # at the centre of the scenes below, whose images cover 4 world units
FOV_DEG = 2 * math.degrees(math.atan(0.5))  # of cameras at a distance of 4


def views_of(
    balls: list[tuple[tuple[float, float, float], float]],
    n_views: int = 12,
    orthographic: bool = True,
    size: int = SIZE,
    eyes: torch.Tensor | None = None,
) -> Views:
    """Return masks of balls (centre, radius) from cameras around the origin, with exact coverage along the radius."""
    eyes = sphere_positions(n_views, 4.0, (0.0, 0.0, 0.0), -60, 60) if eyes is None else eyes
    if orthographic:
        cameras = Cameras.parallel(eyes, view_height=4.0, height=size, width=size)
    else:
        cameras = Cameras.perspective(eyes, fov_deg=FOV_DEG, height=size, width=size)
    cam_from_world, focal = cameras.cam_from_world, float(cameras.focal_px[0, 0])
    pixel = torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing="xy"), -1) + 0.5 - size / 2
    masks = torch.zeros(n_views, size, size)
    for center, radius in balls:
        middle = cam_from_world[:, :3, :3] @ torch.tensor(center) + cam_from_world[:, :3, 3]
        if orthographic:
            distance = (pixel - focal * middle[:, None, None, :2]).norm(dim=-1) - focal * radius
        else:
            ray = torch.nn.functional.normalize(torch.cat([pixel / focal, torch.ones(size, size, 1)], -1), dim=-1)
            along = (ray * middle[:, None, None]).sum(-1, keepdim=True)
            distance = ((middle[:, None, None] - along * ray).norm(dim=-1) - radius) * focal / 4
        masks = torch.maximum(masks, (0.5 - distance).clamp(0, 1))
    names = tuple(f"view {i}" for i in range(n_views))
    return Views(cameras, torch.zeros(n_views, size, size, 3), masks, names)


def field_of(views: Views) -> MaskDistanceField:
    cameras = views.cameras
    return MaskDistanceField(
        MaskViews(views.masks, views.names, cameras.project, cameras.focal_px, cameras.near, views.weights)
    )


def hull_of(views: Views, cell: float = 0.1, **options):
    return visual_hull(field_of(views), LOW, HIGH, cell, **options)


def genus(vertices: torch.Tensor, faces: torch.Tensor) -> int:
    topology = Topology(faces)
    assert topology.is_closed
    assert topology.n_components == 1
    return (2 - (len(vertices) - len(topology.edges) + len(faces))) // 2


@pytest.mark.parametrize("size", [8, 13])
@pytest.mark.parametrize("axis", [0, 1])
def test_distance_to_a_straight_edge_is_exact(size: int, axis: int) -> None:
    for edge in (3.0, 4.25, 5.9):
        coverage = np.clip(edge - np.arange(size), 0, 1)
        mask = np.moveaxis(np.repeat(coverage[:, None], 6, 1), 0, axis)
        expected = np.arange(size) + 0.5 - edge
        found = np.moveaxis(signed_distance_px(mask), axis, 0)
        np.testing.assert_allclose(found, np.repeat(expected[:, None], 6, 1), atol=1e-6)


def test_distance_without_an_outline_is_far_in_or_out() -> None:
    assert (signed_distance_px(np.ones((3, 5))) == -5).all()
    assert (signed_distance_px(np.zeros((3, 5))) == 5).all()


@settings(deadline=None, max_examples=8)
@given(
    center=st.tuples(*[st.floats(-0.4, 0.4)] * 3),
    radius=st.floats(0.3, 0.9),
    n_views=st.integers(6, 20),
    orthographic=st.booleans(),
)
def test_the_hull_of_a_ball_contains_it_and_is_slightly_larger(
    center: tuple[float, float, float], radius: float, n_views: int, orthographic: bool
) -> None:
    views = views_of([(center, radius)], n_views, orthographic)
    vertices, faces = hull_of(views, 0.08)
    distance = (vertices - torch.tensor(center)).norm(dim=1)
    # Smoothing rounds the creases between cones by less than a cell; apart from that the ball is inside.
    assert float(distance.min()) > radius - 0.04
    # No view excludes any vertex by more than a pixel.
    assert float(field_of(views).outside(vertices).max()) < PIXEL
    assert genus(vertices, faces) == 0


def test_more_views_carve_closer() -> None:
    over = []
    for n_views in (6, 12, 48):
        vertices, _ = hull_of(views_of([((0.0, 0.0, 0.0), 0.8)], n_views), 0.06)
        over.append(float(vertices.norm(dim=1).mean()) - 0.8)
    assert over[0] > over[1] > over[2] > -0.01
    assert over[2] < 0.03


def test_faces_point_outwards_and_edges_are_even() -> None:
    vertices, faces = hull_of(views_of([((0.0, 0.0, 0.0), 0.8)]))
    corners = vertices[faces]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert bool(((normals * corners.mean(1)).sum(1) > 0).all())
    ends = vertices[Topology(faces).edges]
    length = (ends[:, 1] - ends[:, 0]).norm(dim=1)
    assert float(length.mean()) == pytest.approx(0.13, rel=0.15)
    assert float(length.min()) > 0.3 * float(length.mean())


def test_handles_of_a_pixel_are_closed_and_the_outline_is_still_met() -> None:
    """Masks with scattered holes of one pixel, each a tunnel through the whole hull."""
    views = views_of([((0.0, 0.0, 0.0), 0.9)], 12)
    masks = views.masks.clone()
    generator = torch.Generator().manual_seed(0)
    for view in range(12):
        x, y = torch.randint(-10, 11, (2,), generator=generator).tolist()
        masks[view, SIZE // 2 + y, SIZE // 2 + x] = 0
    vertices, faces = hull_of(replace(views, masks=masks), 0.15)
    assert genus(vertices, faces) == 0
    assert float(vertices.norm(dim=1).min()) > 0.75


def test_a_rod_of_a_few_pixels_survives() -> None:
    balls = [((0.05 * i - 1, 0.0, 0.0), 0.12) for i in range(41)]
    vertices, _ = hull_of(views_of(balls, 24), PIXEL * 1.5)
    assert float(vertices[:, 0].max() - vertices[:, 0].min()) > 1.7


def test_components_that_masks_need_are_kept_unless_another_choice_is_made() -> None:
    views = views_of([((-0.7, 0.0, 0.0), 0.5), ((0.9, 0.0, 0.0), 0.2)], 30)
    largest = hull_of(views, components="largest")
    assert Topology(largest.faces).n_components == 1
    assert float(largest.vertices[:, 0].max()) < 0
    for both in (hull_of(views), hull_of(views, components="all")):
        assert Topology(both.faces).n_components == 2
        assert float(both.vertices[:, 0].max()) == pytest.approx(1.1, abs=0.05)


def test_a_small_part_that_is_apart_in_most_images_is_kept() -> None:
    views = views_of([((-0.5, 0.0, 0.0), 0.8), ((0.9, 0.5, 0.3), 0.1)], 24)
    assert Topology(hull_of(views, PIXEL).faces).n_components == 2


def test_parts_of_a_hull_that_are_only_not_denied_are_not_kept() -> None:
    """Two balls and few views in a plane: their cones meet at two more places."""
    views = views_of(
        [((-0.7, 0.0, 0.7), 0.3), ((0.7, 0.0, -0.7), 0.35)], 2, eyes=torch.tensor([[0.0, 0, 4], [4.0, 0, 0]])
    )
    assert Topology(hull_of(views, components="all").faces).n_components == 4
    found = hull_of(views)
    assert Topology(found.faces).n_components == 2
    assert (
        float((found.vertices[:, 0] * found.vertices[:, 2]).max()) < 0
    )  # the two balls, where x and z have other signs


def test_nothing_outside_an_image_is_carved_if_its_border_cuts_the_object() -> None:
    views = views_of([((0.0, 0.0, 0.0), 0.9)], 16)
    # The first camera sees the left half of the ball only; its image ends in the middle.
    half = SIZE // 2
    cut = views.masks.clone()
    cut[0, :, half:] = 0
    cropped = views.masks[:, :, :half]
    whole = hull_of(views).vertices.amax(0) - hull_of(views).vertices.amin(0)
    carved = hull_of(replace(views, masks=cut)).vertices
    assert float((carved.amax(0) - carved.amin(0)).min()) < 0.75 * float(whole.min())
    kept = hull_of(with_first_mask_cropped(views, cropped)).vertices
    assert kept.amax(0) - kept.amin(0) == pytest.approx(whole, abs=0.1)


def with_first_mask_cropped(views: Views, cropped: torch.Tensor) -> Views:
    """Halve the width of the first image; the others get the same width and show the whole object half as large."""
    cameras = views.cameras
    focal, center = cameras.focal_px.clone(), cameras.center_px.clone()
    small = views_of([((0.0, 0.0, 0.0), 0.9)], len(views), size=SIZE // 2)
    assert small.masks is not None
    masks = torch.zeros_like(cropped)
    masks[:, : SIZE // 2] = small.masks
    masks[0] = cropped[0]
    focal[1:], center[1:] = small.cameras.focal_px[1:], small.cameras.center_px[1:]
    cameras = replace(cameras, width=SIZE // 2, focal_px=focal, center_px=center)
    return Views(cameras, torch.zeros(*masks.shape, 3), masks, views.names)


def test_a_view_does_not_carve_what_is_behind_its_camera() -> None:
    views = views_of([((0.0, 0.0, 0.0), 0.8)], 12, orthographic=False)
    inside = views.cameras.cam_from_world.clone()
    inside[0, :3, 3] = torch.tensor([0.0, 0.0, -0.2])  # beyond the centre, looking away from most of the ball
    field = field_of(replace(views, cameras=replace(views.cameras, cam_from_world=inside)))
    behind = torch.tensor([[0.0, 0.0, 0.0]]) @ inside[0, :3, :3] - inside[0, 2, :3] * 0.3
    assert float(field.outside(behind)[0]) == -torch.inf
    assert float(field.hull(behind)) < 0


def test_a_wrong_mask_is_outvoted_with_a_tolerance() -> None:
    views = views_of([((0.0, 0.0, 0.0), 0.8)], 24)
    masks = views.masks.clone()
    masks[3, 20:40, 20:36] = 0
    wrong = replace(views, masks=masks)
    assert genus(*hull_of(views)) == 0
    holed, tolerant = hull_of(wrong), hull_of(wrong, tolerance=1)
    assert len(holed.faces) == 0 or genus(*holed) != 0 or float(holed.vertices.norm(dim=1).min()) < 0.7
    assert genus(*tolerant) == 0
    assert float(tolerant.vertices.norm(dim=1).min()) > 0.75


def test_an_empty_hull_names_the_view_that_contradicts_all_others() -> None:
    views = views_of([((0.0, 0.0, 0.0), 0.5)])
    masks = views.masks.clone()
    masks[4] = masks[4].roll(28, 1)
    with pytest.raises(DataError, match="removing view 4 alone would leave something"):
        hull_of(replace(views, masks=masks))
    inverted = replace(views, masks=torch.zeros_like(masks))
    with pytest.raises(DataError, match=r"no single view is the cause.*object must be white"):
        hull_of(inverted)


def test_bounds_contain_the_hull_closely() -> None:
    views = views_of([((0.3, 0.2, -0.1), 0.4)], 20)
    low, high = hull_bounds(field_of(views), 10 * LOW, 10 * HIGH)
    vertices, _ = hull_of(views, 0.05)
    assert bool((low <= vertices.amin(0)).all())
    assert bool((vertices.amax(0) <= high).all())
    assert bool((high - low < 1.5 * (vertices.amax(0) - vertices.amin(0))).all())


def test_a_box_cuts_the_hull() -> None:
    views = views_of([((0.0, 0.0, 0.0), 0.9)])
    high = torch.tensor([1.5, 0.3, 1.5])
    vertices, faces = visual_hull(field_of(views), LOW, high, 0.1)
    assert Topology(faces).is_closed
    assert float(vertices[:, 1].max()) == pytest.approx(0.3, abs=0.03)


def test_a_ring_keeps_its_hole() -> None:
    angle = torch.arange(40) * (2 * torch.pi / 40)
    ring = [((float(a.cos()) * 0.8, 0.0, float(a.sin()) * 0.8), 0.25) for a in angle]
    assert genus(*hull_of(views_of(ring, 24), 0.08)) == 1


@pytest.mark.parametrize("options", [{"cell": 0.0}, {"tolerance": 12}])
def test_invalid_options_are_refused(options: dict) -> None:
    with pytest.raises(ShapeError):
        hull_of(views_of([((0.0, 0.0, 0.0), 0.5)]), **options)


def test_the_sphere_of_the_primitives_is_its_own_hull() -> None:
    """Check the masks of these tests in another way: no view excludes points of the sphere by more than a little."""
    views = views_of([((0.0, 0.0, 0.0), 0.8)], 12, orthographic=False)
    outside = field_of(views).outside(icosphere(3, 0.8).vertices)
    assert float(outside.max()) == pytest.approx(0, abs=0.5 * PIXEL)


def test_what_a_view_does_not_know_it_does_not_carve() -> None:
    views = views_of([((0.0, 0.0, 0.0), 0.8)], 16)
    # A quarter of each ball and all beside it is behind something, as if it were background.
    side = torch.ones(SIZE, SIZE)
    side[:, : SIZE * 2 // 5] = 0
    weights = torch.stack([side.rot90(view) for view in range(16)])
    hidden = replace(views, masks=torch.where(weights > 0, views.masks, 0), weights=weights)
    points = 2 * torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) - 1
    assert bool((field_of(hidden).outside(points) <= field_of(views).outside(points) + 0.05).all())
    radii = hull_of(hidden).vertices.norm(dim=1)
    assert float(radii.min()) > 0.75 and float(radii.max()) < 1.0
    assert float(hull_of(replace(hidden, weights=None)).vertices.norm(dim=1).min()) < 0.5


def test_what_no_view_judges_is_not_the_object_however_large() -> None:
    """A small ball; below it, all pictures are ignored, as over a turntable."""
    views = views_of([((0.0, 0.4, 0.0), 0.3)], n_views=8)
    upper = views.cameras.world_to_pixels(torch.tensor([[0.0, -0.5, 0.0]]))[:, 0, 1]
    rows = torch.arange(SIZE) + 0.5
    weights = (rows[None, :, None] < upper[:, None, None]).float().expand(8, SIZE, SIZE)
    assert float((views.masks * (1 - weights)).sum()) == 0
    ignoring = replace(views, weights=weights.contiguous())
    parts = hull_of(ignoring, components="all")
    assert float(parts.vertices[:, 1].min()) < -1  # all of the space that is ignored is there
    vertices, _ = hull_of(ignoring)
    assert float((vertices - torch.tensor([0.0, 0.4, 0.0])).norm(dim=1).max()) < 0.5
    judged = field_of(ignoring).judged(torch.tensor([[0.0, 0.4, 0.0], [0.0, -1.4, 0.0], [9.0, 0.0, 0.0]]))
    assert judged.tolist() == [8, 0, 0]
