"""Masks by the stated colour of a backdrop that does not fill the pictures, such as a green screen on a table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diffrender.app.export_scene import write_cameras
from diffrender.config.load import parse_config
from diffrender.config.resolved import format_resolved
from diffrender.errors import ConfigError, DataError
from diffrender.geometry.primitives import bumpy_sphere
from diffrender.geometry.topology import Topology
from diffrender.readers.captures import read_capture
from diffrender.readers.captures.capture import CaptureOptions
from diffrender.render.supersample import render_supersampled
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.setup.fit_setup import FitSetup, build_fit
from diffrender.setup.targets import build_targets
from diffrender.writers.cameras import write_transforms
from diffrender.writers.images.png import encode_numbers8, write_encoded_png, write_png
from diffrender.writers.run.run_folder import RunFolder

SIZE, COUNT, EDGE = 64, 8, 6
GREEN = torch.tensor([0.0, 0.4397, 0.0513])  # "#00b140" in linear RGB
KEYED = "targets: {path: ., key: '#00b140', test_every: 4%s}\n"


def write(
    folder: Path,
    masked: bool = False,
    center: float = 0.0,
    mark: int = 0,
    second: bool = False,
    light: float = 0.1,
    noise: float = 0.0,
) -> torch.Tensor:
    """Write pictures of a ball before a screen that is lit unevenly, with a room around it; return the true masks.

    center: the height of the ball. mark: the side in pixels of a black square on the screen. second: whether there is
    another, smaller ball. light: how much brighter the screen is below and on the right than in the middle. noise: its
    standard deviation, in linear light.
    """
    mesh = Mesh(*bumpy_sphere(4))
    mesh = replace(mesh, vertices=mesh.vertices + torch.tensor([0.0, center, 0.0]))
    turn = torch.arange(COUNT) * 2 * torch.pi / COUNT
    eyes = torch.stack([5 * turn.cos(), torch.linspace(-1, 2, COUNT), 5 * turn.sin()], 1)
    cameras = Cameras.perspective(eyes, fov_deg=40, height=SIZE, width=SIZE)
    colors = torch.stack([0.5 + 0.4 * (4 * mesh.vertices[:, 0]).sin(), 0.1 + 0 * mesh.vertices[:, 0],
                          0.5 + 0.4 * (4 * mesh.vertices[:, 1]).sin()], 1)  # fmt: skip
    rgba = render_supersampled(Scene({"ball": Object(mesh, Unlit(colors))}), cameras, 3)
    ramp = torch.linspace(1 - light, 1 + light, SIZE)
    images = rgba[..., :3] + (1 - rgba[..., 3:]) * GREEN * (ramp[:, None] * (0.5 + 0.5 * ramp))[..., None]
    images += noise * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    room = torch.rand(COUNT, SIZE, SIZE, 3, generator=torch.Generator().manual_seed(0))
    is_screen = torch.zeros(SIZE, SIZE, 1, dtype=torch.bool)
    is_screen[EDGE:-EDGE, EDGE:-EDGE] = True
    images = images.where(is_screen, room)
    if second:
        images[:, 8:18, 8:18] = torch.tensor([0.9, 0.1, 0.5])
    images[:, 8 : 8 + mark, 50 : 50 + mark] = 0
    names = [f"{i}.png" for i in range(COUNT)]
    for name, image, mask in zip(names, images, rgba[..., 3], strict=True):
        write_png(folder / name, image)
        write_encoded_png(folder / f"mask_{name}", encode_numbers8(mask))
    write_transforms(folder / "transforms.json", cameras, names)
    if masked:
        content = json.loads((folder / "transforms.json").read_text())
        for frame in content["frames"]:
            frame["mask_path"] = f"mask_{frame['file_path']}"
        (folder / "transforms.json").write_text(json.dumps(content))
    return rgba[..., 3]


def built(folder: Path, more: str = "", text: str = "") -> FitSetup:
    return build_fit(parse_config(KEYED % more + text, folder))


def test_masks_are_of_what_differs_and_what_is_around_the_screen_is_gone(tmp_path: Path) -> None:
    truth = write(tmp_path)
    setup = built(tmp_path)
    held = torch.arange(COUNT) % 4 == 0
    assert setup.heldout_views is not None
    for views, true in ((setup.fit_views, truth[~held]), (setup.heldout_views, truth[held])):
        assert views.masks is not None
        overlap = torch.minimum(views.masks, true).sum((1, 2)) / torch.maximum(views.masks, true).sum((1, 2))
        assert float(overlap.min()) > 0.95
        assert float((views.masks.sum() / true.sum() - 1).abs()) < 0.03  # grey edges stay fractions
        assert bool(((views.masks > 0.1) & (views.masks < 0.9)).any())
        assert bool((views.masks[:, :EDGE] == 0).all())
        assert float((views.images[views.masks == 0] - GREEN).abs().max()) < 1e-4
    assert setup.config.background == pytest.approx(GREEN.tolist(), abs=1e-4)
    assert any("differs from the colour of `targets.key`" in note for note in setup.notes)
    # Written out, it is the same fit.
    again = build_fit(parse_config(format_resolved(setup.config, setup.reasons), tmp_path))
    assert again.fit_views.masks is not None and torch.equal(again.fit_views.masks, setup.fit_views.masks)


@pytest.mark.parametrize(("light", "noise"), [(0.6, 0.0), (0.1, 0.02), (0.6, 0.02)])
def test_screens_that_are_lit_unevenly_or_noisy(tmp_path: Path, light: float, noise: float) -> None:
    truth = write(tmp_path, light=light, noise=noise)
    views = built(tmp_path).fit_views
    assert views.masks is not None
    true = truth[torch.arange(COUNT) % 4 > 0]
    overlap = torch.minimum(views.masks, true).sum((1, 2)) / torch.maximum(views.masks, true).sum((1, 2))
    assert float(overlap.min()) > (0.955 if noise else 0.98)
    assert float((views.masks.sum() / true.sum() - 1).abs()) < 0.03
    # The screen has one colour behind the object.
    assert float((views.images[(views.masks < 0.05)] - GREEN).abs().max()) < 0.05 + 5 * noise


@pytest.mark.parametrize(("key", "part"), [((0.02, 0.44, 0.05), 0.5), ((0.8, 0.8, 0.8), 0.75)])
def test_an_object_of_the_screens_hue_is_no_shade_on_it(tmp_path: Path, key: tuple[float, ...], part: float) -> None:
    """A third of each picture."""
    mesh, turn = Mesh(*bumpy_sphere(3)), torch.arange(COUNT) * 2 * torch.pi / COUNT
    shade = (0.7 + 0.3 * torch.nn.functional.normalize(mesh.vertices, dim=1)[:, 1:2]).clamp(0, 1)
    eyes = torch.stack([3.2 * turn.cos(), torch.linspace(-1, 1, COUNT), 3.2 * turn.sin()], 1)
    cameras = Cameras.perspective(eyes, fov_deg=40, height=SIZE, width=SIZE)
    ball = Object(mesh, Unlit(part * shade * torch.tensor(key)))
    rgba = render_supersampled(Scene({"ball": ball}), cameras, 3)
    names = [f"{i}.png" for i in range(COUNT)]
    for name, image in zip(names, rgba[..., :3] + (1 - rgba[..., 3:]) * torch.tensor(key), strict=True):
        write_png(tmp_path / name, image)
    write_transforms(tmp_path / "transforms.json", cameras, names)
    views = build_fit(parse_config(f"targets: {{path: ., key: {list(key)}, test_every: 4}}", tmp_path)).fit_views
    true = rgba[torch.arange(COUNT) % 4 > 0, ..., 3]
    assert views.masks is not None and float(true.mean()) > 0.25
    overlap = torch.minimum(views.masks, true).sum((1, 2)) / torch.maximum(views.masks, true).sum((1, 2))
    assert float(overlap.min()) > 0.9


def test_a_run_leaves_the_masks_as_files_and_the_box(tmp_path: Path) -> None:
    write(tmp_path)
    content = json.loads((tmp_path / "transforms.json").read_text())
    (tmp_path / "transforms.json").write_text(json.dumps(content | {"aabb": [[-2, -2, -2], [2, 2, 2.5]]}))
    setup = built(tmp_path)
    write_cameras(RunFolder(tmp_path / "run"), setup, setup.fit_views.cameras)
    again = read_capture(tmp_path / "run" / "cameras", CaptureOptions())
    assert again.aabb is not None and again.aabb.tolist() == [[-2, -2, -2], [2, 2, 2.5]]
    assert again.read_heldout is not None and setup.heldout_views is not None
    for before, after in ((setup.fit_views, again.views), (setup.heldout_views, again.read_heldout()[0])):
        assert before.masks is not None and after.masks is not None
        torch.testing.assert_close(after.masks, before.masks, atol=0.51 / 255, rtol=0)
    assert sorted(path.name for path in (tmp_path / "run" / "cameras").iterdir()) == ["masks", "transforms.json"]


def test_another_background_takes_the_place_of_the_screen_at_the_edges_too(tmp_path: Path) -> None:
    truth = write(tmp_path)
    views = built(tmp_path, text="background: black").fit_views
    assert views.masks is not None
    true = truth[torch.arange(COUNT) % 4 > 0]
    edge = (true > 0.2) & (true < 0.8) & (views.masks > 0) & (views.masks < 1)
    assert int(edge.sum()) > 100
    # The ball has next to no green of its own.
    assert float(views.images[edge][:, 1].mean()) < 0.12 < 0.2 < float(GREEN[1]) * 0.5
    assert bool((views.images[views.masks == 0] == 0).all())


def test_a_mark_on_the_screen_is_not_the_object_where_that_is_cut_off(tmp_path: Path) -> None:
    truth = write(tmp_path, center=-1.0, mark=4)
    setup = built(tmp_path, text="mesh: sphere")
    assert setup.fit_views.masks is not None and float(setup.fit_views.masks.sum((1, 2)).min()) > 400 > 16
    assert float(truth.sum((1, 2)).min()) > 400
    assert any("its pictures, such as 1, reach their borders" in note for note in setup.notes)


def test_another_part_is_told(tmp_path: Path) -> None:
    write(tmp_path, second=True)
    setup = built(tmp_path)
    assert any("another part in front of its backdrop in 8 of its pictures" in note for note in setup.notes)
    assert setup.fit_views.masks is not None and float(setup.fit_views.masks[:, 9:14, 9:14].max()) == 0
    assert not any("reach their borders" in note for note in setup.notes)


@pytest.mark.parametrize("key", [", key: '#00b140'", ""])
def test_two_objects_of_which_now_one_and_now_the_other_is_larger(tmp_path: Path, key: str) -> None:
    mesh = Mesh(*bumpy_sphere(3))
    turn = torch.arange(COUNT) * 2 * torch.pi / COUNT
    eyes = torch.stack([6 * turn.cos(), torch.linspace(0, 4, COUNT), 6 * turn.sin()], 1)
    cameras = Cameras.perspective(eyes, fov_deg=40, height=SIZE, width=SIZE)
    places = torch.tensor([[-1.1, 0.0, 0.0], [1.0, 0.2, 0.3]])
    balls = [
        Object(replace(mesh, vertices=0.7 * mesh.vertices + at), Unlit(torch.tensor([0.8, 0.1, 0.5]))) for at in places
    ]
    rgba = render_supersampled(Scene(dict(zip("ab", balls, strict=True))), cameras, 3)
    names = [f"{i}.png" for i in range(COUNT)]
    for name, image in zip(names, rgba[..., :3] + (1 - rgba[..., 3:]) * GREEN, strict=True):
        write_png(tmp_path / name, image)
    write_transforms(tmp_path / "transforms.json", cameras, names)
    setup = build_fit(parse_config(f"targets: {{path: .{key}, test_every: 4}}", tmp_path))
    truth = rgba[torch.arange(COUNT) % 4 > 0, ..., 3]
    assert setup.fit_views.masks is not None
    assert float((setup.fit_views.masks - truth).abs().mean()) < 0.005
    assert not any("another part" in note for note in setup.notes)
    (hull,) = setup.scene.objects.values()
    assert Topology(hull.mesh.faces).n_components == 2
    again = build_fit(parse_config(format_resolved(setup.config, setup.reasons), tmp_path))
    assert again.fit_views.masks is not None and torch.equal(again.fit_views.masks, setup.fit_views.masks)
    # Where one is asked for, it is one.
    one = build_fit(parse_config(f"targets: {{path: .{key}, test_every: 4}}\nmesh: sphere", tmp_path))
    assert any("another part" in note for note in one.notes)


def test_what_cannot_be_keyed_is_said(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(
        DataError, match=r"before the colour #0000ff of `targets.key` in 1, 2.* everything does; .* is about #"
    ):
        build_targets(parse_config("targets: {path: ., key: [0, 0, 1], test_every: 4}", tmp_path))
    for more, told in (
        (", masks: false", "`masks: false` does without"), (", find_masks: false", "`find_masks: false` does"),
        (", find_surface: true", "`find_surface` does"), ("}\nmesh: {init: stereo", "but `key` finds masks"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=told):
            parse_config(KEYED % more, tmp_path)
    write(tmp_path, masked=True)
    with pytest.raises(ConfigError, match=r"targets.key: .* but the capture has masks; remove it"):
        build_targets(parse_config(KEYED % "", tmp_path))
