"""From the options of `mesh:` to the triangles that an object starts with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel
from torch import Tensor

from diffrender.config.region import INSIDE, Place, Vector, region_of_box, triple
from diffrender.config.schema import (
    BoxMesh,
    BumpyMesh,
    EllipsoidMesh,
    FileMesh,
    Mesh,
    SphereMesh,
    TorusMesh,
    VisualHullMesh,
)
from diffrender.config.start_hull import build_hull
from diffrender.geometry.primitives import Triangles, box, bumpy_sphere, bumpy_sphere_colors, icosphere, torus
from diffrender.readers.mesh_data import MeshData
from diffrender.readers.meshes import read_mesh
from diffrender.scene.mesh import Mesh as SceneMesh

ORIGIN = (0.0, 0.0, 0.0)


class Frame(NamedTuple):
    """Where an object stands: its pose [4, 4] and its scale []."""

    pose: Tensor
    scale: Tensor


def build_mesh(options: Mesh, place: Place, frame: Frame | None, where: str) -> tuple[Mesh, MeshData]:
    """The mesh of `options`, and the options with all that was left out filled in.

    frame: of an object with a pose, which says where it is: its mesh is then about its own origin.
    where: the key of the scene file, for messages.
    """
    if isinstance(options, FileMesh):
        return options, read_mesh(options.file)
    if isinstance(options, VisualHullMesh):
        options, triangles = build_hull(options, place, where)
        vertices = triangles.vertices
        if frame is not None:
            vertices = (vertices - frame.pose[:3, 3]) @ frame.pose[:3, :3] / frame.scale
        return options, MeshData(SceneMesh(vertices, triangles.faces), None, None)
    fill = FILLED.get(type(options))
    if fill is not None:
        options = fill(options, place, frame is None)
    triangles, colors = PRIMITIVES[type(options)](options)
    return options, MeshData(SceneMesh(triangles.vertices, triangles.faces), colors, None)


def _filled_sphere(options: SphereMesh, place: Place, at_place: bool) -> SphereMesh:
    region = place.region if options.aabb is None else region_of_box(*torch.tensor(options.aabb))
    if options.aabb is None and not at_place:
        region = region._replace(center=ORIGIN)
    center = region.center if options.center is None else options.center
    radius = region.radius if options.radius is None else options.radius
    return options.model_copy(update={"aabb": None, "center": center, "radius": radius})


def _filled_ellipsoid(options: EllipsoidMesh, place: Place, at_place: bool) -> EllipsoidMesh:
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


def _filled_box(options: BoxMesh, place: Place, at_place: bool) -> BoxMesh:
    if options.aabb is None:
        return options
    low, high = torch.tensor(options.aabb)
    return options.model_copy(update={"aabb": None, "center": triple((low + high) / 2), "size": triple(high - low)})


FILLED: Mapping[type[BaseModel], Callable[[Any, Place, bool], Any]] = {
    SphereMesh: _filled_sphere,
    EllipsoidMesh: _filled_ellipsoid,
    BoxMesh: _filled_box,
}


def _sphere(options: SphereMesh) -> tuple[Triangles, None]:
    return _moved(icosphere(options.subdivisions, options.radius or 1.0), options.center), None


def _ellipsoid(options: EllipsoidMesh) -> tuple[Triangles, None]:
    unit = icosphere(options.subdivisions)
    scaled = Triangles(unit.vertices * torch.tensor(options.radii or (1.0,) * 3), unit.faces)
    return _moved(scaled, options.center), None


def _moved(triangles: Triangles, center: Vector | None) -> Triangles:
    return Triangles(triangles.vertices + torch.tensor(center or ORIGIN), triangles.faces)


def _bumpy(options: BumpyMesh) -> tuple[Triangles, Tensor]:
    triangles = bumpy_sphere(options.subdivisions, options.radius)
    return triangles, bumpy_sphere_colors(triangles.vertices)


PRIMITIVES: Mapping[type[BaseModel], Callable[[Any], tuple[Triangles, Tensor | None]]] = {
    SphereMesh: _sphere,
    EllipsoidMesh: _ellipsoid,
    BumpyMesh: _bumpy,
    BoxMesh: lambda options: (_moved(box(options.size), options.center), None),
    TorusMesh: lambda options: (torus(options.radius, options.tube, *options.segments), None),
}
