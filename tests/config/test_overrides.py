from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, get_args, get_origin

import pytest

from diffrender.config.options.base import Strict, arms_of, model_of, shape_of, words_of
from diffrender.config.overrides import Override, apply_override
from diffrender.config.schema import FitConfig
from diffrender.config.schema_words import type_of_value
from diffrender.config.yaml_tree import ShellText, Tree, read_yaml

TEXT = """\
mesh: {init: sphere}
lights:
  - {name: key, type: ambient}
  - {type: point}
optimize:
  mesh.vertices: {lr: 0.1, schedule: {type: cosine}}
  pose: 0.5
loss: {image: l1, mask: 2, normal: {weight: 2}, depth: {weight: 1, type: l2}}
material: {type: ggx, base_color: {vertex: 0.5}, roughness: 0.3}
progress: {video: true}
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
        # shorthands are expanded
        ("optimize.pose.start=3", ("optimize", "pose"), {"lr": 0.5, "start": 3}),
        (
            "optimize.mesh.vertices.schedule.final=0.2",
            ("optimize", "mesh.vertices", "schedule"),
            {"type": "cosine", "final": 0.2},
        ),
        ("loss.image.weight=3", ("loss", "image"), {"type": "l1", "weight": 3}),
        ("loss.mask.type=mask_iou", ("loss", "mask"), {"weight": 2, "type": "mask_iou"}),
        # a shorthand over a mapping keeps what it does not say
        ("loss.normal=huber", ("loss", "normal"), {"weight": 2, "type": "huber"}),
        ("loss.depth=3", ("loss", "depth"), {"weight": 3, "type": "l2"}),
        ("optimize.mesh.vertices=0.5", ("optimize", "mesh.vertices"), {"lr": 0.5, "schedule": {"type": "cosine"}}),
        ("material=lambert", ("material",), {"type": "lambert", "base_color": {"vertex": 0.5}}),
        ("mesh=a.obj", ("mesh",), "a.obj"),
        ("loss.normal=", ("loss", "normal"), None),
        # a key of another form replaces the form
        ("material.base_color.texture=own", ("material", "base_color"), {"texture": "own"}),
        ("material.roughness.texture=0.2", ("material", "roughness"), {"texture": 0.2}),
        ("mesh.file=a.obj", ("mesh",), {"file": "a.obj"}),
        # as messages have it
        ("lights[1].intensity=2", ("lights", 1, "intensity"), 2),
    ],
)
def test_a_dotted_key_leads_to_its_value(text: str, location: tuple[str | int, ...], value: Any) -> None:
    tree = overridden(text)
    assert tree.mistakes == []
    found = tree.data
    for part in location:
        found = found[part]
    assert found == value


class Written(NamedTuple):
    """A shorthand: its dotted key, the bare value, its expansion, and how to write a scene file around it."""

    key: str
    bare: Any
    model: type[Strict]
    around: Callable[[Any], Any]


def shorthands(
    kind: Any, key: str, around: Callable[[Any], Any], known: dict[str, Any], seen: tuple[Any, ...] = ()
) -> Iterator[Written]:
    """Yield all shorthands of a type and below; known: the key that distinguishes a mapping of this type."""
    choice, model = shape_of(kind).choice, model_of(kind)
    for tag, arm in arms_of(kind).items():
        known = {choice.key: tag} if choice is not None and choice.is_keyed(arm) else {tag: "a.obj"}
        found = shorthands(arm, key, around, known, seen)
        yield from (each for each in found if each.key != key or type_of_value(kind, each.bare) is arm)
    if get_origin(shape_of(kind).kind) is list:
        yield from shorthands(get_args(shape_of(kind).kind)[0], f"{key}.0", lambda item: around([item]), {}, seen)
    if model is None or model in seen:
        return
    fields = {name: field.rebuild_annotation() for name, field in model.fields_by_key().items()}
    for form, name in model.shorthands.items():
        words = words_of(fields[name]) if name else [""]
        word = words[0] if words else {"file": "a.obj"}.get(name, "continuous")
        yield Written(key, {str: word, float: 0.5, list: [3], bool: True}[form], model, around)
    more = {} if model.extra_kind is None else {"mesh.vertices": model.extra_kind}
    for name, field in (fields | more).items():
        inner = f"{key}.{name}".removeprefix(".")
        yield from shorthands(field, inner, lambda value, name=name: around(known | {name: value}), {}, (*seen, model))


SHORTHANDS = {(each.key, str(each.bare)): each for each in shorthands(FitConfig, "", lambda data: data, {})}


@pytest.mark.parametrize("short", SHORTHANDS.values(), ids=map(" ".join, SHORTHANDS))
def test_any_key_can_be_set_beside_any_shorthand(short: Written) -> None:
    for key in short.model.fields_by_key():
        tree, longhand = (read_yaml(json.dumps(short.around(value)), "s.yaml") for value in (short.bare, "LONGHAND"))
        apply_override(tree, Override.parse(f"{short.key}.{key}=7"))
        assert tree.mistakes == []
        expected = short.model.expand(short.bare) | {key: 7}
        assert json.dumps(tree.data) == json.dumps(longhand.data).replace('"LONGHAND"', json.dumps(expected))


def test_the_walk_finds_the_shorthands() -> None:
    names = {(key.replace(".0", "[]"), bare) for key, bare in SHORTHANDS}
    assert names >= {
        ("loss.normal", "l1"),
        ("loss.white_light", "0.5"),
        ("mesh", "a.obj"),
        ("mesh", "visual_hull"),
        ("mesh.subdivide", "0.5"),
        ("lights[]", "flashes"),
        ("lights[].shadow", "True"),
        ("lights[].shadow", "0.5"),
        ("render.edges", "soft"),
        ("optimize.resolution", "0.5"),
        ("optimize.mesh.vertices", "0.5"),
        ("optimize.mesh.vertices.schedule", "cosine"),
        ("optimize.mesh.vertices.remesh", "[3]"),
        ("optimize.mesh.vertices.remesh", "continuous"),
        ("targets.synthetic.objects[].material", "ggx"),
        ("targets.synthetic.relight[]", "ambient"),
    }


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
        ("mesh.init", "must be key=value"),
        ("=3", "must be key=value"),
        ("mesh..init=3", "empty part"),
        ("mesh.init=[", "not YAML"),
        ("mesh.init.x=3", "`mesh.init` is the plain value `sphere`"),
        ("lights.point.type.x=3", "`lights.point.type` is the plain value `point`"),
        ("progress.video.x=3", "`progress.video` is the plain value `true`"),
        ("targets.synthetic.relight.a.radiance=1", "the file has no list `targets.synthetic.relight`"),
        ("lights.kei.radiance=3", "did you mean `key`?"),
        ("lights.7.radiance=3", "must be key, point, or an index below 2"),
        ("objects.a.mesh=3", "the file has no list `objects`"),
    ],
)
def test_what_leads_nowhere_is_a_mistake_shown_on_the_command_line(text: str, words: str) -> None:
    (mistake,) = overridden(text).mistakes
    assert words in str(mistake)
    assert f"--set {text}" in str(mistake)
    assert "^" in str(mistake)


def test_a_text_of_the_command_line_has_nothing_below_it() -> None:
    (mistake,) = overridden("targets=sphere", "targets.path=here").mistakes
    assert mistake.message == "`targets` is the plain value `sphere`, which has no `path`"


def test_places_point_at_key_and_value_on_the_command_line() -> None:
    tree = overridden("mesh.init=boxx")
    key, value = tree.keys[("mesh", "init")], tree.values[("mesh", "init")]
    shown = "--set mesh.init=boxx"
    assert (key.text, key.column, key.width) == (shown, shown.index("mesh") + 1, len("mesh.init"))
    assert (value.text, value.column, value.width) == (shown, shown.index("boxx") + 1, len("boxx"))
    option = Override("optimize.steps", "0", "--steps")
    assert option.place_of_value().text[option.place_of_value().column - 1 :] == "0"
