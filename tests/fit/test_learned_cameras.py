"""Poses of cameras, and lenses that all share, as changes of where they start."""

from dataclasses import replace

import pytest
import torch

from diffrender.errors import ShapeError
from diffrender.fit.parametrizations.camera_poses import CameraPoses
from diffrender.fit.parametrizations.shared import SharedFactor, SharedShift
from diffrender.geometry.rigid import make_rigid
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.scene.cameras import Cameras

PIVOT = (0.25, 0.2, 0.1)


def cameras(count: int = 6) -> Cameras:
    eye = torch.randn(count, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    return Cameras.perspective(eye, target=(0.3, 0.1, 0.2))


def poses(**options) -> CameraPoses:
    return CameraPoses(pivot=PIVOT, length_unit=0.7, **options).starting_at(cameras().cam_from_world)


def moved_with_the_world(start, index, size):
    """The cameras that see of the moved world what `start` see of the world."""
    by = torch.zeros(7, dtype=torch.float64)
    by[index] = size
    pivot = start.new_tensor(PIVOT)
    rotation = start[:, :3, :3] @ axis_angle_to_matrix(by[3:6]).T
    seen = (1 + by[6]) * (start[:, :3, :3] @ pivot + start[:, :3, 3])
    return make_rigid(rotation, seen - rotation @ (pivot + by[:3]))


def latent_of(parametrization, wanted):
    """The latent of cameras near the start, by Newton's method."""
    latent = torch.zeros(len(wanted), 6, dtype=torch.float64)
    for _ in range(4):
        jacobian = torch.autograd.functional.jacobian(parametrization.value_of, latent)
        error = (wanted - parametrization.value_of(latent)).reshape(-1, 1)
        step = torch.linalg.lstsq(jacobian.reshape(-1, latent.numel()), error).solution
        latent = latent + step.reshape(latent.shape)
    return latent


@pytest.mark.parametrize("index", range(7))
def test_no_motion_of_all_cameras_with_the_world_is_learned(index):
    fixed, free = poses(), poses(keeps_frame=False)
    wanted = moved_with_the_world(fixed.start, index, 1e-4)
    latent = latent_of(free, wanted)
    torch.testing.assert_close(free.value_of(latent), wanted, rtol=0, atol=1e-9)
    assert (wanted - fixed.start).abs().max() > 3e-5
    torch.testing.assert_close(fixed.value_of(latent), fixed.start, rtol=0, atol=1e-7)


def test_a_motion_of_one_camera_is_nearly_all_learned():
    latent = torch.zeros(6, 6, dtype=torch.float64)
    latent[2] = torch.tensor([0.02, -0.01, 0.03, 0.05, 0.02, -0.04])
    free, fixed = (each.value_of(latent) for each in (poses(keeps_frame=False), poses()))
    moved = (free - poses().start).norm()
    assert 0 < (fixed - free).norm() < moved


def test_a_row_turns_shifts_and_moves_away_what_its_camera_looks_at():
    one = poses(keeps_frame=False)
    latent = torch.zeros(6, 6, dtype=torch.float64)
    latent[0, :3], latent[1, 3], latent[2, 5] = 0.1, 0.2, 0.3
    pivot = torch.tensor(PIVOT, dtype=torch.float64)
    before, after = (pose[:, :3, :3] @ pivot + pose[:, :3, 3] for pose in (one.start, one.value_of(latent)))
    torch.testing.assert_close(after[0], before[0])
    torch.testing.assert_close(after[1] - before[1], torch.tensor([0.14, 0.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(after[2], before[2] * torch.tensor(0.3, dtype=torch.float64).exp())
    torch.testing.assert_close(one.value_of(latent)[3:], one.start[3:])


def test_cameras_inside_of_what_they_look_at_turn_about_a_point_ahead():
    eye = torch.tensor([PIVOT, [0.3, 0.2, 0.1], [0.0, 0.0, 0.0]], dtype=torch.float64)
    inside = Cameras.perspective(eye, target=(4.0, 0.1, 0.2)).cam_from_world
    parametrization = CameraPoses(pivot=PIVOT, length_unit=2.0).starting_at(inside)
    latent = torch.zeros(3, 6, dtype=torch.float64, requires_grad=True)
    value = parametrization.value_of(latent)
    torch.testing.assert_close(value, inside)
    (gradient,) = torch.autograd.grad((value * torch.randn(3, 4, 4, dtype=torch.float64)).sum(), latent)
    assert torch.isfinite(gradient).all()


def test_motions_are_from_the_start_only():
    bound = poses()
    with pytest.raises(ShapeError, match="must be the start"):
        bound.latent_of(moved_with_the_world(bound.start, 0, 0.1))


def test_a_shared_lens_changes_all_cameras_alike():
    focal, center = cameras().focal_px * torch.linspace(1, 2, 6)[:, None], cameras().center_px
    factor = SharedFactor().starting_at(focal)
    assert torch.equal(factor.value_of(factor.latent_of(focal)), focal)
    torch.testing.assert_close(factor.value_of(torch.tensor([0.5]).log()), focal / 2)
    shift = SharedShift(unit=focal).starting_at(center)
    assert torch.equal(shift.value_of(shift.latent_of(center)), center)
    moved = shift.value_of(torch.tensor([0.01, -0.02])) - center
    torch.testing.assert_close(moved / focal, torch.tensor([0.01, -0.02], dtype=focal.dtype).expand(6, 2))
    for bound, other in ((factor, focal * 2), (shift, center + 1)):
        with pytest.raises(ShapeError, match="start"):
            bound.latent_of(other)
    with pytest.raises(ShapeError, match="above 0"):
        SharedFactor().latent_of(-focal)
    with pytest.raises(ShapeError, match="length_unit"):
        replace(poses(), length_unit=0.0)
