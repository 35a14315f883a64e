"""Programs: what functions return becomes a scene, their mistakes are named, and their parameters are learned."""

from __future__ import annotations

import json
import re
import traceback
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from diffrender.errors import ConfigError, FitError, ProgramError, ProgramWarning, ShapeError
from diffrender.fit.fit_program import fit_program
from diffrender.fit.model import SceneModel
from diffrender.fit.program import Parameter, Program, innermost, with_parameters
from diffrender.geometry.primitives import icosphere
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.programs import relaxed
from diffrender.programs.relaxed import Anneal
from diffrender.readers.captures.synthetic import synthetic_views
from diffrender.scene.cameras import Cameras
from diffrender.scene.lights.point import Point
from diffrender.scene.materials.unlit import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.motion import Motion
from diffrender.scene.object import Object
from diffrender.scene.parameter_paths import scene_at
from diffrender.scene.scene import Scene

TIMES = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
BALL = icosphere(2)


def still(**numbers: float) -> Scene:
    ball = Object(Mesh(BALL.vertices * 0.4, BALL.faces), Unlit(torch.ones(3)))
    scene = Scene({"ball": ball, "other": ball}, {"lamp": Point()})
    return with_parameters(scene, {name: Parameter(value) for name, value in numbers.items()})


def throw(speed: Tensor, time: Tensor) -> dict[str, Tensor]:
    return {"objects.ball.position": torch.stack([0 * time, speed * time, 0 * time], 1)}


def refused(function, **numbers: float) -> str:
    with pytest.raises(ProgramError) as caught:
        Program(function, TIMES)(still(**(numbers or {"speed": 1.0})))
    return str(caught.value)


def test_values_have_their_places_and_times() -> None:
    def place(turn: Tensor, time: Tensor):
        zero = 0 * time
        return {
            "objects.ball.position": torch.stack([time, zero, zero], 1),
            "objects.ball.rotation": torch.stack([zero, zero, turn * time], 1),
            "objects.other.rotation": turn * torch.tensor([1.0, 0.0, 0.0]),
            "objects.other.scale": 2 * turn,
            "lights.lamp.position": torch.stack([zero, time, zero], 1),
            "background": [0.1, 0.2, 0.3],
        }

    scene = Program(place, TIMES)(still(turn=0.5))
    assert scene.motion is not None
    assert set(scene.motion.values) == {"objects.ball.pose", "lights.lamp.position"}
    assert scene.background.tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert float(scene.objects["other"].scale) == 1
    turned = axis_angle_to_matrix(torch.tensor([0.5, 0.0, 0.0]))
    assert torch.allclose(scene.objects["other"].pose[:3, :3], turned)
    last = scene_at(scene, 2)
    assert last.objects["ball"].pose[:3, 3].tolist() == [1, 0, 0]
    assert torch.allclose(last.objects["ball"].pose[:3, :3], axis_angle_to_matrix(torch.tensor([0.0, 0.0, 0.5])))
    assert last.lights["lamp"].position.tolist() == [0, 1, 0]  # type: ignore[attr-defined]
    # Without motion it is as at the first time.
    assert torch.equal(scene.objects["ball"].pose, scene_at(scene, 0).objects["ball"].pose)
    assert scene.objects["ball"].pose.dtype == torch.float32


def test_gradients_reach_the_parameters() -> None:
    speed = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    scene = Program(throw, TIMES)(replace(still(speed=1.0), program={"speed": speed}))
    scene_at(scene, 2).objects["ball"].pose[1, 3].backward()
    assert float(speed.grad) == 1  # type: ignore[arg-type]


def test_the_world_of_the_program_may_have_another_origin() -> None:
    def place(x: Tensor, time: Tensor):
        rows = torch.stack([x + time, 0 * time, 0 * time], 1)
        return {"objects.ball.position": rows, "lights.lamp.position": rows[0]}

    scene = Program(place, TIMES, (100.0, 0.0, 0.0))(still(x=101.0))
    assert scene_at(scene, 1).objects["ball"].pose[:3, 3].tolist() == [1.5, 0, 0]
    assert scene.lights["lamp"].position.tolist() == [1, 0, 0]  # type: ignore[attr-defined]


def test_a_function_may_make_whole_scenes() -> None:
    def make(speed: Tensor, time: Tensor) -> Scene:
        poses = torch.eye(4).repeat(3, 1, 1)
        return replace(still(), motion=Motion(time, {"objects.ball.pose": poses * speed.float() ** 0}))

    scene = Program(make, TIMES)(with_parameters(Scene({}), {"speed": Parameter(1.0)}))
    assert set(scene.objects) == {"ball", "other"} and scene.motion is not None


def fails_inside(speed: Tensor, time: Tensor) -> dict[str, Tensor]:
    below = speed - 3
    if below < 0:
        raise ValueError("too slow")
    return {}


def test_an_error_names_file_line_and_parameters() -> None:
    message = refused(fails_inside, speed=1.25)
    line = fails_inside.__code__.co_firstlineno + 3
    assert re.search(
        rf"test_program\.py, line {line}: fails_inside\(speed=1\.25\) failed: ValueError: too slow", message
    )


def test_a_derivative_that_is_left_behind_is_told() -> None:
    learned = replace(still(), program={"speed": torch.tensor(1.0, dtype=torch.float64, requires_grad=True)})
    for values in (
        lambda speed: {"objects.ball.scale": speed.detach()},
        lambda speed: {"objects.ball.position": [0.0, speed.item(), 0.0]},
        lambda speed: {},
        lambda speed: Scene(still().objects),
    ):
        program = Program(lambda speed, of=values: of(speed))
        with pytest.raises(ProgramError, match="nothing that has a derivative by its parameters"):
            program(learned)
        with torch.no_grad():  # as for pictures
            program(learned)
    Program(lambda speed: {"objects.ball.scale": speed, "background": [0.1, 0.1, 0.1]})(learned)


@pytest.mark.parametrize("what", ["motion", "texture coordinates"])
def test_the_derivative_of_a_whole_scene_may_be_anywhere_in_it(what: str) -> None:
    def make(speed: Tensor, time: Tensor) -> Scene:
        scene = still()
        if what == "motion":
            return replace(scene, motion=Motion(time, {"objects.ball.scale": speed.float() * (1 + time.float())}))
        ball = scene.objects["ball"]
        mesh = replace(ball.mesh, uvs=ball.mesh.vertices[:, :2] * speed.float(), uv_faces=ball.mesh.faces)
        return replace(scene, objects={"ball": replace(ball, mesh=mesh)})

    speed = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    scene = Program(make, TIMES)(Scene({}, program={"speed": speed}))
    values = list(scene.motion.values.values()) if scene.motion else [scene.objects["ball"].mesh.uvs]
    values[0].sum().backward()
    assert speed.grad is not None
    with pytest.raises(ProgramError, match="nothing that has a derivative"):
        Program(lambda speed: still(), TIMES)(Scene({}, program={"speed": speed}))


def test_the_objects_that_are_put_in_a_place_are_known() -> None:
    def make(speed: Tensor) -> dict[str, Tensor]:
        return {"objects.ball.position": speed * torch.ones(3), "objects.other.rotation": speed * torch.ones(3)}

    program = Program(make)
    program.start(still(speed=1.0))
    assert program.paths == {"objects.ball.pose", "objects.other.pose"} and program.placed == {"ball"}
    whole = Program(lambda speed: {"objects.other.pose": torch.eye(4) + 0 * speed})
    whole.start(still(speed=1.0))
    assert whole.placed == {"other"}


@pytest.mark.parametrize(("file", "found"), [
    ("/tools/helper.py", "/tools/helper.py"),
    ("/tools/lib/site-packages/torch/nn.py", None),
    (json.__file__, None),
    ("<frozen os>", None),
    ("<string>", None),
])  # fmt: skip
def test_the_line_of_an_error_is_in_the_program_or_a_module_beside_it(file: str, found: str | None) -> None:
    places = ((3, "/tools/p.py"), (7, file))
    frames = [traceback.FrameSummary(each, line, "f", lookup_line=False) for line, each in places]
    for folder in ("/tools", "/"):  # the latter holds all
        program = Path(folder) / "p.py"
        expected = (str(found), 7) if found else ("/tools/p.py", 3)
        assert innermost(program, frames) == expected
    typed = [traceback.FrameSummary("<stdin>", 5, "f", lookup_line=False)]
    assert innermost(Path("<stdin>"), typed) == ("<stdin>", 5)


def test_a_program_that_changes_its_arguments_changes_copies() -> None:
    def shifts(speed: Tensor, time: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            speed.add_(0.5)
        time += 1.0
        return {"objects.ball.position": torch.stack([0 * time, speed * time, 0 * time], 1)}

    scene, times = still(speed=1.0), TIMES.clone()
    program = Program(shifts, times)
    first, again = (program(scene).motion for _ in range(2))
    assert first is not None and again is not None
    assert torch.equal(first.values["objects.ball.pose"], again.values["objects.ball.pose"])
    assert torch.equal(times, TIMES) and float(scene.program["speed"]) == 1


@pytest.mark.parametrize("kind", ["random", "state", "moving state"])
def test_a_program_that_returns_another_thing_when_called_again_is_refused(kind: str) -> None:
    calls: list[int] = []

    def f(speed: Tensor, time: Tensor) -> dict[str, Tensor]:
        calls.append(0)
        if kind == "random":
            return {"objects.ball.scale": speed * torch.rand(())}
        if kind == "state":
            return {"objects.ball.scale": speed / len(calls)}
        return {"objects.ball.position": torch.stack([0 * time, speed * time * len(calls), 0 * time], 1)}

    with pytest.raises(ProgramError, match=r"returned another objects\.ball\.\w+ when it was called again"):
        Program(f, TIMES).start(still(speed=1.0))
    Program(throw, TIMES).start(still(speed=1.0))


def exits(speed: Tensor) -> dict[str, Tensor]:
    raise SystemExit(3)


def test_a_program_does_not_end_the_command() -> None:
    with pytest.raises(ProgramError, match=r"exits\(speed=1\) failed: SystemExit: 3"):
        Program(exits)(still(speed=1.0))


def test_wrong_values_are_named() -> None:
    place = r"test_program\.py, line \d+: f\(speed=1\) returned "

    def case(values):
        def f(speed: Tensor, time: Tensor):
            return values

        return refused(f)

    rows = torch.zeros(3, 3)
    bad = rows.clone()
    bad[1:, 1] = torch.nan
    for wrong in ("objects.boll.position", "objects.ball.positon"):
        told = case({wrong: rows})
        assert re.search(place + re.escape(wrong) + r", .*did you mean objects\.ball\.position\?", told)
        assert "objects.ball.rotation" in told and "program.speed" not in told
    assert re.search(place + r"cameras\.pose, .* cameras do not follow from programs", case({"cameras.pose": rows}))
    assert re.search(
        place + r"objects\.ball\.position of shape \[2, 3\]; it must be \[3\], or \[3, 3\]",
        case({"objects.ball.position": rows[:2]}),
    )
    assert re.search(
        place + r"objects\.ball\.position, which is not finite from time 0\.5 on", case({"objects.ball.position": bad})
    )
    still_only = refused(lambda speed: {"objects.ball.position": rows})
    assert "must be [3], or [3, 3] with one row per time, which needs an argument `time`" in still_only
    assert re.search(place + r"str for background, not a tensor", case({"background": "red"}))
    assert re.search(place + r"program\.speed, which is a parameter", case({"program.speed": rows[0, 0]}))
    assert re.search(place + r"a list of tensors for background; join them", case({"background": [rows[0, 0]] * 3}))
    assert "must return values by path or a Scene, got Tensor" in case(rows)
    both = {"objects.ball.position": rows, "objects.ball.pose": torch.eye(4)}
    assert re.search(place + r"objects\.ball\.pose and its position; keep one", case(both))
    poses = torch.eye(4).repeat(3, 1, 1)
    poses[2, 0, 0] = -1
    mirrored = place + r"a pose: objects\.ball\.pose\[2\] must be a rigid motion .* a mirror image"
    assert re.search(mirrored, case({"objects.ball.pose": poses}))
    wrong = place + r"what is no value there: Object: scale must be positive, got -2"
    assert re.search(wrong, case({"objects.ball.scale": torch.tensor(-2.0)}))


def test_negative_colours_are_refused_at_the_start_alone() -> None:
    def f(speed: Tensor):
        return {"background": torch.stack([speed, 0 * speed, 2 + speed])}

    program = Program(f)
    assert program.start(still(speed=0.5)).background[2] == 2.5
    with pytest.raises(ProgramError, match=r"returned -0\.5 for background, which must be at least 0"):
        program.start(still(speed=-0.5))
    program(still(speed=-0.5))


def test_forces_by_autograd_are_told_the_way_that_works() -> None:
    def energy(x: Tensor) -> Tensor:
        return (x**2 / 2).sum()

    def f(speed: Tensor):
        return {"background": torch.autograd.grad(energy(speed), speed)[0].expand(3)}

    assert "torch.func.grad does" in refused(f)
    program = Program(lambda speed: {"background": torch.func.grad(energy)(speed).expand(3)})
    with torch.no_grad():
        assert float(program(still(speed=0.5)).background[0]) == 0.5


def test_functions_and_parameters_must_suit_each_other() -> None:
    program = Program(throw, TIMES)
    with pytest.raises(ConfigError, match=r"program\.parameters\.mass: `throw\(speed.*has no argument `mass`"):
        program.check_names(["speed", "mass"])
    with pytest.raises(ConfigError, match=r"needs `speed`; give its value, as in speed: \{value: 1\}$"):
        program.check_names([])
    with pytest.raises(ConfigError, match=r"needs `t`; .* if it is the times of the views, call it `time`"):
        Program(lambda speed, t: {}).check_names(["speed"])
    with pytest.raises(ConfigError, match=r"asks for the time of each view.*targets\.fps"):
        Program(throw)
    Program(lambda **any_of_them: {}).check_names(["a", "b"])
    with pytest.raises(ShapeError, match=r"program\.speed: .*0\.\.1, got 3"):
        with_parameters(still(), {"speed": Parameter(3.0, (0, 1))})


def views_of(scene: Scene, time: Tensor | None, size: int = 32):
    eyes = torch.tensor([[0.0, 0.3, 4.0]]).expand(3 if time is None else len(time), 3)
    cameras = replace(Cameras.perspective(eyes, height=size, width=size), time=time)
    return synthetic_views(scene, cameras, 6)


def test_a_function_is_learned_from_views() -> None:
    times = torch.linspace(0.2, 1.4, 5, dtype=torch.float64)
    views = views_of(Program(throw, times)(still(speed=0.9)), times, 64)
    found = fit_program(throw, views, {"speed": Parameter(0.5, range=(0, 2))}, still(), steps=100, lr=0.1)
    assert float(found.parameters["speed"]) == pytest.approx(0.9, rel=1e-3)
    assert len(found.losses) == 100 and found.losses[-1] < 0.1 * found.losses[0]
    assert found.scene.motion is not None and found.result.stop_reason == "finished"


def test_a_function_that_makes_scenes_is_learned_with_a_loop_and_a_condition() -> None:
    def grow(size: Tensor) -> Scene:
        radius = 0 * size
        for part in range(6):
            radius = radius + size if part % 2 else radius
        ball = Object(Mesh(BALL.vertices * radius.float(), BALL.faces), Unlit(torch.ones(3)))
        return Scene({"ball": ball})

    views = views_of(grow(torch.tensor(0.2)), None)
    found = fit_program(grow, views, {"size": 0.1}, steps=60)
    assert float(found.parameters["size"]) == pytest.approx(0.2, rel=1e-2)


def test_a_failure_on_the_way_keeps_the_last_state_that_works() -> None:
    def brittle(speed: Tensor, time: Tensor):
        if speed > 0.5:
            raise ValueError("too fast")
        return throw(speed, time)

    views = views_of(Program(throw, TIMES)(still(speed=0.9)), TIMES)
    with pytest.warns(ProgramWarning, match=r"ended after \d+ of 60 steps: .*too fast"):
        found = fit_program(brittle, views, {"speed": Parameter(0.3, range=(0, 2))}, still(), steps=60)
    assert found.result.stop_reason == "program" and "too fast" in str(found.result.message)
    assert 0 < found.result.steps_done < 60
    assert 0.3 < float(found.parameters["speed"]) <= 0.5
    with pytest.raises(ProgramError, match="too fast"):
        fit_program(brittle, views, {"speed": 0.6}, still())


class Throw(torch.nn.Module):
    def forward(self, speed: Tensor, time: Tensor):
        return throw(speed, time)


def test_a_module_of_pytorch_is_called_with_what_its_forward_asks_for() -> None:
    views = views_of(Program(throw, TIMES)(still(speed=0.9)), TIMES)
    found = fit_program(Throw(), views, {"speed": Parameter(0.5, range=(0, 2))}, still(), steps=2)
    assert found.scene.motion is not None


def test_a_start_that_is_no_number_names_its_parameter() -> None:
    views = views_of(Program(throw, TIMES)(still(speed=0.9)), TIMES)
    with pytest.raises(ShapeError, match=r"program\.speed: a parameter's start must be a number.* got '0\.7'"):
        fit_program(throw, views, {"speed": "0.7"}, still())  # pyright: ignore[reportArgumentType]


def test_a_start_at_an_end_of_its_range_and_rates_that_are_none_are_told() -> None:
    views = views_of(Program(throw, TIMES)(still(speed=0.9)), TIMES)
    with pytest.warns(ProgramWarning, match="speed at an end of the range"):
        fit_program(throw, views, {"speed": Parameter(0.5, range=(0.5, 2))}, still(), steps=1)
    for wrong in ({"lr": -1}, {"lr": torch.nan}, {"steps": 0}):
        with pytest.raises(ShapeError, match="steps and lr must be above 0"):
            fit_program(throw, views, {"speed": 0.5}, still(), **wrong)


def test_what_a_tensor_changed_in_place_and_a_parameter_without_use_are_is_told() -> None:
    views = views_of(Program(throw, TIMES)(still(speed=0.9)), TIMES)

    def changes(speed: Tensor, time: Tensor):
        power = speed.exp()
        square = power * power
        power += 1
        return throw(square, time)

    with pytest.raises(ProgramError, match=r"changes a tensor in place .* compute a new one"):
        fit_program(changes, views, {"speed": 0.5}, still())

    def forgets(speed: Tensor, mass: Tensor, time: Tensor):
        return throw(speed * mass.item(), time)

    with pytest.raises(FitError, match=r"program\.mass: .* the program does not use it, or loses its derivative"):
        fit_program(forgets, views, {"speed": 0.5, "mass": 1.0}, still())


def test_a_slope_without_end_is_told_of_the_program() -> None:
    def brake(speed: Tensor, time: Tensor):
        return throw(speed - (speed - speed.detach()).square().sqrt(), time)

    views = views_of(Program(throw, TIMES)(still(speed=0.9)), TIMES)
    with pytest.warns(ProgramWarning, match="is not finite"):
        found = fit_program(brake, views, {"speed": Parameter(0.3, range=(0, 2))}, still(), steps=3)
    message = str(found.result.message)
    assert found.result.stop_reason == "non_finite"
    assert "the gradient of program.speed is not finite" in message and "as sqrt and a norm at 0" in message


@pytest.mark.parametrize("folder", ["site-packages", ".venv/lib/python3/dist-packages"])
def test_errors_in_what_others_wrote_name_the_line_that_called_it(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of an environment that lies beside the program."""
    (tmp_path / folder).mkdir(parents=True)
    name = f"of_others_{len(folder)}"
    (tmp_path / folder / f"{name}.py").write_text("def fail():\n    raise ValueError('no')\n")
    monkeypatch.syspath_prepend(tmp_path / folder)
    file = tmp_path / "mine.py"
    file.write_text(f"import {name}\n\ndef f(speed):\n    {name}.fail()\n")
    space = {"__name__": "mine"}
    exec(compile(file.read_text(), str(file), "exec"), space)
    with pytest.raises(ProgramError, match=r"mine\.py, line 4: "):
        Program(space["f"])(still(speed=1.0))


def test_a_package_that_a_function_imports_and_nobody_has_is_named_with_what_to_install() -> None:
    def solve(speed: Tensor):
        import torchdiffeq_of_nobody  # noqa: F401 # pyright: ignore[reportMissingImports]

    with pytest.raises(ProgramError, match=r"needs torchdiffeq_of_nobody, .*: pip install 'torchdiffeq_of_nobody'"):
        Program(solve)(still(speed=1.0))


def test_a_function_that_returns_another_thing_when_called_again_is_not_learned() -> None:
    views = views_of(Program(throw, TIMES)(still(speed=0.9)), TIMES)
    with pytest.raises(ProgramError, match="when it was called again"):
        fit_program(lambda speed, time: throw(speed * torch.rand(()), time), views, {"speed": 0.3}, still())


def test_values_without_a_scene_are_refused() -> None:
    views = views_of(Program(throw, TIMES)(still(speed=0.9)), TIMES)
    with pytest.raises(ProgramError, match=r"objects\.ball\.position"):
        fit_program(throw, views, {"speed": 0.3})
    with pytest.raises(ShapeError, match="give the `scene`"):
        fit_program(lambda speed: {}, views, {"speed": 0.3})


def test_annealed_numbers_are_those_of_the_step_and_the_last_elsewhere() -> None:
    def jump(speed: Tensor, temperature: Tensor) -> dict[str, Tensor]:
        return {"objects.ball.scale": speed * temperature}

    program = Program(jump, anneal={"temperature": Anneal(1.0, 0.25, 2)})
    program.check_names(["speed"])
    assert program.until == 2 and Program(throw, TIMES).until == 0
    scene = still(speed=1.0)
    scales = [float(program(scene, step).objects["ball"].scale) for step in (0, 1, 2, 9)]
    assert scales == [1, 0.5, 0.25, 0.25]
    assert float(program(scene).objects["ball"].scale) == 0.25
    assert set(program(scene, 1).program) == {"speed"}  # what is annealed is no value of the scene
    model = SceneModel(scene, Cameras.perspective(torch.tensor([[0.0, 0.0, 3.0]])), {"program.speed": None}, program)
    with torch.no_grad():
        states = model.state_at(model.values(), 1)[0], model(), model.snapshot()[0]
    assert [float(state.objects["ball"].scale) for state in states] == [0.5, 0.25, 0.25]


def test_annealed_numbers_must_suit_the_function_and_are_named_in_errors() -> None:
    anneal = {"temperature": Anneal(0.5, 0.01, 10)}
    with pytest.raises(ConfigError, match=r"program\.parameters\.temperature: `temperature` is annealed; rename one"):
        Program(throw, TIMES, anneal=anneal).check_names(["speed", "temperature"])
    with pytest.raises(ConfigError, match=r"program\.anneal\.temperature: `throw\(.* has no argument `temperature`"):
        Program(throw, TIMES, anneal=anneal).check_names(["speed"])

    def fails(speed: Tensor, temperature: Tensor) -> dict[str, Tensor]:
        raise ValueError

    with pytest.raises(ProgramError, match=r"fails\(speed=1, temperature=0\.5\) failed"):
        Program(fails, anneal=anneal)(still(speed=1.0), 0)


def test_a_choice_without_a_gradient_is_learned_by_a_temperature_that_falls() -> None:
    seen = []

    def lift(margin: Tensor, temperature: Tensor) -> dict[str, Tensor]:
        seen.append(float(temperature))
        height = relaxed.where(margin, margin.new_tensor(0.7), margin.new_tensor(-0.7), temperature)
        return {"objects.ball.position": torch.stack([0 * margin, height, 0 * margin])}

    anneal = {"temperature": Anneal(2.0, 0.05, 10)}
    views = views_of(Program(lift, anneal=anneal)(still(margin=1.0)), None)
    seen.clear()
    found = fit_program(lift, views, {"margin": -0.5}, still(), anneal=anneal, steps=30, lr=0.2)
    assert float(found.parameters["margin"]) > 0.2
    steps = [anneal["temperature"].at(step) for step in range(30)]
    # Other states, such as the first and the last, have the last.
    assert [each for each in seen if each != 0.05] == pytest.approx(steps[:10]) and seen[0] == seen[-1] == 0.05


def test_snapshots_of_a_model_follow_the_program() -> None:
    cameras = replace(Cameras.perspective(torch.tensor([[0.0, 0.0, 3.0]]), height=8, width=8), time=TIMES[2:])
    program = Program(throw, TIMES)
    model = SceneModel(program(still(speed=1.0)), cameras, {"program.speed": None}, program)
    with torch.no_grad():
        model.latents["program.speed"].fill_(3.0)
    scene, _ = model.snapshot()
    assert float(scene_at(scene, 2).objects["ball"].pose[1, 3]) == 3
    assert float(scene.program["speed"]) == 3
