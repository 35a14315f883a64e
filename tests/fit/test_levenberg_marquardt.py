"""Levenberg-Marquardt: its curvature, its steps, what it says about certainty."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.fit.checkpoint import load_checkpoint, save_checkpoint
from diffrender.fit.least_squares import Covariance, LeastSquares
from diffrender.fit.loop import FitSettings, fit
from diffrender.fit.loss_inputs import LossInputs
from diffrender.fit.losses.aov_loss import AovLoss
from diffrender.fit.losses.mask_losses import MaskIoU, MaskL1
from diffrender.fit.losses.pointwise import L1, L2, Charbonnier, Huber
from diffrender.fit.losses.pyramid import Pyramid
from diffrender.fit.model import SceneModel
from diffrender.fit.objective import Objective, Term
from diffrender.fit.optimizer.fit_optimizer import ParamSettings
from diffrender.fit.optimizer.levenberg_marquardt import MOST_OF_MATRIX, LevenbergMarquardt
from diffrender.geometry.primitives import bumpy_sphere, icosphere
from diffrender.geometry.rotations import rotation_angle
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views

POSE, COLOR, FOCAL = "objects.it.pose", "objects.it.material.base_color", "cameras.focal"
SQUARES = Objective((Term("image", 1.0, L2()),))


def ball(size: int = 40, views: int = 2, is_round: bool = False) -> tuple[Scene, Cameras]:
    """A knobbly, coloured ball at the identity; or a round one of one colour."""
    angles = torch.arange(views) * 1.2
    eyes = torch.stack([3 * angles.sin(), torch.full_like(angles, 0.8), 3 * angles.cos()], 1)
    cameras = Cameras.perspective(eyes, fov_deg=45, height=size, width=size)
    mesh = Mesh(*(icosphere(3) if is_round else bumpy_sphere(3)))
    color = torch.tensor([0.7, 0.4, 0.2])
    colors = color if is_round else 0.2 + 0.6 * (mesh.vertices - mesh.vertices.amin(0)) / 2.4
    return Scene({"it": Object(mesh, Unlit(colors))}, background=torch.full((3,), 0.1)), cameras


def targets(scene: Scene, cameras: Cameras) -> Views:
    rgba = render(scene, cameras).rgba
    return Views(cameras, rgba[..., :3], rgba[..., 3], tuple(str(i) for i in range(len(cameras))))


def moved(scene: Scene, degrees: float, shift: float) -> Scene:
    """The scene with its object turned about an oblique axis, and shifted."""
    axis = torch.tensor([0.48, 0.6, 0.64]) * torch.deg2rad(torch.tensor(degrees))
    skew = torch.zeros(3, 3)
    skew[2, 1], skew[0, 2], skew[1, 0] = axis
    pose = torch.eye(4)
    pose[:3, :3], pose[:3, 3] = torch.matrix_exp(skew - skew.T), shift * torch.tensor([0.6, -0.64, 0.48])
    return dataclasses.replace(scene, objects={"it": dataclasses.replace(scene.objects["it"], pose=pose)})


def render_step(scene, cameras, step):
    return render(scene, cameras)


def problem_of(model: SceneModel, views: Views, objective: Objective) -> LeastSquares:
    def compare(values, index):
        scene, cameras = model.state_at(values)
        return LossInputs(render(scene, cameras.select(index), aovs=objective.aovs()), views.select(index))

    return LeastSquares(model, objective, compare, lambda: 0.0, (len(views), *views.images.shape[1:3]), 1.0, 0.0)


def angle_to(pose: Tensor, other: Tensor) -> float:
    return float(torch.rad2deg(rotation_angle(pose[:3, :3].double(), other[:3, :3].double())))


@pytest.mark.parametrize(
    "loss", [L2(), L1(), Huber(), Charbonnier(), Pyramid("huber", 3), MaskL1(), MaskIoU()], ids=lambda loss: repr(loss)
)
def test_the_curvature_is_that_of_the_squares_that_touch_the_penalties(loss) -> None:
    scene, cameras = ball(12)
    views = targets(moved(scene, 4, 0.05), cameras)
    model = SceneModel(scene, cameras, {POSE: None})
    objective = Objective((Term("it", 3.0, loss),))
    matrix = problem_of(model, views, objective).normal_matrix([POSE])

    # By reverse mode, row by row, and the gradient of the loss: weight = gradient / difference.
    latent = model.latents[POSE]
    inputs = LossInputs(render(*model.state()), views)
    expected = torch.zeros(7, 7, dtype=torch.float64)
    gradient = torch.zeros(7, dtype=torch.float64)
    for part in loss.differences(inputs):
        flat = part.flatten()
        rows = torch.stack([torch.autograd.grad(x, latent, retain_graph=True)[0] for x in flat]).double()
        at = part.detach()
        least = 0.1 * at.abs().sum() / (at != 0).sum()
        probe = torch.where(at.abs() < least, least.copysign(at), at).requires_grad_()
        parts = [probe if other is part else other.detach() for other in loss.differences(inputs)]
        parts = [probe if other.shape == probe.shape else other for other in parts]
        (slope,) = torch.autograd.grad(loss.cost(parts, inputs).sum(), probe)
        weights = 3.0 / len(views) * (slope / probe.detach()).flatten().double()
        expected += rows.T @ (weights[:, None] * rows)
        gradient += rows.T @ (weights * at.flatten().double())
    torch.testing.assert_close(matrix, expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))
    # For a smooth penalty the squares have the gradient of the objective as well.
    if isinstance(loss, L2):
        (whole,) = torch.autograd.grad(objective(inputs, scene).total, latent)
        torch.testing.assert_close(gradient, whole.double(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("paths", [(POSE,), (FOCAL,), (POSE, COLOR)])
def test_few_steps_find_what_gave_the_pictures(paths: tuple[str, ...]) -> None:
    scene, cameras = ball(is_round=COLOR in paths)
    if COLOR in paths:  # a pose of a round ball has no rotation that shows
        start = dataclasses.replace(scene.objects["it"], material=Unlit(torch.tensor([0.3, 0.3, 0.3])))
        start = dataclasses.replace(scene, objects={"it": start})
    else:
        start = scene
    truth = moved(scene, 5, 0.08) if POSE in paths else scene
    seen = dataclasses.replace(cameras, focal_px=1.05 * cameras.focal_px) if FOCAL in paths else cameras
    views = dataclasses.replace(targets(truth, seen), cameras=cameras)
    model = SceneModel(start, cameras, dict.fromkeys(paths))
    optimizer = LevenbergMarquardt(model, dict.fromkeys(paths, ParamSettings(1.0)), 12)
    records = []

    class Keep:
        def on_step(self, record, model):
            records.append(record.total)

    result = fit(model, views, SQUARES, optimizer, FitSettings(12), render_step, [Keep()])
    assert result.stop_reason == "finished"
    # Of the last thousandth the gradient judges.
    assert all(after < max(before, 1e-3 * records[0]) for before, after in pairwise(records))
    assert records[-1] < 1e-3 * records[0]
    found = result.scene.objects["it"]
    if paths == (POSE,):
        assert angle_to(found.pose, truth.objects["it"].pose) < 0.1
    if POSE in paths:
        torch.testing.assert_close(found.pose[:3, 3], truth.objects["it"].pose[:3, 3], rtol=0, atol=2e-3)
    if COLOR in paths:
        assert found.material.base_color.tolist() == pytest.approx([0.7, 0.4, 0.2], abs=1e-3)
    if FOCAL in paths:
        torch.testing.assert_close(result.cameras.focal_px, seen.focal_px, rtol=1e-3, atol=0)


def test_it_ends_when_nothing_is_gained_but_not_on_smaller_images() -> None:
    scene, cameras = ball()
    views = targets(moved(scene, 2, 0.02), cameras)
    for settled, least in ((0, 1), (12, 13)):
        model = SceneModel(scene, cameras, {POSE: None})
        optimizer = LevenbergMarquardt(model, {POSE: ParamSettings(1.0)}, 40)
        result = fit(model, views, SQUARES, optimizer, FitSettings(40, settled=settled), render_step)
        assert least <= result.steps_done < 40 and result.stop_reason == "finished"


def test_values_may_stop_and_start_late() -> None:
    scene, cameras = ball()
    seen = dataclasses.replace(cameras, focal_px=1.05 * cameras.focal_px)
    views = dataclasses.replace(targets(moved(scene, 3, 0.03), seen), cameras=cameras)
    settings = {POSE: ParamSettings(1.0, stop=8), FOCAL: ParamSettings(1.0, start=6)}
    model = SceneModel(scene, cameras, dict.fromkeys(settings))
    optimizer = LevenbergMarquardt(model, settings, 40)
    result = fit(model, views, SQUARES, optimizer, FitSettings(40, settled=6), render_step)
    assert result.steps_done > 8 and result.stop_reason == "finished"
    assert not torch.allclose(result.cameras.focal_px, cameras.focal_px, rtol=0.01)
    # Nothing moves any more.
    alone = {POSE: ParamSettings(1.0, stop=2)}
    model = SceneModel(scene, cameras, {POSE: None})
    assert (
        fit(model, views, SQUARES, LevenbergMarquardt(model, alone, 9), FitSettings(9), render_step).stop_reason
        == "finished"
    )


def test_pixels_without_a_target_do_not_count() -> None:
    scene, cameras = ball(16)
    views = targets(moved(scene, 4, 0.05), cameras)
    depth = render(moved(scene, 4, 0.05), cameras, aovs=("depth",)).aov("depth")
    half = depth.clone()
    half[:, :8] = torch.nan
    weights = torch.ones(depth.shape[:3])
    weights[:, :8] = 0
    objective = Objective((Term("depth", 1.0, AovLoss("depth", "l2")),))
    matrices = [
        problem_of(SceneModel(scene, cameras, {POSE: None}), replaced, objective).normal_matrix([POSE])
        for replaced in (
            dataclasses.replace(views, aovs={"depth": half}),
            dataclasses.replace(views, aovs={"depth": depth}, weights=weights),
            dataclasses.replace(views, aovs={"depth": depth}),
        )
    ]
    # Means over all pixels of a view, or over those that are known.
    torch.testing.assert_close(2 * matrices[0], matrices[1], rtol=1e-5, atol=1e-9)
    assert not torch.allclose(matrices[0], matrices[2], rtol=0.05)


def test_a_trial_that_cannot_be_rendered_is_damped() -> None:
    scene, cameras = ball()
    views = targets(moved(scene, 3, 0.03), cameras)
    model = SceneModel(scene, cameras, {POSE: None})
    calls = []

    def fails_at_first(scene, cameras, step):
        calls.append(torch.is_grad_enabled())
        if calls.count(False) == 2:  # after the weights, the first trial
            raise ShapeError("Cameras: no")
        return render(scene, cameras)

    result = fit(
        model,
        views,
        SQUARES,
        LevenbergMarquardt(model, {POSE: ParamSettings(1.0)}, 12),
        FitSettings(12),
        fails_at_first,
    )
    assert result.stop_reason == "finished"
    assert angle_to(result.scene.objects["it"].pose, moved(scene, 3, 0.03).objects["it"].pose) < 0.1


def test_a_resumed_fit_ends_in_the_same_bits(tmp_path) -> None:
    scene, cameras = ball()
    views = targets(moved(scene, 6, 0.1), cameras)

    def begin():
        model = SceneModel(scene, cameras, {POSE: None})
        return model, LevenbergMarquardt(model, {POSE: ParamSettings(1.0)}, 6)

    class SaveAt:
        def on_step(self, record, model):
            if record.step == 2:
                save_checkpoint(tmp_path / "it.pt", model, optimizer, 3)

    model, optimizer = begin()
    whole = fit(model, views, SQUARES, optimizer, FitSettings(6), render_step, [SaveAt()])
    model, optimizer = begin()
    done = load_checkpoint(tmp_path / "it.pt", model, optimizer)
    resumed = fit(model, views, SQUARES, optimizer, FitSettings(6), render_step, first_step=done)
    assert torch.equal(whole.scene.objects["it"].pose, resumed.scene.objects["it"].pose)


def test_a_pull_is_a_prior() -> None:
    scene, cameras = ball()
    views = targets(moved(scene, 0, 0.08), cameras)

    def shift_at(pull: float) -> float:
        model = SceneModel(scene, cameras, {POSE: None})
        optimizer = LevenbergMarquardt(model, {POSE: ParamSettings(1.0, pull=pull)}, 12)
        result = fit(model, views, SQUARES, optimizer, FitSettings(12), render_step)
        return float(result.scene.objects["it"].pose[:3, 3].norm())

    weak, strong = shift_at(1e-3), shift_at(1e3)
    assert weak == pytest.approx(0.08, abs=3e-3)
    assert strong < 0.01


@pytest.mark.parametrize("loss", [L2(), Huber(), MaskL1()], ids=lambda loss: repr(loss))
def test_products_with_the_curvature_are_those_of_its_matrix(loss) -> None:
    scene, cameras = ball(16)
    views = targets(moved(scene, 4, 0.05), cameras)
    model = SceneModel(scene, cameras, {POSE: None, FOCAL: None})
    problem = problem_of(model, views, Objective((Term("it", 3.0, loss),)))
    paths = list(model.latents)
    matrix = problem.normal_matrix(paths)
    scale = matrix.diagonal().sqrt()
    scale = scale.clamp_min(1e-3 * float(scale.max()))
    vector = torch.randn(len(matrix), dtype=torch.float64, generator=torch.Generator().manual_seed(1)) / scale
    product = problem.product(paths, vector) / scale
    torch.testing.assert_close(product, matrix @ vector / scale, rtol=1e-4, atol=1e-4)
    about = problem.diagonal(paths)
    assert ((about >= 0.05 * matrix.diagonal()) & (about <= 4 * matrix.diagonal())).all()
    assert torch.equal(about, problem.diagonal(paths))


def test_many_numbers_are_found_by_products_alone() -> None:
    scene, cameras = ball(views=6)
    item = scene.objects["it"]
    gray = dataclasses.replace(item, material=Unlit(torch.full_like(item.material.base_color, 0.5)))
    start = dataclasses.replace(scene, objects={"it": gray})
    model = SceneModel(start, cameras, {COLOR: None})
    records = []

    class Keep:
        def on_step(self, record, model):
            records.append(record.total)

    optimizer = LevenbergMarquardt(model, {COLOR: ParamSettings(1.0)}, 10)
    result = fit(model, targets(scene, cameras), SQUARES, optimizer, FitSettings(10), render_step, [Keep()])
    assert model.latents[COLOR].numel() > MOST_OF_MATRIX and result.stop_reason == "finished"
    assert min(records) < 1e-4 * records[0]


def test_a_background_that_was_put_there_teaches_no_blur() -> None:
    scene, cameras = ball()
    views = dataclasses.replace(targets(scene, cameras), is_composited=True)
    cameras = dataclasses.replace(cameras, blur_px=torch.tensor(1.0))
    seen = []

    def observed(scene, cameras, step):
        seen.append(cameras.blur_mask)
        return render(scene, cameras)

    model = SceneModel(scene, cameras, {"cameras.blur": None})
    optimizer = LevenbergMarquardt(model, {"cameras.blur": ParamSettings(1.0)}, 2)
    fit(model, views, SQUARES, optimizer, FitSettings(2), observed)
    assert seen and all(mask is not None and torch.equal(mask, views.masks[: len(mask)] > 0) for mask in seen)


def test_deviations_are_those_of_fits_to_noisy_pictures() -> None:
    """Fifty draws of noise: the errors of focal length and colour, in deviations, have a size of 1."""
    scene, cameras = ball(32, 1, is_round=True)
    clean = targets(scene, cameras)
    paths = {COLOR: ParamSettings(1.0), FOCAL: ParamSettings(1.0)}
    errors = []
    for seed in range(50):
        noise = 0.05 * torch.randn(clean.images.shape, generator=torch.Generator().manual_seed(seed))
        linear = Objective((Term("image", 1.0, L2(space="linear")),))
        views = dataclasses.replace(clean, images=clean.images + noise)
        model = SceneModel(scene, cameras, dict.fromkeys(paths))
        fit(model, views, linear, LevenbergMarquardt(model, paths, 6), FitSettings(6), render_step)
        covariance = problem_of(model, views, linear).covariance(list(paths))
        found = torch.cat([model.latents[path].detach().flatten() for path in paths]).double()
        start = SceneModel(scene, cameras, dict.fromkeys(paths)).latents
        truth = torch.cat([start[path].detach().flatten() for path in paths]).double()
        errors.append((found - truth) / covariance.deviations(torch.eye(len(found), dtype=torch.float64)))
    size = torch.stack(errors).square().mean(0).sqrt()
    assert ((size > 0.75) & (size < 1.3)).all(), size


def test_what_pictures_do_not_determine_has_no_finite_deviation() -> None:
    # x + y and z are measured, x - y is not.
    rows = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 2.0]], dtype=torch.float64)
    covariance = Covariance.of(rows.T @ rows, 0.25)
    deviations = covariance.deviations(torch.tensor([[1.0, 1, 0], [1, 0, 0], [1, -1, 0], [0, 0, 1]]).double())
    assert deviations.tolist() == pytest.approx([0.5, torch.inf, torch.inf, 0.25])
