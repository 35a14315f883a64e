"""What is rendered: objects, lights, background."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field

from diffrender.config.options.base import Finding, OneOf, Strict, option, refuse
from diffrender.config.options.lights import AnyLight, Rotation
from diffrender.config.options.materials import AnyMaterial
from diffrender.config.options.meshes import AnyMesh
from diffrender.config.options.programs import ProgramOptions
from diffrender.config.options.value_types import Backdrop, Name, PositiveFloat, T, Vector


class PoseOptions(Strict):
    """Where an object is: x_world = rotation (scale x_object) + translation."""

    translation: Vector = option((0.0, 0.0, 0.0), "in world units")
    rotation: Rotation = None
    scale: PositiveFloat = option(1.0, "uniform")


Mesh: TypeAlias = Annotated[
    AnyMesh | None, Field(description="a file, or a shape: sphere, or {init: sphere, radius: 2}")
]
Material: TypeAlias = Annotated[
    AnyMaterial | None,
    Field(description="how the surface looks; if omitted: as its mesh file says, or lambert; unlit without `lights`"),
]
Pose: TypeAlias = Annotated[PoseOptions | None, Field(description="where the object is")]


class CreaseOptions(Strict):
    """Smooth normals, but across sharp edges."""

    crease: float = Field(ge=0, le=180, description="degrees between two faces from which on their edge is sharp")


Shading: TypeAlias = Annotated[
    Annotated[Literal["smooth", "flat"] | CreaseOptions, OneOf()] | None,
    Field(
        description="smooth, flat (each face its own normal) or {crease: 30} (sharp edges between faces that differ by"
        " more); if omitted: by the normals of the mesh file, or smooth"
    ),
]


class ObjectOptions(Strict):
    """One of several objects."""

    name: Name = Field(description="name in paths of `optimize:`, such as objects.<name>.mesh.vertices")
    mesh: Mesh = None
    material: Material = None
    shading: Shading = None
    pose: Pose = None


def _check_names(items: list[Any]) -> list[Any]:
    names = [item.name or item.type for item in items]
    folded = [name.casefold() for name in names]  # files are named after them, and case is nothing to some systems
    refuse(
        Finding(
            (i, "name") if items[i].name else (i,),
            f"entries [{first}] and [{i}] are both named `{name}`"
            if names[first] == name
            else f"the names `{names[first]}` and `{name}` of entries [{first}] and [{i}] differ in case alone",
            ("give each its own `name:`",),
        )
        for i, name in enumerate(names)
        if (first := folded.index(folded[i])) < i
    )
    return items


Named: TypeAlias = Annotated[list[T], AfterValidator(_check_names)]
"""A list whose entries have different names; the name of a light without one is its type."""


class SceneParts(Strict):
    """What is rendered: one object written at the top, or several under `objects`; lights; background."""

    mesh: Mesh = None
    material: Material = None
    shading: Shading = None
    pose: Pose = None
    objects: Annotated[Named[ObjectOptions], Field(min_length=1)] | None = option(
        None, "several objects, each with a name"
    )
    lights: Named[AnyLight] | None = option(None, "if omitted: ambient light of radiance 1, if a material needs light")
    background: Backdrop | None = option(None, "linear RGB behind the objects; if omitted: black")
    program: ProgramOptions | None = option(
        None, "a Python function that values of the scene follow from; its parameters are then what is learned"
    )

    def all_objects(self) -> list[ObjectOptions]:
        """Return the objects, however they are written; the one at the top is named `object`."""
        if self.objects is not None:
            return self.objects
        only = {"mesh": self.mesh, "material": self.material, "shading": self.shading, "pose": self.pose}
        return [ObjectOptions(name="object", **only)]
