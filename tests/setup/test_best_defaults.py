"""What is chosen where a scene file says little: by masks, views and pixels, with reasons."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.ball_capture import GRAY, built, write

from diffrender.config.load import parse_config
from diffrender.config.options.material_inputs import TextureOf
from diffrender.config.options.parameters import ParameterOptions
from diffrender.config.resolved import format_resolved
from diffrender.config.scene_dependent_defaults import (
    EARLY_NORMAL_CONSISTENCY,
    MOST_STEPS,
    NORMAL_CONSISTENCY_OF_REMESHED,
    NORMAL_CONSISTENCY_WITHOUT_LIGHT,
    SMOOTHNESS_OF_TEXTURES,
)
from diffrender.errors import ConfigError, DataError
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.scene.materials import Ggx, Lambert, Unlit
from diffrender.scene.textures.texture import Texture
from diffrender.setup.fit_setup import FitSetup, build_fit

STARTS = "objects: [{name: a}, {name: b, mesh: {init: box}}, {name: c}]"


def texture_of(setup: FitSetup) -> TextureOf:
    assert setup.config.material is not None
    return setup.config.material.base_color


def shape_of(setup: FitSetup) -> ParameterOptions:
    return setup.config.optimize.parameters()["mesh.vertices"]


@pytest.mark.parametrize("masked", [True, False])
def test_one_line_is_a_hull_that_is_remeshed_with_a_texture(tmp_path: Path, masked: bool) -> None:
    write(tmp_path, masked=masked)
    setup = built(tmp_path)
    (item,) = setup.scene.objects.values()
    assert item.mesh.topology.is_closed and isinstance(item.material, Unlit)
    assert texture_of(setup).from_vertices
    assert setup.config.optimize.parameters()["material.base_color"].schedule.hold == 0.6
    shape = shape_of(setup)
    assert shape.remesh is not None and (shape.remesh.most_faces, shape.remesh.subdivide, shape.remesh.stop) == (
        8000,
        True,
        240,
    )
    assert shape.schedule.type == "exponential"
    assert [term.name for term in setup.objective.terms] == ["image", "mask", "normal_consistency", "color_smoothness"]
    smooth = setup.objective.terms[2]
    assert smooth.weight_at(0) == pytest.approx(12 * smooth.weight_at(1))  # while steps are long, thin parts would fold
    assert setup.config.background == pytest.approx((0.0, 0.0, 0.0) if masked else (GRAY,) * 3, abs=0.01)
    of_optimize = {f"optimize.{key}" for key in ("mesh.vertices", "batch_size", "cameras.blur")}
    assert set(setup.reasons) == {"mesh", "material"} | of_optimize
    assert setup.settings.batch_size == 8 and setup.objective.terms[1].weight == 0.5
    assert "cameras.blur" in setup.model.latents and setup.config.optimize.parameters()["cameras.blur"].lr == 0.05
    # Written out with reasons, it is the same fit.
    text = format_resolved(setup.config, setup.reasons)
    assert "# the masks of 7 views carve a first shape\nmesh: {init: visual_hull" in text
    again = build_fit(parse_config(text, tmp_path))
    assert again.config == setup.config and not again.reasons
    torch.testing.assert_close(again.fit_views.masks, setup.fit_views.masks, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("edges", "samples"),
    [("antialias", 8), ("soft", 8), ("{type: soft, samples: 4}", 4), ("hard", None), (None, 8)],
)
def test_least_squares_take_more_samples_unless_a_file_says_how_many(
    tmp_path: Path, edges: str | None, samples: int | None
) -> None:
    write(tmp_path)
    text = "mesh: {init: sphere, subdivisions: 2}" + (f"\nrender: {{edges: {edges}}}" if edges else "")
    learned = "optimize: {method: levenberg_marquardt, cameras.pose: {}, mesh.vertices: off, material.base_color: off}"
    setup = built(tmp_path, f"{text}\n{learned}")
    assert getattr(setup.config.render.edges, "samples", None) == samples
    assert ("render.edges.samples" in setup.reasons) == (samples == 8)
    assert getattr(built(tmp_path, text).config.render.edges, "samples", 4) == 4


def test_faces_and_first_images_follow_the_pixels(tmp_path: Path) -> None:
    write(tmp_path, size=400)
    setup = built(tmp_path)
    resolution = setup.config.optimize.resolution
    assert resolution is not None and (resolution.scale, resolution.until) == (0.5, 320)
    assert setup.fit_views.masks is not None
    pixels = float(setup.fit_views.masks.sum((1, 2)).mean()) / 4
    # Four times the area of the outlines, and some room between charts.
    assert 5 < texture_of(setup).resolution ** 2 / (4 * pixels) < 10
    remesh = shape_of(setup).remesh
    assert remesh is not None and remesh.stop == 240 and remesh.most_faces == pytest.approx(4 * pixels, abs=4)
    assert built(tmp_path, "optimize: {resolution: null}").config.optimize.resolution is None
    sharp = built(tmp_path, "optimize: {cameras.blur: off, batch_size: 3}")
    assert "cameras.blur" not in sharp.model.latents and sharp.settings.batch_size == 3
    assert sharp.objective.terms[1].weight == 1
    random = build_fit(parse_config("targets: {path: ., background: random}", tmp_path))
    assert "mesh" in random.reasons and "cameras.blur" not in random.model.latents


@pytest.mark.parametrize(
    "text",
    [
        "mesh: {init: sphere, subdivisions: 2}",
        "optimize: {mesh.vertices: {lr: 0.01}}",
        "objects: [{name: a, mesh: {init: sphere, subdivisions: 2}}]",
    ],
)
def test_what_a_file_says_of_its_shape_is_kept(tmp_path: Path, text: str) -> None:
    write(tmp_path)
    setup = built(tmp_path, text)
    assert setup.reasons == {} and all(each.remesh is None for each in setup.config.optimize.parameters().values())


def test_textures_are_colours_of_vertices_first(tmp_path: Path) -> None:
    write(tmp_path, size=600)
    setup = built(tmp_path)
    resolution = setup.config.optimize.resolution
    assert resolution is not None and (resolution.scale, resolution.until) == (0.25, 350)
    (policy,) = (each.policy for each in setup.optimizer.target_lengths.values())
    side = texture_of(setup).resolution
    assert policy.unwrap and policy.texture_sides == {"objects.object.material.base_color": side}
    # On small images a texture begins, without remeshing.
    assert policy.stop == 262
    # What full size alone gains is not taken for a fit that still falls: a state in the middle of it is checked.
    assert 375 in setup.best._due
    assert "learned at vertices until" in setup.reasons["material"]
    # Its rate decays from its first step.
    schedule = setup.config.optimize.parameters()["material.base_color"].schedule
    assert (schedule.type, schedule.final, schedule.hold) == ("exponential", 0.1, 262 / 400)
    # Another texture of the object would be unwrapped as well; nothing is left to learn, or is never remeshed.
    rough = "lights: [ambient]\nmaterial: {type: ggx, roughness: {texture: 0.5}}"
    for options in ("steps: 2", "scale: {}", "method: levenberg_marquardt", "material.base_color: {stop: 200}", None):
        text = rough if options is None else f"optimize: {{{options}}}"
        assert isinstance(built(tmp_path, text).scene.objects["object"].material.base_color, Texture), text


@pytest.mark.parametrize("own", ["", "loss: {mask: 0.5}\n"])
def test_masks_that_were_found_move_no_pose(tmp_path: Path, own: str) -> None:
    """Least squares are of colours alone: those masks are made of them, and their errors are no noise."""
    write(tmp_path, masked=False)
    start = "mesh: sphere\nmaterial: unlit\noptimize: {method: levenberg_marquardt, pose: {}}\n"
    setup = built(tmp_path, start + own)
    assert setup.has_found_masks
    assert setup.config.loss is not None and (setup.config.loss.mask is None) == (not own)
    assert ("loss.mask" in setup.reasons) == (not own)


@pytest.mark.parametrize("own", ["", ", from_vertices: true"])
def test_a_texture_of_the_file_is_colours_of_vertices_first_too(tmp_path: Path, own: str) -> None:
    write(tmp_path)
    setup = built(tmp_path, f"material: {{type: unlit, base_color: {{texture: 0.3, resolution: 96{own}}}}}")
    texture = texture_of(setup)
    assert (texture.texture, texture.resolution, texture.from_vertices) == ((0.3, 0.3, 0.3), 96, True)
    assert shape_of(setup).remesh.stop == 240
    assert setup.config.optimize.parameters()["material.base_color"].schedule.hold == 0.6
    assert setup.reasons["material"] == "learned at vertices until its mesh is remeshed no more"


@pytest.mark.parametrize("own", ["from_vertices: false", "padding: 4"])
def test_a_texture_of_the_file_may_be_one_from_the_start(tmp_path: Path, own: str) -> None:
    write(tmp_path)
    setup = built(tmp_path, f"material: {{type: unlit, base_color: {{texture: 0.3, {own}}}}}")
    assert not texture_of(setup).from_vertices and "material" not in setup.reasons


def test_lit_shapes_have_a_texture_as_well(tmp_path: Path) -> None:
    write(tmp_path)
    for text, kind in (("lights: [ambient]", Lambert), ("lights: [ambient]\nmaterial: ggx", Ggx)):
        setup = built(tmp_path, text)
        (item,) = setup.scene.objects.values()
        assert isinstance(item.material, kind) and texture_of(setup).from_vertices


def test_where_no_colours_are_learned_meshes_are_remeshed_as_long_as_images_are_small(tmp_path: Path) -> None:
    write(tmp_path)
    given = "material: {type: unlit, base_color: {texture: 0.5, from_vertices: false}}"
    for text in ("loss: {image: null}", "optimize: {material.base_color: off}", given):
        assert shape_of(built(tmp_path, text)).remesh.stop == 320, text


def test_few_views_start_from_a_sphere(tmp_path: Path) -> None:
    write(tmp_path, count=5)
    assert "mesh" not in built(tmp_path).reasons


@pytest.mark.parametrize(
    ("named", "learned"),
    [
        ("cameras.exposure: {}", "mesh.vertices, material.base_color, cameras.exposure, cameras.blur"),
        ("cameras.exposure: {}, mesh.vertices: off", "material.base_color, cameras.exposure"),
        (
            "material.base_color: {lr: 0.1}, background: {}",
            "mesh.vertices, material.base_color, background, cameras.blur",
        ),
        ("mesh.vertices: {lr: 0.1}", "material.base_color, mesh.vertices"),
        # Vertices that move as well would undo a pose.
        ("pose: {}", "pose"),
        ("scale: {}, material.base_color: {}", "scale, material.base_color"),
        ("pose: off", "mesh.vertices, material.base_color, cameras.blur"),
    ],
)
def test_what_is_named_is_learned_besides_shape_and_color(tmp_path: Path, named: str, learned: str) -> None:
    write(tmp_path)
    setup = built(tmp_path, f"optimize: {{{named}}}")
    assert ", ".join(setup.config.optimize.parameters()) == learned
    again = parse_config(format_resolved(setup.config), tmp_path)
    assert list(build_fit(again).config.optimize.parameters()) == learned.split(", ")


def test_colours_are_not_learned_where_none_are_compared(tmp_path: Path) -> None:
    write(tmp_path)
    setup = built(tmp_path, "loss: {image: null, mask: 1}")
    assert list(setup.config.optimize.parameters()) == ["mesh.vertices"]


def weights(setup: FitSetup) -> dict[str, float]:
    return {term.name: term.weight for term in setup.objective.terms}


def test_a_loss_adds_to_the_default_and_null_removes_from_it(tmp_path: Path) -> None:
    write(tmp_path)
    usual = weights(built(tmp_path, ""))
    assert set(usual) == {"image", "mask", "normal_consistency", "color_smoothness"}
    for text, changes in (
        ("{image: huber}", {}),
        ("{mask: 3}", {"mask": 3.0}),
        ("{laplacian: 0.2}", {"laplacian": 0.2}),
        ("{normal_consistency: null, mask: null}", {"normal_consistency": None, "mask": None}),
        # What is relative to the images' loss goes with it.
        ("{image: {weight: 0}}", {"image": None, "color_smoothness": None}),
    ):
        setup = built(tmp_path, f"loss: {text}")
        expected = {name: weight for name, weight in {**usual, **changes}.items() if weight is not None}
        assert weights(setup) == expected, text
        again = parse_config(format_resolved(setup.config), tmp_path)
        assert weights(build_fit(again)) == expected, text
    with pytest.raises(ConfigError, match="loss: has no term"):
        built(tmp_path, "loss: {image: null, mask: null, normal_consistency: null}")


def test_shapes_are_smoother_where_pictures_show_normals(tmp_path: Path) -> None:
    write(tmp_path)
    unlit = weights(built(tmp_path))["normal_consistency"]
    lit = weights(built(tmp_path, "material: lambert\nlights: [ambient]"))["normal_consistency"]
    assert (unlit, lit) == (NORMAL_CONSISTENCY_WITHOUT_LIGHT, NORMAL_CONSISTENCY_OF_REMESHED) and unlit < lit


@pytest.mark.parametrize(("count", "share"), [(30, 1.0), (40, 0.6), (50, 0.2), (55, 0.2)])
def test_what_many_views_show_is_left_less_to_smoothness(tmp_path: Path, count: int, share: float) -> None:
    write(tmp_path, 32, count)
    setup = built(tmp_path, "targets: {path: ., test_every: null}")
    assert len(setup.fit_views) == count
    found = weights(setup)
    assert found["normal_consistency"] == pytest.approx(share * NORMAL_CONSISTENCY_WITHOUT_LIGHT)
    assert found["color_smoothness"] == pytest.approx(share * SMOOTHNESS_OF_TEXTURES)


def test_each_of_many_views_is_compared_as_often(tmp_path: Path) -> None:
    write(tmp_path, 32, 40)
    text = "targets: {path: ., test_every: null}\n"
    setup = built(tmp_path, text)
    assert setup.config.optimize.steps == 64 * 40 / 4 and "compared 64 times" in setup.reasons["optimize.steps"]
    assert shape_of(setup).remesh.stop == 384
    assert built(tmp_path, text + "optimize: {batch_size: 8}").config.optimize.steps == 400
    assert built(tmp_path, text + "optimize: {batch_size: 1}").config.optimize.steps == MOST_STEPS
    assert built(tmp_path, text + "optimize: {steps: 7}").config.optimize.steps == 7


def test_a_term_of_the_default_keeps_the_options_that_a_file_leaves_out(tmp_path: Path) -> None:
    write(tmp_path)
    text = "{normal_consistency: 0.07, color_smoothness: {weight: 0.01}, mask: {type: l1}, image: huber}"
    setup = built(tmp_path, f"loss: {text}")
    terms = {term.name: term for term in setup.objective.terms}
    assert (terms["normal_consistency"].weight, terms["normal_consistency"].early) == (0.07, EARLY_NORMAL_CONSISTENCY)
    assert (terms["color_smoothness"].weight, terms["color_smoothness"].relative_to) == (0.01, "image")
    # Another type of term is wholly the file's.
    assert terms["mask"].weight == 1.0 != weights(built(tmp_path, ""))["mask"]
    again = parse_config(format_resolved(setup.config), tmp_path)
    assert again.loss is not None and again.loss == setup.config.loss


def test_objects_that_start_in_the_same_place_are_told(tmp_path: Path) -> None:
    write(tmp_path)
    same = "start as the same mesh in the same place"
    assert any(f"objects a and c {same}" in note for note in built(tmp_path, STARTS).notes)
    apart = STARTS.replace("{name: c}", "{name: c, pose: {translation: [0, 1, 0]}}")
    assert not any(same in note for note in built(tmp_path, apart).notes)


def test_masks_that_leave_no_hull_start_from_a_sphere(tmp_path: Path) -> None:
    write(tmp_path)
    for name in ("mask_1.png", "mask_3.png", "mask_5.png"):  # a corner in each, which no other view has in its mask
        spoiled = np.zeros((64, 64), np.uint8)
        spoiled[:6, :6] = 255
        Image.fromarray(spoiled).save(tmp_path / name)
    setup = built(tmp_path)
    assert any("starts from a sphere, since no visual hull can be made" in note for note in setup.notes)
    assert setup.reasons == {} and shape_of(setup).remesh is None
    with pytest.raises(DataError, match="visual hull"):
        built(tmp_path, "mesh: visual_hull")


@pytest.mark.parametrize("text", ["", "mesh: {init: sphere, subdivisions: 1}", "optimize: {cameras.pose: {}}"])
@pytest.mark.parametrize("count", [4, 8])
def test_runs_with_found_masks_are_read_back(tmp_path: Path, text: str, count: int) -> None:
    write(tmp_path, count=count, masked=False)
    setup = built(tmp_path, text)
    again = build_fit(parse_config(format_resolved(setup.config, setup.reasons), tmp_path))
    assert again.config == setup.config and again.fit_views.masks is not None


def test_values_that_are_off_stay_off_in_the_resolved_scene(tmp_path: Path) -> None:
    write(tmp_path)
    paths = "{cameras.pose: {}, mesh.vertices: off, material.base_color: off}"
    setup = built(tmp_path, f"mesh: {{init: sphere, subdivisions: 1}}\noptimize: {paths}")
    again = build_fit(parse_config(format_resolved(setup.config), tmp_path))
    assert again.config == setup.config and list(again.model.latents) == ["cameras.pose"]


def spoil(folder: Path, name: str) -> None:
    Image.new("RGB", (64, 64), (148, 148, 148)).save(folder / name)


def test_a_picture_without_an_object_is_told(tmp_path: Path) -> None:
    write(tmp_path, masked=False)
    spoil(tmp_path, "0.png")  # held out
    setup = built(tmp_path)
    assert setup.heldout_views is not None and len(setup.heldout_views) == 1 and setup.heldout_views.masks is None
    assert any("no object is found in the held-out 0" in note for note in setup.notes)
    spoil(tmp_path, "3.png")
    setup = built(tmp_path)
    assert setup.fit_views.masks is None and any("in front of it in 3" in note for note in setup.notes)
    with pytest.raises(DataError, match=r"masks cannot be found: .* in 3"):
        build_fit(parse_config("targets: {path: ., find_masks: true}", tmp_path))


@pytest.mark.parametrize("degrees", [0.0, 2.0])
def test_poses_that_outlines_contradict_are_learned(tmp_path: Path, degrees: float) -> None:
    write(tmp_path, size=200, count=12)
    content = json.loads((tmp_path / "transforms.json").read_text())
    generator = torch.Generator().manual_seed(1)
    for frame in content["frames"]:
        pose = torch.tensor(frame["transform_matrix"], dtype=torch.float64)
        turn = torch.nn.functional.normalize(torch.randn(3, generator=generator), dim=0) * math.radians(degrees)
        pose[:3, :3] = axis_angle_to_matrix(turn).double() @ pose[:3, :3]
        frame["transform_matrix"] = pose.tolist()
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    setup = built(tmp_path)
    assert ("cameras.pose" in setup.model.latents) == (degrees > 0)
    assert ("outlines disagree" in setup.reasons.get("optimize.cameras.pose", "")) == (degrees > 0)
    assert "cameras.pose" not in built(tmp_path, "optimize: {cameras.pose: off}").model.latents
