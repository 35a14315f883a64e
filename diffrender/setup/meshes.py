"""Build the initial mesh of an object from the options of `mesh:`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel
from torch import Tensor
from torch.nn.functional import normalize

from diffrender.config.options.meshes import (
    AnyMesh,
    BoxMesh,
    BumpyMesh,
    EllipsoidMesh,
    FileMesh,
    SphereMesh,
    StereoMesh,
    SubdivideOptions,
    TorusMesh,
    VisualHullMesh,
)
from diffrender.errors import ConfigError, DataError, MeshError
from diffrender.geometry.index_corner_values import build_corner_table
from diffrender.geometry.primitives import Triangles, box, bumpy_sphere, bumpy_sphere_colors, icosphere, torus
from diffrender.geometry.subdivide import Subdivided, subdivide_loop, subdivide_midpoint
from diffrender.readers.mesh_data import MeshData
from diffrender.scene.mesh import Mesh as SceneMesh
from diffrender.setup.hull import build_hull
from diffrender.setup.mesh_files import MeshFiles
from diffrender.setup.region import INSIDE, InitRegion, Vector, region_of_box, to_triple

ORIGIN = (0.0, 0.0, 0.0)
# Limit for subdivided meshes: a fit's gradients and moments then take half a gigabyte.
MOST_FACES = 5_000_000
SCHEMES = {"loop": subdivide_loop, "midpoint": subdivide_midpoint}
NO_NORMALS = "its normals are omitted, since loop makes another surface; midpoint keeps them"


class ObjectPose(NamedTuple):
    """An object's pose [4, 4] and scale []."""

    pose: Tensor
    scale: Tensor


def build_mesh(
    options: AnyMesh, place: InitRegion, frame: ObjectPose | None, where: str, files: MeshFiles
) -> tuple[AnyMesh, MeshData]:
    """Return `options` with defaults filled in, and the mesh that they describe.

    frame: of an object with an explicit pose; its mesh is then centred on its own origin by default.
    where: the key of the scene file, for messages.
    Raises ConfigError if options do not fit together or a file, DataError if a file or the masks cannot be used.
    """
    options, data = _build(options, place, frame, where, files)
    data = _subdivide(data, options, f"{where}.subdivide")
    if isinstance(options, FileMesh) and options.part and options.subdivide and options.subdivide.scheme == "loop":
        vertices = data.mesh.vertices.clone()
        vertices[data.mesh.faces] = files.loop_corners(options, place.origin if frame is None else ORIGIN, where)
        data = replace(data, mesh=replace(data.mesh, vertices=vertices))
    return options, data


def _build(
    options: AnyMesh, place: InitRegion, frame: ObjectPose | None, where: str, files: MeshFiles
) -> tuple[AnyMesh, MeshData]:
    if isinstance(options, FileMesh):
        data = files.read(options, place.origin if frame is None else ORIGIN, where)
        return options, replace(data, mesh=data.mesh.in_float32())
    if isinstance(options, StereoMesh | VisualHullMesh):
        if isinstance(options, VisualHullMesh):
            options, triangles = build_hull(options, place, where)
        else:
            triangles = _surface(place, where)
        vertices = triangles.vertices
        if frame is not None:
            vertices = (vertices - frame.pose[:3, 3]) @ frame.pose[:3, :3] / frame.scale
        return options, MeshData(SceneMesh(vertices, triangles.faces), None, None)
    fill = FILLERS.get(type(options))
    if fill is not None:
        filled = fill(options, place, frame is None)
        # The middle of a mesh with a pose is its own origin, wherever that is.
        own = {"center": options.center} if frame is not None and hasattr(options, "center") else {}
        if options.aabb is None and filled.model_copy(update=own) != options:
            place.require_sight(where)
        options = filled
    triangles, colors = PRIMITIVES[type(options)](options)
    return options, MeshData(SceneMesh(triangles.vertices, triangles.faces), colors, None)


def _surface(place: InitRegion, where: str) -> Triangles:
    """Return the surface that the targets show. Raises ConfigError if they have not been searched for one."""
    if place.surface is None:
        raise ConfigError(f"{where}: {{init: stereo}} is for photographs, and for the one object of a scene")
    return place.surface


def _subdivide(data: MeshData, options: AnyMesh, where: str) -> MeshData:
    """Subdivide the mesh as `options` ask for, with its colours, texture coordinates and, by midpoint, normals."""
    subdivision: SubdivideOptions | None = getattr(options, "subdivide", None)
    if subdivision is None:
        return data
    n_faces = data.mesh.n_faces * 4**subdivision.times
    if n_faces > MOST_FACES:
        raise ConfigError(
            f"{where}: {data.mesh.n_faces:,} triangles would become {n_faces:,}, but the limit is {MOST_FACES:,};"
            " subdivide fewer times"
        )
    if data.mesh.normals is not None and subdivision.scheme == "loop":
        mesh = replace(data.mesh, normals=None, normal_faces=None)
        data = replace(data, mesh=mesh, notes=(*data.notes, NO_NORMALS))
    try:
        for _ in range(subdivision.times):
            data = _subdivide_once(data, SCHEMES[subdivision.scheme])
    except MeshError as error:
        message = (
            f"{where}: {error}; or set {{times: {subdivision.times}, scheme: midpoint}}, which takes any triangles"
        )
        raise DataError(message) from error
    return data


def _subdivide_once(data: MeshData, subdivide: Callable[..., Subdivided]) -> MeshData:
    mesh = data.mesh
    none = mesh.vertices.new_zeros(mesh.n_faces, 3, 0)
    uvs = none if mesh.uvs is None or mesh.uv_faces is None else mesh.uvs[mesh.uv_faces]
    normals = none if mesh.normals is None or mesh.normal_faces is None else mesh.normals[mesh.normal_faces]
    widths = uvs.shape[2], normals.shape[2]
    finer = subdivide(mesh.vertices, mesh.faces, data.vertex_colors, torch.cat([uvs, normals], 2))
    assert finer.corner_attributes is not None
    uvs, normals = finer.corner_attributes.split(widths, 2)
    by_uv = build_corner_table(finer.faces, uvs) if widths[0] else None
    by_normal = build_corner_table(finer.faces, normalize(normals, dim=2)) if widths[1] else None
    mesh = SceneMesh(finer.vertices, finer.faces, *(by_uv or (None, None)), *reversed(by_normal or (None, None)))
    return replace(data, mesh=mesh, vertex_colors=None if data.vertex_colors is None else finer.attributes)


def _fill_sphere(options: SphereMesh, place: InitRegion, in_world: bool) -> SphereMesh:
    region = place.region if options.aabb is None else region_of_box(*torch.tensor(options.aabb))
    if options.aabb is None and not in_world:
        region = region._replace(center=ORIGIN)
    center = region.center if options.center is None else options.center
    radius = region.radius if options.radius is None else options.radius
    return options.model_copy(update={"aabb": None, "center": center, "radius": radius})


def _fill_ellipsoid(options: EllipsoidMesh, place: InitRegion, in_world: bool) -> EllipsoidMesh:
    aabb = options.aabb or place.box
    if aabb is None:
        middle, radii = place.region.center, (place.region.radius,) * 3
    else:
        low, high = torch.tensor(aabb)
        middle, radii = to_triple((low + high) / 2), to_triple(INSIDE * (high - low) / 2)
    if options.aabb is None and not in_world:
        middle = ORIGIN
    center = middle if options.center is None else options.center
    return options.model_copy(update={"aabb": None, "center": center, "radii": options.radii or radii})


def _fill_box(options: BoxMesh, place: InitRegion, in_world: bool) -> BoxMesh:
    if options.aabb is None:
        return options
    low, high = torch.tensor(options.aabb)
    return options.model_copy(
        update={"aabb": None, "center": to_triple((low + high) / 2), "size": to_triple(high - low)}
    )


FILLERS: Mapping[type[BaseModel], Callable[[Any, InitRegion, bool], Any]] = {
    SphereMesh: _fill_sphere,
    EllipsoidMesh: _fill_ellipsoid,
    BoxMesh: _fill_box,
}


def _build_sphere(options: SphereMesh) -> tuple[Triangles, None]:
    return _translate(icosphere(options.subdivisions, options.radius or 1.0), options.center), None


def _build_ellipsoid(options: EllipsoidMesh) -> tuple[Triangles, None]:
    unit = icosphere(options.subdivisions)
    scaled = Triangles(unit.vertices * torch.tensor(options.radii or (1.0,) * 3), unit.faces)
    return _translate(scaled, options.center), None


def _translate(triangles: Triangles, center: Vector | None) -> Triangles:
    return Triangles(triangles.vertices + torch.tensor(center or ORIGIN), triangles.faces)


def _build_bumpy(options: BumpyMesh) -> tuple[Triangles, Tensor]:
    triangles = bumpy_sphere(options.subdivisions, options.radius)
    return triangles, bumpy_sphere_colors(triangles.vertices)


PRIMITIVES: Mapping[type[BaseModel], Callable[[Any], tuple[Triangles, Tensor | None]]] = {
    SphereMesh: _build_sphere,
    EllipsoidMesh: _build_ellipsoid,
    BumpyMesh: _build_bumpy,
    BoxMesh: lambda options: (_translate(box(options.size), options.center), None),
    TorusMesh: lambda options: (torus(options.radius, options.tube, *options.segments), None),
}
