"""The table of kinds of files in README.md names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROW = re.compile(r"\| (?P<kind>.+) \| (?P<outcome>.+) \| (?P<tests>.+) \|")


def test_every_kind_has_an_outcome_and_tests_that_exist() -> None:
    lines = (TESTS / "readers" / "README.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.startswith("| kind |")]
    assert len(rows) > 50
    for row in rows:
        found = ROW.fullmatch(row)
        assert found is not None and found["outcome"] in ("read", "note", "refused"), row
        for test in found["tests"].split(" "):
            file, _, function = test.strip("`").partition("::")
            tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
            assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, test
