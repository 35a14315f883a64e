import dataclasses
import math

import pytest
import torch
from support.lenses import RadialLens, lens
from support.shapes import bumpy, oblique_cameras

from diffrender.errors import ShapeError
from diffrender.scene.cameras import Cameras
from diffrender.scene.projections import PROJECTIONS

EYE = torch.tensor([[0.0, 0.0, 3.0]], dtype=torch.float64)


def pixels(cameras, *points):
    return cameras.world_to_pixels(torch.tensor(points, dtype=torch.float64))[0].tolist()


def test_perspective_by_hand():
    # 90 degrees over 100 rows: the focal length is 50 pixels, and the image is 2 units high at distance 1.
    cameras = Cameras.perspective(EYE, fov_deg=90, height=100, width=200)
    torch.testing.assert_close(cameras.focal_px, torch.tensor([[50.0, 50.0]], dtype=torch.float64))
    assert cameras.center_px.tolist() == [[100.0, 50.0]]
    # World x goes right, world y up (rows go down), depth is along the view.
    assert pixels(cameras, (0, 0, 0), (3, 0, 0), (0, 1.5, 0), (0, 0, 2)) == [
        pytest.approx([100, 50, 3]),
        pytest.approx([150, 50, 3]),
        pytest.approx([100, 25, 3]),
        pytest.approx([100, 50, 1]),
    ]


def test_parallel_by_hand():
    cameras = Cameras.parallel(EYE, view_height=4.0, height=100, width=200)
    assert pixels(cameras, (0, 0, 0), (1, 1, 0), (1, 1, -50)) == [
        pytest.approx([100, 50, 3]),
        pytest.approx([125, 25, 3]),
        pytest.approx([125, 25, 53]),
    ]


def test_field_of_view_is_vertical():
    cameras = Cameras.perspective(EYE, fov_deg=40, height=120, width=300)
    top = (0, 3 * math.tan(math.radians(20)), 0)
    assert pixels(cameras, top)[0][1] == pytest.approx(0, abs=1e-9)


def test_look_at_points_at_the_target_with_up_upwards():
    eye = torch.tensor([[1.0, 2.0, 3.0], [-3.0, 0.5, 1.0]], dtype=torch.float64)
    cameras = Cameras.perspective(eye, target=(0.3, -0.2, 0.1), height=64, width=64)
    projected = cameras.world_to_pixels(torch.tensor([[0.3, -0.2, 0.1], [0.3, 0.3, 0.1]], dtype=torch.float64))
    torch.testing.assert_close(projected[:, 0, :2], torch.full((2, 2), 32.0).double())
    assert (projected[:, 1, 1] < 31).all() and (projected[:, 1, 0] - 32).abs().max() < 1e-9
    torch.testing.assert_close(cameras.positions_w(), eye)
    rotation = cameras.cam_from_world[:, :3, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).double().expand(2, 3, 3))
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(2).double())


def test_points_behind_have_a_place_in_space_but_none_in_the_image():
    cameras = Cameras.perspective(EYE, height=64, width=64)
    behind = torch.tensor([[0.0, 0.0, 5.0]], dtype=torch.float64)
    assert cameras.world_to_pixels(behind)[0, 0, :2].isnan().all()
    homogeneous = cameras.project(behind)[0, 0]
    assert homogeneous.isfinite().all() and homogeneous[2] == homogeneous[3] == -2


def test_homogeneous_coordinates_are_linear_along_lines():
    cameras = oblique_cameras(2, 64, torch.float64)
    ends = torch.tensor([[0.3, 0.2, 5.0], [0.1, -0.4, -6.0]], dtype=torch.float64)  # through the camera plane
    middle = 0.25 * ends[:1] + 0.75 * ends[1:]
    a, b = cameras.project(ends).unbind(1)
    torch.testing.assert_close(cameras.project(middle)[:, 0], 0.25 * a + 0.75 * b)


def test_resizing_keeps_the_view():
    cameras = oblique_cameras(2, 64, torch.float64)
    points = bumpy(1, torch.float64).vertices
    fine = cameras.resized(192, 128)
    assert (fine.height, fine.width) == (192, 128)
    ratio = torch.tensor([2.0, 3.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(fine.world_to_pixels(points), cameras.world_to_pixels(points) * ratio)


@pytest.mark.parametrize("index", [[2, 0], slice(1, 3), torch.tensor([1])])
def test_select(index):
    cameras = oblique_cameras(3, 32)
    chosen = cameras.select(index)
    assert torch.equal(chosen.cam_from_world, cameras.cam_from_world[index])
    assert torch.equal(chosen.focal_px, cameras.focal_px[index]) and chosen.width == 32
    assert len(chosen) == len(chosen.cam_from_world)
    lenses = dataclasses.replace(cameras, projection=RadialLens(torch.tensor([0.1, 0.2, 0.3])))
    assert torch.equal(lenses.select(index).projection.k1, lenses.projection.k1[index])


@pytest.mark.parametrize("kind", PROJECTIONS.values())
def test_gradients_match_finite_differences(kind):
    start = oblique_cameras(2, 32, torch.float64)
    points = bumpy(0, torch.float64).vertices[:4]

    def projected(points, pose, focal, center):
        cameras = dataclasses.replace(
            start, cam_from_world=pose, focal_px=focal, center_px=center, projection=lens(kind, 2)
        )
        return cameras.project(points)

    leaves = (points, start.cam_from_world, start.focal_px, start.center_px)
    assert torch.autograd.gradcheck(projected, [leaf.clone().requires_grad_() for leaf in leaves])


def test_projection_and_its_gradients_are_the_same_for_any_number_of_threads():
    start, points = oblique_cameras(2, 64), bumpy(6).vertices
    weights = torch.rand(2, len(points), 4, generator=torch.Generator().manual_seed(0))
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        leaves = [leaf.clone().requires_grad_() for leaf in (points, start.cam_from_world, start.focal_px)]
        cameras = dataclasses.replace(start, cam_from_world=leaves[1], focal_px=leaves[2])
        projected = cameras.project(leaves[0])
        found.append([projected.detach(), *torch.autograd.grad(projected, leaves, weights)])
    for one, two in zip(*found, strict=True):
        assert torch.equal(one, two)


def test_blur_is_in_pixels_and_of_all_cameras():
    cameras = dataclasses.replace(oblique_cameras(3, 32), blur_px=torch.tensor(0.8))
    assert cameras.resized(16, 16).blur_px == pytest.approx(0.4)
    assert cameras.select([1]).blur_px == pytest.approx(0.8)
    assert cameras.without_gains().blur_px is None


def test_errors():
    good = oblique_cameras(2, 32)
    mirrored = good.cam_from_world.clone()
    mirrored[0, 0] *= -1
    with pytest.raises(ShapeError, match=r"Cameras: cam_from_world\[0\] must be a rigid motion .* a mirror image"):
        dataclasses.replace(good, cam_from_world=mirrored)
    with pytest.raises(ShapeError, match=r"cam_from_world must have shape \[N, 4, 4\]"):
        dataclasses.replace(good, cam_from_world=torch.eye(4))
    with pytest.raises(ShapeError, match=r"focal_px must have shape \[2, 2\]"):
        dataclasses.replace(good, focal_px=torch.ones(2))
    with pytest.raises(ShapeError, match="height and width must be whole numbers of at least 1"):
        dataclasses.replace(good, height=0)
    with pytest.raises(ShapeError, match=r"height and width must be whole numbers .*, got 32.0 x 32"):
        dataclasses.replace(good, height=32.0)
    for near in (0.0, math.inf):
        with pytest.raises(ShapeError, match=f"near must be positive and finite for perspective cameras, got {near}"):
            dataclasses.replace(good, near=near)
    with pytest.raises(ShapeError, match=r"projection.k1 must have shape \[2\]"):
        dataclasses.replace(good, projection=RadialLens(torch.zeros(3)))
    with pytest.raises(ShapeError, match=r"projection\.k1 must be finite"):
        dataclasses.replace(good, projection=RadialLens(torch.tensor([0.0, math.nan])))
    with pytest.raises(ShapeError, match="cam_from_world must be finite"):
        dataclasses.replace(good, cam_from_world=good.cam_from_world / 0)
    with pytest.raises(ShapeError, match="focal_px must be finite"):
        dataclasses.replace(good, focal_px=good.focal_px / 0)
    with pytest.raises(ShapeError, match="center_px must be finite"):
        dataclasses.replace(good, center_px=good.center_px * torch.nan)
    for wrong in (math.inf, math.nan):
        with pytest.raises(ShapeError, match=r"exposure must be finite, got .* at index \[1\]"):
            dataclasses.replace(good, exposure=torch.tensor([0.0, wrong]))
        with pytest.raises(ShapeError, match="white_balance must be finite"):
            dataclasses.replace(good, white_balance=torch.tensor([[1.0, 1, 1], [1, wrong, 1]]))
    for wrong in (0.0, -0.5):
        with pytest.raises(ShapeError, match=f"white_balance must be above 0, got {wrong:g}"):
            dataclasses.replace(good, white_balance=torch.tensor([[1.0, 1, 1], [1, wrong, 1]]))
    with pytest.raises(ShapeError, match=r"blur_px must have shape \[\]"):
        dataclasses.replace(good, blur_px=torch.ones(2))
    with pytest.raises(ShapeError, match="blur_px must be at least 0, got -1"):
        dataclasses.replace(good, blur_px=torch.tensor(-1.0))
    eye = torch.tensor([[0.0, 0.0, 3.0]])
    for angle in (0.0, 180.0, -5.0, math.nan):
        with pytest.raises(ShapeError, match="fov_deg must be between 0 and 180"):
            Cameras.perspective(eye, fov_deg=angle)
    for size in (0.0, -1.0, math.inf):
        with pytest.raises(ShapeError, match="view_height must be positive"):
            Cameras.parallel(eye, view_height=size)
    with pytest.raises(ShapeError, match="eye must differ from target"):
        Cameras.perspective(torch.zeros(1, 3))
    with pytest.raises(ShapeError, match="up must not be parallel"):
        Cameras.perspective(torch.tensor([[0.0, 2.0, 0.0]]))


def test_a_wide_parallel_view_is_projected_as_precisely_as_float32_allows() -> None:
    eye = torch.tensor([[1.0, 2.0, 3.0]])
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    for view_height in (1e2, 1e5):
        cameras = Cameras.parallel(eye * view_height, view_height=view_height, height=1024, width=1024)
        exact = Cameras.parallel(eye.double() * view_height, view_height=view_height, height=1024, width=1024)
        found, expected = (c.project(points.to(c.focal_px.dtype) * view_height)[..., :2] for c in (cameras, exact))
        assert float((found.double() - expected).abs().max()) < 1e-3


def test_one_camera_is_no_batch() -> None:
    with pytest.raises(ShapeError, match=r"cam_from_world must have shape \[N, 4, 4\]"):
        oblique_cameras(3).select(0)  # type: ignore[arg-type]
