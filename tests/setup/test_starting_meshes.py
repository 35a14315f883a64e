"""Initial meshes: spheres, ellipsoids, boxes, visual hulls, subdivided meshes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diffrender.config.load import parse_config
from diffrender.config.resolved import format_resolved
from diffrender.errors import ConfigError, DataError
from diffrender.geometry.mesh_checks import check_mesh
from diffrender.geometry.primitives import Triangles
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views
from diffrender.setup.fit_setup import build_fit
from diffrender.setup.hull import MOST_CELLS
from diffrender.setup.region import box_of_views
from diffrender.writers.cameras import write_transforms
from diffrender.writers.images.png import write_png

TARGETS = "targets: {resolution: 64, synthetic: {mesh: %s, views: 12, samples: 2}}\noptimize: {steps: 2}\n"
BUMPY = "{init: bumpy, subdivisions: 3}"
HULL = "mesh: {init: visual_hull}\n"


def built(text: str, target: str = BUMPY, folder: Path = Path()):
    return build_fit(parse_config(TARGETS % target + text, folder))


def start_of(setup):
    (item,) = setup.scene.objects.values()
    return item.mesh


def test_the_hull_of_a_target_is_closed_in_its_place_and_holds_it() -> None:
    setup = built(HULL)
    mesh = start_of(setup)
    assert mesh.topology.is_closed
    assert mesh.topology.n_components == 1
    setup_of_target = built("mesh: " + BUMPY)
    low, high = start_of(setup_of_target).bounds()
    assert bool((mesh.bounds()[0] < low + 0.05).all())
    assert bool((mesh.bounds()[1] > high - 0.05).all())
    with torch.no_grad():
        covered = setup.render_views(setup.scene, setup.fit_views.cameras).rgba[..., 3]
    masks = setup.fit_views.masks
    assert float((masks - covered).clamp_min(0).sum() / masks.sum()) < 0.03
    assert float((covered - masks).clamp_min(0).sum() / masks.sum()) < 0.08


def test_the_hull_of_a_ring_has_its_hole() -> None:
    mesh = start_of(built("mesh: {init: visual_hull, resolution: 24}", "{init: torus, segments: [24, 12]}"))
    assert mesh.n_vertices - len(mesh.topology.edges) + mesh.n_faces == 0


@pytest.mark.parametrize(("tube", "is_thin"), [(0.04, True), (0.3, False)])
def test_hulls_of_thin_things_are_finer(tube: float, is_thin: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    text = TARGETS.replace("64", "300") % f"{{init: torus, tube: {tube}, segments: [48, 12]}}" + HULL
    setup = build_fit(parse_config(text, Path()))
    resolution = setup.config.mesh.resolution
    assert (resolution > 1.2 * MOST_CELLS) == is_thin and (resolution == MOST_CELLS) != is_thin
    assert check_mesh(Triangles(start_of(setup).vertices, start_of(setup).faces)).genus == 1
    # So many views that finer cells would take long.
    monkeypatch.setattr("diffrender.setup.hull.MOST_LOOK_UPS", 1e6)
    assert build_fit(parse_config(text, Path())).config.mesh.resolution == MOST_CELLS


def test_held_out_views_do_not_carve() -> None:
    """The hull is larger if one of the three views is held out, because its mask does not carve."""
    few = TARGETS.replace("views: 12", "views: 3").replace("resolution: 64", "resolution: 64, test_every: %s")
    volumes = []
    for every in ("null", "2"):
        text = few % (every, BUMPY) + HULL
        mesh = start_of(build_fit(parse_config(text, Path())))
        extent = mesh.bounds()[1] - mesh.bounds()[0]
        volumes.append(float(extent.prod()))
    assert volumes[1] > 1.2 * volumes[0]


def test_options_of_the_hull_arrive_and_are_filled_in() -> None:
    setup = built("mesh: {init: visual_hull, aabb: [[-2, -2, -2], [0.1, 2, 2]], components: all, tolerance: 1}")
    mesh = start_of(setup)
    assert float(mesh.vertices[:, 0].max()) == pytest.approx(0.1, abs=0.1)
    options = setup.config.mesh
    assert (options.components, options.tolerance) == ("all", 1)
    assert options.resolution >= 8
    again = build_fit(parse_config(format_resolved(setup.config), Path()))
    assert again.config == setup.config
    assert torch.equal(start_of(again).vertices, mesh.vertices)


def test_a_pose_leaves_the_hull_where_the_masks_are() -> None:
    pose = "pose: {translation: [1, 2, 3], rotation: {axis: [1, 2, 0], degrees: 50}, scale: 2}\n"
    plain, posed = (built(HULL + extra).scene.objects["object"] for extra in ("", pose))
    torch.testing.assert_close(posed.vertices_w(), plain.vertices_w(), atol=1e-5, rtol=0)


def write_capture(folder: Path, masked: bool, **more: object) -> None:
    views = built("mesh: {subdivisions: 0}").fit_views
    names = [f"{i}.png" for i in range(len(views))]
    write_transforms(folder / "transforms.json", views.cameras, names)
    content = json.loads((folder / "transforms.json").read_text())
    for i, frame in enumerate(content["frames"]):
        write_png(folder / names[i], views.images[i])
        if masked:
            write_png(folder / f"mask_{i}.png", views.masks[i, :, :, None].expand(-1, -1, 3))
            frame["mask_path"] = f"mask_{i}.png"
    (folder / "transforms.json").write_text(json.dumps(content | more))


def test_a_hull_of_photographs_without_masks_is_refused(tmp_path: Path) -> None:
    write_capture(tmp_path, masked=False)
    # No backdrop of one colour, in front of which masks are found.
    noise = torch.rand(*built("mesh: {subdivisions: 0}").fit_views.images.shape[1:])
    for path in tmp_path.glob("*.png"):
        write_png(path, noise)
    with pytest.raises(ConfigError, match=r"mesh: a visual hull needs masks.*mask_path.*init: sphere"):
        build_fit(parse_config("targets: {path: .}\n" + HULL, tmp_path))


def test_the_hull_stays_in_the_aabb_of_a_capture_and_an_empty_one_is_refused(tmp_path: Path) -> None:
    write_capture(tmp_path, masked=True, aabb=[[-1.0, -1.0, -1.0], [1.0, 0.1, 1.0]])
    mesh = start_of(build_fit(parse_config("targets: {path: .}\n" + HULL, tmp_path)))
    assert mesh.topology.is_closed
    assert float(mesh.vertices[:, 1].max()) == pytest.approx(0.1, abs=0.05)
    write_capture(tmp_path, masked=True, aabb=[[5.0, 5.0, 5.0], [6.0, 6.0, 6.0]])
    with pytest.raises(DataError, match=r"mesh: the visual hull of \d+ masks is empty"):
        build_fit(parse_config("targets: {path: .}\n" + HULL, tmp_path))


def test_too_much_tolerance_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"mesh.tolerance: must be less than the number of views that carve \(10\), got 10"
    ):
        built("mesh: {init: visual_hull, tolerance: 10}")


def test_ellipsoids_and_boxes_fill_their_box() -> None:
    box = "aabb: [[-1, 0, 2], [1, 1, 5]]"
    low, high = start_of(built(f"mesh: {{init: box, {box}}}")).bounds().tolist()
    assert (low, high) == ([-1, 0, 2], [1, 1, 5])
    ellipsoid = start_of(built(f"mesh: {{init: ellipsoid, {box}}}"))
    low, high = ellipsoid.bounds()
    assert ((low + high) / 2).tolist() == pytest.approx([0, 0.5, 3.5], abs=1e-5)
    extent = high - low
    assert extent.tolist() == pytest.approx((extent[0] * torch.tensor([1, 0.5, 1.5])).tolist(), rel=0.03)
    assert float(extent[0]) < 2


def test_an_ellipsoid_has_its_radii_and_lies_in_the_targets_place_otherwise() -> None:
    mesh = start_of(built("mesh: {init: ellipsoid, radii: [0.5, 1, 2], center: [1, 0, 0], subdivisions: 5}"))
    assert mesh.bounds().tolist()[1] == pytest.approx([1.5, 1, 2], abs=0.02)
    sphere, ellipsoid = (start_of(built(f"mesh: {{init: {init}}}")) for init in ("sphere", "ellipsoid"))
    torch.testing.assert_close(ellipsoid.vertices, sphere.vertices)
    moved = built("mesh: {init: ellipsoid}\npose: {translation: [1, 0, 0]}")
    assert start_of(moved).vertices.mean(0).norm() < 1e-5
    assert build_fit(parse_config(format_resolved(moved.config), Path())).config == moved.config


@pytest.mark.parametrize("orthographic", [False, True])
def test_the_box_of_views_holds_what_their_masks_show(orthographic: bool) -> None:
    place, radius = torch.tensor([0.4, -0.3, 0.2]), 0.7
    eyes = torch.tensor([[4.0, 1.0, 0.0], [0.0, 2.0, 4.0], [-3.0, -1.0, 2.0], [1.0, 3.0, -3.0]])
    cameras = (Cameras.parallel if orthographic else Cameras.perspective)(eyes, height=100, width=120)
    row, column = torch.meshgrid(torch.arange(100) + 0.5, torch.arange(120) + 0.5, indexing="ij")
    x, y, depth = cameras.world_to_pixels(place[None])[:, 0, :, None, None].unbind(1)
    reach = radius * cameras.focal_px[:, :1, None] / (1 if orthographic else (depth.square() - radius**2).sqrt())
    masks = ((column - x).square() + (row - y).square() < reach.square()).float()
    views = Views(cameras, torch.zeros(4, 100, 120, 3), masks, tuple("abcd"))
    low, high = box_of_views(views)
    assert bool((low < place - radius).all())
    assert bool((high > place + radius).all())
    assert float((high - low).max()) < 4 * radius


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ("{synthetic: {mesh: {init: visual_hull}}}", "a target cannot be a `visual_hull`"),
        ("{synthetic: {mesh: {init: bumpy}}, masks: false}", "`targets.masks` is false"),
    ],
)
def test_a_hull_without_masks_to_carve_it_is_a_mistake(targets: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_config(f"targets: {targets}\n" + HULL, Path())


def test_arap_compares_with_the_start_and_symmetry_has_its_plane() -> None:
    setup = built(
        "mesh: {subdivisions: 1}\nloss: {arap: 0.5, symmetry: {weight: 2, normal: [0, 0, 3], point: [0, 0, 1]}}"
    )
    terms = {term.name: term for term in setup.objective.terms}
    arap, symmetry = terms["arap"], terms["symmetry"]
    assert (arap.weight, symmetry.weight) == (0.5, 2.0)
    assert float(arap.measure(setup.scene)) < 1e-10
    (item,) = setup.scene.objects.values()
    larger = replace(item, mesh=item.mesh.with_vertices(1.1 * item.mesh.vertices))
    assert float(arap.measure(Scene({"object": larger}))) == pytest.approx(0.01, rel=1e-3)
    assert (symmetry.measure.normal, symmetry.measure.point) == ((0, 0, 3), (0, 0, 1))


def test_images_may_begin_small_over_random_backgrounds() -> None:
    text = TARGETS.replace("resolution: 64", "resolution: 64, background: random") % BUMPY
    text = text.replace("steps: 2", "steps: 8, resolution: 0.25") + "mesh: {subdivisions: 1}\nbackground: [0, 0, 0.5]"
    setup = build_fit(parse_config(text, Path()))
    assert [setup.settings.resolution.at(step) for step in (0, 2, 4)] == [0.25, 0.5, 1]
    assert setup.settings.random_background
    # Scores and pictures use the scene's own background.
    assert setup.scene.background.tolist() == [0, 0, 0.5]
    assert setup.fit_views.images[0, 0, 0].tolist() == [0, 0, 0.5]
    again = build_fit(parse_config(format_resolved(setup.config), Path()))
    assert again.config == setup.config
    assert again.settings == setup.settings


def test_a_random_background_needs_masks(tmp_path: Path) -> None:
    write_capture(tmp_path, masked=False)
    with pytest.raises(ConfigError, match="random needs masks"):
        build_fit(
            parse_config("targets: {path: ., background: random}\nbackground: 0.0\nmesh: {subdivisions: 1}", tmp_path)
        )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("targets: {synthetic: {}, background: random, masks: false}", "random background needs masks"),
        ("targets: {synthetic: {}, background: random}\noptimize: {background: 0.1}", "cannot be learned"),
        ("targets: {synthetic: {}, background: rando}", "or random"),
        ("targets: {synthetic: {}}\noptimize: {resolution: {scale: 0.5, until: 500}}", "at step 500 of 400"),
        ("targets: {synthetic: {}}\noptimize: {resolution: 2}", "must be a number above 0 and at most 1"),
    ],
)
def test_wrong_ways_to_begin_are_mistakes(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_config(text, Path())


def write_square(folder: Path) -> None:
    (folder / "square.obj").write_text(
        "v 0 0 0 1 0 0\nv 1 0 0 0 1 0\nv 1 1 0 0 0 1\nv 0 1 0 1 1 1\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nvt 0.5 0.5\n"
        "f 1/1 2/2 3/3\nf 1/5 3/3 4/4\n"
    )
    (folder / "fin.obj").write_text("v 0 0 0\nv 0 0 1\nv 1 0 0\nv 0 1 0\nv -1 0 0\nf 1 2 3\nf 1 2 4\nf 1 2 5\n")


def test_subdivided_meshes_take_their_colours_and_texture_along(tmp_path: Path) -> None:
    write_square(tmp_path)
    coarse = built("mesh: square.obj", folder=tmp_path).scene.objects["object"]
    setup = built("mesh: {file: square.obj, subdivide: {times: 2, scheme: midpoint}}", folder=tmp_path)
    item = setup.scene.objects["object"]
    mesh, color = item.mesh, item.material.base_color  # type: ignore[attr-defined]
    assert (mesh.n_faces, mesh.n_vertices) == (32, 25)
    assert mesh.bounds().tolist() == coarse.mesh.bounds().tolist()
    assert color.shape == (25, 3)
    middle = (mesh.vertices - torch.tensor([0.5, 0.5, 0.0])).norm(dim=1).argmin()
    assert color[middle].tolist() == pytest.approx([0.5, 0, 0.5])
    # The corner at (0, 0) has two texture coordinates, one per side of the diagonal; so do the points split from it.
    assert mesh.uvs is not None
    assert mesh.uv_faces is not None
    corner = mesh.faces == mesh.vertices.norm(dim=1).argmin()
    assert {tuple(uv) for uv in mesh.uvs[mesh.uv_faces[corner]].tolist()} == {(0, 1), (0.5, 0.5)}
    assert len(mesh.uvs) == 25 + 4
    again = build_fit(parse_config(format_resolved(setup.config), Path()))
    assert torch.equal(again.scene.objects["object"].mesh.vertices, mesh.vertices)


def test_midpoints_keep_the_normals_of_a_file_and_loop_says_that_it_does_not(tmp_path: Path) -> None:
    corners = "v 0 0 0\nv 1 0 1\nv 1 1 1\nv 0 1 0\nv 2 0 0\nv 2 1 0\nvn -1 0 1\nvn 1 0 1\nvn 1 0 3\n"
    (tmp_path / "tent.obj").write_text(
        corners + "f 1//1 2//1 3//1\nf 1//1 3//1 4//1\nf 2//2 5//3 6//3\nf 2//2 6//3 3//2\n"
    )
    text = "mesh: {file: tent.obj, subdivide: {times: 2, scheme: %s}}"
    mesh = start_of(built(text % "midpoint", folder=tmp_path))
    assert mesh.normals is not None and mesh.normal_faces is not None
    x, normals = mesh.vertices[mesh.faces][:, :, 0], mesh.normals[mesh.normal_faces]
    left, ridge, end = torch.nn.functional.normalize(torch.tensor([[-1.0, 0, 1], [1, 0, 1], [1, 0, 3]]), dim=1)
    is_left = (x.mean(1) < 1)[:, None].expand(-1, 3)
    for at, expected in ((is_left, left), (~is_left & (x == 1), ridge), (~is_left & (x == 2), end)):
        assert int(at.sum()) > 8
        torch.testing.assert_close(normals[at], expected.expand(int(at.sum()), 3))
    torch.testing.assert_close(normals.norm(dim=2), torch.ones(64, 3))
    rounded = built(text % "loop", folder=tmp_path)
    assert start_of(rounded).normals is None
    assert rounded.notes == (
        "tent.obj: its normals are omitted, since loop makes another surface; midpoint keeps them",
    )


def test_loop_rounds_and_counts_are_those_of_each_start() -> None:
    rounded = start_of(built("mesh: {init: box, subdivide: 3}"))
    assert rounded.n_faces == 12 * 64
    assert float(rounded.vertices.abs().max()) < 0.5
    flat = start_of(built("mesh: {init: torus, segments: [8, 6], subdivide: {times: 1, scheme: midpoint}}"))
    assert flat.n_faces == 2 * 8 * 6 * 4
    hull, finer = (
        start_of(built(f"mesh: {{init: visual_hull, resolution: 12{more}}}")) for more in ("", ", subdivide: 1")
    )
    assert finer.n_faces == 4 * hull.n_faces


@pytest.mark.parametrize(
    ("mesh", "error", "words"),
    [
        ("{file: fin.obj, subdivide: 1}", DataError, r"mesh.subdivide: .*scheme: midpoint"),
        ("{init: torus, segments: [500, 500], subdivide: 2}", ConfigError, "500,000 triangles would become 8,000,000"),
    ],
)
def test_meshes_that_cannot_be_subdivided_are_refused(
    mesh: str, error: type[Exception], words: str, tmp_path: Path
) -> None:
    write_square(tmp_path)
    with pytest.raises(error, match=words):
        built(f"mesh: {mesh}", folder=tmp_path)
