"""Damaged files of every format lead to one of our errors, soon and without taking much memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COUNT = os.environ.get("DIFFRENDER_MUTANTS", "4000")
"""How many mutants are read; 100000 take a minute or two."""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the memory of a process as Linux does")
def test_mutated_files_are_refused_or_read(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "support.mutated_files", str(tmp_path / "files"), COUNT, "0"]
    tests = Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=tests)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == []
