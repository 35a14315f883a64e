"""From the options of `mesh:` to the triangles that an object starts with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel
from torch import Tensor

from diffrender.config.options.meshes import (
    AnyMesh,
    BoxMesh,
    BumpyMesh,
    EllipsoidMesh,
    FileMesh,
    SphereMesh,
    TorusMesh,
    VisualHullMesh,
)
from diffrender.errors import ConfigError, DataError, MeshError
from diffrender.geometry.corner_table import corner_table
from diffrender.geometry.primitives import Triangles, box, bumpy_sphere, bumpy_sphere_colors, icosphere, torus
from diffrender.geometry.subdivide import subdivide_loop, subdivide_midpoint
from diffrender.readers.meshes.mesh_data import MeshData
from diffrender.readers.meshes.read_mesh import read_mesh
from diffrender.scene.mesh import Mesh as SceneMesh
from diffrender.setup.hull import build_hull
from diffrender.setup.region import INSIDE, InitRegion, Vector, region_of_box, triple

ORIGIN = (0.0, 0.0, 0.0)
# As many as a subdivided mesh may have: half a gigabyte for a fit's gradients and moments.
MOST_FACES = 5_000_000
SCHEMES = {"loop": subdivide_loop, "midpoint": subdivide_midpoint}


class ObjectPose(NamedTuple):
    """Where an object stands: its pose [4, 4] and its scale []."""

    pose: Tensor
    scale: Tensor


def build_mesh(options: AnyMesh, place: InitRegion, frame: ObjectPose | None, where: str) -> tuple[AnyMesh, MeshData]:
    """The mesh of `options`, and the options with all that was left out filled in.

    frame: of an object with a pose, which says where it is: its mesh is then about its own origin.
    where: the key of the scene file, for messages.
    Raises ConfigError where options do not suit each other or a file, DataError for a file or masks of no use.
    """
    options, data = _build(options, place, frame, where)
    return options, _subdivide(data, options, f"{where}.subdivide")


def _build(options: AnyMesh, place: InitRegion, frame: ObjectPose | None, where: str) -> tuple[AnyMesh, MeshData]:
    if isinstance(options, FileMesh):
        return options, read_mesh(options.file)
    if isinstance(options, VisualHullMesh):
        options, triangles = build_hull(options, place, where)
        vertices = triangles.vertices
        if frame is not None:
            vertices = (vertices - frame.pose[:3, 3]) @ frame.pose[:3, :3] / frame.scale
        return options, MeshData(SceneMesh(vertices, triangles.faces), None, None)
    fill = FILLERS.get(type(options))
    if fill is not None:
        options = fill(options, place, frame is None)
    triangles, colors = PRIMITIVES[type(options)](options)
    return options, MeshData(SceneMesh(triangles.vertices, triangles.faces), colors, None)


def _subdivide(data: MeshData, options: AnyMesh, where: str) -> MeshData:
    """The mesh in finer triangles, where the options say so; colours and texture coordinates go along."""
    wanted = options.subdivide if isinstance(options, FileMesh | BoxMesh | TorusMesh | VisualHullMesh) else None
    if wanted is None:
        return data
    n_faces = data.mesh.n_faces * 4**wanted.times
    if n_faces > MOST_FACES:
        raise ConfigError(
            f"{where}: {data.mesh.n_faces:,} triangles would become {n_faces:,}, more than {MOST_FACES:,}; subdivide"
            " fewer times"
        )
    subdivide = SCHEMES[wanted.scheme]
    for _ in range(wanted.times):
        mesh = data.mesh
        uvs = None if mesh.uvs is None or mesh.uv_faces is None else mesh.uvs[mesh.uv_faces]
        try:
            finer = subdivide(mesh.vertices, mesh.faces, data.vertex_colors, uvs)
        except MeshError as error:
            message = (
                f"{where}: {error}; or write {{times: {wanted.times}, scheme: midpoint}}, which takes any triangles"
            )
            raise DataError(message) from error
        table = None if finer.corner_attributes is None else corner_table(finer.faces, finer.corner_attributes)
        mesh = SceneMesh(finer.vertices, finer.faces, *(table or (None, None)))
        data = replace(data, mesh=mesh, vertex_colors=None if data.vertex_colors is None else finer.attributes)
    return data


def _fill_sphere(options: SphereMesh, place: InitRegion, at_place: bool) -> SphereMesh:
    region = place.region if options.aabb is None else region_of_box(*torch.tensor(options.aabb))
    if options.aabb is None and not at_place:
        region = region._replace(center=ORIGIN)
    center = region.center if options.center is None else options.center
    radius = region.radius if options.radius is None else options.radius
    return options.model_copy(update={"aabb": None, "center": center, "radius": radius})


def _fill_ellipsoid(options: EllipsoidMesh, place: InitRegion, at_place: bool) -> EllipsoidMesh:
    aabb = options.aabb or place.box
    if aabb is None:
        middle, radii = place.region.center, (place.region.radius,) * 3
    else:
        low, high = torch.tensor(aabb)
        middle, radii = triple((low + high) / 2), triple(INSIDE * (high - low) / 2)
    if options.aabb is None and not at_place:
        middle = ORIGIN
    center = middle if options.center is None else options.center
    return options.model_copy(update={"aabb": None, "center": center, "radii": options.radii or radii})


def _fill_box(options: BoxMesh, place: InitRegion, at_place: bool) -> BoxMesh:
    if options.aabb is None:
        return options
    low, high = torch.tensor(options.aabb)
    return options.model_copy(update={"aabb": None, "center": triple((low + high) / 2), "size": triple(high - low)})


FILLERS: Mapping[type[BaseModel], Callable[[Any, InitRegion, bool], Any]] = {
    SphereMesh: _fill_sphere,
    EllipsoidMesh: _fill_ellipsoid,
    BoxMesh: _fill_box,
}


def _sphere(options: SphereMesh) -> tuple[Triangles, None]:
    return _translate(icosphere(options.subdivisions, options.radius or 1.0), options.center), None


def _ellipsoid(options: EllipsoidMesh) -> tuple[Triangles, None]:
    unit = icosphere(options.subdivisions)
    scaled = Triangles(unit.vertices * torch.tensor(options.radii or (1.0,) * 3), unit.faces)
    return _translate(scaled, options.center), None


def _translate(triangles: Triangles, center: Vector | None) -> Triangles:
    return Triangles(triangles.vertices + torch.tensor(center or ORIGIN), triangles.faces)


def _bumpy(options: BumpyMesh) -> tuple[Triangles, Tensor]:
    triangles = bumpy_sphere(options.subdivisions, options.radius)
    return triangles, bumpy_sphere_colors(triangles.vertices)


PRIMITIVES: Mapping[type[BaseModel], Callable[[Any], tuple[Triangles, Tensor | None]]] = {
    SphereMesh: _sphere,
    EllipsoidMesh: _ellipsoid,
    BumpyMesh: _bumpy,
    BoxMesh: lambda options: (_translate(box(options.size), options.center), None),
    TorusMesh: lambda options: (torus(options.radius, options.tube, *options.segments), None),
}
