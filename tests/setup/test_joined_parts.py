"""Parts of one surface that are several objects: they are shaded, learned and exported as one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from diffrender.config.load import load_config
from diffrender.errors import ConfigError
from diffrender.fit.regularizers import REGULARIZERS
from diffrender.geometry.primitives import icosphere
from diffrender.geometry.topology import Topology
from diffrender.readers.meshes.read_mesh import read_mesh
from diffrender.render.render import render
from diffrender.scene.scene import Scene
from diffrender.setup.fit_setup import FitSetup, build_fit
from diffrender.setup.saved_scene import SavedScene, load_scene, save_scene
from tests.support.small_runs import run_small

SCENE = """
targets: {resolution: 48, synthetic: {mesh: {init: bumpy}, views: 4, lights: [ambient]}}
mesh: MESH
lights: [ambient, {type: directional, direction: [1, -1, -0.5]}]
optimize: {mesh.vertices: {lr: 0.02}, steps: 12}
"""


def write_ball(folder: Path, normals: str = "") -> Path:
    """Write a ball whose faces have three materials of nearly one colour; normals: none, "smooth" or "flat"."""
    ball = icosphere(2)
    lines = ["mtllib ball.mtl", *(f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in ball.vertices.tolist())]
    flat = torch.nn.functional.normalize(ball.vertices[ball.faces].mean(1), dim=1)
    middle = ball.vertices[ball.faces].mean(1)
    material = torch.where(middle[:, 0] < 0, 0, torch.where(middle[:, 2] < 0.1, 1, 2))
    shown = {"": torch.zeros(0, 3), "smooth": ball.vertices, "flat": flat}[normals]
    lines += [f"vn {x:.6f} {y:.6f} {z:.6f}" for x, y, z in shown.tolist()]
    for index, name in enumerate("abc"):
        lines.append(f"usemtl {name}")
        for face in torch.nonzero(material == index)[:, 0].tolist():
            of_corner = {"": "{0}", "smooth": "{0}//{0}", "flat": f"{{0}}//{face + 1}"}[normals]
            lines.append("f " + " ".join(of_corner.format(v + 1) for v in ball.faces[face].tolist()))
    (folder / "ball.obj").write_text("\n".join(lines))
    (folder / "ball.mtl").write_text("".join(f"newmtl {name}\nKd .6 .6 .60{i}\n" for i, name in enumerate("abc")))
    return folder / "ball.obj"


def build(folder: Path, mesh: str, more: str = "") -> FitSetup:
    (folder / "scene.yaml").write_text(SCENE.replace("MESH", mesh) + more)
    return build_fit(load_config(folder / "scene.yaml"))


def picture(setup: FitSetup, scene: Scene) -> Tensor:
    return render(scene, setup.model.cameras()).image


def open_edges(scene: Scene) -> int:
    """Count the edges with one face, of all objects, with positions that are equal as one vertex."""
    vertices = torch.cat([item.mesh.vertices for item in scene.objects.values()])
    starts = [0, *torch.tensor([item.mesh.n_vertices for item in scene.objects.values()]).cumsum(0).tolist()]
    faces = torch.cat([item.mesh.faces + i for item, i in zip(scene.objects.values(), starts, strict=False)])
    return int(Topology(faces).weld(vertices.detach()).is_border.sum())


def assert_looks_alike(found: Tensor, expected: Tensor) -> None:
    """Pictures are the same, but for the outline where a border of parts meets it: samples have equal shares there."""
    is_inside = (expected[..., 3] == 1) & (found[..., 3] == 1)
    torch.testing.assert_close(found[is_inside], expected[is_inside], rtol=0, atol=0.006)
    difference = (found - expected)[~is_inside].detach()
    assert float(difference.abs().max()) < 0.1 and float(difference.square().mean().sqrt()) < 0.01


@pytest.mark.parametrize("shading", ["", "shading: flat\n", "shading: {crease: 20}\n"])
@pytest.mark.parametrize("normals", ["", "smooth", "flat"])
def test_parts_are_shaded_as_the_whole(tmp_path: Path, normals: str, shading: str) -> None:
    write_ball(tmp_path, normals)
    parts, whole = build(tmp_path, "ball.obj", shading), build(tmp_path, "{file: ball.obj, split: none}", shading)
    assert list(parts.scene.objects) == ["a", "b", "c"]
    # Colours differ by .002 at most.
    assert_looks_alike(picture(parts, parts.scene), picture(whole, whole.scene))
    # The same after a deformation, which drops the normals of the file and keeps its hard edges.
    for scene in (parts, whole):
        stretched = {path: value * torch.tensor([1.0, 0.6, 1.3]) for path, value in scene.model.values().items()}
        moved = scene.model.state_at({path: v for path, v in stretched.items() if path.endswith("vertices")})[0]
        if scene is parts:
            expected = picture(parts, moved)
    assert_looks_alike(picture(whole, moved), expected)


def test_gradients_cross_the_borders(tmp_path: Path) -> None:
    write_ball(tmp_path)
    setups = build(tmp_path, "ball.obj"), build(tmp_path, "{file: ball.obj, split: none}")
    by_position = []
    for setup in setups:
        values = {path: v.detach().requires_grad_() for path, v in setup.model.values().items()}
        scene = setup.model.state_at(values)[0]
        image = picture(setup, scene)
        (image * torch.linspace(0, 1, image.numel()).reshape(image.shape)).sum().backward()
        found = {}
        for path, value in values.items():
            if path.endswith("vertices"):
                for row, gradient in zip(value.tolist(), value.grad, strict=True):
                    key = tuple(round(x, 4) + 0.0 for x in row)
                    found[key] = found.get(key, 0) + gradient
        by_position.append(torch.stack([found[key] for key in sorted(found)]))
    largest = by_position[1].abs().max()
    torch.testing.assert_close(by_position[0], by_position[1], rtol=0, atol=0.01 * float(largest))


def test_learned_parts_stay_together_through_export_and_resume(tmp_path: Path) -> None:
    write_ball(tmp_path)
    text = SCENE.replace("MESH", "ball.obj")
    result, _ = run_small(text, tmp_path)
    scene = result.fit.scene
    assert open_edges(scene) == 0 and result.metrics["geometry"]["watertight"]
    moved = torch.cat([item.mesh.vertices for item in scene.objects.values()]).norm(dim=1)
    assert float((moved - 1).abs().max()) > 0.01
    written = read_mesh(result.folder / "mesh" / "final.glb").mesh
    assert written.n_vertices == 162 and written.topology.is_closed and written.n_normals == 162
    # Saved scenes keep that they are parts.
    save_scene(tmp_path / "scene.pt", SavedScene(scene, result.fit.cameras))
    again = load_scene(tmp_path / "scene.pt")[0]
    assert {item.part_of for item in again.objects.values()} == {f"{tmp_path / 'ball.obj'} of a"}
    # A scene file with all defaults filled in builds the same.
    resolved = build_fit(load_config(result.folder / "scene.resolved.yaml"))
    assert resolved.model.joined_paths == [f"objects.{name}.mesh.vertices" for name in "abc"]


def test_parts_are_learned_as_the_whole_is(tmp_path: Path) -> None:
    write_ball(tmp_path)
    text = SCENE.replace("{lr: 0.02}", "{}").replace("MESH", "ball.obj")
    whole, _ = run_small(text.replace("mesh: ball.obj", "mesh: {file: ball.obj, split: none}"), tmp_path)
    parts, _ = run_small(text, tmp_path)
    vertices = whole.fit.scene.objects["object"].mesh.vertices
    assert float((vertices.norm(dim=1) - 1).abs().max()) > 0.1
    found = torch.cat([item.mesh.vertices for item in parts.fit.scene.objects.values()]).unique(dim=0)
    assert len(found) == 162
    assert float(torch.cdist(found, vertices).amin(1).max()) < 0.01


@pytest.mark.parametrize("name", ["laplacian", "bilaplacian", "normal_consistency", "edge_length", "arap", "symmetry"])
def test_shape_regularisers_see_no_borders_between_parts(tmp_path: Path, name: str) -> None:
    write_ball(tmp_path)
    values, gradients = [], []
    for mesh in ("ball.obj", "{file: ball.obj, split: none}"):
        model = build(tmp_path, mesh).model
        (path,) = [path for path in model.latents if path.endswith("vertices")]
        measure = REGULARIZERS[name]().bind(model.initial_template.scene)
        with torch.no_grad():
            model.latents[path].copy_(model.latents[path] * torch.tensor([1.0, 0.6, 1.3]))
            model.latents[path][:, 0] += 0.1 * model.latents[path][:, 1] ** 2
        values.append(measure(model()))
        values[-1].backward()
        moved = zip(model.latents[path].tolist(), model.latents[path].grad, strict=True)
        by_position = {tuple(round(x, 4) + 0.0 for x in row): gradient for row, gradient in moved}
        gradients.append(torch.stack([by_position[key] for key in sorted(by_position)]))
    torch.testing.assert_close(*values, rtol=1e-4, atol=0)
    if name != "symmetry":  # closest points on edges may be of either face
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3 * float(gradients[1].abs().max()))


def test_arap_of_a_part_that_leaves_its_surface(tmp_path: Path) -> None:
    write_ball(tmp_path)
    text = SCENE.replace("MESH", "ball.obj").replace("steps", "objects.a.pose: {}, steps")
    result, _ = run_small(text + "loss: {image: l1, arap: 0.1}", tmp_path)
    assert result.fit.stop_reason == "finished"


def test_parts_of_one_surface_have_the_same_settings(tmp_path: Path) -> None:
    write_ball(tmp_path)
    for value in ("{lr: 0.1}", "{lr: 0.02, method: identity}", "{lr: 0.02, method: large_steps, lambda: 3}"):
        text = SCENE.replace("MESH", "ball.obj").replace("steps", f"objects.b.mesh.vertices: {value}, steps")
        (tmp_path / "scene.yaml").write_text(text)
        paths = r"objects\.b\.mesh\.vertices and objects\.a\.mesh\.vertices|objects\.a\S+ and objects\.b"
        with pytest.raises(ConfigError, match=rf"({paths}).* one surface.*give\s+them the same"):
            build_fit(load_config(tmp_path / "scene.yaml"))


def test_a_part_that_is_not_learned_holds_its_border(tmp_path: Path) -> None:
    write_ball(tmp_path)
    setup = build(tmp_path, "ball.obj", "")
    text = SCENE.replace("MESH", "ball.obj").replace("steps", "objects.b.mesh.vertices: off, steps")
    result, _ = run_small(text, tmp_path)
    before, after = setup.scene.objects, result.fit.scene.objects
    torch.testing.assert_close(after["b"].mesh.vertices, before["b"].mesh.vertices, rtol=0, atol=0)
    assert open_edges(result.fit.scene) == 0
    assert float((after["a"].mesh.vertices - before["a"].mesh.vertices).abs().max()) > 0.01


def test_a_part_that_moves_on_its_own_leaves_the_surface(tmp_path: Path) -> None:
    write_ball(tmp_path)
    text = SCENE.replace("MESH", "ball.obj").replace("steps", "objects.a.pose: {}, steps")
    (tmp_path / "scene.yaml").write_text(text)
    setup = build_fit(load_config(tmp_path / "scene.yaml"))
    assert setup.model().objects["a"].part_of is None
    assert setup.model.joined_paths == ["objects.b.mesh.vertices", "objects.c.mesh.vertices"]


def test_subdivided_parts_are_those_of_the_subdivided_whole(tmp_path: Path) -> None:
    write_ball(tmp_path)
    parts, whole = (build(tmp_path, f"{{file: ball.obj, subdivide: 2{more}}}") for more in ("", ", split: none"))
    assert open_edges(parts.scene) == 0
    corners = torch.cat([item.mesh.vertices[item.mesh.faces] for item in parts.scene.objects.values()])
    mesh = whole.scene.objects["object"].mesh
    assert mesh.n_faces == 16 * 320
    torch.testing.assert_close(corners, mesh.vertices[mesh.faces], rtol=0, atol=1e-5)
    # The resolved file, whose objects name one part each, builds the same.
    again = build_fit(parts.config)
    for name, item in parts.scene.objects.items():
        assert torch.equal(again.scene.objects[name].mesh.vertices, item.mesh.vertices)


def test_remeshing_of_a_part_beside_one_that_is_not_learned_is_refused(tmp_path: Path) -> None:
    write_ball(tmp_path)
    text = SCENE.replace("MESH", "ball.obj").replace("lr: 0.02", "remesh: continuous")
    for mesh, message in (
        ("off", r"whose parts b are not learned.*learn the vertices of all"),
        ("{}", "give them the"),
    ):
        (tmp_path / "scene.yaml").write_text(text.replace("steps", f"objects.b.mesh.vertices: {mesh}, steps"))
        with pytest.raises(ConfigError, match=message):
            build_fit(load_config(tmp_path / "scene.yaml"))


@pytest.mark.parametrize("mesh", ["", "shading: {crease: 20}\n"])
def test_remeshed_parts_are_one_surface_and_have_the_settings_of_the_whole(tmp_path: Path, mesh: str) -> None:
    write_ball(tmp_path)
    text = mesh + SCENE.replace("MESH", "ball.obj").replace(
        "{lr: 0.02}", "{remesh: {when: continuous, stop: 9, subdivide: true, most_faces: 6000}}"
    )
    result, _ = run_small(text, tmp_path)
    objects = result.fit.scene.objects
    assert open_edges(result.fit.scene) == 0 and result.metrics["geometry"]["watertight"]
    assert sum(item.mesh.n_faces for item in objects.values()) > 2 * 320
    resolved = load_config(result.folder / "scene.resolved.yaml").optimize.parameters()
    remesh = [options.remesh for path, options in resolved.items() if path.endswith("vertices")]
    assert len(remesh) == 3 and remesh[0] == remesh[1] == remesh[2]
    (tmp_path / "whole").mkdir()
    write_ball(tmp_path / "whole")
    full = text.replace("mesh: ball.obj", "mesh: {file: ball.obj, split: none}")
    (tmp_path / "whole" / "scene.yaml").write_text(full)
    whole = build_fit(load_config(tmp_path / "whole" / "scene.yaml"))
    assert whole.config.optimize.parameters()["mesh.vertices"].remesh == remesh[0]
    assert {item.mesh.crease_deg for item in objects.values()} == {20.0 if mesh else None}


def test_two_objects_of_one_file_are_two_surfaces(tmp_path: Path) -> None:
    write_ball(tmp_path)
    texts = []
    for mesh in ("ball.obj", "{file: ball.obj, split: none}"):
        objects = f"objects: [{{name: p, mesh: {mesh}, pose: {{translation: [-0.6, 0, 0], scale: 0.5}}}},"
        objects += f" {{name: q, mesh: {mesh}, pose: {{translation: [0.6, 0, 0], scale: 0.5}}}}]"
        texts.append(
            SCENE.replace("mesh: MESH", objects).replace("optimize: {mesh.vertices: {lr: 0.02}, ", "optimize: {")
        )
    setups = []
    for text in texts:
        (tmp_path / "scene.yaml").write_text(text)
        setups.append(build_fit(load_config(tmp_path / "scene.yaml")))
    parts, whole = setups
    assert len({item.part_of for item in parts.scene.objects.values()}) == 2
    assert_looks_alike(picture(parts, parts.scene), picture(whole, whole.scene))
    vertices = [latent for path, latent in parts.model.latents.items() if path.endswith("vertices")]
    assert [len(latent) for latent in vertices] == [162, 162]


def test_a_path_of_one_part_wins_wherever_it_stands(tmp_path: Path) -> None:
    write_ball(tmp_path)
    for paths in ("objects.a.mesh.vertices: off, mesh.vertices", "mesh.vertices"):
        more = "" if paths.startswith("objects") else "objects.a.mesh.vertices: off, "
        text = SCENE.replace("MESH", "ball.obj").replace("mesh.vertices", paths).replace("steps", f"{more}steps")
        (tmp_path / "scene.yaml").write_text(text)
        learned = build_fit(load_config(tmp_path / "scene.yaml")).config.optimize.parameters()
        assert [path for path in learned if path.endswith("vertices")] == [
            "objects.b.mesh.vertices",
            "objects.c.mesh.vertices",
        ]
