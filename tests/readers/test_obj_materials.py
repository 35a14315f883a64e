"""What materials of OBJ files state: what is read of it, and what is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from diffrender.readers.clean_mesh import MOST_TEXELS, OMITTED_COLORS, TRANSPARENT
from diffrender.readers.mesh_data import Finish
from diffrender.readers.meshes.obj_materials import HIGHLIGHTS
from diffrender.readers.meshes.read_mesh import read_mesh_parts
from tests.support.obj_files import FACE, SQUARE, written


def test_uniform_values_of_materials(tmp_path: Path) -> None:
    library = "newmtl a\nKd 0.2 0.4 0.6\nPr 0.3\nPm 0.7\nKe 1 2 3\nnewmtl b\nKd 1 0 0\nPr 0.3\nPm 0.7\nKe 1 2 3\n"
    two = SQUARE + "v 5 0 0\nv 6 0 0\nv 6 1 0\nusemtl a\nf 1 2 3 4\nusemtl b\nf 5 6 7\n"
    data = written(tmp_path, f"mtllib l.mtl\n{two}", l=library)
    torch.testing.assert_close(data.vertex_colors, torch.tensor([[0.2, 0.4, 0.6]] * 4 + [[1.0, 0, 0]] * 3))
    finish = data.finish
    assert (finish.roughness, finish.metallic, finish.emissive) == (0.3, 0.7, (1.0, 2.0, 3.0))
    assert data.notes == ("its materials have different colours, which blend where their faces share vertices",)


def test_values_that_maps_multiply_are_not_taken_for_the_whole_surface(tmp_path: Path) -> None:
    library = "newmtl a\nPr 1\nmap_Pr r.png\nPm 1\nmap_Pm m.png\nKe 1 1 1\nmap_Ke e.png\n"
    data = written(tmp_path, f"mtllib l.mtl\n{SQUARE}{FACE}", l=library)
    assert data.finish == Finish()
    assert data.notes == ("map_pr, map_pm, map_ke of its materials are not read from OBJ; export as GLB to keep them",)


@pytest.mark.parametrize(
    ("lines", "is_told"),
    [
        ("d 0.5", True),
        ("d -halo 0.5", True),
        ("Tr 0.25", True),
        ("d 1.0\nTr 0", False),
        ("Tr 1", False),
        ("d 1\nTr 0.5", False),
    ],
)
def test_transparency_is_told(tmp_path: Path, lines: str, is_told: bool) -> None:
    # Tr alone is 1 - d by its definition, but some programs write Tr 1 for what is opaque.
    data = written(tmp_path, f"mtllib m.mtl\n{SQUARE}usemtl skin\n{FACE}", m=f"newmtl skin\n{lines}\n")
    assert data.notes == (("transparency (d, Tr) is not supported; its surface is opaque",) if is_told else ())


def test_what_is_not_read_is_said(tmp_path: Path) -> None:
    library = "newmtl a\nmap_Ks shine.png\nPr 0.1\nnewmtl b\nPr 0.9\n"
    text = f"mtllib l.mtl\n{SQUARE}usemtl a\nf 1 2 3\nusemtl b\nf 1 3 4\nusemtl c\nf 1 2 4\nl 1 2\np 1\n"
    data = written(tmp_path, text, l=library)
    assert data.notes == (
        "the material 'c' is in none of its libraries",
        "map_ks of its materials are not read from OBJ; export as GLB to keep them",
        "elements other than faces are skipped: l, p",
        "its materials differ in roughness, metallic, emission or illum, which are omitted",
    )


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("map_Kd wood.png\nmap_Ka wood.png\nmap_aat on", ""),
        ("map_Ka wood.png", "map_ka"),
        ("map_Kd -mm 0 0.5 wood.png", "map_kd -mm"),
        ("map_Kd wood.png\nmap_Ka my wood.png", "map_ka"),
        ("refl sky.png\nmap_ORM all.png\nmap_Tr holes.png", "refl, map_orm, map_tr"),
    ],
)
def test_maps_that_are_not_read_are_told(tmp_path: Path, lines: str, told: str) -> None:
    data = written(tmp_path, f"mtllib l.mtl\n{SQUARE}{FACE}", l=f"newmtl a\n{lines}\n")
    note = f"{told} of its materials are not read from OBJ; export as GLB to keep them"
    assert data.notes == ((note,) if told else ())


@pytest.mark.parametrize(
    ("color", "values", "note"),
    [
        ("0.5 0.5 1", "", "its texture is shown as it is, not multiplied by the colour of its material (Kd)"),
        ("1 1 1", " 1 1 1", None),
        ("1 1 1", " 0 1 0", OMITTED_COLORS),
    ],
)
def test_colours_that_a_texture_is_shown_without_are_told(
    tmp_path: Path, color: str, values: str, note: str | None
) -> None:
    square = "".join(f"{line}{values if line.startswith('v ') else ''}\n" for line in SQUARE.splitlines())
    data = written(tmp_path, f"mtllib l.mtl\n{square}{FACE}", l=f"newmtl a\nKd {color}\nmap_Kd wood.png\n")
    assert data.texture is not None and data.notes == (() if note is None else (note,))


@pytest.mark.parametrize("lines, is_told", [
    ("Ks 0.9 0.8 0.2\nNs 250\nillum 2", True),
    ("Ns 900\nKs 0.5 0.5 0.5", True),
    ("Ks spectral gold.rfl 1", True),
    ("Ks 0.9 0.8 0.2\nNs 250\nPr 0.5", False),
    ("Ks 0.9 0.8 0.2\nNs 250\nillum 1", False),
    ("Ks 0 0 0\nNs 250", False),
    ("Ks 0.5 0.5 0.5\nNs 250\nillum 2", False),  # Blender, if nobody chose
    ("Ks 1 1 1\nNs 0\nillum 2", False),  # MeshLab
    ("Ks 0.4 0.4 0.4\nNs 1", False),  # trimesh
])  # fmt: skip
def test_highlights_that_somebody_chose_are_told(tmp_path: Path, lines: str, is_told: bool) -> None:
    data = written(tmp_path, f"mtllib l.mtl\n{SQUARE}usemtl a\n{FACE}", l=f"newmtl a\nKd 1 1 1\n{lines}\n")
    assert data.notes == ((HIGHLIGHTS,) if is_told else ())


def test_models_of_illumination(tmp_path: Path) -> None:
    text = f"mtllib l.mtl\n{SQUARE}usemtl a\n{FACE}"
    constant = written(tmp_path, text, l="newmtl a\nKd 1 0 0\nKs 1 1 1\nillum 0\n")
    assert constant.finish == Finish(unlit=True)
    assert constant.notes == ("its materials are shown without lights (illum 0)",)
    for lines, model in (("illum 7", 7), ("illum 3", 3), ("illum 4\nNi 1.45", 4), ("Tf 1 0.5 0.5\nillum 4", 4)):
        shown = written(tmp_path, text, l=f"newmtl a\n{lines}\n")
        assert shown.finish == Finish()
        assert shown.notes == (f"reflection and refraction (illum {model}) are not supported",)
    for lines in ("illum 4\nNi 1.0\nTf 1 1 1", "illum 3\nPm 1\nPr 0.2"):  # as Maya and Blender write everything
        assert written(tmp_path, text, l=f"newmtl a\n{lines}\n").notes == ()
    both = f"mtllib l.mtl\n{SQUARE}usemtl a\nf 1/1 2/2 3/3\nusemtl b\nf 1/1 3/3 4/4\n"
    mixed = written(tmp_path, both, l="newmtl a\nillum 0\nnewmtl b\nillum 1\n")
    assert mixed.notes == ("its materials differ in roughness, metallic, emission or illum, which are omitted",)


def test_materials_that_differ_in_what_is_not_shown_are_one_part(tmp_path: Path) -> None:
    library = "newmtl a\nKd 1 0 0\nKs 1 1 1\nillum 2\nnewmtl b\nKd 1 0 0\nillum 1\n"
    written(tmp_path, f"mtllib l.mtl\n{SQUARE}usemtl a\nf 1 2 3\nusemtl b\nf 1 3 4\n", l=library)
    assert len(read_mesh_parts(tmp_path / "a.obj")) == 1


@pytest.mark.parametrize("line, told", [
    ("Kd xyz 0.3 0.4 0.5", "Kd xyz"),
    ("Kd spectral red.rfl 1", "Kd spectral"),
    ("Ke spectral red.rfl", "Ke spectral"),
    ("Pc 0.5", "pc"),
    ("aniso 1", "aniso"),
    ("map_d wood.png", "map_d"),
])  # fmt: skip
def test_what_a_material_states_otherwise_is_told(tmp_path: Path, line: str, told: str) -> None:
    data = written(tmp_path, f"mtllib l.mtl\n{SQUARE}usemtl a\n{FACE}", l=f"newmtl a\n{line}\nPs 0\n")
    assert data.notes == (f"{told} of its materials are not read from OBJ; export as GLB to keep them",)
    assert data.vertex_colors is None and data.finish == Finish()


def test_transparent_texels_are_told(tmp_path: Path) -> None:
    for alpha, notes in ((255, ()), (254, (TRANSPARENT,))):
        Image.new("RGBA", (8, 8), (255, 0, 0, alpha)).save(tmp_path / "leaf.png")
        data = written(tmp_path, f"mtllib l.mtl\n{SQUARE}usemtl a\n{FACE}", l="newmtl a\nmap_Kd leaf.png\n")
        assert data.texture is not None and data.notes == notes


@pytest.mark.parametrize("size", [8, 2 * MOST_TEXELS])
def test_transparent_texels_that_no_face_shows_are_not_told(tmp_path: Path, size: int) -> None:
    half = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt .5 0\nvt .5 1\nvt 0 1\n"
    for opaque, corners, notes in (
        ((0, 0, size // 2, size), half, ()),
        ((0, 0, size // 4, size), half, (TRANSPARENT,)),
        ((0, 0, size // 2, size), half.replace(".5", "1.5"), (TRANSPARENT,)),
    ):
        picture = Image.new("RGBA", (size, size), (0, 0, 0, 0))
        picture.paste((255, 0, 0, 255), opaque)
        picture.save(tmp_path / "atlas.png")
        data = written(tmp_path, f"mtllib l.mtl\n{corners}usemtl a\n{FACE}", l="newmtl a\nmap_Kd atlas.png\n")
        assert data.texture is not None and data.notes == notes
