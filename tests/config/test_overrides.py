from __future__ import annotations

from typing import Any

import pytest

from diffrender.config.overrides import Override, apply_override
from diffrender.config.yaml_tree import ShellText, Tree, read_yaml

TEXT = """\
mesh: {init: sphere}
lights:
  - {name: key, type: ambient}
  - {type: point}
optimize:
  mesh.vertices: {lr: 0.1, schedule: {type: cosine}}
  pose: 0.5
loss: {image: l1, mask: 2}
"""


def overridden(*texts: str) -> Tree:
    tree = read_yaml(TEXT, "s.yaml")
    for text in texts:
        apply_override(tree, Override.parse(text))
    return tree


@pytest.mark.parametrize(
    ("text", "location", "value"),
    [
        ("mesh.subdivisions=2", ("mesh", "subdivisions"), 2),
        ("mesh={init: torus}", ("mesh", "init"), "torus"),
        ("targets.synthetic.views=3", ("targets", "synthetic", "views"), 3),
        ("lights.key.radiance=1e-3", ("lights", 0, "radiance"), 1e-3),
        ("lights.1.intensity=[1, 2, 3]", ("lights", 1, "intensity"), [1, 2, 3]),
        ("lights.point.intensity=2", ("lights", 1, "intensity"), 2),
        ("optimize.mesh.vertices.lr=1e-3", ("optimize", "mesh.vertices", "lr"), 1e-3),
        ("optimize.mesh.vertices.schedule.final=0.2", ("optimize", "mesh.vertices", "schedule", "final"), 0.2),
        ("optimize.lights.key.radiance.lr=0.5", ("optimize", "lights.key.radiance", "lr"), 0.5),
        ("optimize.lights.key.radiance=0.5", ("optimize", "lights.key.radiance"), 0.5),
        ("optimize.steps=5", ("optimize", "steps"), 5),
        ("device=", ("device",), None),
        # a bare word or number is spelled out
        ("optimize.pose.start=3", ("optimize", "pose"), {"lr": 0.5, "start": 3}),
        (
            "optimize.mesh.vertices.schedule.final=0.2",
            ("optimize", "mesh.vertices", "schedule"),
            {"type": "cosine", "final": 0.2},
        ),
        ("loss.image.weight=3", ("loss", "image"), {"type": "l1", "weight": 3}),
        ("loss.mask.type=mask_iou", ("loss", "mask"), {"weight": 2, "type": "mask_iou"}),
    ],
)
def test_a_dotted_key_leads_to_its_value(text: str, location: tuple[str | int, ...], value: Any) -> None:
    tree = overridden(text)
    assert tree.mistakes == []
    found = tree.data
    for part in location:
        found = found[part]
    assert found == value


def test_only_what_is_named_changes_and_the_last_of_two_wins() -> None:
    before = read_yaml(TEXT, "s.yaml").data
    tree = overridden("optimize.mesh.vertices.lr=1", "optimize.mesh.vertices.lr=2")
    assert tree.data["optimize"]["mesh.vertices"] == {"lr": 2, "schedule": {"type": "cosine"}}
    del tree.data["optimize"], before["optimize"]
    assert tree.data == before


def test_text_from_the_command_line_is_marked() -> None:
    data = overridden("mesh={file: [a.obj]}").data
    assert isinstance(data["mesh"]["file"][0], ShellText)
    assert not isinstance(data["lights"][0]["name"], ShellText)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mesh.init", "wanted key=value"),
        ("=3", "wanted key=value"),
        ("mesh..init=3", "empty part"),
        ("mesh.init=[", "not YAML"),
        ("mesh.init.x=3", "`mesh.init` is the plain value `sphere`"),
        ("lights.kei.radiance=3", "did you mean `key`?"),
        ("lights.7.radiance=3", "wanted one of key, point, or an index (it has 2)"),
        ("objects.a.mesh=3", "there is no list `objects`"),
    ],
)
def test_what_leads_nowhere_is_a_mistake_shown_on_the_command_line(text: str, words: str) -> None:
    (mistake,) = overridden(text).mistakes
    assert words in str(mistake)
    assert f"--set {text}" in str(mistake)
    assert "^" in str(mistake)


def test_places_point_at_key_and_value_on_the_command_line() -> None:
    tree = overridden("mesh.init=boxx")
    key, value = tree.keys[("mesh", "init")], tree.values[("mesh", "init")]
    shown = "--set mesh.init=boxx"
    assert (key.text, key.column, key.width) == (shown, shown.index("mesh") + 1, len("mesh.init"))
    assert (value.text, value.column, value.width) == (shown, shown.index("boxx") + 1, len("boxx"))
    option = Override("optimize.steps", "0", "--steps")
    assert option.place_of_value().text[option.place_of_value().column - 1 :] == "0"
