"""The whole scene file as types: what may be written, what is the default. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, Field, create_model

from diffrender.config.options.fields import (
    Color,
    Device,
    Every,
    FileOrFolder,
    Named,
    PositiveFloat,
    PositiveInt,
    Strict,
    TargetBackground,
    Vector,
    Weight,
    low_to_high,
)
from diffrender.config.options.lights import AnyLight, RotationOptions
from diffrender.config.options.meshes import AnyMesh
from diffrender.config.options.remeshing import RemeshScheduleOptions
from diffrender.config.shelf import (
    AntialiasOptions,
    AnyEdges,
    AnyMaterial,
    AnySchedule,
    ArapOptions,
    BilaplacianOptions,
    BufferLossOptions,
    ColorSmoothnessOptions,
    ConstantOptions,
    EdgeLengthOptions,
    ImageLoss,
    L1Options,
    LaplacianOptions,
    MaskLoss,
    MaterialSmoothnessOptions,
    NormalConsistencyOptions,
    SymmetryOptions,
    WhiteLightOptions,
)

Method: TypeAlias = Literal[
    "identity", "positive", "unit_interval", "direction", "pose", "large_steps", "zero_mean", "balanced"
]
"""The parametrisations."""

Beta = Annotated[float, Field(ge=0, lt=1)]

Optimizer: TypeAlias = Literal["adam", "vector_adam", "adam_uniform"]
"""What moves a value along its gradient."""

Name = Annotated[str, Field(min_length=1, pattern=r"^[^.\s]+$")]
"""A name without dots and spaces, so that it can be a part of a dotted path."""


Degrees = Annotated[float, Field(ge=-90, le=90)]


class PoseOptions(Strict):
    """Where an object stands: x_world = rotation (scale x_object) + translation."""

    translation: Vector = Field(default=(0.0, 0.0, 0.0), description="in world units")
    rotation: RotationOptions | None = Field(default=None, description="{axis: [x, y, z], degrees: a}")
    scale: PositiveFloat = Field(default=1.0, description="uniform")


class ObjectOptions(Strict):
    """One of several objects."""

    name: Name = Field(description="a name, for `optimize:` paths as objects.<name>.mesh.vertices")
    mesh: AnyMesh | None = Field(default=None, description="a file, or {init: sphere}")
    material: AnyMaterial | None = Field(default=None, description="how its surface looks")
    pose: PoseOptions | None = Field(default=None, description="where it stands")


class SceneParts(Strict):
    """What is rendered: one object written at the top, or several under `objects`; lights; background."""

    mesh: AnyMesh | None = Field(default=None, description="a file, or {init: sphere}")
    material: AnyMaterial | None = Field(default=None, description="how the surface looks")
    pose: PoseOptions | None = Field(default=None, description="where the object stands")
    objects: list[ObjectOptions] | None = Field(
        default=None, min_length=1, description="several objects, each with a name"
    )
    lights: list[AnyLight] | None = Field(
        default=None, description="left out: ambient light of radiance 1 where a material needs it"
    )
    background: Color | None = Field(default=None, description="linear RGB behind the objects; left out: black")

    def all_objects(self) -> list[ObjectOptions]:
        """The objects in either way of writing; the one written at the top is named `object`."""
        if self.objects is not None:
            return self.objects
        return [ObjectOptions(name="object", mesh=self.mesh, material=self.material, pose=self.pose)]


class SyntheticOptions(SceneParts):
    """A target scene that is rendered on the fly, by dense supersampling, from cameras spread over a sphere."""

    normalize: bool = Field(
        default=False, description="centre the objects on their bounding box and scale them into the unit sphere"
    )
    views: PositiveInt = Field(default=24, description="how many cameras")
    grid: tuple[PositiveInt, PositiveInt] | None = Field(
        default=None, strict=False, description="instead: cameras on so many azimuths x polar angles, poles excluded"
    )
    radius: PositiveFloat = Field(default=3.0, description="distance of the cameras from `center`")
    center: Vector = Field(default=(0.0, 0.0, 0.0), description="where the cameras look")
    fov_deg: float = Field(default=40.0, gt=0, lt=180, description="vertical field of view in degrees")
    elevation_deg: Annotated[tuple[Degrees, Degrees], AfterValidator(low_to_high)] = Field(
        default=(-30.0, 60.0),
        strict=False,
        description="lowest and highest camera, in degrees above the horizontal plane",
    )
    samples: int = Field(default=8, ge=1, le=32, description="samples along each side of a pixel")
    light_samples: int | None = Field(
        default=None,
        ge=3,
        le=4096,
        description="directions to an environment's light, shaded one by one at each of these samples: the truth, where"
        " the fit has means over lobes; left out: those means here too",
    )
    exposure_stops: float = Field(
        default=0.0, ge=0, le=8, description="pictures are exposed differently, by up to so many stops either way"
    )
    color_cast: float = Field(
        default=0.0, ge=0, lt=1, description="and each of their channels is off by up to such a part of itself"
    )
    relight: list[AnyLight] | None = Field(
        default=None,
        min_length=1,
        description="light that the fit never sees: fitted and target materials are compared under it at the end",
    )


class TargetsOptions(Strict):
    """The images that the scene is fitted to: `path` or `synthetic`."""

    path: FileOrFolder | None = Field(default=None, description="a folder with transforms.json, or such a file")
    synthetic: SyntheticOptions | None = Field(default=None, description="a target scene, rendered on the fly")
    resolution: PositiveInt | None = Field(
        default=None, description="long side in pixels; left out: the images' own, or 128"
    )
    test_every: Every = Field(
        default="auto",
        description="every so many-th view is held out of the fit; null: none;"
        " auto: the views of transforms_test.json where there is one, else every 8th",
    )
    background: TargetBackground | None = Field(
        default=None,
        description="behind masked photographs; left out: the scene's; random: another colour in each view at"
        " each step, behind renderings and targets alike (it wants masks)",
    )
    masks: bool = Field(default=True, description="false: ignore masks; transparency still shows the background")


# Texels along the shorter side of the coarsest image that is learned: with fewer, charts of a texture would share them.
LEAST_COARSE = 8


class ResolutionOptions(Named):
    """Smaller images in the first steps, which makes them cheap."""

    number_key: ClassVar[str | None] = "scale"
    scale: float = Field(gt=0, le=1, description="of the first images; it doubles until it is 1")
    until: PositiveInt | None = Field(
        default=None, description="the first step with whole images; left out: half of the steps"
    )


class RenderOptions(Strict):
    """How the scene becomes images."""

    edges: AnyEdges = Field(default=AntialiasOptions(), description="what makes silhouettes")


class _ParameterBasics(Named):
    number_key: ClassVar[str | None] = "lr"
    lr: PositiveFloat | None = Field(
        default=None, description="the learning rate; left out: a cautious one for its kind"
    )
    start: int = Field(default=0, ge=0, description="the step at which it begins to move")
    stop: PositiveInt | None = Field(default=None, description="the step from which on it rests again")
    schedule: AnySchedule = Field(default=ConstantOptions(), description="how the learning rate changes")
    method: Method | None = Field(
        default=None,
        description="the parametrisation; left out: the one that suits the value best; of mesh.vertices large_steps, or"
        " identity where they are remeshed",
    )


# A class body cannot name a field by one of Python's own words.
_LAMBDA: Any = {
    "lambda": (
        Weight | None,  # type: ignore[operator]
        Field(
            default=None,
            description="of large_steps: how far a pull at one vertex spreads; left out: 1 for each 640 vertices,"
            " from 1 to 4; 4 with remesh",
        ),
    )
}
_WithLambda: Any = create_model("_WithLambda", __base__=_ParameterBasics, **_LAMBDA)


class ParameterOptions(_WithLambda):
    """How one value of the scene is optimised."""

    solver: Literal["auto", "cholesky", "splu"] | None = Field(
        default=None, description="of large_steps: what solves its system; auto: cholesky where cholespy is installed"
    )
    optimizer: Optimizer | None = Field(
        default=None,
        description="left out: vector_adam for large_steps and for remeshed vertices, adam for all others",
    )
    betas: tuple[Beta, Beta] | None = Field(
        default=None,
        strict=False,
        description="what the optimizer keeps of its two running means;"
        " left out: 0.9 and 0.999, or 0.8 and 0.8 for remeshed vertices without large_steps",
    )
    levels: int | None = Field(
        default=None,
        ge=0,
        description="of textures and environment maps: how many coarser images, each half as large, are learned with"
        " the finest and added to it; what whole regions have in common is found in few steps then; left out: as many"
        f" as have at least {LEAST_COARSE} texels along each side; 0: none",
    )
    remesh: RemeshScheduleOptions | None = Field(
        default=None,
        description="of mesh.vertices: continuous, or the steps after which the mesh is remeshed; without large_steps,"
        " lr then counts in edge lengths",
    )


class OptimizeOptions(Strict, extra="allow"):
    """What is optimised, and how long. Every other key is the dotted path of a value of the scene."""

    extra_kind: ClassVar[type[BaseModel] | None] = ParameterOptions
    __pydantic_extra__: dict[str, ParameterOptions] = Field(init=False)

    steps: PositiveInt = Field(default=400, description="gradient steps")
    batch_size: PositiveInt | None = Field(default=4, description="views in a step; null: all of them")
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="of the order of the views and random backgrounds")
    resolution: ResolutionOptions | None = Field(
        default=None, description="smaller images at first, as 0.25; null: whole images at every step"
    )

    def parameters(self) -> dict[str, ParameterOptions]:
        """The options of each dotted path."""
        return dict(self.__pydantic_extra__ or {})

    def with_parameters(self, parameters: Mapping[str, ParameterOptions]) -> OptimizeOptions:
        """The same with other dotted paths."""
        own = {name: getattr(self, name) for name in OptimizeOptions.model_fields}
        return OptimizeOptions.model_validate({**own, **parameters})


class LossOptions(Strict):
    """The terms that are added up; null or weight 0 leaves a term out."""

    def buffers(self) -> tuple[str, ...]:
        """What is compared besides colours and silhouettes: "normal", "depth"."""
        return tuple(name for name in ("normal", "depth") if getattr(self, name) is not None)

    image: ImageLoss | None = Field(default=L1Options(), description="between images")
    mask: MaskLoss | None = Field(default=None, description="between silhouettes")
    normal: BufferLossOptions | None = Field(default=None, description="between images of world normals")
    depth: BufferLossOptions | None = Field(default=None, description="between images of camera depth")
    laplacian: LaplacianOptions | None = Field(default=None, description="little curvature, even triangles")
    bilaplacian: BilaplacianOptions | None = Field(
        default=None, description="even curvature: no noise, bulges may stay"
    )
    normal_consistency: NormalConsistencyOptions | None = Field(default=None, description="smoothness of normals")
    edge_length: EdgeLengthOptions | None = Field(default=None, description="equal edges")
    arap: ArapOptions | None = Field(default=None, description="rigidity: near the start but for turns")
    symmetry: SymmetryOptions | None = Field(default=None, description="equal to its mirror image")
    color_smoothness: ColorSmoothnessOptions | None = Field(default=None, description="few changes of base colour")
    material_smoothness: MaterialSmoothnessOptions | None = Field(
        default=None, description="few changes of roughness, metallic and normal maps, but where colours change"
    )
    white_light: WhiteLightOptions | None = Field(default=None, description="gray lights")


class ProgressOptions(Strict):
    """What is written while the fit runs."""

    pictures: int = Field(default=8, ge=0, description="how many progress pictures, evenly over the steps")
    views: int = Field(default=4, ge=1, le=16, description="how many views in each picture")
    video: bool = Field(default=True, description="whether to make progress.mp4")
    turntable: bool = Field(default=True, description="whether to make turntable.mp4, in which the result turns")


class DisplayOptions(Strict):
    """How light becomes pictures and films; nothing of it touches the fit or its scores."""

    exposure: float = Field(default=0.0, ge=-20, le=20, description="in stops; light is multiplied by 2^exposure")
    tone: Literal["clip", "neutral"] = Field(
        default="clip",
        description="what becomes of light brighter than 1: it is cut off, or rolled off (Khronos PBR Neutral)",
    )


class FitConfig(SceneParts):
    """A whole scene file. Only `targets` is required."""

    targets: TargetsOptions = Field(description="the images that the scene is fitted to")
    render: RenderOptions = Field(default=RenderOptions(), description="how the scene becomes images")
    optimize: OptimizeOptions = Field(default=OptimizeOptions(), description="what is optimised, and how long")
    loss: LossOptions | None = Field(
        default=None,
        description="left out: image l1; mask 1 where the targets have masks; normal_consistency 0.001 with"
        " large_steps, or laplacian 0.1 and normal_consistency 0.01 without; neither for remeshed shapes;"
        " material_smoothness and color_smoothness 0.0003 where more than the colour of a material is learned,"
        " white_light 0.001 where its colour is learned together with that of a light",
    )
    progress: ProgressOptions = Field(default=ProgressOptions(), description="pictures while the fit runs")
    display: DisplayOptions = Field(default=DisplayOptions(), description="how light becomes pictures and films")
    export: list[Literal["obj", "glb"]] = Field(default=["obj", "glb"], description="formats of the meshes")
    device: Device = Field(default="auto", description="where to compute; auto: on a CUDA GPU where there is one")
