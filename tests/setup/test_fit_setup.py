from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.tiny_fit import TARGETS, built

from diffrender.config.load import load_config, parse_config
from diffrender.config.resolved import format_resolved
from diffrender.errors import BackendError, ConfigError, DataError
from diffrender.fit.loop import fit
from diffrender.fit.parametrizations.coarse_to_fine import CoarseToFine
from diffrender.fit.parametrizations.positive import Positive
from diffrender.fit.parametrizations.unit_interval import UnitInterval
from diffrender.geometry.primitives import icosphere
from diffrender.imaging.tone_mapping import Display
from diffrender.scene.lights import Ambient
from diffrender.scene.materials import Lambert, Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.textures.texture import Texture
from diffrender.setup.fit_setup import build_fit, choose_device
from diffrender.writers.cameras import write_transforms
from diffrender.writers.images.png import write_png
from diffrender.writers.meshes.obj import write_obj

SPHERE = "mesh: {subdivisions: 1}\noptimize: {steps: 3, batch_size: 2}\n"


def test_a_file_with_targets_alone_fits_shape_and_colours_of_a_sphere() -> None:
    setup = built("mesh: {subdivisions: 1}")
    (item,) = setup.scene.objects.values()
    assert isinstance(item.material, Unlit)
    assert item.material.base_color.tolist() == [[0.5, 0.5, 0.5]] * 42  # type: ignore[union-attr]
    assert setup.scene.background.tolist() == [0.0, 0.0, 0.5]
    assert setup.scene.lights == {}
    assert list(setup.model.latents) == ["objects.object.mesh.vertices", "objects.object.material.base_color"]
    assert [term.name for term in setup.objective.terms] == ["image", "mask", "normal_consistency"]
    # views 0 and 8 of 9
    assert setup.heldout_views is not None
    assert setup.heldout_views.names == ("view_000", "view_008")
    assert setup.fit_views.names == tuple(f"view_{i:03d}" for i in range(1, 8))
    # The sphere is inside the target.
    assert item.mesh.vertices.mean(0).norm() < 0.1
    assert 0.3 < float(item.mesh.vertices.norm(dim=1).mean()) < 0.9


def test_what_is_off_is_not_learned_and_the_other_defaults_stay() -> None:
    setup = built("optimize: {mesh.vertices: off}\n")
    assert list(setup.model.latents) == ["objects.object.material.base_color"]
    assert list(parse_config(format_resolved(setup.config), Path()).optimize.parameters()) == ["material.base_color"]
    with pytest.raises(ConfigError, match="optimize: everything that is learned by default is off"):
        built("optimize: {mesh.vertices: off, material.base_color: off}\n")


def test_pictures_are_shown_as_the_file_says() -> None:
    setup = built("mesh: {subdivisions: 1}\ndisplay: {exposure: -1.5, tone: neutral}")
    assert setup.display == Display(-1.5, "neutral")
    assert "tone: neutral" in format_resolved(setup.config)


def test_options_arrive_where_they_belong() -> None:
    setup = built(
        """
mesh: {init: box, size: [1, 2, 3]}
material: {type: lambert, base_color: [0.1, 0.2, 0.3]}
pose: {translation: [1, 2, 3], rotation: {axis: [0, 2, 0], degrees: 90}, scale: 2}
lights: [{name: lamp, type: point, position: [1, 1, 1], intensity: 3}, ambient]
background: white
render: {edges: {type: antialias, samples: 2}}
optimize:
  steps: 7
  batch_size: null
  seed: 5
  pose: {lr: 0.5, start: 2, stop: 6, schedule: {type: exponential, final: 0.25}}
  lights.lamp.position:
loss: {image: {type: huber, delta: 0.2, weight: 3, space: linear}, edge_length: 0.5}
"""
    )
    (item,) = setup.scene.objects.values()
    assert (item.mesh.bounds()[1] - item.mesh.bounds()[0]).tolist() == [1, 2, 3]
    assert isinstance(item.material, Lambert)
    assert item.material.base_color.tolist() == pytest.approx([0.1, 0.2, 0.3])  # type: ignore[union-attr]
    moved = item.pose @ torch.tensor([0.0, 0.0, 1.0, 1.0])
    assert moved.tolist() == pytest.approx([2.0, 2.0, 3.0, 1.0], abs=1e-6)
    assert float(item.scale) == 2
    assert setup.scene.lights["lamp"].intensity.tolist() == [3, 3, 3]  # type: ignore[attr-defined]
    assert isinstance(setup.scene.lights["ambient"], Ambient)
    assert setup.scene.background.tolist() == [1, 1, 1]
    # The background of the targets is the scene's.
    assert bool((setup.fit_views.images[setup.fit_views.masks == 0] == 1).all())
    terms = {term.name: term for term in setup.objective.terms}
    image, edge_length = terms["image"], terms["edge_length"]
    assert (image.weight, image.measure.delta, image.measure.space) == (3.0, 0.2, "linear")  # type: ignore[union-attr]
    assert edge_length.weight == 0.5
    assert (setup.settings.steps, setup.settings.batch_size, setup.settings.seed) == (7, None, 5)
    rate = setup.optimizer._settings["objects.object.pose"]
    assert (rate.lr, rate.start, rate.stop) == (0.5, 2, 6)
    assert rate.at(2, 7) == 0.5
    assert rate.at(4, 7) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("text", "material", "lights"),
    [
        ("lights: [{name: a, type: directional}]", Lambert, ["a"]),
        ("material: lambert", Lambert, ["ambient"]),
        ("material: unlit", Unlit, []),
    ],
)
def test_light_and_material_follow_each_other(text: str, material: type, lights: list[str]) -> None:
    setup = built(SPHERE + text)
    assert type(setup.scene.objects["object"].material) is material
    assert list(setup.scene.lights) == lights


def test_a_sphere_without_centre_is_where_the_targets_are_unless_it_has_a_pose() -> None:
    text = TARGETS.replace("views: 9", "views: 9, center: [0, 0, 1], pose: {translation: [0, 0, 1]}")
    centers = []
    for pose in ("", "pose: {translation: [0, 0, 0.5]}"):
        setup = build_fit(
            parse_config(text + "mesh: {subdivisions: 1, radius: 0.5}\noptimize: {steps: 2}\n" + pose, Path())
        )
        centers.append(setup.scene.objects["object"].mesh.vertices.mean(0).tolist())
    assert centers[0] == pytest.approx([0, 0, 1], abs=0.1)
    assert centers[1] == pytest.approx([0, 0, 0], abs=1e-6)


def test_default_rates_follow_the_size_of_the_object() -> None:
    small, large = (
        built(f"mesh: {{subdivisions: 1, radius: {radius}}}\noptimize: {{steps: 3}}") for radius in (0.1, 1)
    )
    rates = [setup.config.optimize.parameters()["mesh.vertices"].lr for setup in (small, large)]
    assert rates == pytest.approx([0.005, 0.05], rel=1e-3)


def test_colours_of_vertices_that_a_file_brings_along_have_no_coarser_images(tmp_path: Path) -> None:
    write_obj(tmp_path / "own.obj", Mesh(*icosphere(1, 0.5)), vertex_colors=torch.tensor([0.2, 0.5, 0.8]))
    text = "mesh: own.obj\nmaterial: {type: unlit, base_color: own}\noptimize: {material.base_color: {levels: LEVELS}}"
    message = r"optimize\.material\.base_color: levels only applies to .* has shape \[42, 3\]; remove levels"
    with pytest.raises(ConfigError, match=message):
        built(text.replace("LEVELS", "3"), tmp_path)
    assert built(text.replace("LEVELS", "0"), tmp_path)


def test_the_resolved_config_gives_the_same_fit() -> None:
    text = SPHERE + "lights: [{name: key, type: directional, radiance: 3}, ambient]\nloss: {mask: 0.5}\n"
    text += "  \n".join(["background: 0.25", "export: [obj]"])
    first = built(text)
    again = build_fit(parse_config(format_resolved(first.config), Path("/elsewhere")))
    assert again.config == first.config
    fits = [fit(s.model, s.fit_views, s.objective, s.optimizer, s.settings, s.render_step) for s in (first, again)]
    vertices = [result.scene.objects["object"].mesh.vertices for result in fits]
    assert not torch.equal(vertices[0], first.scene.objects["object"].mesh.vertices)
    assert torch.equal(vertices[0], vertices[1])


def test_nulls_that_mean_something_survive_the_resolved_file() -> None:
    text = "optimize: {steps: 3, batch_size: null}\nloss: {image: null, mask: 1}\nmesh: {subdivisions: 1}\n"
    setup = build_fit(parse_config((TARGETS + text).replace("targets:", "targets:\n  test_every: null"), Path()))
    again = parse_config(format_resolved(setup.config), Path())
    assert again.optimize.batch_size is None
    assert again.targets.test_every is None
    assert again.loss is not None
    assert again.loss.image is None


def test_several_objects_have_their_own_names() -> None:
    setup = built(
        """
objects:
  - {name: ball, mesh: {subdivisions: 1, radius: 0.5}}
  - {name: ring, mesh: {init: torus, segments: [8, 6]}, material: {type: unlit, base_color: 0.25}}
optimize: {steps: 2, objects.ring.pose: 0.01}
"""
    )
    assert list(setup.scene.objects) == ["ball", "ring"]
    assert setup.scene.objects["ring"].mesh.n_vertices == 48
    assert list(setup.model.latents) == ["objects.ring.pose"]
    assert setup.config.objects is not None
    assert build_fit(parse_config(format_resolved(setup.config), Path())).config == setup.config


def square_obj(folder: Path) -> None:
    (folder / "square.obj").write_text(
        "v 0 0 0 1 0 0\nv 1 0 0 1 0 0\nv 1 1 0 1 0 0\nv 0 1 0 1 0 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
        "f 1/1 2/2 3/3\nf 1/1 3/3 4/4\n"
    )


def test_colours_of_a_mesh_file(tmp_path: Path) -> None:
    square_obj(tmp_path)
    write_png(tmp_path / "paint.png", torch.tensor([[[0.0, 1.0, 0.0]]]).expand(2, 3, 3))

    def color(material: str):
        setup = built(f"mesh: square.obj\nmaterial: {material}\noptimize: {{steps: 2}}", tmp_path)
        return setup.scene.objects["object"].material.base_color  # type: ignore[attr-defined]

    assert color("unlit").tolist() == [[1, 0, 0]] * 4
    assert color("{type: unlit, base_color: own}").tolist() == [[1, 0, 0]] * 4
    assert color("{type: unlit, base_color: {vertex: 0.25}}").tolist() == [[0.25] * 3] * 4
    painted = color("{type: unlit, base_color: {texture: paint.png}}")
    assert isinstance(painted, Texture)
    assert painted.texels.shape == (2, 3, 3)
    assert color("{type: unlit, base_color: {texture: 0.5, resolution: 8}}").texels.shape == (8, 8, 3)
    baked = color("{type: unlit, base_color: {texture: own, resolution: 8}}")
    torch.testing.assert_close(baked.texels, torch.tensor([1.0, 0.0, 0.0]).expand(8, 8, 3))


def test_a_mesh_without_texture_coordinates_is_unwrapped(tmp_path: Path) -> None:
    square_obj(tmp_path)
    write_png(tmp_path / "paint.png", torch.tensor([[[0.0, 1.0, 0.0]]]).expand(2, 3, 3))

    def built_object(mesh: str, color: str):
        text = f"mesh: {mesh}\nmaterial: {{type: unlit, base_color: {color}}}\n"
        text += "optimize: {steps: 2, material.base_color: {}}"
        return built(text, tmp_path).scene.objects["object"]

    sphere = "{subdivisions: 1, radius: 1.0}"
    plain = built_object(sphere, "0.5").mesh
    assert plain.uvs is None
    item = built_object(sphere, "{texture: 0.25, resolution: 64}")
    assert torch.equal(item.mesh.vertices, plain.vertices) and torch.equal(item.mesh.faces, plain.faces)
    assert item.mesh.uvs is not None and item.mesh.topology.is_closed
    assert item.material.base_color.texels.shape == (64, 64, 3)
    spread = built_object(sphere, "{texture: 0.25, resolution: 64, padding: 12}").mesh
    assert not torch.equal(spread.uvs, item.mesh.uvs)

    own = built_object("square.obj", "{texture: 0.5, resolution: 8}").mesh
    assert own.uvs.tolist() == [[0, 1], [1, 1], [1, 0], [0, 0]]
    again = built_object("square.obj", "{texture: own, resolution: 32, unwrap: true}")
    assert not torch.equal(again.mesh.uvs, own.uvs)
    torch.testing.assert_close(again.material.base_color.texels, torch.tensor([1.0, 0.0, 0.0]).expand(32, 32, 3))


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        (
            SPHERE + "material: {type: unlit, base_color: own}",
            ConfigError,
            "material.base_color: own: the mesh has neither",
        ),
        (
            SPHERE + "material: {type: unlit, base_color: {texture: paint.png}}",
            ConfigError,
            "material.base_color: an image file as a texture needs a mesh with texture coordinates",
        ),
        (
            SPHERE + "material: {type: unlit, base_color: {texture: 0.5, unwrap: false}}",
            ConfigError,
            "needs a mesh with texture coordinates",
        ),
        (
            "mesh: square.obj\nmaterial: {type: unlit, base_color: {texture: paint.png, unwrap: true}}",
            ConfigError,
            "unwrap: true would invalidate .*paint.png",
        ),
        ("mesh: broken.obj", DataError, "broken.obj"),
    ],
)
def test_options_that_do_not_fit_the_files_are_refused(
    text: str, error: type[Exception], words: str, tmp_path: Path
) -> None:
    (tmp_path / "broken.obj").write_text("v 0 0 0\nf 1 2 3\n")
    square_obj(tmp_path)
    write_png(tmp_path / "paint.png", torch.zeros(2, 2, 3))
    with pytest.raises(error, match=words):
        built(text, tmp_path)


def test_a_mask_loss_needs_masks(tmp_path: Path) -> None:
    write_capture(tmp_path, "transforms.json", 2)
    with pytest.raises(ConfigError, match="no masks"):
        text = "targets: {path: .}\nbackground: 0.0\nmesh: {subdivisions: 0, radius: 1}\nloss: {mask: 1}"
        build_fit(parse_config(text, tmp_path))


def write_capture(folder: Path, name: str, count: int) -> None:
    setup = built("mesh: {subdivisions: 0}")
    stem = Path(name).stem
    for i in range(count):
        write_png(folder / f"{stem}_{i}.png", setup.fit_views.images[i])
    names = [f"{stem}_{i}.png" for i in range(count)]
    write_transforms(folder / name, setup.fit_views.cameras.select(list(range(count))), names)


@pytest.mark.parametrize(("test_every", "n_fit", "n_heldout"), [("auto", 5, 2), ("null", 5, 0), ("2", 2, 3)])
def test_the_test_file_is_held_out_unless_the_split_is_given(
    tmp_path: Path, test_every: str, n_fit: int, n_heldout: int
) -> None:
    write_capture(tmp_path, "transforms_train.json", 5)
    write_capture(tmp_path, "transforms_test.json", 2)
    text = (
        f"targets: {{path: ., test_every: {test_every}, resolution: 12}}\nbackground: 0.0\nmesh: {{subdivisions: 0}}\n"
    )
    setup = build_fit(parse_config(text, tmp_path))
    assert len(setup.fit_views) == n_fit
    assert (0 if setup.heldout_views is None else len(setup.heldout_views)) == n_heldout
    assert setup.fit_views.images.shape[1:] == (12, 12, 3)
    # Photographs without masks: no mask term, and a sphere where the cameras look.
    assert "mask" not in [term.name for term in setup.objective.terms]


def test_notes_on_images_that_are_held_out_are_told(tmp_path: Path) -> None:
    write_capture(tmp_path, "transforms_train.json", 5)
    write_capture(tmp_path, "transforms_test.json", 2)
    file = tmp_path / "transforms_test.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"camera_model": "OPENCV", "k1": 0.1}))
    setup = build_fit(parse_config("targets: {path: .}\nbackground: 0.0\nmesh: {subdivisions: 0}\n", tmp_path))
    assert any("held out: its 2 images are undistorted" in note for note in setup.notes)


def test_the_aabb_of_a_capture_is_where_the_sphere_begins(tmp_path: Path) -> None:
    write_capture(tmp_path, "transforms.json", 5)
    content = json.loads((tmp_path / "transforms.json").read_text())
    content["aabb"] = [[0, 0, 0], [2, 4, 4]]
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    setup = build_fit(parse_config("targets: {path: .}\nmesh: {subdivisions: 1}\n", tmp_path))
    low, high = setup.scene.objects["object"].mesh.bounds()
    assert bool((low > 0).all())
    assert bool((high < torch.tensor([2.0, 4.0, 4.0])).all())
    assert ((low + high) / 2).tolist() == pytest.approx([1, 2, 2], abs=1e-5)


def test_what_the_targets_show_is_known_where_they_are_rendered(tmp_path: Path) -> None:
    text = """
targets:
  resolution: 8
  synthetic:
    objects: [{name: a, mesh: {init: torus}}, {name: b, mesh: {init: box}, pose: {translation: [0, 5, 0]}}]
    views: 2
    samples: 1
    normalize: NORMALIZE
mesh: {subdivisions: 1, radius: 1}
"""
    for normalize, farthest in (("false", 5.545), ("true", 1.0)):
        scene = build_fit(parse_config(text.replace("NORMALIZE", normalize), tmp_path)).target_scene
        assert scene is not None and list(scene.objects) == ["a", "b"]
        vertices_w = torch.cat([item.vertices_w() for item in scene.objects.values()])
        # As rendered: scaled into the unit sphere if requested.
        assert float(vertices_w.norm(dim=1).max()) == pytest.approx(farthest, rel=1e-3)
    write_capture(tmp_path, "transforms.json", 2)
    setup = build_fit(parse_config("targets: {path: .}\nmesh: {subdivisions: 0, radius: 1}\n", tmp_path))
    assert setup.target_scene is None


def test_a_device_that_does_not_exist_is_refused() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    count = torch.cuda.device_count()
    assert choose_device("auto").type == ("cuda" if count else "cpu")
    with pytest.raises(BackendError, match=r"cuda:99 does not exist.*--device cpu"):
        choose_device("cuda:99")


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_one_pose_rate_suits_metres_and_millimetres(tmp_path: Path, scale: float) -> None:
    file = tmp_path / "scaled.yaml"
    file.write_text(
        f"""
targets:
  resolution: 24
  test_every: null
  synthetic: {{views: 2, samples: 2, radius: {3 * scale}, mesh: {{init: bumpy, subdivisions: 2, radius: {scale}}}}}
mesh: {{init: bumpy, subdivisions: 2, radius: {scale}}}
pose: {{translation: [{0.2 * scale}, 0, 0]}}
optimize: {{steps: 60, pose: {{schedule: cosine}}}}
loss: {{image: l1}}
"""
    )
    setup = build_fit(load_config(file))
    result = fit(setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step)
    assert float(result.scene.objects["object"].pose[:3, 3].norm()) < 0.1 * scale


IMAGES = """
mesh: {subdivisions: 1}
material: {type: lambert, base_color: {texture: 0.5, resolution: 48, unwrap: true}}
lights: [{name: sky, type: environment, radiance: 0.5, resolution: 32}]
optimize:
  steps: 2
  mesh.vertices: off
  material.base_color: {COLOR}
  lights.sky.radiance: {lr: 0.01}
"""


def test_textures_and_environment_maps_are_learned_with_coarser_images() -> None:
    setup = built(IMAGES.replace("COLOR", "lr: 0.01"))
    color, sky = (setup.model.parametrization(path) for path in setup.model.latents)
    assert color == CoarseToFine(UnitInterval(), 48, 48, 2)
    assert sky == CoarseToFine(Positive(), 32, 64, 2, closed=True)
    assert [options.levels for options in setup.config.optimize.parameters().values()] == [2, 2]
    alone = built(IMAGES.replace("COLOR", "levels: 0"))
    assert alone.model.parametrization("objects.object.material.base_color") == UnitInterval()


def test_an_image_cannot_be_halved_for_ever() -> None:
    with pytest.raises(
        ConfigError, match=r"material\.base_color: levels must be at most 4 for an image of 48 x 48, got 5"
    ):
        built(IMAGES.replace("COLOR", "levels: 5"))


def test_too_few_light_directions_are_refused(tmp_path):
    from PIL import Image

    for number in range(3):
        Image.new("RGB", (8, 8), (90, 90, 90)).save(tmp_path / f"cat.{number}.png")
    Image.new("L", (8, 8), 255).save(tmp_path / "cat.mask.png")
    text = "targets: {path: .}\nmaterial: lambert\nlights: [flashes]\noptimize: {steps: 1, mesh.vertices: {}}"
    with pytest.raises(ConfigError, match=r"lights.flashes.direction: must have one direction per picture, at least 3"):
        build_fit(parse_config(text, tmp_path))
