"""What a mesh starts as: a file, or a shape made here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from diffrender.config.options.base import Finding, Form, OneOf, Strict, option
from diffrender.config.options.fields import Box, File, Pair, PositiveFloat, PositiveInt, Sizes, Vector


class SubdivideOptions(Strict, shorthands={float: "times"}):
    """Four triangles for each one, N times."""

    times: int = Field(ge=0, le=6, description="each makes four triangles of one")
    scheme: Literal["loop", "midpoint"] = option(
        "loop", "loop: towards a smooth surface; midpoint: on the same surface"
    )


Subdivide: TypeAlias = Annotated[
    SubdivideOptions | None, Field(description="finer triangles: a number of times, or {times: 1, scheme: midpoint}")
]
Subdivisions: TypeAlias = Annotated[
    int, Field(ge=0, le=8, description="each makes four triangles of one: 4 gives 5,120 triangles")
]
Aabb: TypeAlias = Annotated[Box | None, Field(description="its box or region, instead of that of the targets")]
Center: TypeAlias = Annotated[
    Vector | None,
    Field(description="if omitted: the middle of the targets' region, or [0, 0, 0] if there is a pose"),
]


class ShapeOptions(Strict):
    """Base of shapes that a box can give the size of."""

    def rules(self) -> Iterator[Finding]:
        """Yield sizes that `aabb` replaces."""
        if getattr(self, "aabb", None) is not None:
            for key in ("radius", "radii", "size", "center"):
                if key in self.model_fields_set and getattr(self, key) is not None:
                    yield Finding((key,), f"`{key}` beside `aabb`, which already says it", ("remove one of them",))


class FileMesh(Strict, shorthands={str: "file"}):
    """A mesh from a file: .obj, .ply, .glb, .gltf or .stl."""

    file: Annotated[File, Form("a mesh file")] = Field(description="the mesh file")
    subdivide: Subdivide = None


class SphereMesh(ShapeOptions):
    """A sphere of equal triangles."""

    init: Literal["sphere"] = "sphere"
    subdivisions: Subdivisions = 4
    radius: PositiveFloat | None = option(None, "if omitted: inside the targets' region")
    center: Center = None
    aabb: Aabb = None


class EllipsoidMesh(ShapeOptions):
    """A sphere stretched along x, y and z."""

    init: Literal["ellipsoid"] = "ellipsoid"
    subdivisions: Subdivisions = 4
    radii: Sizes | None = option(None, "along x, y and z; if omitted: inside the targets' aabb, or region")
    center: Center = None
    aabb: Aabb = None


class VisualHullMesh(Strict):
    """What the masks of all fitted views have room for: closed, smooth, of even triangles."""

    init: Literal["visual_hull"] = "visual_hull"
    resolution: int | None = option(
        None, "cells along the longest side of its box; if omitted: from the images", ge=8, le=256
    )
    components: Literal["largest", "all"] = option(
        "largest", "connected parts that are kept: the one of the largest volume, or all"
    )
    tolerance: int = option(0, "number of views that may see background at a point inside the hull", ge=0)
    aabb: Aabb = None
    subdivide: Subdivide = None


class BoxMesh(ShapeOptions):
    """A box."""

    init: Literal["box"] = "box"
    size: Sizes = option((1.0, 1.0, 1.0), "edge lengths")
    center: Vector = option((0.0, 0.0, 0.0), "its middle")
    aabb: Box | None = option(None, "its corners, instead of `size` and `center`")
    subdivide: Subdivide = None


class BumpyMesh(Strict):
    """A smooth closed shape with lobes and colours of its own."""

    init: Literal["bumpy"] = "bumpy"
    subdivisions: Subdivisions = 4
    radius: PositiveFloat = option(1.0, "about its mean radius")


class TorusMesh(Strict):
    """A ring about the y axis."""

    init: Literal["torus"] = "torus"
    radius: PositiveFloat = option(0.7, "of the ring")
    tube: PositiveFloat = option(0.3, "radius of the tube")
    segments: Pair[PositiveInt] = option((48, 24), "around ring and tube")
    subdivide: Subdivide = None

    def rules(self) -> Iterator[Finding]:
        """Yield the tube, if it fills the ring."""
        if self.tube >= self.radius:
            key = "tube" if "tube" in self.model_fields_set else "radius"
            message = f"the tube of radius {self.tube:g} leaves no hole in a ring of radius {self.radius:g}"
            yield Finding((key,), message, ("make `tube` smaller than `radius`",))


AnyMesh: TypeAlias = Annotated[
    SphereMesh | EllipsoidMesh | VisualHullMesh | BoxMesh | BumpyMesh | TorusMesh | FileMesh,
    OneOf("init", otherwise="sphere"),
]
