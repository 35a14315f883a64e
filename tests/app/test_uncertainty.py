"""What a fit says of the certainty of what it learned: in the space of its loss, and of numbers that nothing shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.moving_ball import PROGRAM, write_ball

from diffrender.app import uncertainty
from diffrender.app.program_results import draw_program
from diffrender.app.uncertainty import Posterior, find_covariance, find_deviations, find_posterior
from diffrender.config.load import load_config
from diffrender.fit.least_squares import LeastSquares
from diffrender.fit.loop import FitResult, fit
from diffrender.fit.loss_inputs import LossInputs
from diffrender.fit.losses.pointwise import L2
from diffrender.fit.objective import Objective, Term
from diffrender.render.supersample import render_supersampled
from diffrender.setup.fit_setup import FitSetup, build_fit

SQUARES = ("optimize={method: levenberg_marquardt}", "targets.synthetic.noise=0.02")
IDLE = PROGRAM.replace("side, time", "side, idle, time").replace("speed * time", "speed * time + 0 * idle")
KEEPS = """
def report(run):
    from matplotlib.figure import Figure
    TOLD.append(run)
    return Figure()
TOLD = []
"""


def fitted(scene: Path, *overrides: str) -> tuple[FitSetup, FitResult, Posterior]:
    setup = build_fit(load_config(scene, (*SQUARES, *overrides)))
    result = fit(setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step)
    posterior = find_posterior(setup, result)
    assert posterior is not None
    return setup, result, posterior


@pytest.mark.parametrize("space", ["linear", "srgb"])
def test_it_is_that_of_the_space_in_which_colours_are_compared(space: str, tmp_path: Path) -> None:
    setup, _, posterior = fitted(write_ball(tmp_path), f"loss={{mask: null, image: {{type: l2, space: {space}}}}}")
    views = setup.fit_views

    def compare(values, index):
        scene, cameras = setup.model.state_at(values)
        return LossInputs(setup.render_end(scene, cameras.select(index)), views.select(index))

    squares = Objective((Term("image", 1.0, L2(space)),))
    wanted = LeastSquares(setup.model, squares, compare, lambda: 0.0, (len(views), 24, 24), 1.0, 0.0)
    paths = list(posterior.parts)
    noise = wanted.covariance(paths).matrix
    # Beside the noise there are two directions: to least squares, and by the error of images.
    latents = [setup.model.latents[path] for path in paths]
    matrix, shifts = wanted.normal_matrix(paths), []
    exact = render_supersampled(*setup.model.state(), 16)
    for targets in (views, replace(views, images=exact[..., :3])):
        scene, cameras = setup.model.state()
        cost = squares(LossInputs(setup.render_end(scene, cameras), targets), scene).total
        shifts.append(torch.linalg.solve(matrix, torch.stack(torch.autograd.grad(cost, latents)).double()))
    moved = noise + sum(shift[:, None] * shift for shift in shifts)
    torch.testing.assert_close(posterior.covariance.matrix, moved, rtol=1e-3, atol=0)
    assert bool((moved.diagonal() > 1.02 * noise.diagonal()).any())


def test_pictures_without_noise_are_known_to_what_our_images_are(tmp_path: Path) -> None:
    """Noise alone told deviations of which true values were up to ten away."""
    squares = 0.0
    for number, (speed, side) in enumerate([(1.2, 0.5), (1.3, 0.6), (0.9, 0.3), (1.0, 0.1)]):
        true = f"targets.synthetic.program.parameters={{speed: {speed}, side: {side}}}"
        (tmp_path / str(number)).mkdir()
        scene = write_ball(tmp_path / str(number))
        scene.write_text(scene.read_text().replace("subdivisions: 3", "subdivisions: 2"))  # the fit's own mesh
        _, result, posterior = fitted(
            scene,
            "targets.synthetic.noise=0",
            "targets.synthetic.samples=16",  # or theirs is the larger error
            "loss={mask: null}",
            true,
        )
        for name, value in (("speed", speed), ("side", side)):
            off = float(result.scene.program[name]) - value
            squares += (off / float(posterior.deviations_of(f"program.{name}"))) ** 2
    assert squares / 8 < 2


def test_a_background_that_was_put_there_says_nothing_of_the_blur(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = build_fit(load_config(write_ball(tmp_path), (*SQUARES, "optimize.cameras.blur={}", "loss={mask: null}")))
    views = setup.fit_views
    result = fit(setup.model, views, setup.objective, setup.optimizer, setup.settings, setup.render_step)
    seen, render_end = [], FitSetup.render_end

    def observed(self, scene, cameras, *options):
        seen.append(cameras.blur_mask)
        return render_end(self, scene, cameras, *options)

    monkeypatch.setattr(FitSetup, "render_end", observed)
    assert find_posterior(replace(setup, fit_views=replace(views, is_composited=True)), result) is not None
    assert seen and all(mask is not None and mask.any() for mask in seen)


def test_a_number_that_nothing_shows_has_no_deviation_and_the_others_have_theirs(tmp_path: Path) -> None:
    scene = write_ball(tmp_path, IDLE + KEEPS)
    text = scene.read_text().replace("side: 0.2}", "side: 0.2, idle: 1}").replace("side: 0.5}", "side: 0.5, idle: 1}")
    scene.write_text(text)
    setup, result, posterior = fitted(scene, "loss={mask: null}")
    assert posterior.covariance_of(["program.speed", "program.idle"]) is None
    known = posterior.covariance_of(["program.speed", "program.side"])
    assert known is not None and known.shape == (2, 2)
    deviations = find_deviations(posterior)
    assert deviations["program.idle"] == {"deviation": None}
    assert float(known[0, 0].sqrt()) == pytest.approx(deviations["program.speed"]["deviation"], rel=0.01)
    draw_program(tmp_path / "program.png", setup, result, posterior)
    assert setup.program is not None
    (told,) = setup.program.module.TOLD
    assert told.covariance is None and float(told.deviations["idle"]) == torch.inf
    assert float(told.deviations["side"]) == pytest.approx(float(known[1, 1].sqrt()))


def test_the_covariance_is_that_of_the_deviations_and_names_its_rows(tmp_path: Path, monkeypatch) -> None:
    scene = write_ball(tmp_path, IDLE)
    text = scene.read_text().replace("side: 0.2}", "side: 0.2, idle: 1}").replace("side: 0.5}", "side: 0.5, idle: 1}")
    scene.write_text(text)
    _, _, posterior = fitted(scene, "loss={mask: null}", "optimize.background={}")
    found, deviations = find_covariance(posterior), find_deviations(posterior)
    names = ["program.speed", "program.side", "program.idle"]
    assert found["of"] == [*names, *(f"background.{channel}" for channel in range(3))]
    own = [*(deviations[name]["deviation"] for name in names), *deviations["background"]["deviation"]]
    assert len(own) == len(found["matrix"]) and own[2] is None and None not in own[:2] + own[3:]
    for k, (wanted, row) in enumerate(zip(own, found["matrix"], strict=True)):
        assert row[k] is None if wanted is None else row[k] ** 0.5 == pytest.approx(wanted, rel=0.01)
        assert row[2] is None
    assert found["matrix"][2] == [None] * len(own)
    of_program = posterior.covariance_of(["program.speed", "program.side"])
    assert of_program is not None
    assert [row[:2] for row in found["matrix"][:2]] == [pytest.approx(row, rel=1e-6) for row in of_program.tolist()]
    monkeypatch.setattr(uncertainty, "MOST_OF_COVARIANCE", len(own) - 1)
    assert find_covariance(posterior) == {} == find_covariance(None)


def test_the_covariance_of_poses_is_by_turns_and_shifts(tmp_path: Path) -> None:
    learned = ("cameras.pose={}", "mesh.vertices=off", "material.base_color=off")
    scene = tmp_path / "two.yaml"
    scene.write_text("""
targets:
  resolution: 32
  test_every: null
  synthetic: {views: 2, noise: 0.02, mesh: {init: bumpy, subdivisions: 2}, material: {type: unlit, base_color: own}}
mesh: {init: bumpy, subdivisions: 2}
material: {type: unlit, base_color: own}
""")
    setup, _, posterior = fitted(scene, "loss={mask: null}", *(f"optimize.{each}" for each in learned))
    found, deviations = find_covariance(posterior), find_deviations(posterior)["cameras.pose"]
    names = [(view, kind, axis) for view in range(2) for kind in ("turn_deg", "position") for axis in range(3)]
    assert found["of"] == [f"cameras.pose.{view}.{kind}.{'xyz'[axis]}" for view, kind, axis in names]
    matrix = torch.tensor(found["matrix"], dtype=torch.float64)
    wanted = torch.tensor([deviations[kind][view][axis] for view, kind, axis in names], dtype=torch.float64)
    torch.testing.assert_close(matrix.diagonal().sqrt(), wanted, rtol=0.01, atol=0)
    assert float(torch.linalg.eigvalsh(matrix).min()) > -1e-9 * float(matrix.max())
    # Small turns w change a rotation matrix by 2 |w|^2, added up over its squared entries.
    entries = posterior.covariance_of(["cameras.pose"])
    assert entries is not None
    of_rotation = entries.diagonal().view(2, 4, 4)[:, :3, :3].sum((1, 2))
    of_turns = torch.deg2rad(wanted.view(2, 2, 3)[:, 0]).square().sum(1)
    torch.testing.assert_close(of_rotation, 2 * of_turns, rtol=0.02, atol=0)
    # Turns are not told from shifts entirely, but what noise does to one camera says nothing of the other.
    correlation = (matrix / (wanted[:, None] * wanted)).abs()
    assert float(correlation[:3, 3:6].max()) > 0.1
    noise = uncertainty._problem(setup, uncertainty._squares(setup)).covariance(["cameras.pose"]).matrix
    scale = noise.diagonal().sqrt()
    assert float((noise / (scale[:, None] * scale)).abs()[:6, 6:].max()) < 1e-6


def test_of_many_numbers_none_is_told(tmp_path: Path) -> None:
    ball = "{name: ball, mesh: {init: sphere, subdivisions: 4}, material: {type: unlit, base_color: {vertex: 0.4}}}"
    overrides = (*SQUARES, f"objects=[{ball}]", "optimize.steps=1", "optimize.objects.ball.material.base_color={}")
    setup = build_fit(load_config(write_ball(tmp_path), overrides))
    result = fit(setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step)
    assert result.stop_reason == "finished" and result.returned_step == 1
    assert find_posterior(setup, result) is None
