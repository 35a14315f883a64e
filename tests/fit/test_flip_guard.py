import torch

from diffrender.fit.optimizer.flip_guard import damp_flipping_steps
from diffrender.fit.parametrizations.large_steps import LargeSteps
from diffrender.geometry.normals import face_normals
from diffrender.geometry.primitives import icosphere
from diffrender.scene.mesh import Mesh

SQUARE = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
TWO = torch.tensor([[0, 1, 2], [0, 2, 3]])


def identity(latent):
    return latent


def turned(before, after, faces):
    return int(((face_normals(before, faces) * face_normals(after, faces)).sum(1) < 0).sum())


def test_a_harmless_step_is_left_alone():
    after = SQUARE + torch.tensor([5.0, -3.0, 2.0])
    found = damp_flipping_steps(SQUARE, after, identity, TWO)
    assert found.vertices is after
    assert (found.damped, found.flipped) == (0, 0)


def test_a_corner_that_would_cross_the_diagonal_stops_before_it():
    after = SQUARE.clone()
    after[1] = torch.tensor([0.2, 0.8, 0.0])  # over the edge from 0 to 2
    assert turned(SQUARE, after, TWO) == 1
    found = damp_flipping_steps(SQUARE, after, identity, TWO)
    assert turned(SQUARE, found.vertices, TWO) == found.flipped == 0
    # Half of the step ends on this side of the diagonal.
    torch.testing.assert_close(found.vertices[1], torch.tensor([0.6, 0.4, 0.0]))
    assert found.damped == 3  # all corners of the face, even the two that do not move
    assert torch.equal(found.vertices[3], after[3])


def test_rough_steps_of_a_sphere_turn_nothing_over_and_calm_parts_move_fully():
    ball = icosphere(3)
    generator = torch.Generator().manual_seed(0)
    noise = 0.08 * torch.randn(ball.vertices.shape, generator=generator) * (ball.vertices[:, :1] > 0)
    after = ball.vertices + noise
    assert turned(ball.vertices, after, ball.faces) > 20
    found = damp_flipping_steps(ball.vertices, after, identity, ball.faces)
    assert found.flipped == turned(ball.vertices, found.vertices, ball.faces) == 0
    assert 0 < found.damped < len(ball.vertices) / 2
    calm = ball.vertices[:, 0] < -0.2
    assert torch.equal(found.vertices[calm], after[calm])
    share = (found.vertices - ball.vertices).norm() / noise.norm()
    assert share > 0.5


def test_faces_without_area_do_not_hold_anybody_up():
    flat = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0]])
    faces = torch.tensor([[0, 1, 2], [0, 1, 3]])
    after = flat.clone()
    after[2] += torch.tensor([0.0, 0.5, 0.0])
    assert damp_flipping_steps(flat, after, identity, faces).vertices is after


def test_no_faces():
    assert damp_flipping_steps(SQUARE, SQUARE + 1, identity, TWO[:0]).damped == 0


def test_behind_a_smoothing_map_the_latent_is_held_back():
    ball = icosphere(3)
    method = LargeSteps(4.0).bind(Mesh(ball.vertices, ball.faces))
    before = method.latent_of(ball.vertices)
    noise = torch.randn(before.shape, generator=torch.Generator().manual_seed(1)) * (ball.vertices[:, :1] > 0)
    after = before + 2 * noise
    assert turned(ball.vertices, method.value_of(after), ball.faces) > 20
    found = damp_flipping_steps(before, after, method.value_of, ball.faces)
    assert found.flipped == turned(ball.vertices, found.vertices, ball.faces)
    assert found.flipped < turned(ball.vertices, method.value_of(after), ball.faces) / 10
    torch.testing.assert_close(found.vertices, method.value_of(found.latent))
    # Each row moves by a share of its step, at most all of it.
    share = (found.latent - before).norm(dim=1) / (after - before).norm(dim=1).clamp_min(1e-9)
    assert (share < 1 + 1e-4).all()
