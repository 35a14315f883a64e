"""Mesh files of a scene file: each opened once, and those of several materials turned into several objects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diffrender.config.options.meshes import FileMesh
from diffrender.config.options.objects import ObjectOptions
from diffrender.errors import ConfigError
from diffrender.readers.clean_mesh import clean_mesh
from diffrender.readers.mesh_data import MeshData
from diffrender.readers.mesh_file import MeshFile
from diffrender.readers.meshes.read_mesh import open_mesh, read_part
from diffrender.setup.region import Vector


class MeshFiles:
    """The mesh files that have been opened while a scene is built."""

    def __init__(self) -> None:
        self._opened: dict[str, MeshFile] = {}
        self._read: dict[tuple[str, str, str | None, Vector], MeshData] = {}

    def split(self, options: ObjectOptions, prefix: str) -> list[ObjectOptions]:
        """Return an object for each part of the mesh file of `options`, named prefix + part; else only `options`."""
        mesh = options.mesh
        if not isinstance(mesh, FileMesh) or mesh.part is not None or mesh.split == "none":
            return [options]
        names = list(self._open(mesh.file).parts(mesh.split))
        if len(names) < 2:
            return [options]
        return [
            options.model_copy(update={"name": prefix + name, "mesh": mesh.model_copy(update={"part": name})})
            for name in names
        ]

    def read(self, options: FileMesh, origin: Vector, where: str) -> MeshData:
        """Read the mesh that `options` describe, relative to `origin`, with float32 vertices.

        Raises ConfigError if the file has no such part, DataError if it cannot be used.
        """
        key = (options.file, options.split, options.part, origin)
        if key not in self._read:
            self._read[key] = self._read_now(options, origin, where)
        return self._read[key]

    def check_subdivision(self, several: Sequence[FileMesh], origin: Vector, where: str) -> None:
        """Raise ConfigError if Loop's scheme would open gaps: it rounds borders, which some of these parts share."""
        subdivide = several[0].subdivide
        if subdivide is None or not subdivide.times or subdivide.scheme != "loop":
            return
        positions = [np.unique(self.read(part, origin, where).mesh.vertices.numpy(), axis=0) for part in several]
        stacked = np.concatenate(positions)
        if len(np.unique(stacked, axis=0)) < len(stacked):
            raise ConfigError(
                f"{where}.subdivide: {several[0].file} became {len(several)} objects, one per material, that share"
                f" borders, and loop would open gaps there; set {{times: {subdivide.times}, scheme: midpoint}}, or"
                " split: none"
            )

    def _read_now(self, options: FileMesh, origin: Vector, where: str) -> MeshData:
        file = self._open(options.file)
        if options.part is None or options.split == "none":
            return clean_mesh(file.path, file.read_all(), origin)
        parts = file.parts(options.split)
        if options.part not in parts:
            raise ConfigError(
                f"{where}.part: {options.file} has no part {options.part!r} by {options.split}; it has:"
                f" {', '.join(parts)}"
            )
        return read_part(file, parts[options.part], origin)

    def _open(self, path: str) -> MeshFile:
        if path not in self._opened:
            self._opened[path] = open_mesh(Path(path))
        return self._opened[path]
