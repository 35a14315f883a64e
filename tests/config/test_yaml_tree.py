from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffrender.config.format_mistakes import MistakeError
from diffrender.config.yaml_tree import read_scalar_or_flow, read_yaml, write_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        (".5", 0.5),
        ("-2.", -2.0),
        ("+1.5e+2", 150.0),
        ("12", 12),
        ("012", 12),
        ("0x10", 16),
        ("0o10", 8),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("2026-01-01", "2026-01-01"),
        ("'1e-3'", "1e-3"),
        ("1e-3x", "1e-3x"),
        ("-.inf", -math.inf),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    read = read_scalar_or_flow(text)
    assert read == value
    assert type(read) is type(value)


def test_places_are_those_of_the_text() -> None:
    text = "mesh:\n  file: spot.obj  # a cow\nlights:\n  - {name: key, radiance: [1, 22, 3]}\n"
    tree = read_yaml(text, "s.yaml")
    assert tree.data == {"mesh": {"file": "spot.obj"}, "lights": [{"name": "key", "radiance": [1, 22, 3]}]}
    key, value = tree.keys[("mesh", "file")], tree.values[("mesh", "file")]
    assert (key.line, key.column, key.width) == (2, 3, 4)
    assert (value.line, value.column, value.width, value.text) == (2, 9, 8, "  file: spot.obj  # a cow")
    item = tree.values[("lights", 0, "radiance", 1)]
    assert (item.line, item.column, item.width) == (4, 31, 2)


def test_duplicate_keys_are_noted_with_the_first_place_and_reading_goes_on() -> None:
    tree = read_yaml("a: 1\nb: {c: 2, c: 3}\na: 4\n", "s.yaml")
    assert [str(mistake.place) for mistake in tree.mistakes] == ["s.yaml:2:11", "s.yaml:3:1"]
    assert "line 1, column 1" in tree.mistakes[1].message


def test_aliases_are_read_but_not_those_that_contain_themselves() -> None:
    assert read_yaml("a: &x [1]\nb: *x\n", "s").data == {"a": [1], "b": [1]}
    assert "contains itself" in read_yaml("a: &x [*x]\n", "s").mistakes[0].message


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a:\n\tb: 1\n", "s:2:1", "a tab"),
        ("a: {b: 1\nc: 2\n", "s:2:2", "bracket"),
        ("a: 1\n  b: 2\n", "s:2:4", "indent the keys of one block alike"),
        ("a: 'b\n", "s:1:4", "never closed"),
        ("a: 1\n---\nb: 2\n", "s:2:1", "second document"),
        ("a: \x07\n", "s:1:4", "does not allow"),
    ],
)
def test_what_is_no_yaml_is_explained_at_its_place(text: str, place: str, words: str) -> None:
    with pytest.raises(MistakeError) as caught:
        read_yaml(text, "s")
    assert str(caught.value.mistake).startswith(place + ":")
    assert words in str(caught.value.mistake)


words = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=8)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | words
tricky = st.sampled_from(["1e3", "yes", "0o7", "012", "null", "~", "1_0", ".5", "true", "- a", "a: b", "1:30"])
trees = st.recursive(
    scalars | tricky, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3)
)


@given(st.dictionaries(words | tricky, trees, min_size=1, max_size=4))
def test_what_is_written_is_read_back_exactly(data: dict[str, object]) -> None:
    assert read_yaml(write_yaml(data), "s").data == data


def test_a_key_that_is_a_block_at_the_end_is_read() -> None:
    assert read_yaml("? |\n  x\n", "s").data == {"x\n": None}
