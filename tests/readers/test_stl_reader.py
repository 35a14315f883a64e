"""STL, ASCII and binary, as modellers and scanners write it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from diffrender.errors import DataError
from diffrender.imaging.color import linear_from_srgb
from diffrender.readers.meshes.read_mesh import read_mesh

TRIANGLES = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[5, 0, 0], [6, 0, 0], [5, 1, 0]]], dtype=np.float32)


def stl(path: Path, corners: np.ndarray, attributes: np.ndarray, header: bytes = b"") -> Path:
    rows = b"".join(
        struct.pack("<12fH", 0, 0, 0, *triangle.reshape(-1), attribute)
        for triangle, attribute in zip(corners, attributes, strict=True)
    )
    path.write_bytes(header.ljust(80) + struct.pack("<I", len(corners)) + rows)
    return path


def test_colors_of_stl_facets(tmp_path: Path) -> None:
    red_low, blue_low = 31 | 15 << 5, 31 << 10 | 15 << 5
    orange = linear_from_srgb(torch.tensor([1, 15 / 31, 0]))
    magics = read_mesh(stl(tmp_path / "a.stl", TRIANGLES, np.array([red_low, 0x8000]), b"COLOR=\x00\x00\xff\xff"))
    assert magics.vertex_colors is not None
    torch.testing.assert_close(magics.vertex_colors[:3], orange.expand(3, 3))
    torch.testing.assert_close(magics.vertex_colors[3:], torch.tensor([0.0, 0, 1]).expand(3, 3))
    viscam = read_mesh(stl(tmp_path / "b.stl", TRIANGLES, np.array([blue_low | 0x8000, 7])))
    assert viscam.vertex_colors is not None
    torch.testing.assert_close(viscam.vertex_colors, torch.cat([orange.expand(3, 3), torch.ones(3, 3)]))
    assert read_mesh(stl(tmp_path / "c.stl", TRIANGLES, np.array([0, 0]))).vertex_colors is None


def test_binary_stl_may_start_like_a_text(tmp_path: Path) -> None:
    path = stl(tmp_path / "a.stl", TRIANGLES, np.zeros(2, int), b"solid made by CAD")
    assert read_mesh(path).mesh.n_faces == 2
    path = stl(tmp_path / "b.stl", TRIANGLES, np.zeros(2, int))
    path.write_bytes(path.read_bytes() + b"more")
    assert read_mesh(path).notes == ("4 bytes after its last triangle are not read",)


def test_solids_of_one_text_are_joined(tmp_path: Path) -> None:
    ball, box = trimesh.creation.icosphere(subdivisions=1), trimesh.creation.box()
    box.apply_translation([3, 0, 0])
    text = "\n".join(trimesh.exchange.stl.export_stl_ascii(each) for each in (ball, box))
    (tmp_path / "a.stl").write_text(text.replace("facet", "FACET").replace("vertex", "  Vertex"))
    mesh = read_mesh(tmp_path / "a.stl").mesh
    assert (mesh.n_vertices, mesh.n_faces) == (42 + 8, 80 + 12) and mesh.topology.is_closed


@pytest.mark.parametrize("ascii", [True, False])
def test_every_cut_of_stl_is_found(tmp_path: Path, ascii: bool) -> None:
    box = trimesh.creation.box()
    export = trimesh.exchange.stl.export_stl_ascii(box).encode() if ascii else trimesh.exchange.stl.export_stl(box)
    for end in range(0, len(export.rstrip()) - 3 * ascii, 7):
        (tmp_path / "a.stl").write_bytes(export[:end])
        with pytest.raises(DataError, match=r"cut off|not an STL|no triangles|is empty"):
            read_mesh(tmp_path / "a.stl")


@pytest.mark.parametrize("count", [0, 2**32 - 1])
def test_a_wrong_count_of_stl_is_told_and_the_length_of_the_file_counts(tmp_path: Path, count: int) -> None:
    path = stl(tmp_path / "a.stl", TRIANGLES, np.zeros(2, int), b"solid by CAD")
    content = path.read_bytes()
    path.write_bytes(content[:80] + struct.pack("<I", count) + content[84:])
    data = read_mesh(path)
    assert data.mesh.n_faces == 2
    assert data.notes == (f"its header states {count} triangles, but its length is that of 2, which are read",)


def test_what_follows_the_last_triangle_of_a_binary_stl_is_told_and_not_read(tmp_path: Path) -> None:
    path = stl(tmp_path / "a.stl", TRIANGLES, np.zeros(2, int), b"\xef\xbb\xbf of a CAD")
    path.write_bytes(path.read_bytes() + b"2 facets" + bytes(92))  # as long as two more
    data = read_mesh(path)
    assert data.mesh.n_faces == 2 and data.notes == ("100 bytes after its last triangle are not read",)


@pytest.mark.parametrize(("count", "n_bytes"), [(3, 184), (0, 183), (2**32 - 1, 185), (0, 84)])
def test_counts_of_stl_that_no_length_explains_are_refused(tmp_path: Path, count: int, n_bytes: int) -> None:
    content = stl(tmp_path / "a.stl", TRIANGLES, np.zeros(2, int)).read_bytes() + b"more"
    (tmp_path / "a.stl").write_bytes(content[:80] + struct.pack("<I", count) + content[84:n_bytes])
    with pytest.raises(DataError, match=rf"holds . triangles and .* its header states {count} |has no triangles"):
        read_mesh(tmp_path / "a.stl")


def test_a_byte_order_mark_before_a_text_stl(tmp_path: Path) -> None:
    text = trimesh.exchange.stl.export_stl_ascii(trimesh.creation.box())
    (tmp_path / "a.stl").write_text(text, encoding="utf-8-sig")
    assert read_mesh(tmp_path / "a.stl").mesh.n_faces == 12


def test_stl_that_starts_like_a_text_with_more_bytes_and_magics_without_colors(tmp_path: Path) -> None:
    path = stl(tmp_path / "a.stl", TRIANGLES, np.zeros(2, int), b"solid made by CAD")
    path.write_bytes(path.read_bytes() + b"12")
    assert read_mesh(path).notes == ("2 bytes after its last triangle are not read",)
    plain = read_mesh(stl(tmp_path / "b.stl", TRIANGLES, np.array([0, 0]), b"COLOR=\xff\x00\x00\xff"))
    assert plain.vertex_colors is not None and plain.vertex_colors[0].tolist() == [1, 0, 0]


def test_signalling_nans_are_refused_as_others_are(tmp_path: Path) -> None:
    path = stl(tmp_path / "a.stl", TRIANGLES, np.zeros(2, int))
    path.write_bytes(path.read_bytes().replace(struct.pack("<3f", *TRIANGLES[0, 1]), b"\x01\x00\x80\x7f" * 3, 1))
    with pytest.raises(DataError, match=r" is \[nan, nan, nan\] \(1 such in all\); it must be three finite numbers"):
        read_mesh(path)
