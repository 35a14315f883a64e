"""The contract of projections, checked for all in the table and for one lens with a parameter."""

import pytest
import torch
from support.lenses import KINDS, lens

from diffrender.scene.cameras import Cameras
from diffrender.scene.projection import Rectilinear
from diffrender.scene.projections import PROJECTIONS, projection_name
from diffrender.scene.projections.orthographic import Orthographic
from diffrender.scene.projections.perspective import Perspective

N = 3
FOCAL = torch.tensor([[100.0, 200], [120, 110], [90, 90]], dtype=torch.float64)
CENTER = torch.tensor([[32.0, 24], [30, 30], [33, 25]], dtype=torch.float64)
every_projection = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
every_rectilinear = pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if issubclass(kind, Rectilinear)])


def rand(*shape, low=0.0, high=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(*shape, generator=generator, dtype=torch.float64)


def points_in_front(n=N):
    """Return [n, 20, 3] points in the camera frame, up to 35 degrees off the axis."""
    depth = rand(n, 20, 1, low=1, high=4, seed=1)
    return torch.cat([rand(n, 20, 2, low=-0.5, high=0.5) * depth, depth], -1)


def image_points(homogeneous):
    return homogeneous[..., :2] / homogeneous[..., 2:3]


@every_projection
def test_unproject_reverses_project(kind):
    projection, points = lens(kind, N), points_in_front()
    homogeneous = projection.project(points, FOCAL, CENTER)
    assert homogeneous.shape == (N, 20, 4) and bool((homogeneous[..., 2:] > 0).all())
    back = projection.unproject(image_points(homogeneous), homogeneous[..., 3:], FOCAL, CENTER)
    torch.testing.assert_close(back, points)


@every_projection
def test_points_of_a_ray_are_seen_at_one_pixel_and_on_a_straight_line(kind):
    projection, xy_px = lens(kind, N), CENTER[:, None] + rand(N, 20, 2, low=-40, high=40)
    at = [projection.unproject(xy_px, torch.full((N, 20, 1), z).double(), FOCAL, CENTER) for z in (0.0, 1.0, 2.5)]
    torch.testing.assert_close(at[2], at[0] + 2.5 * (at[1] - at[0]))
    seen = projection.project(at[2], FOCAL, CENTER)
    torch.testing.assert_close(image_points(seen), xy_px)
    torch.testing.assert_close(seen[..., 3], torch.full((N, 20), 2.5).double())


@every_projection
def test_rays_of_cameras_run_from_their_origins_through_their_pixels_and_back_to_the_camera(kind):
    eyes = rand(N, 3, low=1, high=3)
    cameras = Cameras(Cameras.perspective(eyes).cam_from_world, FOCAL, CENTER, 48, 64, lens(kind, N))
    xy_px = CENTER[:, None] + rand(N, 5, 2, low=-20, high=20)
    origin, direction = cameras.rays(xy_px)
    torch.testing.assert_close(direction.norm(dim=-1), torch.ones(N, 5).double())
    for view in range(N):
        points = origin[view] + 1.7 * direction[view]
        torch.testing.assert_close(cameras.world_to_pixels(points)[view, :, :2], xy_px[view])
        back = cameras.directions_to_w(points, torch.full((5,), view))
        torch.testing.assert_close(back, -direction[view])


@every_projection
def test_pixel_size_is_what_moves_the_middle_of_the_image_by_a_pixel(kind):
    projection, depth = lens(kind, N), torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)
    step = 1e-5
    axis = torch.stack([torch.zeros(3).double(), torch.zeros(3).double(), depth], -1).expand(N, 3, 3)
    moved_px = image_points(projection.project(axis + torch.tensor([step, 0, 0]), FOCAL[:, :1].expand(N, 2), CENTER))
    expected = step / (moved_px[..., 0] - CENTER[:, None, 0])
    torch.testing.assert_close(projection.pixel_size(depth.expand(N, 3), FOCAL[:, :1].expand(N, 2)), expected)
    torch.testing.assert_close(projection.to_image_plane(axis)[1][..., 0], projection.scale(depth).expand(N, 3))


@every_projection
def test_gradients_match_finite_differences(kind):
    names = kind.parameter_names()
    leaves = [points_in_front()[:, :4], FOCAL, CENTER, *lens(kind, N).parameters().values()]

    def projected(points, focal, center, *parameters):
        return kind(**dict(zip(names, parameters, strict=True))).project(points, focal, center)

    assert torch.autograd.gradcheck(projected, [leaf.clone().requires_grad_() for leaf in leaves])


@every_projection
def test_everywhere_in_space_there_are_finite_coordinates_and_gradients(kind):
    # Also in the camera plane, at the camera's centre and behind it: faces with such corners are clipped.
    values = torch.tensor([-3.0, -1e-3, 0.0, 1e-3, 2.0]).double()
    points = torch.cartesian_prod(values, values, values).expand(N, -1, 3).clone().requires_grad_()
    homogeneous = lens(kind, N).project(points, FOCAL, CENTER)
    assert bool(homogeneous.isfinite().all())
    assert bool(torch.autograd.grad(homogeneous.square().sum(), points)[0].isfinite().all())


@every_projection
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_is_kept(kind, dtype):
    projection, points, intrinsics = (
        lens(kind, N, dtype),
        points_in_front().to(dtype),
        (FOCAL.to(dtype), CENTER.to(dtype)),
    )
    homogeneous = projection.project(points, *intrinsics)
    back = projection.unproject(image_points(homogeneous), homogeneous[..., 3:], *intrinsics)
    sizes = projection.pixel_size(points[..., 2], intrinsics[0])
    assert homogeneous.dtype == back.dtype == sizes.dtype == dtype
    expected = lens(kind, N).project(points_in_front(), FOCAL, CENTER)
    torch.testing.assert_close(homogeneous.double(), expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(back, points, rtol=1e-5, atol=1e-5)


@every_projection
def test_views_together_are_the_views_one_by_one(kind):
    projection, points = lens(kind, N), points_in_front()
    together = projection.project(points, FOCAL, CENTER)
    parts = [projection.map(lambda value, n=n: value[n : n + 1]) for n in range(N)]
    for n, part in enumerate(parts):
        assert torch.equal(part.project(points[n : n + 1], FOCAL[n : n + 1], CENTER[n : n + 1])[0], together[n])
    again = parts[0].concatenate(parts[1]).concatenate(parts[2])
    assert torch.equal(again.project(points, FOCAL, CENTER), together)


@pytest.mark.parametrize("name", PROJECTIONS)
def test_the_table_names_its_entries(name):
    assert projection_name(lens(PROJECTIONS[name], N)) == name


def test_perspective_by_hand():
    # x = 100 (1 / 4) + 32 = 57, y = 200 (-2 / 4) + 24 = -76; times w = 4.
    homogeneous = Perspective().project(torch.tensor([[[1.0, -2, 4]]]), FOCAL[:1], CENTER[:1])
    assert homogeneous.tolist() == [[[57 * 4, -76 * 4, 4, 4]]]


def test_orthographic_by_hand():
    # The focal length is in pixels per world unit: x = 100 + 32, y = -400 + 24, at every depth.
    homogeneous = Orthographic().project(torch.tensor([[[1.0, -2, 4], [1, -2, -7]]]), FOCAL[:1], CENTER[:1])
    assert homogeneous.tolist() == [[[132, -376, 1, 4], [132, -376, 1, -7]]]


@every_projection
def test_axes_are_those_of_opencv(kind):
    # +x is to the right, +y is down, and points on the optical axis are at the principal point.
    points = torch.tensor([[[0.0, 0, 5], [1, 0, 5], [0, 1, 5]]]).double()
    axis, right, down = image_points(lens(kind, 1).project(points, FOCAL[:1], CENTER[:1]))[0]
    assert torch.equal(axis, CENTER[0])
    # A lens that is off its axis moves points across it, a little.
    across = 0.05 if "p1" in kind.parameter_names() else 0.0
    assert right[0] > axis[0] and abs(right[1] - axis[1]) <= across * (right[0] - axis[0])
    assert down[1] > axis[1] and abs(down[0] - axis[0]) <= across * (down[1] - axis[1])


@every_rectilinear
def test_undivided_coordinates_are_linear_even_across_the_camera(kind):
    ends = torch.tensor([[[1.0, 2, -3], [-2, 1, 5]]], dtype=torch.float64)
    t = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None]
    a, b = lens(kind, 1).project(ends, FOCAL[:1], CENTER[:1])[0]
    between = lens(kind, 1).project((1 - t) * ends[:, :1] + t * ends[:, 1:], FOCAL[:1], CENTER[:1])[0]
    torch.testing.assert_close(between, (1 - t) * a + t * b)


@every_rectilinear
def test_screen_depth_is_linear_in_the_image_of_a_plane_with_the_slope_that_is_told(kind):
    projection, focal = lens(kind, 1), torch.tensor(80.0).double()
    normal = torch.nn.functional.normalize(torch.tensor([0.2, -0.4, -0.9]).double(), dim=0)
    point = torch.tensor([[0.3, -0.2, 2.0]]).double()
    intrinsics = focal.expand(1, 2), torch.zeros(1, 2).double()

    def screen_depth(xy_px):
        ends = [projection.unproject(xy_px[None], torch.full_like(xy_px[None, :, :1], z), *intrinsics) for z in (0, 1)]
        along = ends[1] - ends[0]
        depth = ((point - ends[0]) @ normal) / (along @ normal)
        return projection.screen_depth(depth[0])

    start = image_points(projection.project(point[None], *intrinsics))[0]
    facing, slope = projection.plane_slope(point, normal[None], point[:, 2], focal, steepest=20.0)
    to_camera = -torch.nn.functional.normalize(
        projection.unproject(start[None], torch.ones(1, 1, 1).double(), *intrinsics)
        - projection.unproject(start[None], torch.zeros(1, 1, 1).double(), *intrinsics),
        dim=-1,
    )
    torch.testing.assert_close(facing, (to_camera[0] * normal).sum(1))
    for steps in ([1.0, 0], [0, 1], [-7, 4]):
        step = torch.tensor([steps]).double()
        torch.testing.assert_close(screen_depth(start + step) - screen_depth(start), (slope * step).sum(1))
    # Clamped to the slope of a plane of that slant, here 0.
    assert not projection.plane_slope(point, normal[None], point[:, 2], focal, steepest=0.0)[1].any()


@every_rectilinear
def test_a_step_of_screen_depth_is_its_derivative(kind):
    projection, depth = lens(kind, 1), torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    (derivative,) = torch.autograd.grad(projection.screen_depth(depth).sum(), depth)
    step = torch.tensor([0.1, 0.2], dtype=torch.float64)
    torch.testing.assert_close(projection.screen_depth_step(depth, step), derivative * step)
    assert bool((derivative > 0).all())
