"""The container of glTF 2.0: a JSON document, and the arrays and images it refers to.

Source: glTF 2.0 specification, sections 3.6 (Binary Data Storage) and 4 (GLB File Format Specification), and the
extension EXT_texture_webp.
"""

from __future__ import annotations

import base64
import io
import json
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import numpy as np
from PIL import Image

from diffrender.errors import DataError
from diffrender.readers.images.image import decode_picture, to_8_bits
from diffrender.readers.stand_ins import HEAD, stand_in

DTYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
SIZES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
HEADER = 12
# Elements of an accessor without data; more are a damaged count.
MOST_ZEROS = 10_000_000
WEBP = "EXT_texture_webp"
# A file that does not require one holds the same uncompressed.
DRACO = "KHR_draco_mesh_compression"
COMPRESSIONS = (DRACO, "EXT_meshopt_compression", "KHR_meshopt_compression")


# A file that requires another one must not be read without it; those that are only used have a fallback.
UNDERSTOOD = (
    "KHR_lights_punctual",
    "KHR_materials_emissive_strength",
    "KHR_materials_pbrSpecularGlossiness",
    "KHR_materials_specular",
    "KHR_materials_unlit",
    "KHR_mesh_quantization",
    "KHR_node_visibility",
    "KHR_texture_transform",
    "EXT_mesh_gpu_instancing",
    WEBP,
)


@dataclass(frozen=True)
class GltfDocument:
    """A .glb or .gltf file.

    path: for messages, and to find the files it names. json: the document. binary: the GLB's own buffer, if any.
    """

    path: Path
    json: dict[str, Any]
    binary: bytes

    def entries(self, name: str) -> list[dict[str, Any]]:
        """Return a top-level array; empty if the document has none."""
        return self.json.get(name, [])

    def entry(self, name: str, index: int) -> dict[str, Any]:
        """Return an entry of a top-level array. Raises DataError if there is none."""
        entries = self.entries(name)
        if not 0 <= index < len(entries):
            has = f"only {len(entries)} (counted from 0)"
            raise DataError(f"{self.path}: {name} has no entry {index}, {has}; export the file again")
        return entries[index]

    def array(self, index: int) -> np.ndarray:
        """Return the values of an accessor, [count, size]; normalized integers as float64.

        Raises DataError if the accessor reaches beyond its buffer.
        """
        accessor = self.entry("accessors", index)
        dtype, size = np.dtype(DTYPES[accessor["componentType"]]), SIZES[accessor["type"]]
        values = self._elements(accessor, dtype, size, accessor["count"])
        if "sparse" in accessor:
            sparse = accessor["sparse"]
            index_type = np.dtype(DTYPES[sparse["indices"]["componentType"]])
            rows = self._elements(sparse["indices"], index_type, 1, sparse["count"])[:, 0]
            values[rows] = self._elements(sparse["values"], dtype, size, sparse["count"])
        if not accessor.get("normalized", False) or dtype.kind == "f":
            return values
        return np.maximum(values.astype(np.float64) / np.iinfo(dtype).max, -1.0)

    @cached_property
    def extensions(self) -> set[str]:
        """The names of extensions that it declares or, without that, uses anywhere."""
        return extensions_of(self.json)

    def material(self, primitive: Mapping[str, Any]) -> dict[str, Any]:
        """Return the material of a primitive; empty, which is glTF's default, if it has none."""
        return self.entry("materials", primitive["material"]) if "material" in primitive else {}

    def image_index(self, texture_index: int) -> int:
        """Return the index of a texture's image. Raises DataError if it has none that can be read."""
        texture = self.entry("textures", texture_index)
        source = texture.get("extensions", {}).get(WEBP, texture).get("source", texture.get("source"))
        if source is None:
            raise DataError(
                f"{self.path}: texture {texture_index} has no PNG, JPEG or WebP image; export it with one of these"
            )
        return source

    def image(self, index: int) -> Image.Image:
        """Decode an image. Raises DataError if it cannot be read."""
        image = self.entry("images", index)
        if "bufferView" in image:
            view = self.entry("bufferViews", image["bufferView"])
            start = view.get("byteOffset", 0)
            data = self._buffers[view["buffer"]][start : start + view["byteLength"]]
        else:
            data = self._resource(image["uri"])
        return to_8_bits(decode_picture(io.BytesIO(data), f"{self.path}: image {index}"))

    def sampler(self, texture_index: int) -> dict[str, Any]:
        """Return the sampler of a texture; empty if it has none."""
        texture = self.entry("textures", texture_index)
        return self.entry("samplers", texture["sampler"]) if "sampler" in texture else {}

    @cached_property
    def _buffers(self) -> list[bytes]:
        buffers = self.json.get("buffers", [])
        return [
            self._resource(buffer["uri"]) if "uri" in buffer else b"" if number else self.binary
            for number, buffer in enumerate(buffers)
        ]

    def _elements(self, reference: Mapping[str, Any], dtype: np.dtype, size: int, count: int) -> np.ndarray:
        """Return a copy [count, size] of the data of (a part of) an accessor; zeros if it has no buffer view."""
        if "bufferView" not in reference:
            if count > MOST_ZEROS:
                raise DataError(f"{self.path}: an accessor of {count} elements has no data; export the file again")
            return np.zeros((count, size), dtype)
        view = self.entry("bufferViews", reference["bufferView"])
        data = self._buffers[view["buffer"]]
        if not data:
            raise DataError(
                f"{self.path}: buffer {view['buffer']} has no data, as of compressed files; export it uncompressed"
            )
        start = view.get("byteOffset", 0) + reference.get("byteOffset", 0)
        stride = view.get("byteStride", dtype.itemsize * size)
        if stride < dtype.itemsize * size:
            raise ValueError(f"a byteStride of {stride} is less than an element's {dtype.itemsize * size} bytes")
        if count and start + (count - 1) * stride + dtype.itemsize * size > len(data):
            raise DataError(f"{self.path}: an accessor reaches beyond the end of its buffer; the file is cut off")
        return np.array(np.ndarray((count, size), dtype, data, start, (stride, dtype.itemsize)))

    def _resource(self, uri: str) -> bytes:
        if uri.startswith("data:"):
            header, _, data = uri.partition(",")
            return base64.b64decode(unquote(data)) if header.endswith(";base64") else unquote_to_bytes(data)
        # Some programs do not encode names, or separate folders as Windows does.
        names = (unquote(uri), uri, unquote(uri).replace("\\", "/"))
        file = next((each for name in names if os.path.isfile(each := self.path.parent / name)), None)
        file = file or self.path.parent / names[0]
        try:
            content = file.read_bytes()
        except OSError as error:
            raise DataError(
                f"{self.path}: the file {file}, to which it refers, cannot be read; put it there"
            ) from error
        if instead := stand_in(content[:HEAD]):
            raise DataError(f"{self.path}: the file {file}, to which it refers, {instead}")
        return content


def read_document(path: Path) -> GltfDocument:
    """Read a .glb or .gltf file. Raises DataError if it is missing, damaged, compressed or of glTF 1.0."""
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    chunks = {b"JSON": content}
    if content.startswith(b"glTF"):
        if len(content) < HEADER + 8:
            raise DataError(f"{path}: is cut off after {len(content)} bytes; export it again")
        version, end = struct.unpack_from("<II", content, 4)
        if version != 2:
            raise _other_version(path, version)
        chunks, start = {}, HEADER
        while start + 8 <= len(content) and start < end:
            length, kind = struct.unpack_from("<I4s", content, start)
            data = content[start + 8 : start + 8 + length]
            if len(data) < length:
                raise DataError(f"{path}: is cut off after {len(content)} bytes; export it again")
            chunks.setdefault(kind, data)
            start += 8 + length
    try:
        document = json.loads(chunks[b"JSON"])
    except (ValueError, KeyError, RecursionError) as error:
        raise DataError(f"{path}: its glTF header is not valid JSON ({error}); export it again") from None
    if not isinstance(document, dict):
        raise DataError(f"{path}: its glTF header must be an object, got a {type(document).__name__}; export it again")
    with valid_gltf(path):
        _check_readable(path, document)
    return GltfDocument(path, document, chunks.get(b"BIN\0", b""))


@contextmanager
def valid_gltf(path: Path) -> Iterator[None]:
    """Turn the errors that a document with missing or wrong entries leads to into a DataError that names `path`.

    What overflows is refused where it is used.
    """
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{path}: is not valid glTF ({type(error).__name__}: {error}); export it again") from error


def _check_readable(path: Path, document: Mapping[str, Any]) -> None:
    version = document.get("asset", {}).get("version", "2.0")
    if str(version).startswith("1."):
        raise _other_version(path, version)
    required = document.get("extensionsRequired", [])
    for name in COMPRESSIONS:
        if name in required or (name == DRACO and _lacks_plain_data(document)):
            raise DataError(f"{path}: is compressed with {name}, which is not supported; export it without compression")
    unknown = sorted(set(required) - set(UNDERSTOOD))
    if unknown:
        raise DataError(f"{path}: needs {', '.join(unknown)}, which is not supported; export it without")


def _other_version(path: Path, version: Any) -> DataError:
    return DataError(f"{path}: is glTF {version}, but only glTF 2 is supported; export it as that")


def _lacks_plain_data(document: Mapping[str, Any]) -> bool:
    """Return whether accessors of a primitive that Draco compresses are placeholders."""
    compressed = [
        primitive
        for mesh in document.get("meshes", [])
        for primitive in mesh["primitives"]
        if DRACO in primitive.get("extensions", {})
    ]
    indices = [index for each in compressed for index in (*each["attributes"].values(), each.get("indices"))]
    accessors = document.get("accessors", [])
    return any(index is not None and not {"bufferView", "sparse"} & set(accessors[index]) for index in indices)


def extensions_of(document: Mapping[str, Any]) -> set[str]:
    """Return the names of the extensions that a document declares, or uses in any of its entries all the same."""
    found = {*document.get("extensionsUsed", []), *document.get("extensionsRequired", [])}
    waiting: list[Any] = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            extensions = value.get("extensions")
            found |= set(extensions) if isinstance(extensions, dict) else set()
            waiting += [each for key, each in value.items() if key != "extras"]
        elif isinstance(value, list):
            waiting += [each for each in value if isinstance(each, (dict, list))]
    return found
