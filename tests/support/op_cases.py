"""The table of ops for the contract tests: arguments, tolerances and properties of each op."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import torch
from support import op_problems as make
from support.op_case import Arguments, OpCase, Problem, grid, named, seeded
from support.shapes import flat_camera, wavy_sheet
from support.triangle_soups import HEIGHT, WIDTH, parallel_points, soup

from diffrender.ops.antialias import antialias
from diffrender.ops.barycentrics import barycentrics
from diffrender.ops.blur import blur
from diffrender.ops.blur.numba_cpu import BAND
from diffrender.ops.changes_across import changes_across
from diffrender.ops.collapse_pyramid import collapse_pyramid
from diffrender.ops.compare_colors import compare_colors
from diffrender.ops.compare_colors.op import PENALTIES
from diffrender.ops.gather_samples import gather_samples
from diffrender.ops.ggx import ggx
from diffrender.ops.ggx_lobes import ggx_lobes
from diffrender.ops.interpolate import interpolate
from diffrender.ops.interpolate_at_pixels import interpolate_at_pixels
from diffrender.ops.intersections import intersections
from diffrender.ops.lambert import lambert
from diffrender.ops.lat_long_uv import lat_long_uv
from diffrender.ops.mip_pyramid import mip_pyramid
from diffrender.ops.normalize import normalize
from diffrender.ops.query_visibility import query_visibility
from diffrender.ops.rasterize import rasterize
from diffrender.ops.sample_shadow_map import sample_shadow_map
from diffrender.ops.sample_texture import WRAPS, sample_texture
from diffrender.ops.screen_uvs import screen_uvs
from diffrender.ops.silhouettes import silhouettes
from diffrender.ops.smooth_normals import smooth_normals
from diffrender.ops.supersample_silhouettes import supersample_silhouettes
from diffrender.ops.total_variation import total_variation
from diffrender.ops.transform_points import transform_points

IN_SIGHT = ("in_front", "crossing", "parallel")
SOUPS = (*IN_SIGHT, "degenerate")


def _many_samples(dtype: torch.dtype, seed: int) -> Arguments:
    # Runs of one pixel cross the boundaries between the chunks of threads.
    radiance = torch.rand(40_000, 3, dtype=dtype)
    arguments = named(antialias, *make.antialias_problem("in_front", dtype))
    return arguments | {
        "radiance": radiance, "pixel": torch.arange(40_000) // 7, "weight": radiance[:, 0], "size": (2, 60, 60),
    }  # fmt: skip


def _few_samples(dtype: torch.dtype, seed: int) -> Arguments:
    arguments = named(antialias, *make.antialias_problem("in_front", dtype, n_views=1, n_faces=2))
    return arguments | {name: arguments[name][:40] for name in ("radiance", "pixel", "weight")}


def _blur(sigma_px: float, *shape: int) -> Problem:
    return lambda dtype, seed: {"images": make.gaussian(*shape).to(dtype), "sigma_px": sigma_px}


def _many_faces(dtype: torch.dtype, seed: int) -> Arguments:
    # Enough that they are binned into tile lists in several chunks.
    points = make.uniform(20_000, 1, 3) * torch.tensor([WIDTH, HEIGHT, 1.0]) + make.uniform(20_000, 3, 3, seed=1)
    verts = parallel_points(points.reshape(1, 60_000, 3)).to(dtype)
    return named(rasterize, verts, torch.arange(60_000).reshape(-1, 3), HEIGHT, WIDTH, near=0.1, layers=2)


def _rasterize(kind: str, layers: int) -> Problem:
    return lambda dtype, seed: named(rasterize, *soup(kind, seed, dtype=dtype), HEIGHT, WIDTH, near=0.1, layers=layers)


def _query_visibility(kind: str, dtype: torch.dtype, seed: int) -> Arguments:
    arguments, bins = make.visibility_problem(kind, dtype, seed)
    return named(query_visibility, *arguments, bins=bins, near=0.1)


def _query_past_a_part(dtype: torch.dtype, seed: int) -> Arguments:
    arguments = _query_visibility("crossing", dtype, seed)
    points = torch.arange(len(arguments["view"]))
    return arguments | {"part": torch.arange(len(arguments["faces"])) % 3, "ignored": points % 4 - 1}


def _silhouettes_and_jumps(dtype: torch.dtype, seed: int) -> Arguments:
    # A wavy sheet has edges inside; those of a soup are all borders.
    sheet = wavy_sheet()
    verts = flat_camera(48, 48).project(sheet.vertices).to(dtype).expand(2, -1, -1)
    raster = rasterize(verts, sheet.faces, 48, 48, near=0.1)
    jumps = torch.rand(len(sheet.topology.edges), generator=torch.Generator().manual_seed(seed)) < 0.2
    return named(silhouettes, verts, sheet.topology, raster.bins.facing, raster.depth[..., 0], near=0.1, jumps=jumps)


def _silhouettes(kind: str, dtype: torch.dtype, seed: int) -> Arguments:
    return named(silhouettes, *make.silhouettes_problem(kind, dtype, seed), near=0.1)


def _supersample(kind: str, n_samples: int) -> Problem:
    def problem(dtype: torch.dtype, seed: int) -> Arguments:
        arguments, extra_pixels = make.supersample_problem(kind, dtype, seed, n_samples)
        return named(supersample_silhouettes, *arguments, near=0.1, extra_pixels=extra_pixels)

    return problem


def _supersampled(arguments: Arguments, result: Any) -> Any:
    # Of two degenerate faces that coincide (f and f + 30) rounding of the position decides.
    faces = arguments["topology"].faces
    half = len(faces) // 2
    twins = torch.equal(faces[half:], faces[:half].flip(1))
    if not twins:
        return result
    samples, outside = (part._replace(face_id=part.face_id % half) for part in (result.samples, result.outside))
    return result._replace(samples=samples, outside=outside)


def _several_images(dtype: torch.dtype, seed: int) -> Arguments:
    return {"texels": [make.texels_of(9, 6, channels, dtype) for channels in (3, 1, 2)]}


def _few_visible(kind: str) -> Problem:
    """Build texture coordinates whose derivatives are small enough for finite differences."""

    def problem(dtype: torch.dtype, seed: int) -> Arguments:
        work = named(screen_uvs, *make.screen_uvs_problem(kind, dtype, 24))
        small = screen_uvs(**work)[1].abs().flatten(1).amax(1) < 1
        of_points = ("face_id", "scene_face_id", "view", "xy_px")
        return work | {name: work[name][small] for name in of_points}

    return problem


_SHARED_BY_GGX = ((), ("to_light",), ("base_color", "metallic", "roughness"), ("to_light", "base_color", "roughness"))
_SHARED_BY_LAMBERT = ((), ("to_light",), ("base_color",), ("to_light", "base_color"))
_BLUR_SHAPES = ((2, 29, 43, 4), (1, 1, 1, 1), (3, 1, 9, 2), (1, 9, 1, 5), (1, 3, 2 * BAND // 3 + 5, 3))
_MIP_SIZES = ((8, 8), (1, 1), (1, 7), (6, 1), (5, 9), (13, 6), (3, 2))
_DEFAULT: tuple[dict[str, float], dict[str, float]] = ({}, {})


_CASES = (
    OpCase(
        rasterize,
        {f"{kind} {layers}": _rasterize(kind, layers) for kind, layers in product(SOUPS, (1, 2, 3, 4))},
        {"soup": _rasterize("crossing", 2), "many faces": _many_faces},
        empty=(("F",), ("N",), ("V", "F")),
        seeds=3,
        tolerance=(1e-6, 1e-6),
        relative="only",
        comparable=lambda arguments, raster: (raster.face_id, raster.depth, raster.bins[:3]),
        interpreted=("in_front 1", "crossing 1", "parallel 1", "degenerate 2"),
        mistakes={
            "height and width must be in 1..32767, got 0 x 4": {"height": 0, "width": 4},
            "height and width must be in 1..32767, got 4 x 40000": {"height": 4, "width": 40000},
            "layers must be at least 1, got 0": {"layers": 0},
        },
    ),
    OpCase(
        silhouettes,
        seeded(SOUPS, _silhouettes) | {"jumps": _silhouettes_and_jumps},
        {"soup": lambda dtype, seed: named(
            silhouettes, *make.silhouettes_problem("crossing", dtype, 1, n_faces=300), near=0.1)},
        empty=(("F",), ("N",), ("V", "F")),
        seeds=3,
        tolerance=(1e-9, 1e-5),
        calls=("jumps",),
    ),
    OpCase(
        query_visibility,
        seeded(SOUPS, _query_visibility) | {"past a part": _query_past_a_part},
        seeded(("crossing",), _query_visibility),
        empty=(("Q",),),
        seeds=3,
        tolerance=(1e-6, 1e-6),
        relative="only",
        unchecked=("bins.facing", "bins.centers"),
        interpreted=("degenerate", "past a part"),
        calls=("past a part",),
    ),
    OpCase(
        intersections,
        seeded(IN_SIGHT, lambda kind, dtype, seed: named(
            intersections, *make.intersections_problem(kind, dtype, seed=seed))),
        seeded(("in_front",), lambda kind, dtype, seed: named(intersections, *make.intersections_problem(kind, dtype))),
        empty=(("Q",), ("Q", "F"), ("Q", "N")),
        seeds=2,
        tolerance=(1e-8, 1e-4),
        relative="rows",
    ),
    OpCase(
        gather_samples,
        grid(gather_samples, make.gather_problem, n_samples=(1, 3, 4, 16)),
        grid(gather_samples, make.gather_problem, size=((2, 300, 400),)),
        empty=(("K",), ("R", "K"), ("N", "R", "K")),
        tolerance=(0, 0),
    ),
    OpCase(
        changes_across,
        grid(changes_across, make.changes_problem, n_channels=(1, 3)),
        grid(changes_across, make.changes_problem, n_edges=(60_000,)),
        empty=(("E",),),
        tolerance=(0, 0),
    ),
    OpCase(
        supersample_silhouettes,
        {f"{kind} {n}": _supersample(kind, n) for kind, n in product(SOUPS, (1, 5, 16))},
        {"soup": _supersample("crossing", 16)},
        seeds=2,
        tolerance=(1e-9, 1e-5),
        comparable=_supersampled,
        interpreted=("parallel 1", "crossing 5", "degenerate 5"),
        calls=("crossing 5",),
        unchecked=("raster.bins.centers",),
    ),
    OpCase(
        barycentrics,
        grid(barycentrics, make.barycentrics_problem, kind=IN_SIGHT),
        grid(barycentrics, make.barycentrics_problem, kind=("crossing",), n_points=(40_000,)),
        differentiable=("verts_hom",),
        small=grid(barycentrics, make.barycentrics_problem, kind=("in_front",), n_points=(8,)),
        empty=(("M",),),
        tolerance=(1e-9, 1e-5),
        precise=True,
    ),
    OpCase(
        interpolate,
        grid(interpolate, make.interpolate_problem, n_channels=(1, 3, 4, 7)),
        grid(interpolate, make.interpolate_problem, n_points=(40_000,)),
        differentiable=("values", "bary"),
        small=grid(interpolate, make.interpolate_problem, n_points=(6,)),
        empty=(("M",), ("C",)),
    ),
    OpCase(
        interpolate_at_pixels,
        grid(interpolate_at_pixels, make.interpolate_at_pixels_problem, kind=IN_SIGHT, n_channels=(1, 3, 4, 7)),
        grid(interpolate_at_pixels, make.interpolate_at_pixels_problem, kind=("crossing",), n_points=(100_000,)),
        differentiable=("values", "verts_hom"),
        small=grid(interpolate_at_pixels, make.interpolate_at_pixels_problem, kind=("in_front",), n_points=(12,)),
        empty=(("M",), ("C",)),
        tolerance=(1e-9, 1e-4),
        precise=True,
    ),
    OpCase(
        mip_pyramid,
        {
            f"{height}x{width} {channels}": lambda dtype, seed, shape=(height, width, channels): {
                "texels": make.texels_of(*shape, dtype)
            }
            for (height, width), channels in product(_MIP_SIZES, (1, 3, 5))
        }
        | {"several images": _several_images}
        | {
            f"{height}x{width} in several launches": lambda dtype, seed, shape=(height, width, 3): {
                "texels": make.texels_of(*shape, dtype)
            }
            for height, width in ((96, 16), (36, 44), (81, 73), (66, 130))
        },
        {"one image": lambda dtype, seed: {"texels": make.texels_of(301, 260, 3, dtype)}},
        differentiable=("texels",),
        linear=True,
        small={"odd and even": lambda dtype, seed: {"texels": make.texels_of(5, 6, 2, dtype)}},
        interpreted=(
            *(f"{height}x{width} 3" for height, width in _MIP_SIZES), "13x6 1", "13x6 5", "several images",
            *(f"{size} in several launches" for size in ("96x16", "36x44", "81x73", "66x130")),
        ),
        calls=("several images",),
        empty=(("C",),),
        tolerance=(1e-12, 1e-6),
        gradients=_DEFAULT,
        mistakes={
            "texels must have at least one pixel, got [0, 4, 3]": {"texels": torch.zeros(0, 4, 3)},
            "levels must be at least 1, got 0": {"levels": 0},
            "texels must be an image or several, got none": {"texels": []},
            "texels[1] must have shape [H, W, C1] with H = 4, W = 4, got [4, 2, 3]": {
                "texels": [torch.zeros(4, 4, 3), torch.zeros(4, 2, 3)]
            },
            "one dtype, got texels[0] torch.float32, texels[1] torch.float64": {
                "texels": [torch.zeros(4, 4, 3), torch.zeros(4, 4, 3).double()]
            },
        },
    ),
    OpCase(
        screen_uvs,
        grid(screen_uvs, make.screen_uvs_problem, kind=IN_SIGHT),
        grid(screen_uvs, make.screen_uvs_problem, n_points=(100_000,)),
        differentiable=("uvs", "verts_hom"),
        small={kind: _few_visible(kind) for kind in IN_SIGHT},
        empty=(("M",),),
        relative="length",
        # In float32, sums over grazing faces are limited by rounding errors.
        gradients=({}, {"row_ratio_error_at_most": 0.1}),
        precise=True,
    ),
    OpCase(
        sample_texture,
        {
            f"{kind} {wrap} {size[0]}x{size[1]} {channels}": lambda dtype, seed, kind=kind, wrap=wrap, more=more: named(
                sample_texture, *make.pyramid_problem(kind, wrap, dtype, **more)
            )
            for kind, wrap, (size, channels) in product(
                ("none", "width", "derivatives"), WRAPS, (((13, 20), 3), ((16, 8), 1), ((1, 6), 4), ((5, 1), 2))
            )
            for more in ({"size": size, "channels": channels},)
        },
        grid(sample_texture, make.pyramid_problem, kind=("derivatives",), wrap=("repeat",), n=(40_000,)),
        differentiable=("pyramid.texels", "uv", "footprint"),
        small=grid(
            sample_texture, make.pyramid_problem, kind=("none", "width", "derivatives"), wrap=WRAPS, n=(12,),
            size=((6, 5),), channels=(2,),
        ),
        empty=(("M",), ("C",)),
        gradients=_DEFAULT,
        interpreted=(
            *(f"{kind} {wrap} 13x20 3" for kind, wrap in product(("none", "width", "derivatives"), WRAPS)),
            *(f"derivatives {wrap} {size}" for wrap, size in product(WRAPS, ("16x8 1", "1x6 4", "5x1 2"))),
        ),
        calls=("none repeat 13x20 3", "width repeat 13x20 3", "derivatives clamp 13x20 3"),
        mistakes={
            "wrap must be one of repeat, clamp, got 'mirror'": {"wrap": "mirror"},
            "footprint must have shape [M] with M = 400, got [3]": {"footprint": torch.zeros(3)},
            "footprint must have shape [M, 2, 2] with M = 400, got [400, 2]": {"footprint": torch.zeros(400, 2)},
        },
    ),
    OpCase(
        transform_points,
        grid(transform_points, make.transform_problem, n_points=(300,), n_maps=(1, 3), width=(3, 4)),
        grid(transform_points, make.transform_problem, n_points=(60_000,), n_maps=(2,), width=(4,)),
        differentiable=("points", "matrices"),
        small=grid(transform_points, make.transform_problem, n_points=(5,), n_maps=(2,), width=(3,)),
        empty=(("V",), ("N",)),
        tolerance=(1e-12, 1e-5),
        gradients=_DEFAULT,
    ),
    OpCase(
        smooth_normals,
        grid(smooth_normals, make.normals_problem, n_faces=(80,), are_hard=(False, True)),
        grid(smooth_normals, make.normals_problem, n_faces=(20_000,)),
        differentiable=("vertices",),
        small=grid(smooth_normals, make.normals_problem, n_faces=(8,)),
        empty=(("F",),),
        tolerance=(1e-12, 1e-6),
        gradients=_DEFAULT,
        mistakes={"n_normals must be at least 0, got -1": {"n_normals": -1}},
    ),
    OpCase(
        normalize,
        {"all lengths": lambda dtype, seed: {"vectors": make.vectors_of_all_lengths(dtype)}},
        {"all lengths": lambda dtype, seed: {"vectors": make.vectors_of_all_lengths(dtype, 60_000)}},
        differentiable=("vectors",),
        small={"a few": lambda dtype, seed: {"vectors": make.gaussian(8, 3)}},
        empty=(("M",),),
        tolerance=(1e-12, 1e-6),
        gradients=_DEFAULT,
    ),
    OpCase(
        lambert,
        grid(lambert, make.lambert_problem, shared=_SHARED_BY_LAMBERT),
        grid(lambert, make.lambert_problem, n_points=(60_000,), n_lights=(1,), shared=_SHARED_BY_LAMBERT[3:]),
        differentiable=make.LAMBERT_INPUTS,
        small=grid(lambert, make.lambert_problem, n_points=(6,), n_lights=(2,)),
        empty=(("M",), ("S",)),
        tolerance=(1e-12, 1e-6),
        gradients=({"relative_l2_at_most": 1e-11}, {"relative_l2_at_most": 1e-5}),
        precise=True,
        calls=(str(_SHARED_BY_LAMBERT[0]), str(_SHARED_BY_LAMBERT[-1])),
    ),
    OpCase(
        ggx,
        grid(ggx, make.ggx_problem, shared=_SHARED_BY_GGX),
        grid(ggx, make.ggx_problem, n_points=(30_000,), n_lights=(1,), shared=(("to_light", "base_color"),)),
        differentiable=make.GGX_INPUTS,
        # Derivatives of smooth surfaces are too steep for finite differences.
        small=grid(ggx, make.ggx_problem, n_points=(6,), n_lights=(2,), rough=(0.4,)),
        empty=(("M",), ("S",)),
        tolerance=(1e-12, 1e-6),
        gradients=({"relative_l2_at_most": 1e-10}, {"relative_l2_at_most": 1e-5}),
        precise=True,
        calls=(str(_SHARED_BY_GGX[0]), str(_SHARED_BY_GGX[-1])),
    ),
    OpCase(
        ggx_lobes,
        grid(ggx_lobes, make.lobes_problem, n_lobes=(1, 3), shared=((), ("base_color",), make.LOBES_INPUTS[2:])),
        grid(ggx_lobes, make.lobes_problem, n_points=(30_000,), shared=(("base_color",),)),
        differentiable=make.LOBES_INPUTS,
        small=grid(ggx_lobes, make.lobes_problem, n_points=(6,)),
        empty=(("M",),),
        tolerance=(1e-12, 1e-6),
        gradients=({"relative_l2_at_most": 1e-11}, {"relative_l2_at_most": 1e-5}),
        precise=True,
    ),
    OpCase(
        lat_long_uv,
        grid(lat_long_uv, make.lat_long_problem, padding=(0, 0.125)),
        grid(lat_long_uv, make.lat_long_problem, n_points=(40_000,)),
        differentiable=("directions",),
        small=grid(lat_long_uv, make.lat_long_problem, n_points=(6,)),
        empty=(("M",),),
        tolerance=(1e-13, 1e-6),
        mistakes={"padding must be at least 0, got -0.1": {"padding": -0.1}},
    ),
    OpCase(
        sample_shadow_map,
        grid(sample_shadow_map, make.shadow_problem, radius=(1, 2, 3, 5)),
        grid(sample_shadow_map, make.shadow_problem, n=(20_000,)),
        differentiable=("xy_px", "verts_hom"),
        constants=("map_depth", "depth", "slope", "bias"),
        small=grid(sample_shadow_map, make.shadow_problem, n=(12,)),
        # Compared with a high-resolution shadow in the op's own tests.
        not_in_gradcheck=("verts_hom",),
        empty=(("M",), ("P",)),
        gradients=_DEFAULT,
        mistakes={"radius must be at least 1 texel, got 0": {"radius": 0}},
    ),
    OpCase(
        antialias,
        grid(antialias, make.antialias_problem, kind=SOUPS),
        {"soup": lambda dtype, seed: named(antialias, *make.antialias_problem("in_front", dtype)),
         "many samples": _many_samples},
        differentiable=("radiance", "verts_hom", "background"),
        constants=("jump",),
        small={"a few samples": _few_samples},
        # Compared with the motion of the segments in the op's own tests.
        not_in_gradcheck=("verts_hom",),
        empty=(("M",), ("P",), ("M", "P")),
    ),
    OpCase(
        blur,
        {f"{sigma} {shape}": _blur(sigma, *shape) for shape, sigma in product(_BLUR_SHAPES, (0.3, 1.0, 2.5, 20.0))},
        {"images": _blur(3.0, 3, 130, 200, 4)},
        differentiable=("images",),
        linear=True,
        small={f"{sigma} {shape}": _blur(sigma, *shape)
               for shape, sigma in product(((1, 4, 5, 2), (2, 1, 3, 1)), (0.4, 3.0))},
        empty=(("N",), ("H",), ("W",), ("C",)),
        gradients=_DEFAULT,
        interpreted=(
            *(f"{sigma} {shape}" for sigma, shape in product((0.3, 20.0), _BLUR_SHAPES[:4])), f"2.5 {_BLUR_SHAPES[4]}",
        ),
        mistakes={
            f"sigma_px must be at least 0, got {sigma_px}": {"sigma_px": sigma_px}
            for sigma_px in (-0.1, math.nan, math.inf)
        },
    ),
    OpCase(
        compare_colors,
        grid(
            compare_colors, make.color_problem, space=("linear", "srgb", "log"), penalty=PENALTIES,
            clips=(False, True), adds=(False, True), weighs=(False, True),
        ),
        grid(compare_colors, make.color_problem, weighs=(False, True), size=((2, 200, 300),)),
        differentiable=("rgba",),
        constants=("images",),
        small=grid(
            compare_colors, make.color_problem, space=("srgb", "log"), penalty=("l2", "huber", "charbonnier"),
            adds=(True,), weighs=(False, True), size=((2, 2, 3),),
        ),
        empty=(("N",), ("H",), ("W",)),
        tolerance=(1e-12, 1e-6),
        gradients=_DEFAULT,
        precise=True,
        interpreted=tuple(
            f"{space} {penalty} True True {weighs}"
            for space, penalty, weighs in product(("srgb", "log"), PENALTIES, (False, True))
        ),
        mistakes={
            "space must be one of linear, srgb, log, got 'hsv'": {"space": "hsv"},
            "penalty must be one of l1, l2, huber, charbonnier, got 'l3'": {"penalty": "l3"},
            "added needs masks": {"added": torch.zeros(2, 3)},
            "delta must be a finite number above 0, got 0.0": {"delta": 0.0},
        },
    ),
    OpCase(
        total_variation,
        grid(total_variation, make.variation_problem, covers=(True, False), weighs=(True, False))
        | grid(total_variation, make.variation_problem, size=((1, 7, 3), (7, 1, 3), (5, 6, 1), (5, 6, 4))),
        grid(total_variation, make.variation_problem, size=((201, 300, 3),)),
        differentiable=("texels",),
        small=grid(total_variation, make.variation_problem, size=((4, 5, 2),), covers=(False,)),
        empty=(("H",), ("W",), ("C",)),
        tolerance=(1e-12, 1e-5),
        mistakes={f"can hold, got {small}": {"small": small} for small in (0.0, 1e-25, math.inf)},
    ),
    OpCase(
        collapse_pyramid,
        grid(collapse_pyramid, make.levels_problem, closed=(False, True))
        | grid(collapse_pyramid, make.levels_problem, size=((8, 8, 1), (16, 8, 4)), levels=(3,), closed=(False, True))
        | grid(collapse_pyramid, make.levels_problem, size=((6, 2, 5), (2, 2, 3)), levels=(1,), closed=(False, True)),
        grid(collapse_pyramid, make.levels_problem, size=((256, 320, 3),), levels=(3,)),
        differentiable=("texels",),
        linear=True,
        small=grid(collapse_pyramid, make.levels_problem, size=((4, 6, 2),), levels=(1,), closed=(False, True)),
        empty=(("C",),),
        tolerance=(1e-12, 1e-5),
        mistakes={
            "an image of 12 x 20 cannot be halved 3 times": {"levels": 3},
            "an image of 12 x 20 cannot be halved 0 times": {"levels": 0},
            "texels must have shape": {"width": 24},
        },
    ),
)  # fmt: skip
CASES: dict[str, OpCase] = {case.name: case for case in _CASES}
