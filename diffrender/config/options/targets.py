"""The images that the scene is fitted to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from diffrender.config.options.base import Finding, OneOf, Strict, option
from diffrender.config.options.lights import AnyLight
from diffrender.config.options.objects import Named, SceneParts
from diffrender.config.options.value_types import (
    Backdrop,
    FileOrFolder,
    Pair,
    PositiveFloat,
    PositiveInt,
    Vector,
    must,
)
from diffrender.config.scene_dependent_defaults import EVERY, SYNTHETIC_RESOLUTION

Degrees: TypeAlias = Annotated[float, Field(ge=-90, le=90)]


class CameraErrorOptions(Strict):
    """How the cameras of the pictures differ from those that the fit is told, and finds by `optimize: {cameras...}`."""

    focal: PositiveFloat = option(1.0, "the true focal length, in those that the fit is told")
    center: Pair[float] = option(
        (0.0, 0.0), "the true principal point less the middle of the image, x and y, in widths of the image"
    )
    k1: float = option(0.0, "of the true lens; the fit is told a pinhole")
    k2: float = option(0.0, "of the true lens")
    p1: float = option(0.0, "of the true lens")
    p2: float = option(0.0, "of the true lens")
    turn_deg: float = option(
        0.0, "each pose is turned about `center` of the cameras by so much, each about another axis"
    )
    shift: float = option(0.0, "each pose is moved by this share of the distance to `center`, each another way")


class SyntheticOptions(SceneParts):
    """A target scene rendered on the fly, by dense supersampling, from cameras spread over a sphere."""

    normalize: bool = option(False, "center the objects on their bounding box and scale them into the unit sphere")
    views: PositiveInt = option(24, "number of cameras")
    grid: Pair[PositiveInt] | None = option(
        None, "[N, M]: instead of `views`, cameras at N azimuths x M polar angles, poles excluded"
    )
    radius: PositiveFloat = option(3.0, "distance of the cameras from `center`")
    center: Vector = option((0.0, 0.0, 0.0), "where the cameras look")
    eye: Vector | None = option(None, "where all cameras are, as for a video, instead of around `center`")
    fov_deg: float = option(40.0, "vertical field of view in degrees", gt=0, lt=180)
    elevation_deg: Annotated[
        Pair[Degrees], must("two numbers, the lower one first", lambda ends: ends[0] <= ends[1])
    ] = option((-30.0, 60.0), "lowest and highest camera, in degrees above the horizontal plane")
    samples: int = option(8, "samples along each side of a pixel", ge=1, le=32)
    light_samples: int | None = option(
        None,
        "directions per sample for Monte Carlo shading under environments, as ground truth for the prefiltered"
        " shading of the fit; if omitted: prefiltered as well",
        ge=3,
        le=4096,
    )
    exposure_stops: float = option(0.0, "exposures differ between views, by up to N stops either way", ge=0, le=8)
    color_cast: float = option(
        0.0, "white balances differ between views, by up to this fraction of each channel", ge=0, lt=1
    )
    noise: float = option(
        0.0, "standard deviation of Gaussian noise in each channel of each pixel, as sRGB of 0..1; `--seed` draws it",
        ge=0, lt=1,
    )  # fmt: skip
    camera_errors: CameraErrorOptions | None = option(
        None, "how the cameras differ from what the fit is told; if omitted: they do not"
    )
    relight: Annotated[Named[AnyLight], Field(min_length=1)] | None = option(
        None, "light that the fit never sees: fitted and target materials are compared under it at the end"
    )


class TargetsOptions(Strict):
    """The images that the scene is fitted to: `path` or `synthetic`."""

    path: FileOrFolder | None = option(
        None,
        "a folder with transforms.json, a COLMAP model (sparse/0) or LLFF's poses_bounds.npy; a file of matrices; or"
        " one photograph, whose camera is assumed to look from (0, 0, d) at the origin, so that a ball of radius 1 fits"
        " in",
    )
    synthetic: SyntheticOptions | None = option(None, "a target scene, rendered on the fly")
    resolution: PositiveInt | None = option(
        None, f"long side in pixels; if omitted: the images' own, or {SYNTHETIC_RESOLUTION} for `synthetic`"
    )
    test_every: Annotated[Annotated[int, Field(ge=2)] | Literal["auto"], OneOf()] | None = option(
        "auto",
        "hold out every Nth view; null: none; auto: the views of transforms_test.json if there is one, else"
        f" every {EVERY}th",
    )
    background: Annotated[Backdrop | Literal["random"], OneOf()] | None = option(
        None,
        "behind masked photographs; if omitted: the scene's; random: another colour per view and step,"
        " behind both renderings and targets (needs masks)",
    )
    missing: Literal["error", "skip"] = option(
        "error", "what to do about an image that does not exist, or has no mask while others have one"
    )
    masks: bool = option(True, "false: ignore masks; transparent pixels still show the background")
    shrink_masks: PositiveFloat | None = option(
        None, "make masks narrower all around, by so many pixels of the photographs at their full size"
    )
    ignore: FileOrFolder | None = option(
        None,
        "a folder of pictures named as the images of `path`, white where these show nothing of the scene: a hand, a"
        " turntable, a shadow",
    )
    key: Backdrop | None = option(
        None,
        "the colour of a backdrop, as of a green screen, that need not fill the pictures: masks are of what differs"
        " from it, without what reaches the pictures' borders",
    )
    find_masks: bool | None = option(
        None,
        "whether to find masks of what is in front of a backdrop of one colour or, without one, of what all pictures"
        " look at, by its depth; if omitted: if there are no others and `background` is not given, or the mesh is a"
        " visual hull; by depth only if the mesh is left open or is one, and not of what is flat or cut off by the"
        " pictures' borders if all is left open",
    )

    find_surface: bool | None = option(
        None,
        "whether to find the surface that all pictures show, by its depth, and to compare what of them sees it; if"
        " omitted: for `mesh: stereo`, or if the mesh is left open, masks are neither used nor found, there is no"
        " backdrop of one colour, and `background` is not given",
    )
    fov_deg: Annotated[float, Field(gt=0, lt=180)] | None = option(
        None, "field of view along the long side of one photograph; if omitted: by its EXIF, or 55"
    )
    fps: PositiveFloat | None = option(
        None,
        "views are frames of a video, in their order, with so many in a second, for programs; if omitted: at the `time`"
        " of each frame of transforms.json, if it has any",
    )

    def rules(self) -> Iterator[Finding]:
        """Yield mistakes in the combination of target options."""
        if self.path is not None and self.synthetic is not None:
            yield Finding(("synthetic",), "`targets` has both `path` and `synthetic`", ("remove one of them",))
        if self.path is None and self.synthetic is None:
            notes = (
                "photographs: `path: folder_with_transforms_json`",
                "rendered on the fly: `synthetic: {mesh: {init: bumpy}}`",
            )
            yield Finding((), "`targets` lacks `path` or `synthetic`: where the images come from", notes)
        if self.find_surface and self.find_masks:
            message = "`find_masks` is for an object, `find_surface` for all that pictures show: both are true"
            yield Finding(("find_surface",), message, ("remove one of them",))
        if self.find_surface and self.synthetic is not None:
            message = "`find_surface` is for photographs, but the targets are `synthetic`"
            yield Finding(("find_surface",), message, ("remove it",))
        if self.shrink_masks is not None and not self.masks:
            message = "`shrink_masks` needs masks, but `targets.masks` is false"
            yield Finding(("shrink_masks",), message, ("remove one of the two",))
        for name in ("ignore", "fov_deg", "shrink_masks"):
            if getattr(self, name) is not None and self.synthetic is not None:
                yield Finding((name,), f"`{name}` is for photographs, but the targets are `synthetic`", ("remove it",))
        if self.key is not None:
            yield from self._rules_of_key()
        if self.background == "random" and not self.masks:
            message = "a random background needs masks, but `targets.masks` is false"
            yield Finding(("background",), message, ("remove one of the two",))

    def _rules_of_key(self) -> Iterator[Finding]:
        others = {
            "synthetic": self.synthetic is not None,
            "masks: false": not self.masks,
            "find_masks: false": self.find_masks is False,
            "find_surface": bool(self.find_surface),
        }
        for other, is_there in others.items():
            if is_there:
                message = f"`key` finds masks in photographs, which `{other}` does without"
                yield Finding(("key",), message, ("remove one of the two",))
