"""Options of vertices: methods, optimizers, remeshing."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from support.tiny_fit import built

from diffrender.config.load import parse_config
from diffrender.config.resolved import format_resolved
from diffrender.errors import ConfigError
from diffrender.fit.loop import fit
from diffrender.fit.model import SceneModel
from diffrender.fit.parametrizations.large_steps import LargeSteps
from diffrender.fit.step import StepRecord
from diffrender.geometry.primitives import icosphere
from diffrender.geometry.spd_solver import choose_solver
from diffrender.scene.mesh import Mesh
from diffrender.scene.textures.bake import unwrap_mesh
from diffrender.setup.fit_setup import build_fit
from diffrender.writers.images.png import write_png
from diffrender.writers.meshes.obj import write_obj


def test_the_method_of_vertices_arrives_with_its_options() -> None:
    text = """
mesh: {subdivisions: 1}
optimize:
  mesh.vertices: {method: large_steps, lambda: 7, solver: splu, optimizer: vector_adam, betas: [0.8, 0.9]}
  material.base_color: {lr: 0.1}
"""
    setup = built(text)
    vertices = setup.scene.objects["object"].mesh.vertices
    latent = setup.model.latents["objects.object.mesh.vertices"]
    torch.testing.assert_close(
        latent.detach(), LargeSteps(7.0, "splu").bind(setup.scene.objects["object"].mesh).latent_of(vertices)
    )
    shape, color = setup.config.optimize.parameters().values()
    assert (shape.smoothness, shape.solver, shape.optimizer, shape.betas) == (
        7,
        "splu",
        "vector_adam",
        (0.8, 0.9),
    )
    assert (color.smoothness, color.solver, color.optimizer) == (None, None, "adam")
    assert parse_config(format_resolved(setup.config), Path()) == setup.config


REMESHED = "mesh: {subdivisions: 2}\noptimize: {steps: 6, mesh.vertices: {method: METHOD, remesh: REMESH}}"


@pytest.mark.parametrize("method", ["identity", "large_steps"])
@pytest.mark.parametrize("remesh", ["continuous", "[2, 4]", "{every: 2, passes: 2}"])
def test_meshes_are_remeshed_as_the_file_says(method: str, remesh: str) -> None:
    setup = built(REMESHED.replace("METHOD", method).replace("REMESH", remesh))
    assert parse_config(format_resolved(setup.config), Path()) == setup.config
    faces: list[int] = []

    class Watch:
        def on_step(self, record: StepRecord, model: SceneModel) -> None:
            faces.append(id(model.template.scene.objects["object"].mesh.faces))

    result = fit(
        setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step, [Watch()]
    )
    assert result.stop_reason == "finished"
    changed = [step + 1 for step in range(1, 6) if faces[step] != faces[step - 1]]
    every = {("continuous", "identity"): [2, 3, 4, 5], ("continuous", "large_steps"): [5]}
    assert changed == every.get((remesh, method), [2, 4])


def test_default_lengths_come_from_pixels_and_from_the_region() -> None:
    """A pixel is 2 tan(20 deg) / 24 of the distance wide; cameras are about 3 away from the object."""
    setup = built(REMESHED.replace("METHOD", "identity").replace("REMESH", "continuous"))
    shape = setup.config.optimize.parameters()["mesh.vertices"]
    pixel = 3 * 2 * math.tan(math.radians(20)) / 24
    assert shape.remesh.shortest == pytest.approx(2 * pixel, rel=0.1)
    assert shape.remesh.longest == pytest.approx(max(0.33 * 0.5, 2 * pixel), rel=0.3)
    assert (shape.optimizer, shape.betas, shape.lr, shape.remesh.smoothing) == ("vector_adam", (0.8, 0.8), 0.3, 0.02)
    smooth = built(REMESHED.replace("METHOD", "large_steps").replace("REMESH", "continuous"))
    shape = smooth.config.optimize.parameters()["mesh.vertices"]
    assert (shape.optimizer, shape.betas) == (LargeSteps.optimizer, (0.9, 0.999))
    assert shape.lr == pytest.approx(
        0.2 * float(smooth.scene.objects["object"].mesh.vertices.norm(dim=1).mean()), rel=0.1
    )
    assert (shape.remesh.every, shape.remesh.smoothing) == (5, 0.0)


TEXTURE = "{texture: 0.5, resolution: 32}"


@pytest.mark.parametrize(
    ("mesh", "color", "remesh", "unwraps"),
    [
        ("{subdivisions: 2}", TEXTURE, "[2, 4]", True),
        ("{subdivisions: 2}", TEXTURE, "{every: 2, stop: 4}", True),
        ("{subdivisions: 2}", TEXTURE, "{every: 2}", False),  # until the end
        ("{subdivisions: 2}", TEXTURE, "{when: [2], unwrap: false}", False),
        ("{subdivisions: 2}", "{vertex: 0.5}", "[2, 4]", False),
        ("own.obj", TEXTURE, "[2, 4]", False),  # the layout of the file
        ("own.obj", "{texture: 0.5, resolution: 32, unwrap: true}", "[2, 4]", True),
    ],
)
def test_textures_get_a_layout_that_suits_the_remeshed_shape(
    mesh: str, color: str, remesh: str, unwraps: bool, tmp_path: Path
) -> None:
    own = unwrap_mesh(Mesh(*icosphere(2, 0.5)), 32)
    write_obj(tmp_path / "own.obj", own)
    text = f"mesh: {mesh}\nmaterial: {{type: unlit, base_color: {color}}}\n"
    text += f"optimize: {{steps: 6, mesh.vertices: {{remesh: {remesh}}}, material.base_color: {{}}}}"
    setup = built(text, tmp_path)
    assert setup.config.optimize.parameters()["mesh.vertices"].remesh.unwrap is unwraps


LATER = "{texture: 0.5, resolution: 64, from_vertices: true}"


@pytest.mark.parametrize(
    ("color", "remesh", "words"),
    [
        (LATER, "{remesh: [2, 4]}", None),
        (LATER, "{remesh: {every: 2}}", "base_color.from_vertices: this would never become a texture"),
        (LATER, "{}", "base_color.from_vertices: this would never become a texture"),
        (LATER, "{remesh: {every: 100, stop: 5}}", "base_color.from_vertices: this would never become a texture"),
        (LATER, "{remesh: {when: [2], unwrap: false}}", "base_color.from_vertices: this would never become a texture"),
        ("{texture: a.png, from_vertices: true}", "{remesh: [2]}", "start as one colour or number"),
        ("{texture: 0.5, padding: 3, from_vertices: true}", "{remesh: [2]}", "has the usual padding"),
        ("{texture: 0.5, unwrap: false, from_vertices: true}", "{remesh: [2]}", "is always unwrapped"),
    ],
)
def test_textures_that_start_at_vertices(color: str, remesh: str, words: str | None, tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", torch.zeros(2, 2, 3))
    text = f"mesh: {{subdivisions: 2}}\nmaterial: {{type: unlit, base_color: {color}}}\n"
    text += f"optimize: {{steps: 6, mesh.vertices: {remesh}, material.base_color: {{}}}}"
    if words is not None:
        with pytest.raises(ConfigError, match=words):
            built(text, tmp_path)
        return
    setup = built(text, tmp_path)
    item = setup.scene.objects["object"]
    assert item.mesh.uvs is None and item.material.base_color.shape == (item.mesh.n_vertices, 3)  # type: ignore[union-attr]
    (targets,) = setup.optimizer.target_lengths.values()
    assert targets.policy.texture_sides == {"objects.object.material.base_color": 64}
    assert setup.config.loss is not None and setup.config.loss.color_smoothness is not None
    assert setup.config.optimize.parameters()["material.base_color"].levels == 3
    assert build_fit(parse_config(format_resolved(setup.config), tmp_path)).config == setup.config


@pytest.mark.parametrize("scene", ["{{material: {0}}}", "{{objects: [{{name: a, material: {0}}}]}}"])
def test_values_of_the_vertices_of_a_target_never_become_textures(scene: str, tmp_path: Path) -> None:
    targets = scene.format(f"{{type: unlit, base_color: {LATER}}}")
    with pytest.raises(ConfigError, match="a target is not learned"):
        parse_config(f"targets: {{synthetic: {targets}}}", tmp_path)


def test_colours_of_a_file_of_two_materials_become_two_textures(tmp_path: Path) -> None:
    vertices, faces = icosphere(2, 0.5)
    (tmp_path / "two.mtl").write_text("newmtl a\nKd 1 0 0\nnewmtl b\nKd 0 1 0\n")
    lines = ["mtllib two.mtl", *(f"v {x} {y} {z}" for x, y, z in vertices.tolist())]
    is_left = vertices[faces].mean(1)[:, 0] < 0
    for name, own in (("a", faces[is_left]), ("b", faces[~is_left])):
        lines += [f"usemtl {name}", *(f"f {i + 1} {j + 1} {k + 1}" for i, j, k in own.tolist())]
    (tmp_path / "two.obj").write_text("\n".join(lines))
    text = f"mesh: two.obj\nmaterial: {{type: unlit, base_color: {LATER}}}\n"
    setup = built(text + "optimize: {steps: 3, mesh.vertices: {remesh: [2]}, material.base_color: {}}", tmp_path)
    assert len(setup.scene.objects) == 2
    found = fit(
        setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step
    )  # fmt: skip
    for item in found.scene.objects.values():
        assert item.material.base_color.texels.shape == (64, 64, 3)  # type: ignore[union-attr]


def test_a_layout_without_textures_is_refused() -> None:
    text = "mesh: {subdivisions: 2}\noptimize: {mesh.vertices: {remesh: {unwrap: true}}}"
    with pytest.raises(ConfigError, match=r"optimize\.mesh\.vertices\.remesh\.unwrap: the object has no textures"):
        built(text)


def test_an_initial_mesh_that_cannot_be_remeshed_is_refused(tmp_path: Path) -> None:
    fan = "v 0 0 0\nv 0 0 1\nv 1 0 0\nv 0 1 0\nv -1 0 0\nf 1 2 3\nf 2 1 4\nf 1 2 5\n"
    (tmp_path / "fan.obj").write_text(fan)
    text = "mesh: fan.obj\noptimize: {mesh.vertices: {remesh: continuous}}"
    with pytest.raises(
        ConfigError, match=r"optimize\.mesh\.vertices\.remesh: the initial mesh cannot be remeshed: .*third face"
    ):
        built(text, tmp_path)


@pytest.mark.parametrize(
    ("options", "terms"),
    [
        ("{}", ["image", "mask", "normal_consistency"]),
        ("{method: identity}", ["image", "mask", "laplacian", "normal_consistency"]),
        ("{remesh: continuous}", ["image", "mask", "normal_consistency"]),
        ("{method: large_steps, remesh: continuous}", ["image", "mask", "normal_consistency"]),
    ],
)
def test_what_keeps_shapes_smooth_depends_on_how_they_move(options: str, terms: list[str]) -> None:
    setup = built(f"mesh: {{subdivisions: 1}}\noptimize: {{mesh.vertices: {options}}}")
    assert [term.name for term in setup.objective.terms] == terms


def test_the_solver_that_will_run_is_written_down() -> None:
    setup = built("mesh: {subdivisions: 1}\noptimize: {mesh.vertices: {method: large_steps}}")
    shape = setup.config.optimize.parameters()["mesh.vertices"]
    assert (shape.smoothness, shape.solver, shape.optimizer) == (1, choose_solver("auto"), "vector_adam")
    assert "lambda: 1" in format_resolved(setup.config)


@pytest.mark.parametrize(
    ("mesh", "smoothness"), [("1", 1), ("3", 642 / 640), ("4", 4), ("5", 4), ("3, radius: 9", 642 / 640)]
)
def test_lambda_follows_the_number_of_vertices(mesh: str, smoothness: float) -> None:
    setup = built(f"mesh: {{subdivisions: {mesh}}}\noptimize: {{mesh.vertices: }}")
    shape = setup.config.optimize.parameters()["mesh.vertices"]
    assert shape.smoothness == pytest.approx(smoothness)
