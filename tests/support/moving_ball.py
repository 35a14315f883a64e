"""A ball that is thrown up, as a scene file with a program: small, fast, with a known answer."""

from __future__ import annotations

from pathlib import Path

PROGRAM = """
import torch

def throw(speed, side, time):
    height = speed * time - 0.5 * time**2
    return {"objects.ball.position": torch.stack([side * time, height, 0 * time], 1)}
"""
SCENE = """
targets:
  resolution: 24
  fps: 6
  test_every: 4
  synthetic:
    views: 9
    eye: [0, 0.2, 4]
    samples: 4
    objects: [{name: ball, mesh: {init: sphere, subdivisions: 3, radius: 0.4, center: [0, 0, 0]}, material: unlit}]
    program: {file: ball.py, function: throw, parameters: {speed: 1.2, side: 0.5}}
objects: [{name: ball, mesh: {init: sphere, subdivisions: 2, radius: 0.4, center: [0, 0, 0]}, material: unlit}]
program:
  file: ball.py
  function: throw
  parameters: {speed: {value: 0.8, range: [0, 3], unit: m/s}, side: 0.2}
optimize: {steps: 40, batch_size: 3, program.side: {lr: 0.02, schedule: {type: exponential, final: 0.1}}}
loss: {image: {type: pyramid, levels: 3}, mask: null}
progress: {pictures: 3, views: 2, video: false, turntable: false}
export: [glb]
"""


def write_ball(folder: Path, program: str = PROGRAM) -> Path:
    """Write the program to ball.py and the scene to ball.yaml in `folder`, and return the latter."""
    (folder / "ball.py").write_text(program)
    scene = folder / "ball.yaml"
    scene.write_text(SCENE)
    return scene
