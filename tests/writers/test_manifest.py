from __future__ import annotations

import json
import platform
import sys
from datetime import datetime
from pathlib import Path

import torch

from diffrender.threads import threads_to_kernels
from diffrender.writers.run.manifest import describe_device, installed_versions, write_manifest


def test_everything_that_is_promised(tmp_path):
    with threads_to_kernels(3):
        write_manifest(
            tmp_path / "manifest.json",
            command=["diffrender", "fit", "a.yaml", "--set", "optimize.steps=3"],
            scene_file=Path("a.yaml"),
            device="cpu",
            backends={"rasterize": "numba", "antialias": "reference"},
            seed=7,
            stop_reason="non_finite",
            message="term image is NaN",
            steps_done=3,
            seconds=1.23456,
            started=datetime(2026, 11, 23, 6, 40, 5),
        )
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["command"][-1] == "optimize.steps=3"
    assert manifest["scene_file"] == "a.yaml"
    assert manifest["device"] == "cpu"
    assert manifest["backends"] == {"rasterize": "numba", "antialias": "reference"}
    assert (manifest["seed"], manifest["steps_done"], manifest["seconds"]) == (7, 3, 1.235)
    assert (manifest["stop_reason"], manifest["message"]) == ("non_finite", "term image is NaN")
    assert manifest["started"] == "2026-11-23T06:40:05"
    assert manifest["versions"]["torch"] == torch.__version__
    assert manifest["versions"]["python"] == platform.python_version()
    assert manifest["platform"]["kernel_threads"] == 3
    assert {"diffrender", "numpy", "numba"} <= set(manifest["versions"])


def test_versions_do_not_load_packages():
    before = set(sys.modules)
    assert installed_versions()["numba"] is not None
    assert not {name.split(".")[0] for name in set(sys.modules) - before} & {"numba", "trimesh", "scipy"}


def test_device_names():
    assert describe_device(torch.device("cpu")) == "cpu"
