"""Planted mistakes and bad fits: each must be found, with its reason; good fits must raise no alarm."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from support.planted import Capture, capture
from support.small_runs import raise_after, run_small
from typer.testing import CliRunner

from diffrender.app.cli import app
from diffrender.app.verdict.reason import Reason, Verdict
from diffrender.errors import DiffrenderError
from diffrender.geometry.primitives import icosphere
from diffrender.writers.meshes.obj import write_obj

SCENE = """
targets: {{path: {path}, test_every: 5}}
mesh: {{init: sphere, subdivisions: 3}}
material: {{type: lambert, base_color: {{vertex: 0.5}}}}
lights:
  - {{name: key, type: directional, direction: [-1, -1, -0.6], radiance: 2.2}}
  - {{name: fill, type: ambient, radiance: 0.35}}
optimize:
  steps: 60
  batch_size: 4
  mesh.vertices: {{schedule: {{type: exponential, final: 0.1}}}}
  material.base_color: {{schedule: {{type: exponential, final: 0.2}}}}
loss: {{image: l1, mask: 1.0, normal_consistency: 0.001}}
progress: {{pictures: 0, video: false, turntable: false}}
export: []
"""
