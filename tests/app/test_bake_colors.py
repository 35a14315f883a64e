from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from rich.console import Console
from support.comparators import psnr_of
from support.shapes import bumpy, flat_camera, scene_of, smooth_colors
from typer.testing import CliRunner

from diffrender.app.bake_colors import bake_file
from diffrender.app.cli import app
from diffrender.errors import DataError
from diffrender.geometry.primitives import box
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.readers.gltf.scene import read_gltf_scene
from diffrender.readers.mesh_data import MeshData
from diffrender.readers.meshes.read_mesh import read_mesh, read_mesh_parts
from diffrender.render.edge_models import Hard
from diffrender.render.render import render
from diffrender.scene.gltf_surface import GltfSurface
from diffrender.scene.lights import Directional
from diffrender.scene.material import Material
from diffrender.scene.materials.ggx import Ggx
from diffrender.scene.materials.lambert import Lambert
from diffrender.scene.materials.unlit import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.textures.bake import bake_to_texture, unwrap_mesh
from diffrender.scene.textures.texture import Texture
from diffrender.writers.gltf.scene import GlbObject, write_glb
from diffrender.writers.images.png import write_encoded_png
from diffrender.writers.meshes.obj import write_obj


@pytest.fixture
def colored(tmp_path: Path) -> Path:
    mesh = bumpy(2)
    write_obj(tmp_path / "colored.obj", mesh, smooth_colors(mesh.vertices))
    return tmp_path / "colored.obj"


@pytest.mark.parametrize("suffix", [".glb", ".obj"])
def test_there_and_back(colored: Path, suffix: str) -> None:
    before = read_mesh(colored)
    textured = bake_file(colored, "texture", colored.with_name(f"textured{suffix}"), 128)
    middle = read_mesh(textured)
    assert middle.texture is not None and middle.texture.texels.shape == (128, 128, 3)
    assert middle.mesh.n_vertices == before.mesh.n_vertices and middle.mesh.topology.is_closed
    after = read_mesh(bake_file(textured, "vertices", colored.with_name(f"back{suffix}")))
    assert after.texture is None and after.vertex_colors is not None and before.vertex_colors is not None
    # A file format may reorder vertices: compare each with the nearest one.
    nearest = torch.cdist(after.mesh.vertices, before.mesh.vertices).argmin(1)
    difference = after.vertex_colors - before.vertex_colors[nearest]
    assert float(difference.square().mean().log10() * -10) > 38
    again = bake_file(textured, "texture", colored.with_name("again.glb"), 64, unwrap=True)
    assert read_mesh(again).texture.texels.shape == (64, 64, 3)  # type: ignore[union-attr]


def test_all_textures_go_along_to_new_texture_coordinates(tmp_path: Path) -> None:
    mesh = unwrap_mesh(bumpy(2), 128)
    paint = bake_to_texture(mesh, smooth_colors(mesh.vertices), 128)
    rough, metal = (Texture(paint.texels[:, :, i : i + 1].contiguous()) for i in (0, 1))
    tilted = Texture(torch.tensor([0.8, 0.0, 0.6]).expand(128, 128, 3))
    surface = GltfSurface(paint, metal, rough, tilted, Texture(paint.texels * 0.5))
    write_glb(tmp_path / "a.glb", [GlbObject("a", mesh, paint, surface=surface)])
    (before,) = read_gltf_scene(tmp_path / "a.glb").scene.objects.values()
    baked = bake_file(tmp_path / "a.glb", "texture", tmp_path / "b.glb", 256, unwrap=True)
    (after,) = read_gltf_scene(baked).scene.objects.values()
    assert after.mesh.uvs is not None and before.mesh.uvs is not None
    assert not torch.equal(after.mesh.uvs, before.mesh.uvs)
    camera = flat_camera(64, 64, view_height=2.6)
    lamp = {"lamp": Directional(torch.tensor([-1.0, -0.5, -1.0]))}
    first, second = (render(scene_of(item, lights=lamp), camera, Hard()).rgba for item in (before, after))
    assert float((first - second).square().mean().log10() * -10) > 48
    plain = replace(after, material=replace(after.material, normal=None))  # type: ignore[type-var,call-arg]
    other = render(scene_of(plain, lights=lamp), camera, Hard()).rgba
    assert float((first - other).square().mean().log10() * -10) < 35


FINISHES: dict[str, Material] = {
    "shiny": Ggx(torch.ones(3), torch.tensor([0.9]), torch.tensor([0.2])),
    "glowing": Ggx(torch.ones(3), torch.tensor([0.0]), torch.tensor([0.5]), emissive=torch.tensor([3.0, 1.0, 0.0])),
    "diffuse": Lambert(torch.ones(3)),
    "unlit": Unlit(torch.ones(3)),
}


@pytest.mark.parametrize("name", FINISHES)
def test_what_is_uniform_stays_through_all_ways_of_baking(tmp_path: Path, name: str) -> None:
    mesh = bumpy(1)
    before = replace(FINISHES[name], base_color=smooth_colors(mesh.vertices))  # type: ignore[type-var,call-arg]
    write_glb(tmp_path / "a.glb", [GlbObject.of("a", Object(mesh, before))])
    textured = bake_file(tmp_path / "a.glb", "texture", tmp_path / "b.glb", 64)
    again = bake_file(textured, "texture", tmp_path / "c.glb", 64, unwrap=True)
    back = bake_file(again, "vertices", tmp_path / "d.glb")
    for path in (textured, again, back):
        (item,) = read_gltf_scene(path).scene.objects.values()
        after = item.material
        assert type(after) is type(before)
        if isinstance(before, Ggx) and isinstance(after, Ggx):
            torch.testing.assert_close(after.metallic, before.metallic)
            torch.testing.assert_close(after.roughness, before.roughness)
            assert (after.emissive is None) == (before.emissive is None)
            if before.emissive is not None:
                torch.testing.assert_close(after.emissive, before.emissive)


def test_the_command(colored: Path) -> None:
    result = CliRunner().invoke(app, ["bake", str(colored), "--to", "texture", "--resolution", "32"])
    assert result.exit_code == 0, result.output
    assert read_mesh(colored.with_name("colored_texture.glb")).texture is not None
    again = CliRunner().invoke(app, ["bake", str(colored.with_name("colored_texture.glb")), "--to", "texture"])
    assert again.exit_code == 1 and "already has a texture; --unwrap makes new" in again.output


def test_notes_on_the_file_are_shown(colored: Path, tmp_path: Path) -> None:
    with colored.open("a") as file:
        file.write("f 1 1 2\n")
    result = CliRunner().invoke(app, ["bake", str(colored), "--to", "texture", "--resolution", "32"])
    assert "  note  colored.obj: 1 of its 321 triangles have two equal corners and are left out\n" in result.output
    write_encoded_png(tmp_path / "paint.png", np.full((2, 2, 3), 90, np.uint8))
    (tmp_path / "two.mtl").write_text("newmtl a\nmap_Kd paint.png\nmap_Ks shine.png\nnewmtl b\nmap_Kd lost.png\n")
    square = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nusemtl a\nf 1/1 2/2 3/3\nusemtl b\nf 1/1 3/3 2/2\n"
    (tmp_path / "two.obj").write_text("mtllib two.mtl\nvn 0 0 1\n" + square + "l 1 2\n")
    result = CliRunner().invoke(app, ["bake", str(tmp_path / "two.obj"), "--to", "texture", "--resolution", "32"])
    assert result.output.startswith(
        "  note  two.obj: map_ks of its materials are not read from OBJ; export as GLB to keep them\n"
        "  note  two.obj: elements other than faces are skipped: l\n"
        "  note  two.obj (b): its texture lost.png does not exist; put it beside two.obj\n"
        "wrote "
    )


@pytest.mark.parametrize(
    ("to", "name", "told"),
    [
        ("texture", "b.glb", []),
        ("texture", "b.obj", []),
        ("texture", "b.ply", ["b.ply: holds no textures of metallic and roughness, normal;", "PLY holds colours only"]),
        ("vertices", "b.glb", ["b.glb: holds no textures of metallic and roughness, normal;"]),
    ],
)
def test_what_the_new_file_does_not_hold_is_told(
    tmp_path: Path, to: Literal["texture", "vertices"], name: str, told: list[str]
) -> None:
    mesh = unwrap_mesh(bumpy(1), 32)
    paint = bake_to_texture(mesh, smooth_colors(mesh.vertices), 32)
    flat = Texture(torch.tensor([0.0, 0.0, 1.0]).expand(32, 32, 3))
    one = Texture(torch.full((32, 32, 1), 0.5))
    surface = GltfSurface(paint, one, one, flat, torch.tensor([0.1, 0.2, 0.3]))
    write_glb(tmp_path / "a.glb", [GlbObject("a", mesh, paint, surface=surface)])
    console = Console(file=io.StringIO(), width=200)
    bake_file(tmp_path / "a.glb", to, tmp_path / name, 32, unwrap=to == "texture", console=console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert shown.count("note") == len(told) and all(words in shown for words in told)


def test_meshes_without_colours_are_refused(tmp_path: Path, colored: Path) -> None:
    write_obj(tmp_path / "plain.obj", bumpy(1))
    for to, message in (("texture", "neither vertex colours nor a texture"), ("vertices", "has no texture; there")):
        with pytest.raises(DataError, match=message):
            bake_file(tmp_path / "plain.obj", to)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"the suffix must be one of \.glb, \.obj, \.ply, got \.stl"):
        bake_file(colored, "texture", tmp_path / "a.stl")


def test_a_file_of_several_textures_becomes_one_atlas(tmp_path: Path) -> None:
    first, second = (unwrap_mesh(bumpy(2), 64) for _ in range(2))
    second = second.with_vertices(second.vertices + torch.tensor([3.0, 0, 0]))
    paints = [bake_to_texture(mesh, smooth_colors(mesh.vertices), 128) for mesh in (first, second)]
    plain = bumpy(1).with_vertices(bumpy(1).vertices - torch.tensor([3.0, 0, 0]))
    tilted = Texture(torch.tensor([0.8, 0.0, 0.6]).expand(64, 64, 3))
    metal, rough = torch.tensor([1.0]), torch.tensor([0.25])
    objects = [
        GlbObject("a", first, paints[0], surface=GltfSurface(paints[0], normal=tilted)),
        GlbObject("b", second, paints[1], surface=GltfSurface(paints[1], metal, rough)),
        GlbObject("c", plain, torch.tensor([0.9, 0.2, 0.1])),
    ]
    write_glb(tmp_path / "three.glb", objects)
    baked = read_mesh(bake_file(tmp_path / "three.glb", "texture", resolution=256))
    assert (
        baked.texture is not None and baked.texture_note is None and set(baked.maps) == {"metallic_roughness", "normal"}
    )
    assert baked.mesh.n_faces == first.n_faces + second.n_faces + plain.n_faces
    mesh = baked.mesh
    assert mesh.uvs is not None and mesh.uv_faces is not None
    middle = mesh.vertices[mesh.faces].mean(1)
    at = mesh.uvs[mesh.uv_faces].mean(1)
    color = baked.texture.sample(at)
    third = middle[:, 0] < -1.5
    torch.testing.assert_close(
        color[third], torch.tensor([0.9, 0.2, 0.1]).expand(int(third.sum()), 3), atol=0.01, rtol=0
    )
    textured = color[~third] - smooth_colors(middle[~third])
    assert float(textured.square().mean().log10() * -10) > 30
    finish = baked.maps["metallic_roughness"].sample(at)[middle[:, 0] > 1.5]
    torch.testing.assert_close(finish[:, 1:], torch.tensor([0.25, 1.0]).expand(len(finish), 2), atol=0.01, rtol=0)


def test_a_file_of_several_textures_has_its_look_as_parts_and_as_an_atlas(tmp_path: Path) -> None:
    left, right = (unwrap_mesh(bumpy(2), 64) for _ in range(2))
    right = right.with_vertices(right.vertices + torch.tensor([0.7, 0.3, 0.2]))
    paints = [
        bake_to_texture(mesh, colors, 256)
        for mesh, colors in ((left, smooth_colors(left.vertices)), (right, smooth_colors(right.vertices).flip(1)))
    ]
    write_glb(
        tmp_path / "two.glb",
        [GlbObject(n, m, p, unlit=True) for n, m, p in zip("ab", (left, right), paints, strict=True)],
    )

    def picture(objects: list[Object]) -> torch.Tensor:
        return render(scene_of(*objects), flat_camera(64), Hard()).rgba

    parts = read_mesh_parts(tmp_path / "two.glb")
    atlas = read_mesh(bake_file(tmp_path / "two.glb", "texture", resolution=512))
    assert atlas.texture is not None
    separate = [Object(part.mesh, Unlit(part.texture)) for part in parts.values() if part.texture is not None]
    difference = picture(separate) - picture([Object(atlas.mesh, Unlit(atlas.texture))])
    assert len(separate) == 2
    assert float(difference.square().mean().log10() * -10) > 35


@pytest.mark.parametrize("to", ["texture", "vertices"])
def test_a_part_without_a_texture_keeps_its_color(tmp_path: Path, to: Literal["texture", "vertices"]) -> None:
    painted, plain = unwrap_mesh(bumpy(2), 64), bumpy(2).with_vertices(bumpy(2).vertices + torch.tensor([3.0, 0, 0]))
    red, green = Texture(torch.tensor([1.0, 0, 0]).repeat(64, 64, 1)), torch.tensor([0.0, 1, 0])
    write_glb(tmp_path / "two.glb", [GlbObject("a", painted, red), GlbObject("b", plain, green)])
    baked = read_mesh(bake_file(tmp_path / "two.glb", to, resolution=128))
    mesh, colors, at = baked.mesh, baked.vertex_colors, baked.mesh.vertices
    if to == "texture":
        assert baked.texture is not None and mesh.uvs is not None and mesh.uv_faces is not None
        colors, at = baked.texture.sample(mesh.uvs[mesh.uv_faces].mean(1)), mesh.vertices[mesh.faces].mean(1)
    assert colors is not None
    right = at[:, 0] > 1.5
    torch.testing.assert_close(colors[right], green.expand(int(right.sum()), 3), atol=0.01, rtol=0)
    torch.testing.assert_close(colors[~right], red.texels[0, :1].expand(int((~right).sum()), 3), atol=0.01, rtol=0)


def test_normal_maps_of_hard_edged_parts_look_the_same_in_an_atlas(tmp_path: Path) -> None:
    tilted = Texture(torch.nn.functional.normalize(torch.tensor([0.5, 0.2, 0.8]), dim=0).expand(64, 64, 3))
    objects = []
    for name, shift, red in (("a", -0.6, 1.0), ("b", 0.6, 0.2)):
        triangles = box(0.6)
        turned = triangles.vertices @ axis_angle_to_matrix(torch.tensor([0.4, 0.6, 0.1])).T
        mesh = unwrap_mesh(Mesh(turned + torch.tensor([shift, 0, 0]), triangles.faces), 64).with_crease(0)
        paint = Texture(torch.tensor([red, 0.5, 0.5]).expand(64, 64, 3))
        objects.append(GlbObject(name, mesh, paint, surface=GltfSurface(paint, normal=tilted)))
    write_glb(tmp_path / "two.glb", objects)

    def picture(parts: Iterable[MeshData]) -> torch.Tensor:
        lamp = {"lamp": Directional(torch.tensor([-1.0, -0.5, -1.0]), torch.full((3,), 3.0))}
        items = [Object(part.mesh, Ggx(part.texture, normal=part.maps["normal"])) for part in parts if part.texture]
        return render(scene_of(*items, lights=lamp), flat_camera(64, 64), Hard()).rgba

    parts = read_mesh_parts(tmp_path / "two.glb").values()
    atlas = read_mesh(bake_file(tmp_path / "two.glb", "texture", resolution=256))
    assert len(parts) == 2 and psnr_of(picture([atlas]), picture(parts)) > 35
