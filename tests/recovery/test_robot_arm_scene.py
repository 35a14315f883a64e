"""scenes/robot_arm.yaml at a small size: joint angles within their limits, and cameras, through pytorch-kinematics."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from diffrender.app.camera_errors import camera_errors
from diffrender.config.load import load_config
from diffrender.errors import ProgramError
from diffrender.fit.loop import fit
from diffrender.fit.parametrizations.bounded import Bounded
from diffrender.setup.fit_setup import build_fit
from diffrender.setup.programs import load_program

SCENE = Path(__file__).parents[2] / "scenes" / "robot_arm.yaml"
JOINTS = ("pan", "shoulder", "elbow", "flex", "roll")
SMALL = ("targets.resolution=80", "targets.synthetic.samples=6", "render.edges.anneal.sigma=[4, 0.5]")


def test_the_extra_is_named_that_brings_the_kinematics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_kinematics", None)
    with pytest.raises(ProgramError, match=r"needs pytorch_kinematics, .* pip install 'diffrender\[robots\]'"):
        build_fit(load_config(SCENE, SMALL))


def test_both_kinematics_agree_and_limits_are_those_of_the_file() -> None:
    pytest.importorskip("pytorch_kinematics")
    config = load_config(SCENE)
    assert config.program is not None and config.targets.synthetic is not None
    own, of_target = (load_program(each) for each in (config.program, config.targets.synthetic.program))
    generator = torch.Generator().manual_seed(0)
    angles = dict(zip(JOINTS, 4 * torch.rand(5, generator=generator, dtype=torch.float64) - 2, strict=True))
    placed, wanted = own.function(**angles), of_target.function(**angles)
    assert placed.keys() == wanted.keys() and len(placed) == 7
    for path, pose in placed.items():
        # pytorch-kinematics keeps the origins of joints in float32.
        torch.testing.assert_close(pose, torch.as_tensor(wanted[path]), rtol=0, atol=1e-6)
    robot = ElementTree.parse(SCENE.parent / "programs" / "robot_arm.urdf").getroot()
    limits = {each.get("name"): each.find("limit") for each in robot.iter("joint")}
    for name in JOINTS:
        limit = limits[name]
        assert limit is not None
        assert own.parameters()[name].range == (float(limit.get("lower", "")), float(limit.get("upper", "")))


@pytest.mark.slow
def test_angles_and_cameras_are_found() -> None:
    pytest.importorskip("pytorch_kinematics")
    setup = build_fit(load_config(SCENE, SMALL))
    result = fit(setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step)
    assert setup.target_scene is not None
    for name, wanted in setup.target_scene.program.items():
        start, found = (float(scene.program[name]) for scene in (setup.scene, result.scene))
        assert abs(start - float(wanted)) > 0.1
        assert found == pytest.approx(float(wanted), abs=0.01)
    error = camera_errors(setup, result)["cameras.pose"]
    assert error["start"]["turn_deg"] > 2 and error["found"]["turn_deg"] < 0.2
    assert error["start"]["position"] > 0.05 and error["found"]["position"] < 0.005


@pytest.mark.slow
def test_an_angle_beyond_its_limit_is_not_followed() -> None:
    pytest.importorskip("pytorch_kinematics")
    beyond = ("targets.synthetic.program.parameters.elbow=-0.15", "program.parameters.elbow.value=0.1")
    known = [f"program.parameters.{name}.value={x}" for name, x in (("pan", 0.5), ("shoulder", 0.35), ("roll", 0.7))]
    setup = build_fit(load_config(SCENE, (*SMALL, *beyond, *known, "optimize.cameras.pose=off",
                                          "targets.synthetic.camera_errors=null")))  # fmt: skip
    result = fit(setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step)
    method = setup.model.parametrization("program.elbow")
    assert isinstance(method, Bounded) and method.low == 0
    assert 0 <= float(result.scene.program["elbow"]) < 0.02
