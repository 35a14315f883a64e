"""Large Steps against plain Adam with a Laplacian, at equal wall time on several shapes.

Both start from the same sphere and see the same pictures of normals and silhouettes. The quicker steps of the one are
more steps: after so many seconds both are measured.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from diffrender.config.load import parse_config
from diffrender.evaluate.geometry import GeometryEvaluator, GeometryReport
from diffrender.fit.loop import fit
from diffrender.fit.model import SceneModel
from diffrender.fit.step import StepRecord
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.lights import LIGHTS
from diffrender.scene.materials import MATERIALS
from diffrender.scene.scene import Scene
from diffrender.setup.fit_setup import build_fit
from diffrender.threads import threads_to_kernels
from diffrender.writers.images.png import write_png

# Of a side of one picture.
PIXELS = 384
# More than any contestant takes in its time.
STEPS = 100_000
SCENE = """
targets:
  resolution: {resolution}
  test_every: null
  synthetic:
    normalize: true
    grid: [4, 4]
    radius: 10
    fov_deg: 11.6
    samples: 4
    mesh: {mesh}
mesh: {{init: sphere, subdivisions: {subdivisions}, radius: 0.5, center: [0, 0, 0]}}
material: {{type: unlit, base_color: 0.5}}
optimize: {{steps: {steps}, batch_size: 8, material.base_color: off, mesh.vertices: {vertices}}}
loss: {loss}
"""
# What each contestant writes; rates and weights are the best of several on one cow.
CONTESTANTS = {
    "large steps": (
        "{method: large_steps}",
        "{image: null, mask: {type: l1, weight: 1}, normal: 1, normal_consistency: 0.01}",
    ),
    "Adam, Laplacian": (
        "{method: identity, lr: 0.01}",
        "{image: null, mask: {type: l1, weight: 1}, normal: 1, laplacian: 0.3}",
    ),
}
SHAPES = {
    "bumpy": "{init: bumpy, subdivisions: 5}",
    "box": "{init: box, size: [1, 0.7, 0.5]}",
}


@dataclass(frozen=True)
class Outcome:
    """What a contestant came to: its name, the shape's, how many steps it took, its scene and what is found in that.

    target: the scene that it was to find.
    """

    contestant: str
    shape: str
    steps: int
    scene: Scene
    target: Scene
    report: GeometryReport


def race(shape: str, seconds: float, resolution: int, subdivisions: int) -> Iterator[Outcome]:
    """Each contestant on one of SHAPES, or on the mesh file of that name.

    seconds: for each; looking at pictures for the first time, and building, do not count.
    """
    for contestant, (vertices, loss) in CONTESTANTS.items():
        text = SCENE.format(
            resolution=resolution,
            mesh=SHAPES.get(shape, shape),
            subdivisions=subdivisions,
            steps=STEPS,
            vertices=vertices,
            loss=loss,
        )
        with threads_to_kernels(2):
            setup = build_fit(parse_config(text, Path()))
            clock = _Clock(seconds)
            parts = (setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings)
            fit(*parts, setup.render_step, [clock])
            scene, target = setup.model.snapshot()[0], setup.target_scene
            assert target is not None
            found = GeometryEvaluator(target).report(scene)
            yield Outcome(contestant, Path(shape).stem, clock.steps, scene, target, found)


class _Clock:
    """Ends a fit as Ctrl-C does."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end: float | None = None
        self.steps = 0

    def on_step(self, record: StepRecord, model: SceneModel) -> None:
        self.steps += 1
        # The first step compiles.
        if self._end is None:
            self._end = time.perf_counter() + self._seconds
        elif time.perf_counter() > self._end:
            raise KeyboardInterrupt


def table(outcomes: list[Outcome]) -> str:
    """The outcomes, one a line."""
    lines = [f"{'shape':14} {'contestant':16} {'steps':>6} {'surface RMS':>12} {'self-intersections':>19} {'folds':>6}"]
    for each in outcomes:
        whole = each.report.whole
        lines.append(
            f"{each.shape:14} {each.contestant:16} {each.steps:6} {each.report.surface_rms_to_target:12.5f}"
            f" {whole.self_intersections:19} {whole.folded_faces:6}"
        )
    return "\n".join(lines)


def draw(outcomes: list[Outcome], path: Path) -> None:
    """PNG: a row a shape, with what each contestant found and, last, the target, all lit alike."""
    rows = []
    for shape in dict.fromkeys(each.shape for each in outcomes):
        of_shape = [each for each in outcomes if each.shape == shape]
        scenes = [each.scene for each in of_shape] + [of_shape[0].target]
        rows.append(torch.cat([_lit(scene) for scene in scenes], 1))
    write_png(path, torch.cat(rows, 0))


def _lit(scene: Scene) -> Tensor:
    """[PIXELS, PIXELS, 3] the shapes of a scene in gray clay."""
    clay = MATERIALS["lambert"](base_color=torch.full((3,), 0.8))
    objects = {name: replace(item, material=clay) for name, item in scene.objects.items()}
    lights = {
        "key": LIGHTS["directional"](direction=torch.tensor([-1.0, -1.0, -0.3]), radiance=torch.full((3,), 2.5)),
        "fill": LIGHTS["ambient"](radiance=torch.full((3,), 0.15)),
    }
    eye = torch.tensor([[1.8, 0.8, 2.1]])
    cameras = Cameras.perspective(eye, height=PIXELS, width=PIXELS)
    return render(Scene(objects, lights, torch.ones(3)), cameras).rgba[0, ..., :3]
