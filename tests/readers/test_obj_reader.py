"""OBJ files and their material libraries as people have them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffrender.errors import DataError
from diffrender.imaging.color import linear_from_srgb
from diffrender.readers.mesh_data import MeshData
from diffrender.readers.meshes.read_mesh import read_mesh, read_mesh_parts
from tests.support.obj_files import FACE, SQUARE, written

# A U in a square of 3 x 3, of area 7, counter-clockwise.
U = np.array([[0.0, 0], [3, 0], [3, 3], [2, 3], [2, 1], [1, 1], [1, 3], [0, 3]])


def area(data: MeshData) -> float:
    a, b, c = data.mesh.vertices.double()[data.mesh.faces].unbind(1)
    return float(torch.linalg.cross(b - a, c - a).norm(dim=1).sum() / 2)


@pytest.mark.parametrize("tilt", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("first", range(8))
@pytest.mark.parametrize("step", [1, -1])
def test_concave_faces_keep_their_area(tmp_path: Path, tilt: tuple[int, ...], first: int, step: int) -> None:
    corners = np.roll(U, first, 0)[::step]
    points = np.stack([*corners.T, 0.3 * corners[:, 0]], 1)[:, tilt]
    text = "".join(f"v {x} {y} {z}\n" for x, y, z in points) + "f 1 2 3 4 5 6 7 8\n"
    data = written(tmp_path, text)
    assert area(data) == pytest.approx(7 * np.sqrt(1 + 0.3**2)) and data.mesh.n_faces == 6
    a, b, c = data.mesh.vertices[data.mesh.faces].unbind(1)
    normals = torch.linalg.cross(b - a, c - a)
    expected = np.sum([np.cross(points[i], points[(i + 1) % 8]) for i in range(8)], 0)
    assert bool((normals @ torch.tensor(expected).float() > 0).all())


def test_the_only_material_of_a_library_needs_no_usemtl(tmp_path: Path) -> None:
    data = written(tmp_path, "mtllib skin.mtl\n" + SQUARE + FACE, skin="newmtl skin\nmap_Kd wood.png\n")
    assert data.texture is not None and data.notes == ()


@pytest.mark.parametrize("name", ["Anodized Rough Grey #1", "wood", "#5", "two  spaces"])
def test_names_may_hold_anything(tmp_path: Path, name: str) -> None:
    text = f"mtllib scan #2.mtl\n{SQUARE}usemtl {name}\n{FACE}"
    data = written(tmp_path, text, **{"scan_#2": f"newmtl other\nKd 1 0 0\nnewmtl {name}\nmap_Kd wood.png\n"})
    assert data.texture is not None and data.notes == ()


def test_comments_after_names_are_comments(tmp_path: Path) -> None:
    text = f"mtllib skin.mtl # of wood\n{SQUARE}usemtl skin # as well\n{FACE}"
    library = "newmtl skin\nmap_Kd wood.png\nnewmtl other\n"
    assert written(tmp_path, text, skin=library).texture is not None


def test_byte_order_marks(tmp_path: Path) -> None:
    data = written(tmp_path, "v 0 0 0\n" + SQUARE + "f 2/1 3/2 4/3\n", "utf-8-sig")
    assert data.mesh.n_vertices == 3 and area(data) == pytest.approx(0.5)
    text = f"mtllib skin.mtl\n{SQUARE}usemtl skin\n{FACE}"
    assert written(tmp_path, text, "utf-8-sig", skin="newmtl skin\nmap_Kd wood.png\nnewmtl b\n").texture is not None


def test_a_comment_that_ends_in_a_backslash_is_not_continued(tmp_path: Path) -> None:
    data = written(tmp_path, "# C:\\scans\\\n" + SQUARE + "f 1/1 2/2 \\ \n3/3 4/4\nf 1/1 2/2 3/3\n")
    assert data.mesh.n_faces == 3 and data.mesh.vertices[0].tolist() == [0, 0, 0]


def test_names_in_latin_1_stay_different(tmp_path: Path) -> None:
    text = f"mtllib skin.mtl\n{SQUARE}usemtl h\xf6lz\n{FACE}"
    data = written(tmp_path, text, "latin-1", skin="newmtl h\xf6lz\nKd 1 0 0\nnewmtl h\xe4lz\nKd 0 1 0\n")
    assert data.vertex_colors is not None and data.vertex_colors[0].tolist() == [1, 0, 0]


def test_white_space_of_any_kind_in_libraries(tmp_path: Path) -> None:
    text = f"mtllib\tskin.mtl\n{SQUARE}usemtl\ta\x85b\n{FACE}"
    data = written(tmp_path, text, skin="newmtl\ta\x85b\n\tKd\t1 0 0\nnewmtl other\n")
    assert data.notes == () and data.vertex_colors is not None and data.vertex_colors[0].tolist() == [1, 0, 0]


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends(tmp_path: Path, end: str) -> None:
    library = "newmtl skin\nmap_Kd wood.png\n".replace("\n", end)
    text = f"# by hand\nmtllib l.mtl\n{SQUARE}usemtl skin\nf 1/1 2/2 \\\n3/3 4/4\n".replace("\n", end)
    (tmp_path / "l.mtl").write_bytes(library.encode())
    Image.fromarray(np.full((2, 2, 3), (255, 0, 0), np.uint8)).save(tmp_path / "wood.png")
    (tmp_path / "a.obj").write_bytes(text.encode())
    data = read_mesh(tmp_path / "a.obj")
    assert data.mesh.n_faces == 2 and data.texture is not None and data.all_notes == ()


def test_several_libraries_in_one_line(tmp_path: Path) -> None:
    text = f"mtllib a.mtl my b.mtl missing one.mtl\n{SQUARE}usemtl two\n{FACE}"
    data = written(tmp_path, text, a="newmtl one\n", my_b="newmtl two\nmap_Kd wood.png\n")
    assert data.texture is not None and data.notes == ("the material library missing one.mtl does not exist",)


@pytest.mark.parametrize(
    ("line", "uvs"),
    [
        ("textures\\wood.png", [[0, 1], [1, 1], [1, 0], [0, 0]]),
        (".\\textures\\my wood.png", [[0, 1], [1, 1], [1, 0], [0, 0]]),
        ("C:\\work\\scan\\my wood.png", [[0, 1], [1, 1], [1, 0], [0, 0]]),
        ('"my wood.png"', [[0, 1], [1, 1], [1, 0], [0, 0]]),
        ("textures/my wood.png # by hand", [[0, 1], [1, 1], [1, 0], [0, 0]]),
        ("-s 2 2 1 my wood.png", [[0, 1], [2, 1], [2, -1], [0, -1]]),
        ("-s 2 my wood.png", [[0, 1], [2, 1], [2, 0], [0, 0]]),
        ("-o 0.25 -0.5 -s 2 3 wood.png", [[0.25, 1.5], [2.25, 1.5], [2.25, -1.5], [0.25, -1.5]]),
        ("-blendu on -mm 0 1 -texres 64 -clamp off wood.png", [[0, 1], [1, 1], [1, 0], [0, 0]]),
    ],
)
def test_texture_maps_with_options(tmp_path: Path, line: str, uvs: list[list[float]]) -> None:
    text = f"mtllib skin.mtl\n{SQUARE}usemtl skin\n{FACE}"
    data = written(tmp_path, text, skin=f"newmtl skin\nmap_Kd {line}\n")
    assert data.texture is not None and data.mesh.uvs is not None
    torch.testing.assert_close(data.mesh.uvs, torch.tensor(uvs, dtype=torch.float32))


def test_a_texture_without_texture_coordinates_is_told(tmp_path: Path) -> None:
    library = "newmtl skin\nKd 0.1 0.2 0.3\nmap_Kd wood.png\n"
    data = written(tmp_path, f"mtllib skin.mtl\n{SQUARE}usemtl skin\nf 1 2 3 4\n", skin=library)
    assert data.texture is None and data.texture_note == "not all of its faces have texture coordinates"
    torch.testing.assert_close(data.vertex_colors, torch.tensor([[0.1, 0.2, 0.3]] * 4))


def test_a_texture_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    turned = Image.new("RGB", (4, 4))
    turned.getexif()[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=turned.getexif())
    for name, reason in (("cut.png", "is not an image"), ("turned.jpg", "has an EXIF orientation")):
        data = written(tmp_path, f"mtllib l.mtl\n{SQUARE}{FACE}", l=f"newmtl a\nKd 1 0 0\nmap_Kd {name}\n")
        assert data.texture is None and data.texture_note is not None
        assert data.texture_note.startswith(f"its texture is omitted: {tmp_path / name}: {reason}")
        assert data.vertex_colors is not None  # those of Kd


def test_a_clamped_map(tmp_path: Path) -> None:
    text = f"mtllib skin.mtl\n{SQUARE}{FACE}"
    data = written(tmp_path, text, skin="newmtl skin\nmap_Kd -clamp on wood.png\n")
    assert data.texture is not None and data.texture.wrap == "clamp"


def test_colours_at_some_vertices_only(tmp_path: Path) -> None:
    text = "v 0 0 0 1 0 0\nv 1 0 0 0 0.5 0\nv 1 1 0\nv 0 1 0\nf 1 2 3 4\n"
    data = written(tmp_path, text)
    expected = linear_from_srgb(torch.tensor([[1.0, 0, 0], [0, 0.5, 0], [1, 1, 1], [1, 1, 1]]))
    torch.testing.assert_close(data.vertex_colors, expected)
    assert data.notes == ("2 of 4 vertices have no colour; they are white",)
    data = written(tmp_path, f"mtllib a.mtl\n{text}", a="newmtl a\nKd 0.1 0.2 0.3\n")
    torch.testing.assert_close(data.vertex_colors[2:], torch.tensor([[0.1, 0.2, 0.3]] * 2))
    assert data.notes == ("2 of 4 vertices have no colour; they are the colour of their material",)


def test_colours_painted_in_zbrush(tmp_path: Path) -> None:
    """Comments hold a mask and sRGB of each vertex, as many to a line as fit."""
    text = SQUARE + "#MRGB ffff0000ff00ff00\n#MRGB FF0000FF00808080\n" + FACE
    data = written(tmp_path, text)
    expected = linear_from_srgb(torch.tensor([[255.0, 0, 0], [0, 255, 0], [0, 0, 255], [128, 128, 128]]) / 255)
    torch.testing.assert_close(data.vertex_colors, expected)
    assert data.notes == ()
    for old, new, note in (
        ("00808080", "", "its 3 colours in comments (#MRGB) do not fit its 4 vertices"),
        ("#MRGB ff", "#MRGB f?", "its colours in comments (#MRGB) are damaged and not read"),
    ):
        data = written(tmp_path, text.replace(old, new))
        assert data.vertex_colors is None and data.notes == (note,)


# A tent: two squares that meet at a ridge along y.
TENT = "v 0 0 0\nv 1 0 1\nv 1 1 1\nv 0 1 0\nv 2 0 0\nv 2 1 0\n"


def normal_at(data: MeshData, face: int) -> torch.Tensor:
    """[3, 3]: the normals at the corners of a face."""
    assert data.mesh.normals is not None and data.mesh.normal_faces is not None
    return data.mesh.normals[data.mesh.normal_faces[face]]


def test_corners_without_a_normal_get_a_smooth_one_and_others_keep_theirs(tmp_path: Path) -> None:
    text = TENT + "vn 0.6 0 0.8\nvn 0 0 0\nvn nan 0 1\nvn 1e300 0 0\n"
    left = "f 1//1 2//1 3//1\nf 1//1 3//1 4//1\n"
    smooth = torch.tensor([0.1, 0.0, 0.3]) * 10**0.5  # at that end of the ridge, one triangle meets two
    for right in ("f 2 5 6\nf 2 6 3\n", "f 2//2 5//3 6//4\nf 2//2 6//2 3//2\n", "f 2// 5//1 6//2\nf 2//2 6//2 3//2\n"):
        data = written(tmp_path, text + left + right)
        torch.testing.assert_close(normal_at(data, 0), torch.tensor([[0.6, 0.0, 0.8]] * 3))
        torch.testing.assert_close(normal_at(data, 2)[0], smooth)
        n_lost = 5 if "5//1" in right else 6
        assert data.notes == (f"{n_lost} of its 12 corners lack a valid normal and get a smooth one",)
        outer = torch.tensor([0.6, 0.0, 0.8]) if "5//1" in right else torch.tensor([0.5, 0.0, 0.5]) * 2**0.5
        torch.testing.assert_close(normal_at(data, 2)[1], outer)
    data = written(tmp_path, text + "f 1//2 2//2 3//2\n")
    assert data.mesh.normals is None and data.notes == ("3 of its 3 corners lack a valid normal and get a smooth one",)


def test_colours_in_whole_numbers_up_to_255(tmp_path: Path) -> None:
    data = written(tmp_path, "v 0 0 0 255 0 0\nv 1 0 0 0 128 0\nv 0 1 0 0 0 0\nf 1 2 3\n")
    expected = linear_from_srgb(torch.tensor([[255.0, 0, 0], [0, 128, 0], [0, 0, 0]]) / 255)
    torch.testing.assert_close(data.vertex_colors, expected)
    assert data.notes == ("its vertex colours are whole numbers up to 255 and are divided by that",)


@pytest.mark.parametrize("value", ["1.5", "256", "-0.5"])
def test_other_colours_outside_0_to_1_are_clamped(tmp_path: Path, value: str) -> None:
    data = written(tmp_path, f"v 0 0 0 {value} 0 0\nv 1 0 0 0 0.5 0\nv 0 1 0 0 0 0\nf 1 2 3\n")
    expected = linear_from_srgb(torch.tensor([[0.0 if value[0] == "-" else 1.0, 0, 0], [0, 0.5, 0], [0, 0, 0]]))
    torch.testing.assert_close(data.vertex_colors, expected)
    assert data.notes == ("1 of its 3 vertex colours are outside 0..1 and are clamped",)


def test_colours_of_materials_outside_0_to_1_are_clamped(tmp_path: Path) -> None:
    data = written(tmp_path, f"mtllib l.mtl\n{SQUARE}usemtl a\n{FACE}", l="newmtl a\nKd 204 0.5 -1\n")
    torch.testing.assert_close(data.vertex_colors, torch.tensor([[1.0, 0.5, 0.0]] * 4))
    assert data.notes == ("at 4 of its 4 places colours are outside 0..1 and are clamped",)


def test_different_colours_at_one_place_are_told(tmp_path: Path) -> None:
    two = "v 0 0 0 1 0 0\nv 1 0 0 1 0 0\nv 0 1 0 1 0 0\nv 0 0 0 0 0 1\nv 1 0 0 1 0 0\nv 0 -1 0 0 0 1\n"
    data = written(tmp_path, two + "f 1 2 3\nf 4 6 5\n")
    assert data.notes == ("at 1 of its 4 places vertices have different colours, which are averaged",)
    torch.testing.assert_close(data.vertex_colors[0], torch.tensor([0.5, 0.0, 0.5]))


def test_a_vertex_that_no_face_uses_counts_nowhere(tmp_path: Path) -> None:
    for far in ("1e9 0 0", "0 nan 0", "1e39 0 0"):
        data = written(tmp_path, f"v {far}\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 2 3 4\n")
        assert data.mesh.vertices.dtype == torch.float32 and data.notes == ()
        (part,) = read_mesh_parts(tmp_path / "a.obj").values()
        assert part.mesh.vertices.dtype == torch.float32 and part.notes == ()
    two = "v 1e9 0 0\nv 1000 0 0\nv 1001 0 0\nv 1000 1 0\nv 1000 0 5\nusemtl a\nf 2 3 4\nusemtl b\nf 2 3 5\n"
    written(tmp_path, "mtllib m.mtl\n" + two, m="newmtl a\nKd 1 0 0\nnewmtl b\nKd 0 1 0\n")
    for part in read_mesh_parts(tmp_path / "a.obj").values():
        assert part.notes == ("its size is 5, but it is 1e+03 from the origin: kept in float64",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ((SQUARE + FACE).encode("utf-16"), "is not text in UTF-8, but UTF-16 or binary; save it as UTF-8"),
        ((SQUARE + FACE).encode("utf-16-le"), "is not text in UTF-8, but UTF-16 or binary; save it as UTF-8"),
        (gzip.compress((SQUARE + FACE).encode()), "is compressed with gzip; unpack it first"),
        ((SQUARE + "f 1.0/1 2/2 3/3\n").encode(), "line 9: a face's indices must be whole numbers, got '1.0'"),
        (b"v 0 0 0\nv 1e39 0 0\nv 0 1 0\nf 1 2 3\n", r"line 2 \(vertex 2\) is \[1e\+39, .* at most 3\.4e\+38"),
        (b"v 0 0 0\nv 1 0 0 nan 0 0\nv 0 1 0\nf 1 2 3\n", r"the colour of line 2 \(vertex 2\) is \[nan, .* finite"),
    ],
    ids=["UTF-16", "UTF-16 without a mark", "gzip", "fraction", "too large", "colour"],
)
def test_files_that_cannot_be_read_say_why_in_one_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.obj").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.obj.*{message}") as caught:
        read_mesh(tmp_path / "a.obj")
    assert "\n" not in str(caught.value)


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.obj").mkdir()
    with pytest.raises(DataError, match=r"a\.obj: is a folder, not a mesh file"):
        read_mesh(tmp_path / "a.obj")


@pytest.mark.parametrize("picture", ["wood.png", "../textures/wood.png", "parts/wood.png", "textures/wood.png"])
def test_libraries_and_textures_in_sub_folders(tmp_path: Path, picture: str) -> None:
    (tmp_path / "parts").mkdir()
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "parts" / "wood.png")
    (tmp_path / "parts" / "skin.mtl").write_text(f"newmtl skin\nmap_Kd {picture}\n")
    data = written(tmp_path, f"mtllib parts/skin.mtl\n{SQUARE}usemtl skin\n{FACE}")
    assert data.texture is not None and data.texture_note is None


def test_names_and_numbers_that_cannot_be(tmp_path: Path) -> None:
    long = "x" * 300
    library = f"newmtl skin\nKd nan 1 1\nPr inf\nmap_Kd -s inf 1e400 {long}.png\n"
    data = written(tmp_path, f"mtllib m.mtl {long}.mtl\n{SQUARE}usemtl skin\n{FACE}", m=library)
    assert data.texture_note is not None and f"{long}.png does not exist" in data.texture_note
    assert data.notes == (f"the material library {long}.mtl does not exist",)
    assert data.vertex_colors is None and data.finish.roughness == 1.0
    with pytest.raises(DataError, match="cannot be read"):
        read_mesh(tmp_path / f"{long}.obj")


def test_lines_that_are_not_read_are_told_but_not_those_that_change_nothing(tmp_path: Path) -> None:
    curve = "vp 0 1\ncstype bezier\ndeg 3 3\nsurf 0 1 0 1 1 2 3 4\nparm u 0 1\nend\nusemap wood\nlod 2\n"
    data = written(tmp_path, f"{SQUARE}{FACE}{curve}fo 1/1 2/2 3/3\n")
    assert data.notes == ("elements other than faces are skipped: surf, usemap",)
    assert data.mesh.n_faces == 3


def test_faces_may_come_before_their_vertices(tmp_path: Path) -> None:
    data = written(tmp_path, f"f 1/1/1 2/2/1 3/3/1\n{SQUARE}vn 0 0 1\nf -4/-4/1 -2/-2/1 -1/-1/1\n")
    assert data.mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]] and data.notes == ()
    for face, message in (
        ("f 1 2 9", "line 2: a face uses vertex 9, but the file has 4"),
        ("f 1/1 2/2 3/7", "line 2: a face uses texture coordinate 7, but the file has 4"),
        ("f -1 -2 -3", "line 2: a face uses vertex -1, but the file has 0 up to here"),
    ):
        with pytest.raises(DataError, match=message):
            written(tmp_path, f"f 1 2 3\n{face}\n{SQUARE}")
