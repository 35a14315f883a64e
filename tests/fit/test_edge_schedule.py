"""Edge schedules: edges sharpen step by step."""

import pytest
import torch

from diffrender.config.schema import FitConfig
from diffrender.errors import ConfigError, ShapeError
from diffrender.fit.edge_schedule import EdgeSchedule, FixedEdges
from diffrender.render.edge_models import Antialias, Hard, Soft
from diffrender.setup.fit_setup import build_fit

SCENE = {
    "targets": {"synthetic": {"views": 2, "samples": 2, "mesh": {"init": "box"}}, "resolution": 64, "test_every": None},
    "mesh": {"init": "sphere", "subdivisions": 1},
}


def test_sigma_falls_by_the_same_factor_and_then_another_model_takes_over():
    schedule = EdgeSchedule(Soft(8.0, samples=2), 0.5, 4, Antialias(2))
    assert [schedule.at(step).sigma for step in range(4)] == pytest.approx([8, 4, 2, 1])
    assert schedule.at(0).samples == 2
    assert schedule.at(4) == schedule.at(100) == Antialias(2)
    assert FixedEdges(Hard()).at(7) == Hard()


def test_bad_schedules_are_refused():
    with pytest.raises(ConfigError, match="until"):
        EdgeSchedule(Soft(4.0), 0.5, 0, Antialias())
    with pytest.raises(ShapeError, match="sigma"):
        EdgeSchedule(Soft(4.0), 0.4, 10, Antialias())


def config_with(edges, steps=10):
    return FitConfig.model_validate(SCENE | {"render": {"edges": edges}, "optimize": {"steps": steps}})


def test_the_word_soft_alone_fits_the_image_and_the_steps():
    setup = build_fit(config_with("soft"))
    assert setup.edges.at(0) == Soft(2.0)  # 64 / 32
    assert setup.edges.at(5) == Antialias()
    assert setup.config.render.edges.anneal.sigma == (2.0, 0.5)
    assert setup.config.render.edges.anneal.until == 5


def test_a_schedule_can_be_written_out():
    edges = {"type": "soft", "anneal": {"sigma": (6.0, 1.0), "until": 3, "then": "soft"}}
    setup = build_fit(config_with(edges))
    assert setup.edges.at(0).sigma == 6
    assert setup.edges.at(3) == Soft(1.0)


def test_the_fit_uses_the_edges_of_its_step_and_scores_those_of_its_end():
    setup = build_fit(config_with({"type": "soft", "sigma": 6.0}))
    cameras = setup.fit_views.cameras
    with torch.no_grad():
        early, late = setup.render_step(setup.scene, cameras, 0).rgba, setup.render_views(setup.scene, cameras).rgba

    def steepest(image):
        return float(image[..., 3].diff(dim=2).abs().max())

    assert steepest(early) < 0.1
    assert steepest(late) > 0.5
