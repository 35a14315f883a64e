"""The container of glTF 2.0: a JSON document and the numbers and pictures that it refers to.

Source: glTF 2.0 specification, sections 3.6 (Binary Data Storage) and 4 (GLB File Format Specification).
"""

from __future__ import annotations

import base64
import io
import json
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from PIL import Image

from diffrender.errors import DataError

DTYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
SIZES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
HEADER = 12


@dataclass(frozen=True)
class GltfDocument:
    """A .glb or .gltf file. path: for messages and for the files that it names. json: its document."""

    path: Path
    json: dict[str, Any]
    binary: bytes

    def entries(self, name: str) -> list[dict[str, Any]]:
        """A top-level array, empty where there is none."""
        return self.json.get(name, [])

    def array(self, index: int) -> np.ndarray:
        """[count, size] the values of an accessor; normalised integers as float64. Raises DataError where damaged."""
        accessor = self._entry("accessors", index)
        dtype, size = np.dtype(DTYPES[accessor["componentType"]]), SIZES[accessor["type"]]
        count = accessor["count"]
        if "sparse" in accessor or "bufferView" not in accessor:
            raise DataError(f"{self.path}: accessor {index} is sparse, which is not supported; export it without")
        view = self._entry("bufferViews", accessor["bufferView"])
        data = self._buffers[view["buffer"]]
        start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
        stride = view.get("byteStride", dtype.itemsize * size)
        if count and start + (count - 1) * stride + dtype.itemsize * size > len(data):
            raise DataError(f"{self.path}: accessor {index} reaches beyond the end of its buffer; the file is cut off")
        shape, strides = (count, size), (stride, dtype.itemsize)
        values = np.ndarray(shape, dtype, data, start, strides)
        if not accessor.get("normalized", False):
            return np.array(values)
        return np.maximum(values.astype(np.float64) / np.iinfo(dtype).max, -1.0)

    def picture(self, texture_index: int) -> Image.Image:
        """The picture of a texture. Raises DataError where it cannot be read."""
        texture = self._entry("textures", texture_index)
        if "source" not in texture:
            raise DataError(f"{self.path}: texture {texture_index} has no PNG or JPEG; export it with one")
        image = self._entry("images", texture["source"])
        try:
            if "bufferView" in image:
                view = self._entry("bufferViews", image["bufferView"])
                start = view.get("byteOffset", 0)
                data = self._buffers[view["buffer"]][start : start + view["byteLength"]]
            else:
                data = self._resource(image["uri"])
            picture = Image.open(io.BytesIO(data))
            picture.load()
        except (OSError, KeyError, ValueError) as error:
            raise DataError(f"{self.path}: image {texture['source']} cannot be read ({error})") from error
        return picture

    def sampler(self, texture_index: int) -> dict[str, Any]:
        """The sampler of a texture, empty where it has none."""
        texture = self._entry("textures", texture_index)
        return self._entry("samplers", texture["sampler"]) if "sampler" in texture else {}

    @cached_property
    def _buffers(self) -> list[bytes]:
        return [
            self._resource(buffer["uri"]) if "uri" in buffer else self.binary for buffer in self.json.get("buffers", [])
        ]

    def _entry(self, name: str, index: int) -> dict[str, Any]:
        entries = self.entries(name)
        if not 0 <= index < len(entries):
            raise DataError(f"{self.path}: {name} has no entry {index}, only {len(entries)}; export it again")
        return entries[index]

    def _resource(self, uri: str) -> bytes:
        if uri.startswith("data:"):
            return base64.b64decode(uri.partition(",")[2])
        file = self.path.parent / unquote(uri)
        try:
            return file.read_bytes()
        except OSError as error:
            raise DataError(f"{self.path}: its file {file} cannot be read; put it there") from error


def read_document(path: Path) -> GltfDocument:
    """The glTF file at `path`. Raises DataError where it is missing or damaged."""
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    chunks = {b"JSON": content}
    if content.startswith(b"glTF"):
        chunks, start = {}, HEADER
        while start + 8 <= len(content):
            length, kind = struct.unpack_from("<I4s", content, start)
            chunks[kind] = content[start + 8 : start + 8 + length]
            if len(chunks[kind]) < length:
                raise DataError(f"{path}: is cut off after {len(content)} bytes; export it again")
            start += 8 + length
    try:
        document = json.loads(chunks[b"JSON"])
    except (ValueError, KeyError) as error:
        raise DataError(f"{path}: its glTF header is not valid JSON ({error}); export it again") from None
    if not isinstance(document, dict):
        raise DataError(f"{path}: its glTF header is a {type(document).__name__}, wanted an object; export it again")
    return GltfDocument(path, document, chunks.get(b"BIN\0", b""))
