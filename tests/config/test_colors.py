"""Colours in scene files as "#rrggbb", and where YAML takes them for comments."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffrender.config.load import parse_config
from diffrender.errors import ConfigError


def test_hexadecimal_colours_are_srgb() -> None:
    text = "targets: {synthetic: {mesh: sphere}}\nbackground: '#00B140'\nmaterial: {type: unlit, base_color: '#ffffff'}"
    config = parse_config(text, Path())
    assert config.background == pytest.approx((0.0, 0.439657, 0.051269), abs=1e-6)
    assert config.model_dump()["material"]["base_color"] == (1.0, 1.0, 1.0)


def test_a_colour_without_quotes_in_braces_is_told() -> None:
    with pytest.raises(ConfigError, match='a colour must be in quotes, as "#00b140"'):
        parse_config("targets: {path: ., key: #00b140}", Path())


def test_a_colour_on_the_command_line_is_no_comment() -> None:
    config = parse_config("targets: {synthetic: {mesh: sphere}}", Path(), overrides=["background=#00b140"])
    assert config.background == pytest.approx((0.0, 0.439657, 0.051269), abs=1e-6)
    with pytest.raises(ConfigError, match="`fov_deg` is for photographs"):
        parse_config("targets: {synthetic: {mesh: sphere}, fov_deg: 30}", Path())
