import math

import pytest
import torch

from diffrender.errors import ShapeError
from diffrender.geometry.rigid import check_rigid, invert_rigid, look_at, make_rigid
from diffrender.geometry.rotations import quaternion_to_matrix


def random_rigid(n):
    generator = torch.Generator().manual_seed(0)
    rotation = quaternion_to_matrix(torch.randn(n, 4, generator=generator, dtype=torch.float64))
    return make_rigid(rotation, torch.randn(n, 3, generator=generator, dtype=torch.float64))


def test_make_rigid_rotates_then_translates():
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    moved = make_rigid(quarter, torch.tensor([10.0, 20, 30])) @ torch.tensor([1.0, 0, 0, 1])
    torch.testing.assert_close(moved, torch.tensor([10.0, 21, 30, 1]))


def test_make_rigid_broadcasts_one_rotation_over_translations():
    assert make_rigid(torch.eye(3), torch.zeros(2, 5, 3)).shape == (2, 5, 4, 4)


def test_inverse_undoes_the_motion_on_both_sides():
    matrix = random_rigid(20)
    identity = torch.eye(4, dtype=torch.float64).expand(20, 4, 4)
    torch.testing.assert_close(invert_rigid(matrix) @ matrix, identity)
    torch.testing.assert_close(matrix @ invert_rigid(matrix), identity)


def test_gradients_reach_rotation_and_translation():
    rotation = quaternion_to_matrix(torch.randn(2, 4, dtype=torch.float64)).requires_grad_()
    translation = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r, t: invert_rigid(make_rigid(r, t)), (rotation, translation))


def test_check_rigid_accepts_rotations_in_any_batch_shape():
    check_rigid("f", "pose", random_rigid(6).reshape(2, 3, 4, 4))
    check_rigid("f", "pose", random_rigid(6).float())
    check_rigid("f", "pose", torch.eye(4))


def spoilt(row, column, value):
    matrix = torch.eye(4)
    matrix[row, column] = value
    return matrix


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (spoilt(0, 3, math.nan), "finite"),
        (spoilt(1, 1, math.inf), "finite"),
        (spoilt(3, 0, 0.1), "last row"),
        (spoilt(0, 3, 0.1) @ spoilt(3, 0, 0.1), "but its last row"),
        (spoilt(0, 3, 0.1).T, r"it is transposed: its last row must be \[0, 0, 0, 1\], got .* the last column"),
        (spoilt(0, 1, 0.2), r"not orthonormal: .* a shear of more than 0.0001; export the pose again"),
        (torch.diag(torch.tensor([1.0, 1.0, 2.0, 1.0])), "not orthonormal"),
        (torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0])), "scaled by 2;"),
        (torch.diag(torch.tensor([0.0, 0.0, 0.0, 1.0])), r"3x3 part is singular: rows of length \[0, 0, 0\]; export"),
        (torch.diag(torch.tensor([1.0, 0.0, 1.0, 1.0])), "3x3 part is singular"),
        (torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0])), "mirror"),
        (torch.zeros(4, 4), "last row"),
        (torch.eye(3), r"\[\.\.\., 4, 4\]"),
    ],
)
def test_check_rigid_names_the_fault(matrix, message):
    with pytest.raises(ShapeError, match=f"fit: pose.*{message}"):
        check_rigid("fit", "pose", matrix)


def test_check_rigid_names_the_bad_matrix_of_a_batch():
    matrices = torch.eye(4).repeat(2, 3, 1, 1)
    matrices[1, 2, 0, 0] = -1
    with pytest.raises(ShapeError, match=r"pose\[1, 2\] must be a rigid motion"):
        check_rigid("fit", "pose", matrices)


def test_check_rigid_tolerance_is_respected():
    slightly_off = spoilt(0, 1, 5e-4)
    check_rigid("fit", "pose", slightly_off, tol=1e-3)
    with pytest.raises(ShapeError):
        check_rigid("fit", "pose", slightly_off, tol=1e-4)


def test_look_at_by_hand():
    # From (0, 0, 3) towards the origin, +y up: x stays right, y turns down, depth is 3 - z.
    cam_from_world = look_at(torch.tensor([[0.0, 0, 3]]), [0.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    assert cam_from_world[0].tolist() == [[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 3], [0, 0, 0, 1]]


def test_look_at_is_rigid_and_puts_the_target_ahead_and_up_upwards():
    generator = torch.Generator().manual_seed(1)
    eye, target, up = (torch.randn(20, 3, generator=generator, dtype=torch.float64) for _ in range(3))
    cam_from_world = look_at(eye, target, up)
    rotation = cam_from_world[:, :3, :3]
    identity = torch.eye(3, dtype=torch.float64).expand(20, 3, 3)
    torch.testing.assert_close(rotation @ rotation.transpose(1, 2), identity)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(20, dtype=torch.float64))
    for n in range(20):
        shift = cam_from_world[n, :3, 3]
        torch.testing.assert_close(rotation[n] @ eye[n] + shift, torch.zeros(3).double())
        ahead = rotation[n] @ target[n] + shift
        torch.testing.assert_close(ahead, torch.tensor([0, 0, math.dist(eye[n].tolist(), target[n].tolist())]).double())
        upwards = rotation[n] @ up[n]
        assert abs(float(upwards[0])) < 1e-9 and float(upwards[1]) < 0  # up in the image is -y


def test_look_at_takes_one_target_for_each_eye_or_one_for_all():
    eye = torch.randn(4, 3, dtype=torch.float64) + 5
    common = look_at(eye, [1.0, 2.0, 3.0], [0.0, 1.0, 0.0])
    separate = look_at(eye, torch.tensor([1.0, 2.0, 3.0]).double().expand(4, 3), torch.tensor([0.0, 5.0, 0.0]))
    torch.testing.assert_close(common, separate)
    assert common.dtype == torch.float64


@pytest.mark.parametrize(
    ("eye", "up"),
    [([1.0, 2.0, 3.0], [0.0, 1.0, 0.0]), ([1.0, 9.0, 3.0], [0.0, 1.0, 0.0]), ([1.0, 5.0, 3.0], [0.0, 0.0, 0.0])],
    ids=("at the target", "straight above", "no direction"),
)
def test_look_at_refuses_undefined_orientations(eye: list[float], up: list[float]):
    with pytest.raises(ShapeError, match="look_at: eye must differ from target"):
        look_at(torch.tensor([eye, [7.0, 7.0, 7.0]]), [1.0, 2.0, 3.0], up)


def test_look_at_names_a_wrong_shape():
    with pytest.raises(ShapeError, match=r"look_at: eye must have shape \[N, 3\]"):
        look_at(torch.zeros(3), [0.0, 0.0, 1.0], [0.0, 1.0, 0.0])
    with pytest.raises(ShapeError, match=r"look_at: eye must be .*int64"):
        look_at(torch.tensor([[1, 2, 3]]), [0.0, 0.0, 1.0], [0.0, 1.0, 0.0])


@pytest.mark.parametrize("place", [(0, 0), (1, 3), (3, 0), (3, 3)])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("batch", [(), (1,)])
def test_a_matrix_that_is_not_finite_is_refused_wherever_it_is(place, value, batch):
    matrix = torch.eye(4)
    matrix[place] = value
    with pytest.raises(ShapeError, match="pose must be finite"):
        check_rigid("fit", "pose", matrix.expand(*batch, 4, 4))


def refusal(matrix):
    try:
        check_rigid("fit", "pose", matrix)
    except ShapeError as error:
        return str(error).replace("pose[0]", "pose")
    return ""


def test_one_matrix_is_judged_as_a_batch_is():
    generator = torch.Generator().manual_seed(0)
    found = []
    for exponent in torch.linspace(-6, -2, 40).tolist():
        noise = torch.randn(4, 4, dtype=torch.float64, generator=generator)
        matrix = random_rigid(1)[0] + 10**exponent * noise
        found.append(refusal(matrix))
        many = matrix.expand(40, 4, 4)
        assert found[-1] == refusal(matrix[None]) == refusal(many)
    assert found[0] == "" and found[-1] != ""
