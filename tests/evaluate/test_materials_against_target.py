from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from diffrender.evaluate.materials import MaterialEvaluator, Relit
from diffrender.geometry.primitives import icosphere
from diffrender.readers.captures.synthetic import synthetic_views
from diffrender.render.edge_models.hard import Hard
from diffrender.render.render import RenderOutput, render
from diffrender.scene.cameras import Cameras
from diffrender.scene.lights import Directional
from diffrender.scene.material import Material
from diffrender.scene.materials import Ggx, Lambert
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.textures.bake import bake_to_texture, unwrap_mesh

BALL = unwrap_mesh(Mesh(*icosphere(3)), 64)
COLORS = 0.2 + 0.3 * (1 + BALL.vertices) / 2
CAMERAS = Cameras.perspective(torch.tensor([[0.0, 0.5, 3.0], [3.0, 0.5, 0.0]]), height=32, width=32)
SUN = {"sun": Directional(torch.tensor([-1.0, -1.0, -1.0]), torch.full((3,), 3.0))}


def scene_of(material: Material) -> Scene:
    return Scene({"ball": Object(BALL, material)}, {"lamp": Directional()})


def ggx(factor: float | torch.Tensor = 1.0, roughness: float = 0.5, metallic: float = 0.25) -> Ggx:
    return Ggx(COLORS * factor, torch.full((BALL.n_vertices, 1), metallic), torch.tensor([roughness]))


def render_views(scene: Scene, cameras: Cameras) -> RenderOutput:
    return render(scene, cameras, Hard())


def evaluator_of(target: Scene) -> MaterialEvaluator:
    views = synthetic_views(replace(target, lights=SUN), CAMERAS, 1)
    return MaterialEvaluator(target, CAMERAS, Relit(SUN, views), render_views)


def test_the_target_itself_is_at_no_distance() -> None:
    found = evaluator_of(scene_of(ggx())).report(scene_of(ggx()))
    assert found is not None and found.relight is not None
    assert found.base_color_psnr_db == pytest.approx(100) and found.base_color_scale == pytest.approx(1)
    assert found.share_mae == {"roughness": 0, "metallic": 0}
    assert found.relight["psnr_db"] == 99
    numbers = found.as_json()
    assert set(numbers) == {"material", "relight"}
    assert numbers["material"]["base_color_psnr_db"] == found.base_color_psnr_db


def test_differences_are_told_apart() -> None:
    found = evaluator_of(scene_of(ggx())).report(scene_of(ggx(roughness=0.6, metallic=0.55)))
    assert found is not None
    assert found.share_mae["roughness"] == pytest.approx(0.1, abs=1e-5)
    assert found.share_mae["metallic"] == pytest.approx(0.3, abs=1e-5)
    assert found.base_color_psnr_db > 99


def test_a_darker_surface_is_the_same_up_to_brighter_light() -> None:
    # A diffuse surface: its image is proportional to its colour.
    found = evaluator_of(scene_of(Lambert(COLORS))).report(scene_of(Lambert(COLORS / 2)))
    assert found is not None and found.relight is not None
    assert found.base_color_scale == pytest.approx(2, rel=1e-5)
    assert found.base_color_psnr_db > 99
    assert found.relight["psnr_masked_db"] > 90
    assert found.share_mae == {} and "roughness_mae" not in found.as_json()["material"]


def test_a_tint_is_the_same_up_to_tinted_light_alone() -> None:
    found = evaluator_of(scene_of(Lambert(COLORS))).report(scene_of(Lambert(COLORS * torch.tensor([1.0, 0.7, 0.5]))))
    assert found is not None
    assert found.base_color_psnr_db < 30
    assert found.base_color_balanced_psnr_db > 99


def test_a_texture_and_vertices_are_compared_by_what_is_seen() -> None:
    baked = Lambert(bake_to_texture(BALL, COLORS, 64))
    found = evaluator_of(scene_of(Lambert(COLORS))).report(scene_of(baked))
    assert found is not None and 35 < found.base_color_psnr_db < 99


def test_materials_of_other_kinds_and_those_out_of_view_are_not_compared() -> None:
    evaluator = evaluator_of(scene_of(ggx()))
    assert evaluator.report(scene_of(Lambert(COLORS))) is None
    away = replace(scene_of(ggx()).objects["ball"], scale=torch.tensor(1e-3), pose=torch.eye(4))
    away.pose[:3, 3] = 50
    assert evaluator.report(Scene({"ball": away}, SUN)) is None
