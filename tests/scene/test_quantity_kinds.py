import json
from dataclasses import dataclass

import pytest
import torch
from support.material_kinds import exported_objects, lit_scene, smooth
from support.shapes import camera_at

from diffrender.app.export_scene import write_appearance
from diffrender.errors import ShapeError
from diffrender.evaluate.materials import MaterialEvaluator
from diffrender.fit.regularizers import REGULARIZERS
from diffrender.render.render import render
from diffrender.scene.lights import LIGHTS, Ambient
from diffrender.scene.materials import Lambert
from diffrender.scene.object import Object
from diffrender.scene.parameter_paths import kind_of, learnable_paths
from diffrender.scene.quantity_kinds import (
    NUMBER,
    RADIANCE,
    ROTATION,
    SHARE,
    fields_of,
    kinds_of,
    map_tensors,
    quantity,
    textures_of,
    vertex_fields_of,
)
from diffrender.scene.scene import Scene
from diffrender.scene.textures.interleave import pack_textures
from diffrender.scene.textures.texture import Texture
from diffrender.writers.run.run_folder import RunFolder

CAMERAS = camera_at((0.0, 0.0, 3.0))


@dataclass(frozen=True)
class Velvet(Lambert):
    """A material unknown to the package, with a share, an unbounded number and emission."""

    fuzz: torch.Tensor | Texture = quantity(SHARE, lambda: torch.full((1,), 0.25))
    depth: torch.Tensor | Texture = quantity(NUMBER, lambda: torch.full((1,), 3.0))
    glow: torch.Tensor | Texture | None = quantity(RADIANCE)


@dataclass(frozen=True)
class Lantern(Ambient):
    """A light unknown to the package."""

    tilt: torch.Tensor = quantity(ROTATION, lambda: torch.tensor([0.0, torch.pi / 2, 0.0]))


def velvet_ball(**values):
    return Object(exported_objects()["ggx_texture"].mesh, Velvet(**values))


def written(tmp_path, item, **lights):
    folder = RunFolder(tmp_path)
    write_appearance(folder, Scene({"ball": item}, lights))
    return folder


def test_a_new_material_and_a_new_light_can_be_learned():
    scene = Scene({"ball": velvet_ball()}, {"lantern": Lantern()})
    paths = learnable_paths(scene, CAMERAS)
    assert [path for path in paths if "fuzz" in path or "depth" in path or "tilt" in path] == [
        "objects.ball.material.fuzz",
        "objects.ball.material.depth",
        "lights.lantern.tilt",
    ]
    assert kind_of(scene, CAMERAS, "material.depth").parametrization == "positive"
    assert kind_of(scene, CAMERAS, "lights.lantern.tilt") == ROTATION


def test_a_new_material_is_checked():
    with pytest.raises(ShapeError, match=r"Velvet: fuzz"):
        Velvet(fuzz=torch.ones(3))
    with pytest.raises(ShapeError, match=r"Velvet: glow.texels"):
        Velvet(glow=Texture(smooth(1)))


def test_textures_of_a_new_material_are_written_as_their_kinds_say(tmp_path):
    material = {"fuzz": Texture(smooth(1)), "depth": Texture(smooth(1, high=5.0)), "glow": Texture(smooth(3, high=2.0))}
    folder = written(tmp_path, velvet_ball(**material))
    files = sorted(path.name for path in (folder.path / "textures").iterdir())
    # Unbounded quantities are also written as floats.
    assert files == ["ball_depth.exr", "ball_depth.png", "ball_fuzz.png", "ball_glow.exr", "ball_glow.png"]


def test_a_new_light_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(LIGHTS, "lantern", Lantern)
    folder = written(tmp_path, velvet_ball(), key=Lantern(torch.tensor([1.0, 2.0, 3.0])))
    (entry,) = json.loads((folder.lights / "lights.json").read_text())["lights"]
    assert (entry["type"], entry["radiance"]) == ("lantern", [1.0, 2.0, 3.0])
    assert entry["tilt"]["degrees"] == pytest.approx(90) and entry["tilt"]["axis"] == [0.0, 1.0, 0.0]


def test_priors_see_the_fields_of_new_types():
    smoothness, white = REGULARIZERS["material_smoothness"](), REGULARIZERS["white_light"]()
    uniform = Scene({"ball": velvet_ball()}, {"key": Lantern()})
    assert smoothness(uniform) == 0 and white(uniform) == 0
    glowing = Scene({"ball": velvet_ball(glow=Texture(smooth(3)))})
    assert smoothness(glowing) == 0  # a colour
    for rough in ({"fuzz": Texture(smooth(1))}, {"depth": Texture(smooth(1, low=1.0, high=2.0))}):
        assert smoothness(Scene({"ball": velvet_ball(**rough)})) > 0
    assert white(Scene({"ball": velvet_ball()}, {"key": Lantern(torch.tensor([1.0, 0.0, 0.0]))})) > 1


def test_shares_of_a_new_material_are_compared_with_the_targets():
    target = Scene({"ball": velvet_ball()})
    found = MaterialEvaluator(target, CAMERAS, None, render).report(
        Scene({"ball": velvet_ball(fuzz=torch.full((1,), 0.75))})
    )
    assert found is not None
    assert found.share_mae == {"fuzz": pytest.approx(0.5)}
    assert found.as_json()["material"]["fuzz_mae"] == pytest.approx(0.5)


def test_textures_of_a_new_material_are_looked_up_together():
    packed = pack_textures(Velvet(fuzz=Texture(smooth(1)), depth=Texture(smooth(1))), None)
    assert textures_of(packed).keys() == {"fuzz", "depth"}
    assert packed.fuzz.pack is packed.depth.pack


def test_tensors_are_mapped_wherever_they_are():
    scene = lit_scene(exported_objects()["ggx_texture"])
    double = map_tensors(scene, lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)
    item = double.objects["thing"]
    tensors = [item.mesh.vertices, item.mesh.uvs, item.pose, item.material.base_color.texels, double.background]
    tensors += [double.lights["sky"].radiance.texels, double.lights["torch"].inner_deg]
    assert {tensor.dtype for tensor in tensors} == {torch.float64}
    assert item.mesh.topology is scene.objects["thing"].mesh.topology  # the faces are the same
    assert double.lights["key"].shadow is scene.lights["key"].shadow
    torch.testing.assert_close(item.mesh.vertices, scene.objects["thing"].mesh.vertices.double())


def test_nothing_is_copied_where_nothing_changes():
    scene = lit_scene(exported_objects()["ggx_texture"])
    assert scene.to("cpu") is scene
    brighter = map_tensors(scene, lambda tensor: tensor + 1 if tensor is scene.background else tensor)
    assert brighter.background is not scene.background and brighter.objects["thing"] is scene.objects["thing"]


def test_fields_by_their_form():
    item = exported_objects()["ggx_vertex"]
    assert list(vertex_fields_of(item.material, item.mesh.n_vertices)) == [
        "base_color",
        "metallic",
        "roughness",
        "emissive",
    ]
    assert "topology" not in fields_of(item.mesh)
    assert list(kinds_of(Velvet)) == ["base_color", "normal", "fuzz", "depth", "glow"]
