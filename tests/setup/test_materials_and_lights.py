"""Materials and lights from scene files."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import torch

from diffrender.config.load import load_config, parse_config
from diffrender.config.options.lights import PointOptions
from diffrender.config.options.materials import LambertOptions
from diffrender.config.options.value_types import Fixed
from diffrender.config.resolved import format_resolved
from diffrender.config.untyped_config import learned_options
from diffrender.errors import ConfigError
from diffrender.fit.loop import fit
from diffrender.readers.mesh_data import MeshData
from diffrender.scene.gltf_surface import GltfSurface
from diffrender.scene.lights import LIGHTS, Directional, Environment, Point, SphericalHarmonics, Spot
from diffrender.scene.materials import MATERIALS, Ggx, Lambert, Phong
from diffrender.scene.mesh import Mesh
from diffrender.scene.shadow_cameras import Shadow
from diffrender.scene.textures.texture import Texture
from diffrender.setup.fit_setup import build_fit
from diffrender.setup.lights import build_light
from diffrender.setup.materials import build_material
from diffrender.writers.gltf.scene import GlbObject, write_glb
from diffrender.writers.images.png import write_png
from diffrender.writers.meshes.obj import write_obj

TARGETS = """
targets:
  resolution: 24
  synthetic: {mesh: {init: bumpy, subdivisions: 2}, views: 4, samples: 2}
"""
SQUARE = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])


def built(text: str, folder: Path = Path()):
    return build_fit(parse_config(TARGETS + text, folder))


@pytest.fixture(name="folder")
def with_a_textured_mesh(tmp_path: Path) -> Path:
    uvs = torch.tensor([[0.0, 1], [1, 1], [1, 0], [0, 0]])
    write_obj(tmp_path / "square.obj", Mesh(SQUARE, FACES, uvs, FACES.clone()), None, None)
    return tmp_path


def material_of(setup):
    return setup.scene.objects["object"].material


def test_every_quantity_of_a_material_has_its_forms(folder: Path) -> None:
    write_png(folder / "rough.png", torch.full((4, 4, 3), 0.25))
    write_png(folder / "normals.png", torch.tensor([0.5, 0.5, 1.0]).expand(4, 4, 3))
    material = material_of(
        built(
            """
mesh: square.obj
material:
  type: ggx
  base_color: {vertex: [0.1, 0.2, 0.3]}
  metallic: {texture: 0.25, resolution: 8}
  roughness: {texture: rough.png}
  normal: {texture: normals.png}
  emissive: 2
lights: [ambient]
optimize: {steps: 2, material.roughness: {}, material.normal: {}, material.emissive: {}}
""",
            folder,
        )
    )
    assert isinstance(material, Ggx)
    torch.testing.assert_close(material.base_color, torch.tensor([0.1, 0.2, 0.3]).expand(4, 3))
    assert isinstance(material.metallic, Texture) and torch.equal(material.metallic.texels, torch.full((8, 8, 1), 0.25))
    assert isinstance(material.roughness, Texture) and isinstance(material.normal, Texture)
    # Roughness files are not decoded from sRGB: linear 0.25 is written as sRGB 0.537.
    torch.testing.assert_close(material.roughness.texels, torch.full((4, 4, 1), 0.537), atol=2e-3, rtol=0)
    # A normal map's 0..1 means -1..1.
    expected = torch.tensor([0.4708, 0.4708, 1.0])
    torch.testing.assert_close(material.normal.texels, expected.expand(4, 4, 3), atol=8e-3, rtol=0)
    assert isinstance(material.emissive, torch.Tensor) and material.emissive.tolist() == [2, 2, 2]


def test_phong_and_its_defaults() -> None:
    material = material_of(built("material: {type: phong, shininess: {vertex: 8}}\nlights: [ambient]"))
    assert isinstance(material, Phong) and not isinstance(material.shininess, Texture)
    assert material.shininess.shape == (2562, 1) and float(material.shininess[0]) == 8
    assert isinstance(material.specular, torch.Tensor) and material.specular.tolist() == pytest.approx([0.1] * 3)


@pytest.mark.parametrize("unwrap", ["", ", unwrap: true"])
def test_what_a_mesh_file_has_of_its_own(tmp_path: Path, unwrap: str) -> None:
    uvs = torch.tensor([[0.0, 1], [1, 1], [1, 0], [0, 0]])
    mesh = Mesh(SQUARE, FACES, uvs, FACES.clone())
    tilted = torch.tensor([0.6, 0.0, 0.8])
    values = {"metallic": torch.tensor([0.2]), "roughness": torch.tensor([0.6]), "normal": tilted}
    textures = {name: Texture(value.expand(16, 16, -1)) for name, value in values.items()}
    surface = GltfSurface(Texture(torch.full((16, 16, 3), 0.5)), emissive=Texture(torch.full((16, 16, 3), 0.25)))
    surface = dataclasses.replace(surface, **textures)
    write_glb(tmp_path / "own.glb", [GlbObject("a", mesh, surface.base_color, surface=surface)])
    forms = "".join(f", {name}: {{texture: own{unwrap}}}" for name in ("metallic", "roughness", "normal", "emissive"))
    text = f"mesh: own.glb\nmaterial: {{type: ggx, base_color: {{texture: own{unwrap}}}{forms}}}\n"
    material = material_of(built(text + "optimize: {steps: 1, material.base_color: {}}", tmp_path))
    assert isinstance(material, Ggx)
    assert isinstance(material.metallic, Texture) and isinstance(material.roughness, Texture)
    assert isinstance(material.normal, Texture) and isinstance(material.emissive, Texture)
    byte = 1 / 255
    torch.testing.assert_close(material.metallic.texels, torch.full((16, 16, 1), 0.2), atol=byte, rtol=0)
    torch.testing.assert_close(material.roughness.texels, torch.full((16, 16, 1), 0.6), atol=byte, rtol=0)
    torch.testing.assert_close(material.emissive.texels, torch.full((16, 16, 3), 0.25), atol=0.01, rtol=0)
    # The same direction on the surface: a new layout may be turned by right angles.
    expected = torch.tensor([[0.6, 0.0, 0.8], [0.0, 0.6, 0.8], [-0.6, 0.0, 0.8], [0.0, -0.6, 0.8]])
    assert float((material.normal.texels[8, 8] - expected).norm(dim=1).min()) < 0.03
    assert unwrap or float((material.normal.texels - tilted).abs().max()) < 0.02


def test_own_needs_a_texture_in_the_mesh_file(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"material\.roughness: own: the mesh file has no roughness texture"):
        built("mesh: square.obj\nmaterial: {type: ggx, base_color: 0.5, roughness: {texture: own}}", folder)


def test_textures_of_a_material_share_one_unwrapping() -> None:
    maps = "roughness: {texture: 0.5, resolution: 32}, normal: {texture: flat, resolution: 16}"
    setup = built(f"mesh: {{init: box}}\nmaterial: {{type: ggx, {maps}}}\nlights: [ambient]")
    material = material_of(setup)
    assert (
        isinstance(material, Ggx) and isinstance(material.roughness, Texture) and isinstance(material.normal, Texture)
    )
    assert material.roughness.texels.shape == (32, 32, 1) and material.normal.texels.shape == (16, 16, 3)
    assert setup.scene.objects["object"].mesh.uvs is not None


def test_a_flat_normal_map_to_start_from(folder: Path) -> None:
    text = "mesh: square.obj\nmaterial: {type: lambert, normal: {texture: flat, resolution: 4}}\nlights: [ambient]"
    material = material_of(built(text, folder))
    assert isinstance(material, Lambert) and isinstance(material.normal, Texture)
    assert torch.equal(material.normal.texels, torch.tensor([0.0, 0, 1]).expand(4, 4, 3))


@pytest.mark.parametrize(
    ("material", "message"),
    [
        ("{type: ggx, roughness: {texture: 0.5, unwrap: false}}", r"material.roughness: a texture needs a mesh with"),
        ("{type: phong, specular: own}", r"material.specular: own: mesh files have no specular; give a colour"),
    ],
)
def test_options_that_do_not_fit_the_mesh_are_refused(material: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        built(f"material: {material}")


def test_every_light_arrives_with_its_options() -> None:
    setup = built(
        """
lights:
  - {name: sun, type: directional, direction: [1, -1, 0], frame: camera}
  - {name: bulb, type: point, frame: camera}
  - {name: torch, type: spot, position: [0, 0, 3], direction: [0, 0, -1], intensity: 4, inner_deg: 5, outer_deg: 45}
  - {name: smooth, type: spherical_harmonics, order: 3}
  - {name: sky, type: environment, radiance: [1, 2, 3], resolution: 16, rotation: {axis: [0, 2, 0], degrees: 90}}
optimize:
  steps: 2
  lights.sky.radiance:
  lights.sky.rotation:
  lights.torch.outer_deg:
  lights.smooth.coefficients:
  mesh.vertices: off
  material.base_color: off
"""
    )
    lights = setup.scene.lights
    assert isinstance(lights["sun"], Directional) and lights["sun"].frame == "camera"
    assert isinstance(lights["bulb"], Point) and lights["bulb"].frame == "camera"
    spot, smooth, sky = lights["torch"], lights["smooth"], lights["sky"]
    assert isinstance(spot, Spot) and float(spot.outer_deg) == 45 and spot.intensity.tolist() == [4, 4, 4]
    assert isinstance(smooth, SphericalHarmonics) and smooth.coefficients.shape == (16, 3)
    assert isinstance(sky, Environment) and sky.frame == "world"
    assert torch.equal(sky.radiance.texels, torch.tensor([1.0, 2, 3]).expand(16, 32, 3))
    torch.testing.assert_close(sky.rotation, torch.tensor([0, math.pi / 2, 0]))
    assert len(setup.model.latents) == 4


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("true", Shadow()),
        ("false", None),
        ("null", None),
        ("0.03", Shadow(0.03)),
        ("{resolution: 64}", Shadow(resolution=64)),
    ],
)
def test_the_forms_of_the_shadow_option(written: str, expected: Shadow | None) -> None:
    setup = built(f"lights: [{{type: point, shadow: {written}}}, {{type: spot}}, {{type: directional}}]")
    assert setup.scene.lights["point"].shadow == expected  # type: ignore[attr-defined]
    assert setup.scene.lights["spot"].shadow is None  # type: ignore[attr-defined]


@pytest.mark.parametrize(("resolution", "height"), [("", 48), (", resolution: 16", 16), (", resolution: 96", 96)])
def test_a_map_from_a_file_keeps_its_mean_at_any_size(tmp_path: Path, resolution: str, height: int) -> None:
    image = torch.linspace(0.1, 0.9, 50)[:, None, None].expand(50, 100, 3)
    write_png(tmp_path / "sky.png", image)
    setup = built(f"lights: [{{type: environment, radiance: sky.png{resolution}}}]", tmp_path)
    sky = setup.scene.lights["environment"]
    assert isinstance(sky, Environment)
    assert sky.radiance.texels.shape == (height, 2 * height, 3)
    assert float(sky.radiance.texels.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(sky.radiance.texels[0].mean()) < 0.15 < 0.85 < float(sky.radiance.texels[-1].mean())


def test_coefficients_may_be_written_out() -> None:
    rows = [[1 + i, 0, -i] for i in range(9)]
    setup = built(f"lights: [{{type: spherical_harmonics, coefficients: {rows}}}]")
    assert setup.scene.lights["spherical_harmonics"].coefficients.tolist() == rows  # type: ignore[attr-defined]


def test_the_filled_in_file_gives_the_same_scene_again(tmp_path: Path) -> None:
    setup = built(
        """
material: {type: ggx, roughness: {vertex: 0.4}, metallic: 0.2}
lights: [{type: environment, radiance: 0.7, rotation: {axis: [0, 1, 0], degrees: 20}}, {type: spot, frame: camera}]
optimize: {steps: 2}
"""
    )
    path = tmp_path / "again.yaml"
    path.write_text(format_resolved(setup.config))
    again = build_fit(load_config(path))
    assert format_resolved(again.config) == format_resolved(setup.config)


def test_a_fit_learns_material_and_sky_together() -> None:
    setup = built(
        """
mesh: {init: bumpy, subdivisions: 2}
material: {type: ggx, base_color: 0.5, roughness: {vertex: 0.5}, metallic: 0.1}
lights: [{type: environment, radiance: 0.5, resolution: 16}]
optimize:
  steps: 12
  material.base_color: {}
  material.roughness: {}
  material.metallic: {}
  lights.environment.radiance: {lr: 0.1}
  lights.environment.rotation: {}
"""
    )
    result = fit(
        setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step, observers=[]
    )
    material, sky = result.scene.objects["object"].material, result.scene.lights["environment"]
    assert isinstance(material, Ggx) and isinstance(sky, Environment)
    assert result.stop_reason == "finished"
    for value, start in ((material.roughness, 0.5), (material.metallic, 0.1), (sky.radiance.texels, 0.5)):
        assert isinstance(value, torch.Tensor) and bool((value != start).any()) and bool(value.isfinite().all())


def build_terms(text: str) -> dict[str, float]:
    return {term.name: term.weight for term in built(text).objective.terms}


def test_priors_come_with_what_they_are_for() -> None:
    start = "mesh: {init: bumpy, subdivisions: 1}\nmaterial: {type: ggx, roughness: {vertex: 0.4}}\n"
    start += "lights: [{type: environment, resolution: 16}]\noptimize: {mesh.vertices: off, "
    usual = {"image": 1.0, "mask": 1.0}
    rough = {"color_smoothness": 3e-4, "material_smoothness": 3e-4}
    assert build_terms(start + "material.base_color: {}}") == usual
    assert build_terms(start + "material.base_color: {}, material.roughness: {}}") == usual | rough
    both = "material.base_color: {}, lights.environment.radiance: {}}"
    assert build_terms(start + both) == usual | {"white_light": 1e-3}
    turning = "material.base_color: {}, lights.environment.rotation: {}}"
    assert build_terms(start + turning) == usual
    assert build_terms(start + both + "\nloss: {image: l2, mask: null, white_light: null}") == {"image": 1.0}


@dataclass(frozen=True)
class Lamp(Point):
    is_on: bool = True
    brand: str = ""


class LampOptions(PointOptions):
    type: Literal["lamp"] = "lamp"  # type: ignore[assignment]
    is_on: Fixed[bool] = True
    brand: Fixed[str] = ""


@dataclass(frozen=True)
class Toon(Lambert):
    bands: int = 4
    is_smooth: bool = False


class ToonOptions(LambertOptions):
    type: Literal["toon"] = "toon"  # type: ignore[assignment]
    bands: Fixed[int] = 4
    is_smooth: Fixed[bool] = False


def test_options_that_are_no_quantities_are_passed_on_and_not_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIGHTS, "lamp", Lamp)
    monkeypatch.setitem(MATERIALS, "toon", Toon)
    lamp = build_light(LampOptions(is_on=False, brand="ours"))
    assert isinstance(lamp, Lamp) and (lamp.is_on, lamp.brand, lamp.frame) == (False, "ours", "world")
    assert lamp.position.tolist() == [0, 2, 0]
    mesh = MeshData(Mesh(SQUARE, FACES), None, None)
    toon, options, _ = build_material(ToonOptions(bands=2, is_smooth=True), mesh, "material")
    assert isinstance(toon, Toon) and (toon.bands, toon.is_smooth) == (2, True)
    assert options.base_color is not None and toon.base_color.tolist() == [[0.5] * 3] * 4
    assert learned_options(LampOptions) == ["position", "intensity"]
    assert learned_options(ToonOptions) == ["base_color", "normal"]
