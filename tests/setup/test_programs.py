"""Programs of scene files: what is wrong is said before or as they are imported, and nothing is imported before."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from support.moving_ball import PROGRAM, write_ball

from diffrender.config.load import load_config
from diffrender.config.options.programs import ProgramOptions
from diffrender.errors import ConfigError, DataError, ProgramError
from diffrender.fit.checkpointed_loop import _EVERY
from diffrender.fit.parametrizations.bounded import Bounded
from diffrender.scene.parameter_paths import scene_at
from diffrender.setup.fit_setup import build_fit
from diffrender.setup.local_origin import ZERO
from diffrender.setup.programs import bind_program, follow_program, load_program, load_scene_program, programs_of
from diffrender.setup.region import InitRegion, Region
from diffrender.setup.scene import build_scene
from diffrender.writers.capture import write_capture

LEAVES_A_TRACE = "from pathlib import Path\nPath(__file__).with_name('imported').touch()\n" + PROGRAM


def config_error(folder: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(write_ball(folder, LEAVES_A_TRACE), overrides)
    assert not (folder / "imported").exists()
    return str(caught.value)


def build_error(folder: Path, program: str, *overrides: str, kind: type[Exception] = ProgramError) -> str:
    with pytest.raises(kind) as caught:
        build_fit(load_config(write_ball(folder, program), overrides))
    return str(caught.value)


def test_nothing_is_imported_before_the_scene_file_is_valid(tmp_path: Path) -> None:
    message = config_error(tmp_path, "program.file=missing.py", "optimize.steps=-1")
    assert "missing.py" in message and "optimize.steps" in message
    config = load_config(write_ball(tmp_path, LEAVES_A_TRACE))
    assert not (tmp_path / "imported").exists()
    build_fit(config)
    assert (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("program.parameters.speed.range=[3, 1]", "the range 3 to 1 is empty"),
        ("program.parameters.speed.value=7", "the value 7 is not in the range 0 to 3"),
        ("program.parameters.time=1", "`time` is the time of each view, and no parameter"),
        ("program.parameters.two words=1", "`two words` cannot be the name of an argument"),
        ("program.parameters.speed=fast", "`program.parameters.speed` must be"),
        ("program.parameters.speed.rnge=[0, 1]", "did you mean `range`"),
        ("program.anneal.time=[1, 0.1]", "`time` is the time of each view, and no annealed number"),
        ("program.anneal.speed=[1, 0.1]", "`speed` is a parameter, which is learned"),
        ("program.anneal.temperature=[1, 0]", "must be a number above 0"),
        ("program.anneal.temperature=1", "`program.anneal.temperature` must be"),
        ("program.anneal.temperature={values: [1, 0.1], untl: 3}", "did you mean `until`"),
        ("program.anneal.temperature={values: [1, 0.1], until: 41}", "at step 41 of 40, which is never reached"),
        (
            "render.edges={type: soft, anneal: {until: 41}}",
            "the last value would come at step 41 of 40, which is never reached",
        ),
        ("program.function=3", "`program.function` must be text"),
        ("optimize.program.sped.lr=1", "did you mean `program.speed`"),
        ("optimize.objects.ball.pose.method=bounded", "must have the method `pose`"),
        ("targets.fps=0", "`targets.fps` must be a number above 0"),
    ],
)
def test_mistakes_of_the_scene_file_are_told(tmp_path: Path, override: str, words: str) -> None:
    assert words in config_error(tmp_path, override)


def test_mistakes_of_program_and_scene_file_are_told(tmp_path: Path) -> None:
    assert "has no function `thro`; it has throw" in build_error(
        tmp_path, PROGRAM, "program.function=thro", kind=ConfigError
    )
    assert "has no function `throw`; it has none" in build_error(tmp_path, "throw = 3\n", kind=ConfigError)
    assert "has no argument `mass`" in build_error(tmp_path, PROGRAM, "program.parameters.mass=1", kind=ConfigError)
    assert "asks for the time of each view" in build_error(tmp_path, PROGRAM, "targets.fps=null", kind=ConfigError)
    learned = build_error(tmp_path, PROGRAM, "optimize.objects.ball.pose={}", kind=ConfigError)
    assert "optimize.objects.ball.pose: the program sets this value" in learned
    assert "needs a `range`" in build_error(tmp_path, PROGRAM, "optimize.program.side.method=bounded", kind=ConfigError)


def test_errors_on_import_name_the_line_and_what_to_install(tmp_path: Path) -> None:
    place = str(tmp_path / "ball.py")
    assert f"{place}, line 2: the program cannot be imported: ZeroDivisionError" in build_error(tmp_path, "\n1 / 0\n")
    assert f"{place}, line 1: the program cannot be imported: SyntaxError" in build_error(tmp_path, "def f(:\n")
    missing = build_error(tmp_path, "import os\nimport no_such_package.part\n")
    assert f"{place}, line 2: needs no_such_package, which is not installed: pip install 'no_such_package'" in missing


def test_the_extra_is_named_that_brings_a_missing_solver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    message = build_error(tmp_path, "from torchdiffeq import odeint\n" + PROGRAM)
    assert "line 1: needs torchdiffeq, which is not installed: pip install 'diffrender[physics]'" in message


def test_the_programs_file_may_know_the_ranges(tmp_path: Path) -> None:
    ranges = "RANGES = {'speed': (0.5, 2), 'side': [-1, 1], 'time': (0, 9)}\n"
    setup = build_fit(load_config(write_ball(tmp_path, ranges + PROGRAM)))
    # That of the scene file wins.
    for name, (low, high) in {"speed": (0, 3), "side": (-1, 1)}.items():
        method = setup.model.parametrization(f"program.{name}")
        assert isinstance(method, Bounded) and (method.low, method.high) == (low, high)
    assert setup.config.program is not None
    assert setup.config.program.parameters.by_name()["side"].range == (-1, 1)
    outside = build_error(tmp_path, ranges.replace("[-1, 1]", "[0.3, 1]") + PROGRAM, kind=ConfigError)
    assert "program.parameters.side: the value 0.2 is not in the range 0.3 to 1 of RANGES in" in outside
    endless = build_fit(
        load_config(write_ball(tmp_path, "RANGES = {'side': (-float('inf'), float('inf'))}\n" + PROGRAM))
    )
    assert not isinstance(endless.model.parametrization("program.side"), Bounded)
    message = build_error(tmp_path, "RANGES = ['side']\n" + PROGRAM, kind=ConfigError)
    assert "ball.py: RANGES must be a dict of ranges by parameter, got ['side']" in message
    for wrong in ("[1, -1]", "3", "'ab'", "[0, float('inf')]"):
        message = build_error(tmp_path, ranges.replace("[-1, 1]", wrong) + PROGRAM, kind=ConfigError)
        assert "ball.py: RANGES['side'] must be two finite numbers, the lower one first, got" in message


def test_a_range_of_what_is_no_parameter_is_refused(tmp_path: Path) -> None:
    for name, words in {"sde": " (did you mean `side`?)", "other": ""}.items():
        message = build_error(tmp_path, f"RANGES = {{'{name}': (0, 1)}}\n" + PROGRAM, kind=ConfigError)
        assert f"RANGES has `{name}`, which is no parameter of `throw`; rename or remove it{words}" in message
    # Of a function that takes any name, RANGES may know more than the scene: a robot's other joints.
    takes_any = PROGRAM.replace("speed, side, time", "time, **rest").replace("speed *", "rest['speed'] *")
    takes_any = takes_any.replace("side *", "rest['side'] *")
    setup = build_fit(load_config(write_ball(tmp_path, "RANGES = {'side': (-1, 1), 'jaw': (0, 1)}\n" + takes_any)))
    assert isinstance(setup.model.parametrization("program.side"), Bounded)
    message = build_error(tmp_path, "RANGES = {'sde': (-1, 1)}\n" + takes_any, kind=ConfigError)
    assert "did you mean `side`" in message


def test_a_wrong_function_of_the_targets_is_told_at_its_place(tmp_path: Path) -> None:
    for where in ("program", "targets.synthetic.program"):
        with pytest.raises(ConfigError, match=f"^{where}.function: .* has no function `thrw`; it has throw"):
            build_fit(load_config(write_ball(tmp_path), [f"{where}.function=thrw"]))


def test_a_program_that_fails_names_line_and_parameters(tmp_path: Path) -> None:
    program = PROGRAM.replace("    height =", "    assert speed > 1, 'too slow'\n    height =")
    message = build_error(tmp_path, program)
    assert f"{tmp_path / 'ball.py'}, line 5: throw(speed=0.8, side=0.2) failed: AssertionError: too slow" in message


@pytest.mark.parametrize(
    ("helper", "line", "what"),
    [
        ("def lift(speed):\n    return speed / heigth\n", 2, "NameError: name 'heigth'"),
        ("x = 1\ny = x / 0\n", 2, "ZeroDivisionError: division by zero"),
        ("x = (\n", 1, "SyntaxError"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
    ],
)
def test_an_error_in_a_module_beside_it_names_that(
    helper: str, line: int, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"helper_{abs(hash(helper))}"
    (tmp_path / f"{name}.py").write_text(helper)
    program = f"import {name}\n" + PROGRAM.replace("    height =", f"    {name}.lift(speed)\n    height =")
    message = build_error(tmp_path, program)
    assert f"{name}.py, line {line}: " in message and what in message


def test_the_mesh_of_an_object_that_a_program_places_is_about_its_origin(tmp_path: Path) -> None:
    scene = write_ball(tmp_path)
    scene.write_text(scene.read_text().replace("subdivisions: 2, radius: 0.4, center: [0, 0, 0]", "radius: 0.4"))
    config = load_config(scene, ["targets.synthetic.center=[0.5, 0, 0]"])
    setup = build_fit(config)
    assert float(setup.scene.objects["ball"].mesh.vertices.mean(0).abs().max()) < 1e-3
    assert setup.config.objects is not None and setup.config.objects[0].pose is not None


def test_a_mesh_that_a_program_places_may_be_seen_by_a_camera_that_stands_still(tmp_path: Path) -> None:
    """Where it is cannot be seen, and need not be; of a mesh that is not placed, it must be known."""
    scene = write_ball(tmp_path)
    parts = load_config(scene)
    write_capture(tmp_path / "seen", build_fit(parts).fit_views)
    targets = f"targets={{path: {tmp_path / 'seen'}, fps: 6, test_every: null}}"
    ball = "{name: ball, mesh: {init: sphere, radius: 0.4}, material: unlit}"
    other = "{name: other, mesh: {init: sphere, radius: 0.1}, material: unlit}"
    setup = build_fit(load_config(scene, [targets, f"objects=[{ball}]"]))
    # Two views of three were written, with times.
    assert any("targets.fps replaces the `time` of its frames, 0.166667 to 1.16667 s" in note for note in setup.notes)
    without = build_fit(load_config(scene, [targets.replace("fps: 6, ", ""), f"objects=[{ball}]"]))
    assert not any("targets.fps" in note for note in without.notes)
    assert float(setup.scene.objects["ball"].mesh.vertices.mean(0).abs().max()) < 1e-3
    with pytest.raises(DataError, match=r"objects\.other\.mesh: the targets do not show where the object is"):
        build_fit(load_config(scene, [targets, f"objects=[{ball}, {other}]"]))


def test_a_program_may_set_its_own_default_dtype_and_folder(tmp_path: Path) -> None:
    own = "import os\nimport torch\ntorch.set_default_dtype(torch.float64)\nos.chdir('/')\nFOUND = []\n"
    noting = "    FOUND.append(torch.zeros(1).dtype)\n    height ="
    before = os.getcwd()
    setup = build_fit(load_config(write_ball(tmp_path, own + PROGRAM.replace("    height =", noting))))
    assert torch.get_default_dtype() == torch.float32 and os.getcwd() == before
    assert setup.program is not None and set(setup.program.module.FOUND) == {torch.float64}


def test_a_start_at_an_end_of_its_range_is_noted_for_adam_alone(tmp_path: Path) -> None:
    for method, is_told in (("adam", True), ("levenberg_marquardt", False)):
        overrides = [f"optimize={{method: {method}}}", "program.parameters.speed={value: 3, range: [0, 3]}"]
        notes = build_fit(load_config(write_ball(tmp_path), overrides)).notes
        assert any("program.speed: at an end of the range" in note for note in notes) == is_told


def test_a_mesh_that_a_program_places_far_from_the_origin_is_about_its_own(tmp_path: Path) -> None:
    far = 1.0e6 + 0.2  # which float32 does not resolve
    scene = write_ball(tmp_path, PROGRAM.replace("side * time", f"{far} + side * time"))
    config = load_config(scene, [f"targets.synthetic.eye=[{far}, 0.2, 4]", f"targets.synthetic.center=[{far}, 0, 0]"])
    setup = build_fit(config)
    assert any(setup.origin)
    assert float(setup.scene.objects["ball"].mesh.vertices.mean(0).abs().max()) < 1e-3
    placed = scene_at(setup.scene, 0).objects["ball"].pose[:3, 3].double() + torch.tensor(setup.origin).double()
    assert (placed - torch.tensor([far, 0, 0]).double()).tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    # Its file is read as it is written.
    assert setup.config.objects is not None and setup.config.objects[0].mesh.center == (0, 0, 0)


def test_a_mesh_that_a_program_turns_stays_where_it_is(tmp_path: Path) -> None:
    turns = "def throw(speed, side):\n    return {'objects.ball.rotation': torch.stack([speed, side, side])}\n"
    scene = write_ball(tmp_path, "import torch\n" + turns)
    text = scene.read_text().replace("subdivisions: 2, radius: 0.4, center: [0, 0, 0]", "radius: 0.4")
    scene.write_text(text.replace("center: [0, 0, 0]", "center: [0.7, 0, 0]"))
    center = build_fit(load_config(scene)).scene.objects["ball"].mesh.vertices.mean(0)
    assert float(center[0]) > 0.3  # In the middle of the targets' region, and not about its own origin.


def test_the_meshes_of_a_run_stay_as_they_are(tmp_path: Path) -> None:
    config = load_config(write_ball(tmp_path))
    loaded = load_scene_program(config)
    assert loaded is not None
    program, place = bind_program(loaded, torch.arange(3.0)), InitRegion(Region((0.0, 0.0, 0.0), 1.0), None, None, ZERO)
    built = build_scene(config, place)
    for parts, is_kept in ((None, True), (config, False)):
        followed = follow_program(built, parts, place, loaded, program, ZERO)
        meshes = [each.scene.objects["ball"].mesh for each in (built, followed)]
        assert (meshes[0] is meshes[1]) == is_kept
        assert float(followed.scene.program["speed"]) == pytest.approx(0.8)


@pytest.mark.parametrize("where", ["program", "targets.synthetic.program"])
def test_a_program_that_returns_another_thing_when_called_again_is_refused(where: str, tmp_path: Path) -> None:
    (tmp_path / "drawn.py").write_text(
        PROGRAM.replace("    height =", "    side = side * torch.rand(())\n    height =")
    )
    with pytest.raises(ProgramError, match=r"drawn\.py.* returned another .* when it was called again"):
        build_fit(load_config(write_ball(tmp_path), [f"{where}.file={tmp_path / 'drawn.py'}"]))


def test_what_is_learned_starts_bounded_and_moves_the_scene(tmp_path: Path) -> None:
    setup = build_fit(load_config(write_ball(tmp_path)))
    assert list(setup.model.latents) == ["program.speed", "program.side"]
    method = setup.model.parametrization("program.speed")
    assert isinstance(method, Bounded) and (method.low, method.high) == (0, 3)
    assert setup.config.optimize.parameters()["program.side"].method == "identity"
    motion = setup.scene.motion
    assert motion is not None
    # Those of held-out views too.
    assert motion.times.tolist() == pytest.approx([view / 6 for view in range(9)])
    assert setup.heldout_views is not None and len(setup.heldout_views) == 3
    assert setup.heldout_views.cameras.time.tolist() == pytest.approx([0, 4 / 6, 8 / 6])
    last = scene_at(setup.scene, 8).objects["ball"].pose[:3, 3]
    assert last.tolist() == pytest.approx([0.2 * 8 / 6, 0.8 * 8 / 6 - 0.5 * (8 / 6) ** 2, 0], abs=1e-6)
    target = setup.target_scene
    assert target is not None and {name: float(value) for name, value in target.program.items()} == {
        "speed": 1.2,
        "side": 0.5,
    }


def test_what_is_named_or_off_is_learned_or_not(tmp_path: Path) -> None:
    overrides = ("optimize.program.side=off", "optimize.objects.ball.material.base_color={}")
    setup = build_fit(load_config(write_ball(tmp_path), overrides))
    assert set(setup.model.latents) == {"program.speed", "objects.ball.material.base_color"}


def test_a_file_of_another_hash_is_refused(tmp_path: Path) -> None:
    scene = write_ball(tmp_path)
    digest = hashlib.sha256((tmp_path / "ball.py").read_bytes()).hexdigest()
    pinned = load_config(scene, [f"program.sha256={digest}"])
    setup = build_fit(pinned)
    assert setup.config.program is not None and setup.config.program.sha256 == digest
    synthetic = setup.config.targets.synthetic
    assert synthetic is not None and synthetic.program is not None and synthetic.program.sha256 == digest
    write_ball(tmp_path, LEAVES_A_TRACE)
    with pytest.raises(ConfigError, match=r"program\.sha256: .*ball\.py has changed"):
        build_fit(pinned)
    assert not (tmp_path / "imported").exists()


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scene whose program has gravity in a module beside it, and in another that that one imports."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.delitem(sys.modules, "gravity_of_test", raising=False)
    monkeypatch.delitem(sys.modules, "pulls_of_test", raising=False)
    monkeypatch.delitem(sys.modules, "pulls_of_test.earth", raising=False)
    (tmp_path / "pulls_of_test").mkdir()
    (tmp_path / "pulls_of_test" / "__init__.py").touch()
    (tmp_path / "pulls_of_test" / "earth.py").write_text("HALF = 0.5\n")
    (tmp_path / "gravity_of_test.py").write_text("from pulls_of_test.earth import HALF\n")
    (tmp_path / "unused_of_test.py").write_text("1 / 0\n")
    program = PROGRAM.replace("0.5 * time", "HALF * time")
    return write_ball(tmp_path, "from gravity_of_test import HALF\n" + program)


def test_modules_beside_a_program_are_imported_and_part_of_its_hash(beside: Path) -> None:
    config = load_config(beside)
    setup = build_fit(config)
    last = scene_at(setup.scene, 8).objects["ball"].pose[1, 3]
    assert float(last) == pytest.approx(0.8 * 8 / 6 - 0.5 * (8 / 6) ** 2, abs=1e-6)
    first, _ = programs_of(setup.config)
    assert first["modules"] == ["gravity_of_test.py", "pulls_of_test/__init__.py", "pulls_of_test/earth.py"]
    pinned = load_config(beside, [f"program.sha256={first['sha256']}"])
    (beside.parent / "unused_of_test.py").write_text("2 / 0\n")
    build_fit(pinned)
    for module in first["modules"]:
        path = beside.parent / module
        text = path.read_text()
        path.write_text(text + "# another\n")
        with pytest.raises(ConfigError, match=rf"ball\.py, or what it imports \(.*{path.name}.*\), has changed"):
            build_fit(pinned)
        path.write_text(text)
    build_fit(pinned)


def test_a_module_that_was_edited_is_imported_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    module, program = tmp_path / "edited_of_test.py", tmp_path / "program.py"
    program.write_text("from edited_of_test import HALF\ndef run(x):\n    return HALF\n")
    found = []
    for number in ("0.5", "0.25"):
        module.write_text(f"HALF = {number}\n")
        found.append(load_program(ProgramOptions(file=str(program), function="run", parameters={"x": 1.0})).function(0))
    sys.modules.pop("edited_of_test")
    assert found == [0.5, 0.25]


def test_a_module_of_the_same_name_from_elsewhere_is_refused(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = ModuleType("gravity_of_test")
    other.__file__, other.HALF = "/elsewhere/gravity_of_test.py", 0.25  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gravity_of_test", other)
    with pytest.raises(
        ProgramError, match=r"`import gravity_of_test` found /elsewhere/.*, and not .*; rename the latter"
    ):
        build_fit(load_config(beside))


def test_the_option_reaches_loops(tmp_path: Path) -> None:
    loaded = load_program(load_config(write_ball(tmp_path), ["program.checkpoint_every=17"]).program)  # type: ignore[arg-type]
    seen: list[int | None] = []

    def watched(speed: torch.Tensor, side: torch.Tensor):
        seen.append(_EVERY.get())
        return {}

    program = bind_program(replace(loaded, function=watched), None)
    program(build_fit(load_config(tmp_path / "ball.yaml")).scene)
    assert seen == [17] and _EVERY.get() is None


COOLS = PROGRAM.replace("speed, side, time", "speed, side, temperature, time")


def test_annealed_numbers_end_half_way_unless_told_and_nothing_has_settled_before(tmp_path: Path) -> None:
    assert "has no argument `temperature`" in build_error(
        tmp_path, PROGRAM, "program.anneal.temperature=[1, 0.1]", kind=ConfigError
    )
    words = "targets.synthetic.program.anneal.temperature=[1, 0.1]"
    for override, until in (("[1, 0.1]", 20), ("{values: [1, 0.1], until: 7}", 7)):
        setup = build_fit(load_config(write_ball(tmp_path, COOLS), [words, f"program.anneal.temperature={override}"]))
        assert setup.config.program is not None
        filled = setup.config.program.anneal.by_name()["temperature"]
        assert filled.values == (1, 0.1) and filled.until == until == setup.settings.settled
        assert set(setup.model.latents) == {"program.speed", "program.side"}
