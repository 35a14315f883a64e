"""The JSON schema that editors read knows the keys of scene files."""

from __future__ import annotations

import json
import re

from typer.testing import CliRunner

from diffrender.app import cli
from diffrender.config.schema import FitConfig


def test_the_schema_is_printed_whole() -> None:
    result = CliRunner().invoke(cli.app, ["schema"])
    assert result.exit_code == 0
    schema = json.loads(result.output)
    assert set(schema["properties"]) == set(FitConfig.fields_by_key()) and schema["required"] == ["targets"]
    named = set(re.findall(r'"#/definitions/([^"]+)"', result.output))
    assert named and named <= set(schema["definitions"])
