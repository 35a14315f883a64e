"""Mesh files of a scene file: each opened once, and those of several materials turned into several objects."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from diffrender.config.options.meshes import FileMesh
from diffrender.config.options.objects import ObjectOptions
from diffrender.errors import ConfigError, DataError, MeshError
from diffrender.geometry.subdivide import subdivide_loop
from diffrender.geometry.topology import first_equal_row
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
        self._smooth: dict[tuple[str, str, int, Vector], dict[str, Tensor]] = {}

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

    def loop_corners(self, options: FileMesh, origin: Vector, where: str) -> Tensor:
        """Return the positions [F, 3, 3] of the corners of a part that is subdivided by Loop's scheme.

        All parts are subdivided as one mesh, so that borders between them stay closed, and smooth.
        Raises DataError if they are not a manifold together.
        """
        assert options.part is not None and options.split != "none" and options.subdivide is not None
        times = options.subdivide.times
        key = (options.file, options.split, times, origin)
        if key not in self._smooth:
            names = list(self._open(options.file).parts(options.split))
            meshes = [self.read(options.model_copy(update={"part": name}), origin, where).mesh for name in names]
            vertices = torch.cat([mesh.vertices.float() for mesh in meshes])
            starts = [sum(mesh.n_vertices for mesh in meshes[:i]) for i in range(len(meshes))]
            faces = torch.cat([mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)])
            faces = first_equal_row(vertices)[faces]
            try:
                for _ in range(times):
                    vertices, faces, *_ = subdivide_loop(vertices, faces)
            except MeshError as error:
                raise DataError(
                    f"{where}.subdivide: the {len(names)} parts of {options.file} together: {error}; or set {{times:"
                    f" {times}, scheme: midpoint}}, which takes any triangles"
                ) from error
            corners = vertices[faces].split([4**times * mesh.n_faces for mesh in meshes])
            self._smooth[key] = dict(zip(names, corners, strict=True))
        return self._smooth[key][options.part]

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
