"""A small, strict GLB parser that shares no code with the writer."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SIZES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
TYPES = {5126: "<f4", 5125: "<u4"}


@dataclass(frozen=True)
class Glb:
    document: dict[str, Any]
    binary: bytes

    def array(self, accessor_index: int) -> np.ndarray:
        accessor = self.document["accessors"][accessor_index]
        view = self.document["bufferViews"][accessor["bufferView"]]
        count = accessor["count"] * SIZES[accessor["type"]]
        values = np.frombuffer(self.binary, TYPES[accessor["componentType"]], count, view["byteOffset"])
        assert values.nbytes == view["byteLength"]
        return values.reshape(accessor["count"], -1)

    def node(self, name: str) -> dict[str, Any]:
        (found,) = [node for node in self.document["nodes"] if node["name"] == name]
        return found

    def primitive(self, name: str) -> dict[str, Any]:
        (primitive,) = self.document["meshes"][self.node(name)["mesh"]]["primitives"]
        return primitive

    def attribute(self, name: str, semantic: str) -> np.ndarray:
        return self.array(self.primitive(name)["attributes"][semantic])

    def material(self, name: str) -> dict[str, Any]:
        return self.document["materials"][self.primitive(name)["material"]]

    def matrix(self, name: str) -> np.ndarray:
        """Return world_from_node [4, 4], from translation, rotation (xyzw) and scale."""
        node = self.node(name)
        x, y, z, w = node.get("rotation", [0, 0, 0, 1])
        rotation = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )
        matrix = np.eye(4)
        matrix[:3, :3] = rotation * np.array(node.get("scale", [1, 1, 1]))
        matrix[:3, 3] = node.get("translation", [0, 0, 0])
        return matrix


def parse_glb(path: Path) -> Glb:
    """Return the file's document and binary chunk, after checking everything that a loader relies on."""
    data = path.read_bytes()
    magic, version, length = struct.unpack("<4sII", data[:12])
    assert (magic, version, length) == (b"glTF", 2, len(data))
    chunks = {}
    start = 12
    while start < len(data):
        size, kind = struct.unpack("<I4s", data[start : start + 8])
        assert size % 4 == 0
        chunks[kind] = data[start + 8 : start + 8 + size]
        start += 8 + size
    assert start == len(data)
    assert list(chunks) == [b"JSON", b"BIN\0"]
    glb = Glb(json.loads(chunks[b"JSON"]), chunks[b"BIN\0"])
    _check_structure(glb)
    return glb


def _check_structure(glb: Glb) -> None:
    document = glb.document
    assert document["asset"]["version"] == "2.0"
    assert len(glb.binary) - document["buffers"][0]["byteLength"] in range(4)
    end = 0
    for view in document["bufferViews"]:
        assert view["byteOffset"] % 4 == 0
        assert end <= view["byteOffset"] < end + 4
        end = view["byteOffset"] + view["byteLength"]
    assert end <= document["buffers"][0]["byteLength"]
    used = set(document["scenes"][document["scene"]]["nodes"])
    assert used == set(range(len(document["nodes"])))
    for mesh in document["meshes"]:
        for primitive in mesh["primitives"]:
            _check_primitive(glb, primitive)
    written = json.dumps(document)
    for name in ("KHR_materials_unlit", "KHR_lights_punctual"):
        assert (f'"{name}": {{' in written) == (name in document.get("extensionsUsed", []))


def _check_primitive(glb: Glb, primitive: dict[str, Any]) -> None:
    positions = glb.array(primitive["attributes"]["POSITION"])
    accessor = glb.document["accessors"][primitive["attributes"]["POSITION"]]
    assert np.float32(accessor["min"]).tolist() == positions.min(0).tolist()
    assert np.float32(accessor["max"]).tolist() == positions.max(0).tolist()
    for index in primitive["attributes"].values():
        assert len(glb.array(index)) == len(positions)
        assert np.isfinite(glb.array(index)).all()
    lengths = np.linalg.norm(glb.array(primitive["attributes"]["NORMAL"]), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-5)
    indices = glb.array(primitive["indices"])[:, 0]
    assert len(indices) % 3 == 0 and len(indices) > 0
    assert set(indices.tolist()) == set(range(len(positions)))
