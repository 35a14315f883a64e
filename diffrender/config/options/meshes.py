"""What a scene file may say of a mesh. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field

from diffrender.config.options.fields import Box, File, Named, OneOf, PositiveFloat, PositiveInt, Sizes, Strict, Vector


class SubdivideOptions(Named):
    """Four triangles for each one, so many times."""

    number_key: ClassVar[str | None] = "times"
    times: int = Field(ge=0, le=6, description="each makes four triangles of one")
    scheme: Literal["loop", "midpoint"] = Field(
        default="loop", description="loop: on the way to a smooth surface; midpoint: on the same surface"
    )


class FileMesh(Named):
    """A mesh from a file: .obj, .ply, .glb, .gltf or .stl."""

    word_key: ClassVar[str | None] = "file"
    file: File = Field(description="the mesh file")
    subdivide: SubdivideOptions | None = Field(default=None, description="finer triangles: a number of times")


class SphereMesh(Strict):
    """A sphere of equal triangles."""

    init: Literal["sphere"] = "sphere"
    subdivisions: int = Field(
        default=4, ge=0, le=8, description="each makes four triangles of one: 4 gives 5,120 triangles"
    )
    radius: PositiveFloat | None = Field(default=None, description="left out: chosen to lie inside the targets' region")
    center: Vector | None = Field(
        default=None, description="left out: the middle of the targets' region, or [0, 0, 0] where there is a pose"
    )
    aabb: Box | None = Field(default=None, description="the region, where the targets' own is not wanted")


class BumpyMesh(Strict):
    """A smooth closed shape with lobes and colours of its own."""

    init: Literal["bumpy"]
    subdivisions: int = Field(default=4, ge=0, le=8, description="each makes four triangles of one")
    radius: PositiveFloat = Field(default=1.0, description="about its mean radius")


class EllipsoidMesh(Strict):
    """A sphere stretched along x, y and z."""

    init: Literal["ellipsoid"]
    subdivisions: int = Field(default=4, ge=0, le=8, description="each makes four triangles of one")
    radii: Sizes | None = Field(
        default=None, description="along x, y and z; left out: chosen to lie inside the targets' aabb, or region"
    )
    center: Vector | None = Field(
        default=None, description="left out: the middle of the targets' region, or [0, 0, 0] where there is a pose"
    )
    aabb: Box | None = Field(default=None, description="the box to lie in, where the targets' own is not wanted")


class VisualHullMesh(Strict):
    """What the masks of all fitted views have room for: closed, smooth, of even triangles."""

    init: Literal["visual_hull"]
    resolution: int | None = Field(
        default=None, ge=8, le=256, description="cells along the longest side of its box; left out: from the images"
    )
    components: Literal["largest", "all"] = Field(
        default="largest", description="which connected parts are kept: the one of the largest volume, or all"
    )
    tolerance: int = Field(
        default=0, ge=0, description="so many views may see background at a point that still belongs to the hull"
    )
    aabb: Box | None = Field(default=None, description="the box to look in, where the targets' own is not wanted")
    subdivide: SubdivideOptions | None = Field(default=None, description="finer triangles: a number of times")


class BoxMesh(Strict):
    """A box."""

    init: Literal["box"]
    size: Sizes = Field(default=(1.0, 1.0, 1.0), description="edge lengths")
    center: Vector = Field(default=(0.0, 0.0, 0.0), description="its middle")
    aabb: Box | None = Field(default=None, description="its corners, instead of `size` and `center`")
    subdivide: SubdivideOptions | None = Field(default=None, description="finer triangles: a number of times")


class TorusMesh(Strict):
    """A ring about the y axis."""

    init: Literal["torus"]
    radius: PositiveFloat = Field(default=0.7, description="of the ring")
    tube: PositiveFloat = Field(default=0.3, description="radius of the tube")
    segments: tuple[PositiveInt, PositiveInt] = Field(
        default=(48, 24), strict=False, description="around ring and tube"
    )
    subdivide: SubdivideOptions | None = Field(default=None, description="finer triangles: a number of times")


INIT_MESHES = {
    "sphere": SphereMesh,
    "ellipsoid": EllipsoidMesh,
    "visual_hull": VisualHullMesh,
    "box": BoxMesh,
    "bumpy": BumpyMesh,
    "torus": TorusMesh,
}


def _pick_mesh(value: Any) -> str | None:
    if isinstance(value, str | FileMesh) or (isinstance(value, dict) and "file" in value):
        return "file"
    if isinstance(value, dict):
        return value.get("init", "sphere")
    return "sphere" if value is None else getattr(value, "init", None)


AnyMesh: TypeAlias = Annotated[
    FileMesh | SphereMesh | EllipsoidMesh | VisualHullMesh | BoxMesh | BumpyMesh | TorusMesh,
    OneOf(("file", *INIT_MESHES), _pick_mesh, (*INIT_MESHES, "a mesh file"), "init"),
]
