"""Files that were never fetched are told as what they are, whatever they should have been."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffrender.errors import DataError
from diffrender.readers.captures.transforms_json import read_transforms
from diffrender.readers.images.image import read_image
from diffrender.readers.images.masks import read_mask
from diffrender.readers.meshes.read_mesh import MESH_READERS, read_mesh

CASES = {
    b"": r"is empty \(0 bytes\)",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n": "is a pointer of Git LFS .*pull`",
    b"\n<!DOCTYPE html>\n<html><title>404</title></html>": "is a web page in place of the file",
    b"<HTML><body>not found</body></HTML>": "is a web page in place of the file",
}
READERS = {
    **{f"a{suffix}": read_mesh for suffix in MESH_READERS},
    **{f"a.{suffix}": read_image for suffix in ("png", "jpg", "exr", "hdr", "tif")},
    "mask.png": read_mask,
    "transforms.json": read_transforms,
}
every_content = pytest.mark.parametrize(("content", "told"), CASES.items(), ids=("empty", "lfs", "page", "capitals"))


@every_content
@pytest.mark.parametrize("name", READERS)
def test_files_that_were_never_fetched(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    read: Callable[[Path], Any] = READERS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}: {told}"):
        read(tmp_path / name)


@every_content
def test_files_beside_a_mesh_that_were_never_fetched(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "wood.png").write_bytes(content)
    (tmp_path / "a.mtl").write_text("newmtl wood\nmap_Kd wood.png\n")
    (tmp_path / "a.obj").write_text("mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nusemtl wood\nf 1/1 2/1 3/1\n")
    assert re.search(told, read_mesh(tmp_path / "a.obj").texture_note or "")
    (tmp_path / "a.bin").write_bytes(content)
    mesh = {"primitives": [{"attributes": {"POSITION": 0}}]}
    accessor = {"bufferView": 0, "componentType": 5126, "type": "VEC3", "count": 3}
    document = {
        "asset": {"version": "2.0"}, "nodes": [{"mesh": 0}], "scenes": [{"nodes": [0]}], "meshes": [mesh],
        "accessors": [accessor], "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "buffers": [{"uri": "a.bin", "byteLength": 36}],
    }  # fmt: skip
    (tmp_path / "a.gltf").write_text(json.dumps(document))
    with pytest.raises(DataError, match=rf"a.bin, to which it refers, {told}"):
        read_mesh(tmp_path / "a.gltf")
