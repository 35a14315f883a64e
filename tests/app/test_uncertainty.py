"""What a fit says of the certainty of what it learned: in the space of its loss, and of numbers that nothing shows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.moving_ball import PROGRAM, write_ball

from diffrender.app.program_results import draw_program
from diffrender.app.uncertainty import Posterior, find_deviations, find_posterior
from diffrender.config.load import load_config
from diffrender.fit.least_squares import LeastSquares
from diffrender.fit.loop import FitResult, fit
from diffrender.fit.loss_inputs import LossInputs
from diffrender.fit.losses.pointwise import L2
from diffrender.fit.objective import Objective, Term
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
    torch.testing.assert_close(posterior.covariance.matrix, wanted.covariance(list(posterior.parts)).matrix)


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
