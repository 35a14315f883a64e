"""The options of initial meshes: a file or a generated shape."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from diffrender.config.options.base import Finding, Form, OneOf, Strict, option
from diffrender.config.options.value_types import Box, File, Pair, PositiveFloat, PositiveInt, Sizes, Vector


class SubdivideOptions(Strict, shorthands={float: "times"}):
    """Split every triangle into four, N times."""

    times: int = Field(ge=0, le=6, description="number of times")
    scheme: Literal["loop", "midpoint"] = option(
        "loop", "loop: towards a smooth surface; midpoint: on the same surface"
    )


Subdivide: TypeAlias = Annotated[
    SubdivideOptions | None,
    Field(description="split every triangle into four: a number of times, or {times: 1, scheme: midpoint}"),
]
Subdivisions: TypeAlias = Annotated[
    int, Field(ge=0, le=8, description="each splits every triangle into four: 4 gives 5,120 triangles")
]
Aabb: TypeAlias = Annotated[Box | None, Field(description="its box or region, instead of that of the targets")]
Center: TypeAlias = Annotated[
    Vector | None,
    Field(
        description="if omitted: the middle of the targets' region, or [0, 0, 0] if there is a pose (or a program's)"
    ),
]


class ShapeOptions(Strict):
    """Base of shapes whose size may be given as a box."""

    def rules(self) -> Iterator[Finding]:
        """Yield sizes that `aabb` replaces."""
        if getattr(self, "aabb", None) is not None:
            for key in ("radius", "radii", "size", "center"):
                if key in self.model_fields_set and getattr(self, key) is not None:
                    yield Finding((key,), f"`{key}` cannot be combined with `aabb`", ("remove one of them",))


class FileMesh(Strict, shorthands={str: "file"}):
    """A mesh from a file: .obj, .ply, .glb, .gltf or .stl."""

    file: Annotated[File, Form("a mesh file")] = Field(description="the mesh file")
    split: Literal["materials", "objects", "none"] = option(
        "materials",
        "into one object of the scene per material that looks different, per object of the file and material, or not",
    )
    part: str | None = option(None, "only this part, by the name that `diffrender inspect` shows; if omitted: all")
    subdivide: Subdivide = None

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Return the mapping that a file name is short for: text with a suffix, as all mesh files have one."""
        return value if isinstance(value, str) and not PurePath(value).suffix else super().expand(value)

    def rules(self) -> Iterator[Finding]:
        """Yield a part of what is not split."""
        if self.part is not None and self.split == "none":
            yield Finding(("part",), "`part` needs parts, but `split` is none", ("remove one of them",))


class SphereMesh(ShapeOptions, shorthands={str: "init"}):
    """A sphere of nearly equal triangles."""

    init: Literal["sphere"] = "sphere"
    subdivisions: Subdivisions = 4
    radius: PositiveFloat | None = option(None, "if omitted: inside the targets' region")
    center: Center = None
    aabb: Aabb = None


class EllipsoidMesh(ShapeOptions, shorthands={str: "init"}):
    """A sphere stretched along x, y and z."""

    init: Literal["ellipsoid"] = "ellipsoid"
    subdivisions: Subdivisions = 4
    radii: Sizes | None = option(None, "along x, y and z; if omitted: inside the targets' aabb, or region")
    center: Center = None
    aabb: Aabb = None


class VisualHullMesh(Strict, shorthands={str: "init"}):
    """The largest shape inside the masks of all fitted views: closed, smooth, of even triangles."""

    init: Literal["visual_hull"] = "visual_hull"
    resolution: int | None = option(
        None, "cells along the longest side of its box; if omitted: from the images", ge=8, le=256
    )
    components: Literal["needed", "largest", "all"] = option(
        "needed",
        "connected parts that are kept: the one of the largest volume and what else the masks need, as of several"
        " objects; the largest alone; or all",
    )
    tolerance: int = option(0, "number of views that may see background at a point inside the hull", ge=0)
    leave_out: list[str] | None = option(
        None, "names of views that do not carve it; if omitted: the few that disagree with all others"
    )
    flatten_unseen: bool = option(
        True,
        "where no picture shows a bottom, which bulges in a hull, the fit ends with a flat one, if its rim is flat and"
        " its sides are steep",
    )
    aabb: Aabb = None
    subdivide: Subdivide = None


class StereoMesh(Strict, shorthands={str: "init"}):
    """The surface that photographs without masks show, by the depths of their pixels: open where they show nothing."""

    init: Literal["stereo"] = "stereo"
    aabb: Box | None = option(None, "only what is in this box; if omitted: most of what they show")


class BoxMesh(ShapeOptions, shorthands={str: "init"}):
    """A box."""

    init: Literal["box"] = "box"
    size: Sizes = option((1.0, 1.0, 1.0), "edge lengths")
    center: Vector = option((0.0, 0.0, 0.0), "its middle")
    aabb: Box | None = option(None, "its corners, instead of `size` and `center`")
    subdivide: Subdivide = None


class BumpyMesh(Strict, shorthands={str: "init"}):
    """A smooth closed shape with lobes and vertex colours."""

    init: Literal["bumpy"] = "bumpy"
    subdivisions: Subdivisions = 4
    radius: PositiveFloat = option(1.0, "approximate mean radius")


class TorusMesh(Strict, shorthands={str: "init"}):
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
    SphereMesh | EllipsoidMesh | VisualHullMesh | StereoMesh | BoxMesh | BumpyMesh | TorusMesh | FileMesh,
    OneOf("init", otherwise="sphere"),
]
