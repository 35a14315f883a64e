"""PLY as scanners, modellers and data sets write it."""

from __future__ import annotations

import struct
from codecs import BOM_UTF8
from pathlib import Path

import pytest
import torch
import trimesh
from PIL import Image
from torch import Tensor

from diffrender.errors import DataError
from diffrender.imaging.color import linear_from_srgb
from diffrender.readers.clean_mesh import OMITTED_COLORS
from diffrender.readers.mesh_data import MeshData
from diffrender.readers.meshes.read_mesh import read_mesh, read_mesh_parts

SQUARE = [(0, 0, 0), (2, 0, 0), (2, 1, 0), (0, 1, 0)]
# The U has an area of 7, by a fan 8 or more.
U = [(0, 0, 0), (3, 0, 0), (3, 3, 0), (2, 3, 0), (2, 1, 0), (1, 1, 0), (1, 3, 0), (0, 3, 0)]
XYZ = [("float", "x"), ("float", "y"), ("float", "z")]
CORNERS = [("uchar", "int", "vertex_indices")]
FORMATS = ("ascii", "binary_little_endian", "binary_big_endian")
CODES = {"char": "b", "uchar": "B", "short": "h", "ushort": "H", "int": "i", "uint": "I", "float": "f", "double": "d"}


def ply(path: Path, elements: dict, form: str = "ascii", comments: tuple[str, ...] = (), newline: str = "\n") -> Path:
    """Write `elements`: {name: (properties, rows)}; a property is (type, name) or (size type, type, name)."""
    header = ["ply", f"format {form} 1.0", *(f"comment {each}" for each in comments)]
    body = b""
    for element, (properties, rows) in elements.items():
        header.append(f"element {element} {len(rows)}")
        header += [f"property {'list ' if len(each) == 3 else ''}{' '.join(each)}" for each in properties]
        for row in rows:
            for prop, value in zip(properties, row, strict=True):
                values = (len(value), *value) if len(prop) == 3 else (value,)
                if form == "ascii":
                    body += (" ".join(f"{each:g}" for each in values) + " ").encode()
                    continue
                codes = CODES[prop[-2]] if len(prop) == 2 else CODES[prop[0]] + CODES[prop[1]] * len(value)
                body += struct.pack((">" if "big" in form else "<") + codes, *values)
            body += newline.encode() if form == "ascii" else b""
    path.write_bytes(newline.join([*header, "end_header", ""]).encode() + body)
    return path


def areas(data: MeshData) -> Tensor:
    a, b, c = data.mesh.vertices[data.mesh.faces].unbind(1)
    return torch.linalg.cross(b - a, c - a)[:, 2] / 2


def srgb(*values: float) -> Tensor:
    return linear_from_srgb(torch.tensor(values, dtype=torch.float64)).float()


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("form", FORMATS)
def test_polygons_of_any_size_and_shape_in_every_encoding(tmp_path: Path, form: str, newline: str) -> None:
    vertices = [*SQUARE, *((x + 5, y, z) for x, y, z in U)]
    faces = [([0, 1, 2],), ([0, 2, 3],), (list(range(4, 12)),), ([0, 1, 2, 3],)]
    data = read_mesh(ply(tmp_path / "a.ply", {"vertex": (XYZ, vertices), "face": (CORNERS, faces)}, form, (), newline))
    assert areas(data).sum().item() == pytest.approx(2 + 7 + 2) and bool((areas(data) > 0).all())
    assert data.notes == ()


@pytest.mark.parametrize("form", FORMATS)
def test_vertices_of_a_modeller(tmp_path: Path, form: str) -> None:
    # Blender: normals, texture coordinates and colours at vertices, polygons as they are.
    names = [*XYZ, *(("float", n) for n in ("nx", "ny", "nz", "s", "t")), *(("uchar", n) for n in ("red", "green"))]
    names += [("uchar", "blue"), ("uchar", "alpha")]
    rows = [(*xyz, 0, 0.6, 0.8, xyz[0] / 2, xyz[1], 255, 128, 0, 255) for xyz in SQUARE]
    path = ply(tmp_path / "a.ply", {"vertex": (names, rows), "face": (CORNERS, [([0, 1, 2, 3],)])}, form)
    data = read_mesh(path)
    torch.testing.assert_close(data.mesh.normals, torch.tensor([[0, 0.6, 0.8]]).expand(4, 3), check_dtype=False)
    torch.testing.assert_close(data.vertex_colors, srgb(1, 128 / 255, 0).expand(4, 3))
    positions = data.mesh.vertices[data.mesh.faces]
    assert data.mesh.uvs is not None
    uvs = data.mesh.uvs[data.mesh.uv_faces]
    torch.testing.assert_close(uvs, torch.stack([positions[..., 0] / 2, 1 - positions[..., 1]], -1))
    assert data.notes == ()


@pytest.mark.parametrize("form", FORMATS)
def test_corners_of_a_scanner_with_two_pictures(tmp_path: Path, form: str) -> None:
    # MeshLab: texture coordinates at corners, the picture of each face, quality, and colours of faces.
    for name, color in (("one.png", (255, 0, 0)), ("two.png", (0, 0, 255))):
        Image.new("RGB", (4, 2), color).save(tmp_path / name)
    faces = [([0, 1, 2], [0, 0, 1, 0, 1, 1], 1, 255, 0, 0), ([0, 2, 3], [0.5, 0, 1, 1, 0, 1], 0, 0, 0, 255)]
    of_faces = [*CORNERS, ("uchar", "float", "texcoord"), ("int", "texnumber"), *(("uchar", n) for n in "rgb")]
    elements = {
        "vertex": ([*XYZ, ("float", "quality")], [(*xyz, 0.5) for xyz in SQUARE]),
        "face": (of_faces, faces),
        "edge": ([("int", "vertex1"), ("int", "vertex2")], [(0, 1)]),
    }
    path = ply(tmp_path / "scan.ply", elements, form, ("TextureFile one.png", "TextureFile two.png", "made"))
    parts = read_mesh_parts(path)
    assert list(parts) == ["one", "two"]
    assert parts["two"].texture is not None and parts["two"].texture.texels[0, 0].tolist() == [0, 0, 1]
    mesh = parts["two"].mesh
    assert mesh.uvs is not None and mesh.uvs[mesh.uv_faces].tolist() == [[[0, 1], [1, 1], [1, 0]]]
    whole = read_mesh(path)
    assert whole.texture is None and "2 different textures" in str(whole.texture_note)
    assert whole.notes == (
        "its colours are those of faces, and blend where these share vertices",
        "quality of its element 'vertex' is not read",
        "its 1 rows of 'edge' are not read",
    )
    assert whole.vertex_colors is not None
    torch.testing.assert_close(whole.vertex_colors[:2], torch.tensor([[0.5, 0, 0.5], [1, 0, 0]]))


@pytest.mark.parametrize("form", FORMATS)
def test_faces_without_the_only_picture_are_a_part_of_their_own(tmp_path: Path, form: str) -> None:
    Image.new("RGB", (4, 2), (0, 0, 255)).save(tmp_path / "one.png")
    of_faces = [*CORNERS, ("uchar", "float", "texcoord"), ("int", "texnumber")]
    for number, names in ((-1, ["texture_-1", "one"]), (0, ["one"]), (1, ["one"])):
        faces = [([0, 1, 2], [0, 0, 1, 0, 1, 1], number), ([0, 2, 3], [0.5, 0, 1, 1, 0, 1], max(number, 0))]
        path = ply(
            tmp_path / "a.ply", {"vertex": (XYZ, SQUARE), "face": (of_faces, faces)}, form, ("texturefile one.png",)
        )
        parts = read_mesh_parts(path)
        assert list(parts) == names and parts["one"].texture is not None
        assert all(parts[name].texture is None for name in names[:-1])
    faces[0] = (*faces[0][:2], -1)
    note = read_mesh(ply(path, {"vertex": (XYZ, SQUARE), "face": (of_faces, faces)}, form, ("TextureFile one.png",)))
    assert note.texture_note == "some of its faces have no texture (texnumber); split it by materials"


def test_what_another_element_has_of_the_same_name_is_told(tmp_path: Path) -> None:
    rgb = [("uchar", name) for name in ("red", "green", "blue")]
    normal = [("float", name) for name in ("nx", "ny", "nz")]
    elements = {
        "vertex": ([*XYZ, *rgb], [(*xyz, 255, 0, 0) for xyz in SQUARE]),
        "face": ([*CORNERS, *rgb, *normal], [([0, 1, 2, 3], 0, 0, 255, 0, 0, 1)]),
    }
    data = read_mesh(ply(tmp_path / "a.ply", elements))
    assert data.notes == ("red, green, blue, nx, ny, nz of its element 'face' are not read",)


def test_colours_that_a_picture_is_shown_without_are_told(tmp_path: Path) -> None:
    Image.new("RGB", (4, 2), (0, 0, 255)).save(tmp_path / "one.png")
    columns = [*XYZ, *(("uchar", name) for name in ("red", "green", "blue")), ("float", "s"), ("float", "t")]
    for red, notes in ((255, ()), (254, (OMITTED_COLORS,))):
        rows = [(*xyz, red, 255, 255, 0, 0) for xyz in SQUARE]
        elements = {"vertex": (columns, rows), "face": (CORNERS, [([0, 1, 2, 3],)])}
        data = read_mesh(ply(tmp_path / "a.ply", elements, comments=("TextureFile one.png",)))
        assert data.texture is not None and data.notes == notes


def test_a_byte_order_mark_before_the_header(tmp_path: Path) -> None:
    path = ply(tmp_path / "a.ply", {"vertex": (XYZ, SQUARE), "face": (CORNERS, [([0, 1, 2, 3],)])})
    path.write_bytes(BOM_UTF8 + path.read_bytes())
    assert areas(read_mesh(path)).sum() == 2


@pytest.mark.parametrize(("u", "v"), [("texture_u", "texture_v"), ("u", "v"), ("texture_s", "texture_t")])
def test_models_of_a_pose_benchmark(tmp_path: Path, u: str, v: str) -> None:
    # BOP: in millimetres, a picture named in the header.
    Image.new("RGB", (4, 4), (0, 255, 0)).save(tmp_path / "obj_000001.png")
    names = [*XYZ, *(("float", n) for n in ("nx", "ny", "nz", u, v))]
    rows = [(*xyz, 0, 0, 1, 0.25, 0.75) for xyz in SQUARE]
    elements = {"vertex": (names, rows), "face": (CORNERS, [([0, 1, 2],), ([0, 2, 3],)])}
    data = read_mesh(ply(tmp_path / "obj_000001.ply", elements, "ascii", ("TextureFile obj_000001.png",)))
    assert data.texture is not None and data.texture.texels[1, 1].tolist() == [0, 1, 0]
    assert data.mesh.uvs is not None and set(map(tuple, data.mesh.uvs.tolist())) == {(0.25, 0.25)}
    (tmp_path / "obj_000001.png").unlink()
    missing = read_mesh(tmp_path / "obj_000001.ply")
    assert missing.texture is None and "its texture obj_000001.png does not exist" in str(missing.texture_note)


@pytest.mark.parametrize("form", FORMATS)
def test_triangle_strips(tmp_path: Path, form: str) -> None:
    vertices = [(x, y, 0) for x in range(4) for y in (0, 1)]
    strips = [([1, 0, 3, 2, 5, 4, -1, 5, 4, 7, 6],)]
    data = read_mesh(
        ply(
            tmp_path / "a.ply",
            {"vertex": (XYZ, vertices), "tristrips": ([("int", "int", "vertex_indices")], strips)},
            form,
        )
    )
    assert areas(data).tolist() == [0.5] * 6


@pytest.mark.parametrize(
    ("kind", "names", "values", "wanted"),
    [
        ("uchar", ("red", "green", "blue"), (255, 51, 0), (1, 0.2, 0)),
        ("uchar", ("diffuse_red", "diffuse_green", "diffuse_blue"), (255, 51, 0), (1, 0.2, 0)),
        ("ushort", ("red", "green", "blue"), (65535, 13107, 0), (1, 0.2, 0)),
        ("int", ("r", "g", "b"), (255, 51, 0), (1, 0.2, 0)),
        ("float", ("red", "green", "blue"), (1, 0.25, 0), (1, 0.25, 0)),
        ("double", ("r", "g", "b"), (255, 51, 0), (1, 0.2, 0)),
        ("float", ("red", "green", "blue"), (127.5, 51, 0), (0.5, 0.2, 0)),
        ("ushort", ("red", "green", "blue"), (255, 51, 0), (1, 0.2, 0)),
    ],
)
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("owner", ["vertex", "face"])
def test_colors_of_every_type(
    tmp_path: Path, owner: str, form: str, kind: str, names: tuple, values: tuple, wanted: tuple
) -> None:
    more = [(kind, name) for name in names]
    vertices, faces = list(SQUARE[:3]), [([0, 1, 2],)]
    elements = {
        "vertex": ([*XYZ, *more], [(*row, *values) for row in vertices]) if owner == "vertex" else (XYZ, vertices),
        "face": ([*CORNERS, *more], [(*row, *values) for row in faces]) if owner == "face" else (CORNERS, faces),
    }
    data = read_mesh(ply(tmp_path / "a.ply", elements, form))
    assert data.vertex_colors is not None and data.notes == ()
    torch.testing.assert_close(data.vertex_colors, srgb(*wanted).expand(3, 3))


def test_fractions_above_1_are_clamped_and_do_not_darken_the_others(tmp_path: Path) -> None:
    more = [("float", name) for name in ("red", "green", "blue")]
    colors = [(1.0001, 0.5, 0.25), (0.5, 0.5, 0.5), (3.5, -0.5, 1.0)]
    rows = [(*row, *color) for row, color in zip(SQUARE[:3], colors, strict=True)]
    data = read_mesh(
        ply(tmp_path / "a.ply", {"vertex": ([*XYZ, *more], rows), "face": (CORNERS, [([0, 1, 2],)])}, "ascii")
    )
    expected = torch.cat([srgb(1, 0.5, 0.25), srgb(0.5, 0.5, 0.5), srgb(1, 0, 1)]).reshape(3, 3)
    torch.testing.assert_close(data.vertex_colors, expected)
    assert data.notes == ("at 2 of its 3 places colours are outside 0..1 and are clamped",)


def test_a_picture_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(b"\x89PNG")
    rows = [(*row, 0.0, 0.0) for row in SQUARE[:3]]
    elements = {"vertex": ([*XYZ, ("float", "s"), ("float", "t")], rows), "face": (CORNERS, [([0, 1, 2],)])}
    file = ply(tmp_path / "a.ply", elements, "ascii")
    file.write_bytes(file.read_bytes().replace(b"element vertex", b"comment TextureFile cut.png\nelement vertex", 1))
    data = read_mesh(file)
    assert data.texture is None and str(data.texture_note).startswith("its texture is omitted: ")


@pytest.mark.parametrize("size", ["uchar", "ushort", "uint", "int"])
@pytest.mark.parametrize("index", ["char", "uchar", "short", "ushort", "int", "uint"])
@pytest.mark.parametrize("form", FORMATS)
def test_lists_of_every_type_after_double_positions_and_normals(
    tmp_path: Path, form: str, size: str, index: str
) -> None:
    # Open3D: doubles, and indices without a sign.
    names = [*(("double", n) for n in ("x", "y", "z", "nx", "ny", "nz")), *(("uchar", n) for n in ("red", "green"))]
    rows = [(*xyz, 0, 0.6, 0.8, 255, 51, 0) for xyz in SQUARE]
    elements = {
        "vertex": ([*names, ("uchar", "blue")], rows),
        "face": ([(size, index, "vertex_indices")], [([0, 1, 2],), ([0, 2, 3],)]),
    }
    data = read_mesh(ply(tmp_path / "a.ply", elements, form, ("Created by Open3D",)))
    assert areas(data).tolist() == [1, 1] and data.notes == ()
    torch.testing.assert_close(data.mesh.normals, torch.tensor([[0, 0.6, 0.8]]).expand(4, 3), check_dtype=False)
    assert data.vertex_colors is not None
    torch.testing.assert_close(data.vertex_colors, srgb(1, 0.2, 0).expand(4, 3))


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_doubles_are_kept(tmp_path: Path, encoding: str) -> None:
    moved = trimesh.creation.icosphere(subdivisions=1)
    moved.apply_translation([500000, 4649776, 30])
    names = [("double", name) for name in "xyz"]
    rows, faces = [tuple(row) for row in moved.vertices], [(row.tolist(),) for row in moved.faces]
    form = "ascii" if encoding == "ascii" else "binary_little_endian"
    if encoding == "ascii":
        text = "\n".join(" ".join(map(repr, map(float, row))) for row in rows)
        path = ply(tmp_path / "a.ply", {"vertex": (names, []), "face": (CORNERS, faces)}, form)
        path.write_text(path.read_text().replace("vertex 0", f"vertex {len(rows)}").replace("der\n", f"der\n{text}\n"))
    else:
        path = ply(tmp_path / "a.ply", {"vertex": (names, rows), "face": (CORNERS, faces)}, form)
    found = read_mesh(path, origin=(500000, 4649776, 30)).mesh
    assert found.n_vertices == 42
    torch.testing.assert_close(found.vertices.norm(dim=1), torch.ones(42), atol=1e-6, rtol=0)


HEADER = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
FACE = "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
ROWS = "0 0 0\n1 0 0\n0 1 0\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER, "its header has no line end_header"),
        (HEADER.replace("float y", "floaty y") + FACE, "line 5: 'property floaty y' is not valid"),
        (HEADER.replace("3", "-3") + FACE, "line 3: 'element vertex -3' is not valid"),
        (HEADER.replace("format ascii 1.0\n", "") + FACE, "no line 'format ascii 1.0'"),
        (HEADER.replace("float z", "float y") + FACE, "line 6: 'property float y' is not valid"),
        (HEADER.replace("float z", "float w") + FACE + ROWS + "3 0 1 2", "no element .vertex. with x, y and z"),
        (HEADER + FACE + "0 0 0\n1 0 0\n", "ends in row 3 of 3 of its element 'vertex'; the file is cut off"),
        (HEADER + FACE + ROWS, "ends in row 1 of 1 of its element 'face'"),
        (HEADER + FACE + ROWS + "3 0 1\n", "line 13: has 3 numbers, too few for a row of its element 'face'"),
        (HEADER + FACE + ROWS + "3 0 1 2 5\n", "line 13: has 5 numbers, but a row of its element 'face' has 4"),
        (HEADER + FACE + "0 0\n1 0 0\n0 1 0\n3 0 1 2", "line 10: has 2 numbers, too few"),
        (HEADER + FACE + "0 0 x\n1 0 0\n0 1 0\n3 0 1 2", "line 10: 'x' is not a number"),
        (HEADER + FACE + ROWS + "3 0 1 2.5", "vertex_indices of its element 'face' is 2.5"),
        (HEADER + FACE.replace("vertex_indices", "vertices") + ROWS + "3 0 1 2", "no list vertex_indices"),
        (HEADER + FACE + ROWS + "inf 0 1 2", "line 13: has 4 numbers, too few"),
        (HEADER + FACE + ROWS + "2.5 0 1 2", "line 13: has 4 numbers, too few"),
        (HEADER + FACE.replace("uchar", "float") + ROWS + "3 0 1 2", "line 8: .* is not valid"),
        (HEADER + FACE.replace("face", "faces") + ROWS + "3 0 1 2", "no element 'face' with rows, but faces"),
        (HEADER.replace("vertex", "vertices") + FACE + ROWS + "3 0 1 2", "its elements: vertices, face"),
        (
            HEADER
            + FACE.replace("end_header", "property uchar r\nproperty uchar g\nproperty uchar b\nend_header")
            + ROWS
            + "2 0 1 9 9 9",
            "has no triangles",
        ),
        (HEADER + "property float f_dc_0\nend_header\n0 0 0 1\n1 0 0 1\n0 1 0 1\n", "3 Gaussian splats"),
    ],
)
def test_damaged_ply_is_told_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.ply").write_text(text)
    with pytest.raises(DataError, match=message):
        read_mesh(tmp_path / "a.ply")


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("form", FORMATS)
def test_every_cut_is_found(tmp_path: Path, form: str, mixed: bool) -> None:
    faces = [([0, 1, 2],), ([0, 1, 2, 3],) if mixed else ([0, 2, 3],)]
    whole = ply(tmp_path / "a.ply", {"vertex": (XYZ, SQUARE), "face": (CORNERS, faces)}, form).read_bytes().rstrip()
    for end in range(3, len(whole) - (form == "ascii")):
        (tmp_path / "cut.ply").write_bytes(whole[:end])
        with pytest.raises(DataError):
            read_mesh(tmp_path / "cut.ply")
    (tmp_path / "cut.ply").write_bytes(whole + b"\n")
    assert read_mesh(tmp_path / "cut.ply").mesh.n_faces == 2 + mixed


def test_what_follows_the_mesh_and_thin_faces_are_told(tmp_path: Path) -> None:
    faces = [([0, 1, 2],), ([0, 1],)]
    path = ply(tmp_path / "a.ply", {"vertex": (XYZ, SQUARE), "face": (CORNERS, faces)}, "binary_little_endian")
    path.write_bytes(path.read_bytes() + b"abcd")
    assert read_mesh(path).notes == (
        "its 1 faces with fewer than three corners are skipped",
        "4 bytes after its last element are not read",
    )


def test_signalling_nans_are_refused_as_others_are(tmp_path: Path) -> None:
    elements = {"vertex": (XYZ, SQUARE), "face": (CORNERS, [([0, 1, 2],)])}
    path = ply(tmp_path / "a.ply", elements, "binary_little_endian")
    path.write_bytes(path.read_bytes().replace(struct.pack("<3f", *SQUARE[1]), b"\x01\x00\x80\x7f" * 3, 1))
    with pytest.raises(DataError, match=r" is \[nan, nan, nan\] \(1 such in all\); it must be three finite numbers"):
        read_mesh(path)


def test_negative_sizes_and_comments_that_look_like_the_end(tmp_path: Path) -> None:
    signed = [("char", "int", "vertex_indices")]
    faces = [([0, 1, 2],), ([0, 1, 2, 3],)]
    elements = {"vertex": (XYZ, SQUARE), "face": (signed, faces)}
    path = ply(tmp_path / "a.ply", elements, "binary_little_endian", ("not end_header yet",))
    assert read_mesh(path).mesh.n_faces == 3
    content = path.read_bytes()
    path.write_bytes(content[: -4 * 4 - 1] + b"\xff" + content[-4 * 4 :] + bytes(2000))
    with pytest.raises(DataError, match="row 1 of its element 'face' has a list of -1 numbers"):
        read_mesh(path)
