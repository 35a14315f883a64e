"""The container of a GLB: one JSON document and one binary buffer.

Source: glTF 2.0 specification, section 4 (GLB File Format Specification) and 3.6 (Binary Data Storage).
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from diffrender.writers.atomic import encode_text, write_bytes

Json: TypeAlias = dict[str, object]

MAGIC, VERSION, CHUNK_JSON, CHUNK_BIN = 0x46546C67, 2, 0x4E4F534A, 0x004E4942
COMPONENT_TYPES = {np.dtype(np.float32): 5126, np.dtype(np.uint32): 5125}
ELEMENT_TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
TARGET_VERTICES, TARGET_INDICES = 34962, 34963


@dataclass
class GltfFile:
    """A glTF document under construction.

    lists: the top-level arrays by their glTF names ("nodes", "meshes", ...); empty ones are not written.
    extensions: document-level extension objects by name. extensions_used: names.
    """

    lists: dict[str, list[Json]] = field(default_factory=dict)
    extensions: Json = field(default_factory=dict)
    extensions_used: set[str] = field(default_factory=set)
    _buffer: bytearray = field(default_factory=bytearray)

    def add(self, list_name: str, entry: Json) -> int:
        """Append `entry` to a top-level array; return its index, by which glTF refers to it."""
        entries = self.lists.setdefault(list_name, [])
        entries.append(entry)
        return len(entries) - 1

    def add_bytes(self, data: bytes, target: int | None = None) -> int:
        """Store `data` in a new buffer view, aligned to 4 bytes; return the view's index."""
        view: Json = {"buffer": 0, "byteOffset": len(self._buffer), "byteLength": len(data)}
        if target is not None:
            view["target"] = target
        self._buffer += data + bytes(-len(data) % 4)
        return self.add("bufferViews", view)

    def add_vertex_attribute(self, values: np.ndarray, with_bounds: bool = False) -> int:
        """Store float32 [P, 2..4]; return the accessor's index. with_bounds: glTF needs min and max of positions."""
        bounds = {"min": values.min(0).tolist(), "max": values.max(0).tolist()} if with_bounds else {}
        return self._add_accessor(values, TARGET_VERTICES, ELEMENT_TYPES[values.shape[1]], bounds)

    def add_indices(self, faces: np.ndarray) -> int:
        """Store uint32 [F, 3] as one list of indices; return the accessor's index."""
        return self._add_accessor(faces.reshape(-1), TARGET_INDICES, "SCALAR", {})

    def _add_accessor(self, values: np.ndarray, target: int, element_type: str, bounds: Json) -> int:
        little_endian = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
        view = self.add_bytes(little_endian.tobytes(), target)
        component_type = COMPONENT_TYPES[values.dtype]
        accessor: Json = {"bufferView": view, "componentType": component_type, "count": len(values)}
        return self.add("accessors", accessor | {"type": element_type} | bounds)

    def write(self, path: Path, asset: Json, scene: int) -> None:
        """Write the GLB. Raises DataError if the file cannot be written."""
        document: Json = {"asset": asset, "scene": scene}
        if self.extensions_used:
            document["extensionsUsed"] = sorted(self.extensions_used)
        if self.extensions:
            document["extensions"] = self.extensions
        document |= {name: entries for name, entries in self.lists.items() if entries}
        document["buffers"] = [{"byteLength": len(self._buffer)}]
        text = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        chunks = _chunk(CHUNK_JSON, encode_text(text), b" ") + _chunk(CHUNK_BIN, bytes(self._buffer), b"\0")
        write_bytes(path, struct.pack("<III", MAGIC, VERSION, 12 + len(chunks)) + chunks)


def _chunk(kind: int, data: bytes, padding: bytes) -> bytes:
    data += padding * (-len(data) % 4)
    return struct.pack("<II", len(data), kind) + data
