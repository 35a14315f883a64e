from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from diffrender.errors import DataError
from diffrender.writers.run.metrics import MetricsLog, json_ready, write_json


def strict(text: str):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_rows_are_on_disk_at_once_and_non_finite_is_null(tmp_path):
    with MetricsLog(tmp_path / "run" / "metrics.jsonl") as log:
        log.append({"step": 0, "total": float("nan"), "terms": {"image": float("inf")}})
        log.append({"step": 1, "total": 0.5, "psnr_db": np.float32(20.5)})
        lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
        assert [strict(line) for line in lines] == [
            {"step": 0, "total": None, "terms": {"image": None}},
            {"step": 1, "total": 0.5, "psnr_db": 20.5},
        ]
        assert log.rows[1]["step"] == 1
    log.close()


def test_types_of_numbers():
    value = {
        "tensor": torch.tensor([[1.0, torch.nan]]).requires_grad_(),
        "array": np.array([1, 2]),
        3: (True, None, Path("a/b")),
    }
    assert json_ready(value) == {"tensor": [[1.0, None]], "array": [1, 2], "3": [True, None, "a/b"]}
    with pytest.raises(DataError, match="cannot write a set as JSON"):
        json_ready({1, 2})


def test_write_json_is_whole(tmp_path):
    write_json(tmp_path / "metrics.json", {"heldout.psnr_db": float("inf"), "name": "grün"})
    assert strict((tmp_path / "metrics.json").read_text(encoding="utf-8")) == {"heldout.psnr_db": None, "name": "grün"}
    with pytest.raises(DataError):
        write_json(tmp_path / "metrics.json", {"bad": object()})
    assert strict((tmp_path / "metrics.json").read_text(encoding="utf-8"))["name"] == "grün"


def test_unwritable(tmp_path):
    with pytest.raises(DataError, match="cannot write"):
        MetricsLog(tmp_path)
