from __future__ import annotations

import math

import pytest
import torch

from diffrender.errors import ShapeError
from diffrender.geometry.projection import look_at, project, transform_points


def random_rigid(n: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.eye(4, dtype=torch.float64).repeat(n, 1, 1)
    rotation = torch.linalg.qr(torch.randn(n, 3, 3, generator=generator, dtype=torch.float64))[0]
    matrix[:, :3, :3] = rotation * torch.linalg.det(rotation)[:, None, None]
    matrix[:, :3, 3] = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    return matrix


def test_transform_points_turns_then_moves() -> None:
    quarter_turn = torch.tensor([[[0.0, -1, 0, 10], [1, 0, 0, 20], [0, 0, 1, 30], [0, 0, 0, 1]]])
    points = torch.tensor([[1.0, 0, 0], [0, 2, 3]])
    assert transform_points(quarter_turn, points).tolist() == [[[10, 21, 30], [8, 20, 33]]]


def test_transforms_of_several_views_are_those_of_each() -> None:
    matrix, points = random_rigid(4), torch.rand(7, 3, dtype=torch.float64)
    moved = transform_points(matrix, points)
    assert moved.shape == (4, 7, 3)
    for view in range(4):
        for v in range(7):
            expected = matrix[view] @ torch.cat([points[v], torch.ones(1, dtype=torch.float64)])
            torch.testing.assert_close(moved[view, v], expected[:3])
        assert torch.equal(transform_points(matrix[view : view + 1], points)[0], moved[view])


def test_there_and_back() -> None:
    matrix, points = random_rigid(3), torch.rand(5, 3, dtype=torch.float64)
    moved = transform_points(matrix, points)
    back = torch.stack([transform_points(torch.linalg.inv(matrix[n : n + 1]), moved[n])[0] for n in range(3)])
    torch.testing.assert_close(back, points.expand(3, 5, 3))


FOCAL, CENTER = torch.tensor([[100.0, 200]]), torch.tensor([[32.0, 24]])


def test_perspective_by_hand() -> None:
    # x = 100 (1 / 4) + 32 = 57, y = 200 (-2 / 4) + 24 = -76; times w = 4.
    homogeneous = project(torch.tensor([[[1.0, -2, 4]]]), FOCAL, CENTER, orthographic=False)
    assert homogeneous.tolist() == [[[57 * 4, -76 * 4, 4, 4]]]


def test_parallel_by_hand() -> None:
    # The focal length is in pixels per world unit: x = 100 + 32, y = -400 + 24, whatever the depth.
    homogeneous = project(torch.tensor([[[1.0, -2, 4], [1, -2, -7]]]), FOCAL, CENTER, orthographic=True)
    assert homogeneous.tolist() == [[[132, -376, 1, 4], [132, -376, 1, -7]]]


def test_axes_are_those_of_opencv() -> None:
    # To the right is +x, down is +y, and what lies on the optical axis is at the principal point.
    points = torch.tensor([[[0.0, 0, 5], [1, 0, 5], [0, 1, 5]]])
    homogeneous = project(points, FOCAL, CENTER, orthographic=False)
    axis, right, down = (homogeneous[0, :, :2] / homogeneous[0, :, 2:3]).unbind(0)
    assert torch.equal(axis, CENTER[0])
    assert right[0] > axis[0] and right[1] == axis[1]
    assert down[1] > axis[1] and down[0] == axis[0]


@pytest.mark.parametrize("orthographic", [False, True])
def test_undivided_coordinates_are_linear_even_across_the_camera(orthographic: bool) -> None:
    ends = torch.tensor([[[1.0, 2, -3], [-2, 1, 5]]], dtype=torch.float64)
    t = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None]
    between = (1 - t) * ends[:, :1] + t * ends[:, 1:]
    a, b = project(ends, FOCAL.double(), CENTER.double(), orthographic)[0]
    found = project(between, FOCAL.double(), CENTER.double(), orthographic)[0]
    torch.testing.assert_close(found, (1 - t) * a + t * b)


@pytest.mark.parametrize("orthographic", [False, True])
def test_projection_is_differentiable_in_points_and_cameras(orthographic: bool) -> None:
    points = torch.rand(2, 3, 3, dtype=torch.float64, requires_grad=True)
    focal = torch.rand(2, 2, dtype=torch.float64, requires_grad=True)
    center = torch.rand(2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p, f, c: project(p, f, c, orthographic), (points, focal, center))


@pytest.mark.parametrize("orthographic", [False, True])
def test_views_together_are_the_views_one_by_one(orthographic: bool) -> None:
    points = torch.randn(3, 50, 3)
    focal, center = torch.rand(3, 2) * 100, torch.rand(3, 2) * 50
    together = project(points, focal, center, orthographic)
    for n in range(3):
        one = slice(n, n + 1)
        assert torch.equal(project(points[one], focal[one], center[one], orthographic), together[one])


def test_look_at_by_hand() -> None:
    # From (0, 0, 3) towards the origin, +y up: x stays right, y turns down, depth is 3 - z.
    cam_from_world = look_at(torch.tensor([[0.0, 0, 3]]), [0.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    assert cam_from_world[0].tolist() == [[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 3], [0, 0, 0, 1]]


def test_look_at_is_rigid_and_puts_the_target_ahead_and_up_upwards() -> None:
    generator = torch.Generator().manual_seed(1)
    eye, target, up = (torch.randn(20, 3, generator=generator, dtype=torch.float64) for _ in range(3))
    cam_from_world = look_at(eye, target, up)
    rotation = cam_from_world[:, :3, :3]
    identity = torch.eye(3, dtype=torch.float64).expand(20, 3, 3)
    torch.testing.assert_close(rotation @ rotation.transpose(1, 2), identity)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(20, dtype=torch.float64))
    for n in range(20):
        one = cam_from_world[n : n + 1]
        torch.testing.assert_close(transform_points(one, eye[n : n + 1])[0, 0], torch.zeros(3).double())
        ahead = transform_points(one, target[n : n + 1])[0, 0]
        torch.testing.assert_close(ahead, torch.tensor([0, 0, math.dist(eye[n].tolist(), target[n].tolist())]).double())
        upwards = rotation[n] @ up[n]
        assert abs(float(upwards[0])) < 1e-9 and float(upwards[1]) < 0  # up in the image is -y


def test_look_at_takes_one_target_for_each_eye_or_one_for_all() -> None:
    eye = torch.randn(4, 3, dtype=torch.float64) + 5
    common = look_at(eye, [1.0, 2.0, 3.0], [0.0, 1.0, 0.0])
    each = look_at(eye, torch.tensor([1.0, 2.0, 3.0]).double().expand(4, 3), torch.tensor([0.0, 5.0, 0.0]))
    torch.testing.assert_close(common, each)
    assert common.dtype == torch.float64


@pytest.mark.parametrize(
    ("eye", "up"),
    [([1.0, 2.0, 3.0], [0.0, 1.0, 0.0]), ([1.0, 9.0, 3.0], [0.0, 1.0, 0.0]), ([1.0, 5.0, 3.0], [0.0, 0.0, 0.0])],
    ids=("at the target", "straight above", "no direction"),
)
def test_look_at_refuses_what_has_no_answer(eye: list[float], up: list[float]) -> None:
    with pytest.raises(ShapeError, match="look_at: eye must differ from target"):
        look_at(torch.tensor([eye, [7.0, 7.0, 7.0]]), [1.0, 2.0, 3.0], up)


def test_look_at_names_a_wrong_shape() -> None:
    with pytest.raises(ShapeError, match=r"look_at: eye must have shape \[N, 3\]"):
        look_at(torch.zeros(3), [0.0, 0.0, 1.0], [0.0, 1.0, 0.0])
