"""glTF files built by hand, with features that the specification allows and our writer does not use."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from diffrender.readers.gltf.mesh import NO_NORMALS
from diffrender.readers.mesh_data import MeshData

COMPONENT_TYPES = {"int8": 5120, "int16": 5122, "uint8": 5121, "uint16": 5123, "uint32": 5125, "float32": 5126}
ELEMENT_TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


class GltfBuilder:
    """Builds a glTF document step by step; `document` may be edited freely before it is written."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {"asset": {"version": "2.0"}, "bufferViews": [], "accessors": [], "meshes": []}
        self.buffer = bytearray()

    def add(self, name: str, entry: dict[str, Any]) -> int:
        self.document.setdefault(name, []).append(entry)
        return len(self.document[name]) - 1

    def view(self, data: bytes, **entry: Any) -> int:
        self.buffer += bytes(-len(self.buffer) % 4)
        start = len(self.buffer)
        self.buffer += data
        return self.add("bufferViews", {"buffer": 0, "byteOffset": start, "byteLength": len(data)} | entry)

    def accessor(self, values: np.ndarray, **entry: Any) -> int:
        """Add an accessor of `values`. entry: its other properties; a bufferView of None omits that property."""
        values = values if values.ndim == 2 else values[:, None]
        plain = {
            "bufferView": None if "bufferView" in entry else self.view(values.tobytes()),
            "componentType": COMPONENT_TYPES[str(values.dtype)],
            "count": len(values),
            "type": ELEMENT_TYPES[values.shape[1]],
        }
        return self.add("accessors", {key: value for key, value in (plain | entry).items() if value is not None})

    def texture(self, png: bytes) -> int:
        image = self.add("images", {"bufferView": self.view(png), "mimeType": "image/png"})
        return self.add("textures", {"source": image})

    def primitive(self, positions: np.ndarray | int, indices: np.ndarray | None, **entry: Any) -> dict[str, Any]:
        """Return a primitive. entry: attributes (in capitals) as arrays or accessors, and other glTF properties."""
        attributes = {"POSITION": positions} | {key: entry.pop(key) for key in [*entry] if key.isupper()}
        stored = {key: value if isinstance(value, int) else self.accessor(value) for key, value in attributes.items()}
        faces = {} if indices is None else {"indices": self.accessor(indices.reshape(-1))}
        return {"attributes": stored} | faces | entry

    def node(self, *primitives: dict[str, Any], **entry: Any) -> int:
        mesh = {"mesh": self.add("meshes", {"primitives": list(primitives)})} if primitives else {}
        return self.add("nodes", mesh | entry)

    def write(self, path: Path, separate: bool = False) -> Path:
        """Write a .glb, or a .gltf with the buffer embedded or in a separate file, whose name contains a space."""
        length = {"byteLength": len(self.buffer)}
        if path.suffix == ".gltf":
            uri = "data:application/octet-stream;base64," + base64.b64encode(self.buffer).decode()
            if separate:
                uri = "the%20buffer.bin"
                (path.parent / "the buffer.bin").write_bytes(self.buffer)
            path.write_text(json.dumps(self.document | {"buffers": [length | {"uri": uri}]}))
            return path
        text = json.dumps(self.document | {"buffers": [length]}).encode()
        chunks = b""
        for kind, data in ((b"JSON", text + b" " * (-len(text) % 4)), (b"BIN\0", self.buffer)):
            padded = data + bytes(-len(data) % 4)
            chunks += struct.pack("<I4s", len(padded), kind) + padded
        path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
        return path


def told(data: MeshData) -> tuple[str, ...]:
    """Return all notes but the one on normals, which most of these files lack."""
    return tuple(note for note in data.all_notes if note != NO_NORMALS)
