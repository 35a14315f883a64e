"""Random arguments for each op, for the contract tests and the op's own tests."""

from __future__ import annotations

import math
from typing import Any

import torch
from support.triangle_soups import HEIGHT, WIDTH, parallel_points, raster_of, seen_points, segments_of, soup
from torch import Tensor
from torch.nn.functional import normalize

from diffrender.geometry.topology import Topology
from diffrender.ops.antialias import VisibleSegments
from diffrender.ops.gather_samples import Samples
from diffrender.ops.mip_pyramid import MipPyramid, mip_pyramid
from diffrender.ops.rasterize import FaceBins, Raster, rasterize
from diffrender.ops.sample_shadow_map import Occluders
from diffrender.render.edge_models.antialias import Antialias

F64 = torch.float64
MAP_SIZE = 40
FAR = 9.0  # depth of points below all triangles of a shadow map


def uniform(*shape: int, seed: int = 0) -> Tensor:
    """Return uniform random numbers in 0..1, in float64."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    """Return normally distributed random numbers, in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def antialias_problem(
    kind: str, dtype: torch.dtype, n_views: int = 2, n_faces: int = 60
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, VisibleSegments, Tensor, tuple[int, int, int]]:
    """Return samples and silhouette segments of a soup, with random radiances and jumps."""
    verts, faces = soup(kind, 6, n_views=n_views, n_faces=n_faces, dtype=dtype)
    generator = torch.Generator().manual_seed(0)
    face_id = raster_of(verts, faces, "numba").face_id.reshape(-1)
    pixel = torch.nonzero(face_id >= 0)[:, 0]
    pixel = pixel.repeat_interleave(torch.randint(0, 5, (len(pixel),), generator=generator))
    lines = segments_of(verts, faces, "numba")
    n_segments = len(lines.pixel)
    return (
        torch.rand(len(pixel), 3, generator=generator, dtype=dtype),
        torch.randn(n_segments, 4, generator=generator, dtype=dtype),
        verts,
        faces,
        pixel,
        torch.rand(len(pixel), generator=generator, dtype=dtype),
        VisibleSegments(
            lines.pixel, lines.face, lines.bary, lines.normal_px, torch.linspace(-1, 1, n_segments).to(dtype)
        ),
        torch.rand(3, generator=generator, dtype=dtype),
        (n_views, HEIGHT, WIDTH),
    )


def barycentrics_problem(
    kind: str, dtype: torch.dtype, n_points: int = 300, n_views: int = 2
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return points in visible faces of a soup."""
    verts, faces = soup(kind, 6, n_views=n_views, dtype=dtype)
    return (verts, faces, *seen_points(verts, faces, n_points))


def changes_problem(dtype: torch.dtype = F64, n_edges: int = 300, n_channels: int = 3) -> tuple[Tensor, Tensor, float]:
    """Return values of which some differ by as much as counts, exactly or nearly, and edges between any of them."""
    exact = torch.tensor([0, 0.4, 0.8])[:, None] * torch.eye(1, n_channels)
    values = torch.cat([uniform(17, n_channels), uniform(20, n_channels).round(), exact]).to(dtype)
    return values, torch.randint(0, 40, (n_edges, 2, 2), generator=torch.Generator().manual_seed(2)), 0.4


def gather_problem(
    dtype: torch.dtype, size: tuple[int, int, int] = (2, 13, 21), n_samples: int = 4
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Samples]:
    """Return faces at centres, a tenth of the pixels to refine, the faces at their samples, offsets, shares, others."""
    generator = torch.Generator().manual_seed(n_samples)
    face_id = torch.randint(-2, 5, size, generator=generator).clamp_min(-1)
    refined = torch.nonzero(torch.rand(face_id.numel(), generator=generator) < 0.1)[:, 0]
    sample_face_id = torch.randint(-2, 5, (len(refined), n_samples), generator=generator).clamp_min(-1)
    offsets = torch.rand(n_samples, 2, generator=generator, dtype=dtype)
    share = torch.rand(len(refined), n_samples, generator=generator, dtype=dtype).softmax(1)
    pixel, (_, height, width) = refined[::3], size
    row = pixel // width
    xy = torch.stack([pixel % width, row % height], 1) + torch.rand(len(pixel), 2, generator=generator, dtype=dtype)
    weight = torch.rand(len(pixel), generator=generator, dtype=dtype)
    return face_id, refined, sample_face_id, offsets, share, Samples(pixel, row // height, 0 * pixel + 7, xy, weight)


GGX_INPUTS = ("normal", "to_camera", "to_light", "base_color", "metallic", "roughness")


def ggx_table(dtype: torch.dtype, rows: int = 5, columns: int = 9) -> Tensor:
    """Return a transmittance table T that is curved in both directions."""
    y, x = torch.meshgrid(torch.linspace(0, 1, rows), torch.linspace(0, 1, columns), indexing="ij")
    return (0.6 + 0.3 * x * (1 - 0.5 * y) - 0.1 * y * y)[..., None].to(dtype)


def ggx_problem(
    dtype: torch.dtype = F64, n_points: int = 200, n_lights: int = 3, shared: tuple[str, ...] = (), rough: float = 0.05
) -> tuple[Tensor, ...]:
    """Return random normals, with most cameras and many lights in front of them; roughness from `rough` to 1.

    shared: inputs with one row for all points.
    """
    normal = normalize(gaussian(n_points, 3, seed=1), dim=-1)
    to_camera = normalize(normalize(gaussian(n_points, 3, seed=2), dim=-1) + 1.3 * normal, dim=1)
    lights = normalize(gaussian(n_points, n_lights, 3, seed=3), dim=-1)
    to_light = normalize(lights + 0.8 * normal[:, None], dim=2)
    roughness = rough + (1 - rough) * uniform(n_points, 1, seed=4)
    parts = (normal, to_camera, to_light, uniform(n_points, 3, seed=5), uniform(n_points, 1, seed=6), roughness)
    rows = (part[:1] if name in shared else part for name, part in zip(GGX_INPUTS, parts, strict=True))
    return *(part.to(dtype) for part in rows), ggx_table(dtype)


LOBES_INPUTS = tuple(name for name in GGX_INPUTS if name != "to_light")


def lobes_problem(
    dtype: torch.dtype = F64, n_points: int = 200, n_lobes: int = 2, shared: tuple[str, ...] = ()
) -> tuple[Tensor, ...]:
    """Return the points of `ggx_problem`, and a curved table whose lobes lie between normal and mirror direction."""
    normal, to_camera, _, *rest, _ = ggx_problem(dtype, n_points, 1, shared)
    table = ggx_table(torch.float64)
    return (
        normal,
        to_camera,
        *rest,
        torch.cat([(k / 7 + 0.5) % 1 * table for k in range(2 + 4 * n_lobes)], -1).to(dtype),
    )


def lat_long_problem(dtype: torch.dtype, n_points: int = 300, padding: float = 0.1) -> tuple[Tensor, float]:
    """Return directions of different lengths, none of them within a degree of a pole."""
    directions = gaussian(n_points, 3, seed=1)
    return directions.where(directions[:, ::2].norm(dim=1, keepdim=True) > 0.02, 1.0).to(dtype), padding


def normals_problem(
    dtype: torch.dtype, n_faces: int = 80, are_hard: bool = False
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Return random triangles, some of them without area, and a vertex or number of a normal that none has."""
    generator = torch.Generator().manual_seed(n_faces)
    n_vertices = n_faces // 2 + 4
    vertices = torch.randn(n_vertices + 1, 3, generator=generator, dtype=dtype)
    faces = torch.randint(n_vertices, (n_faces, 3), generator=generator)
    faces[::17, 2] = faces[::17, 1]
    if not are_hard:
        return vertices, faces, faces, n_vertices + 1
    return vertices, faces, torch.randint(2 * n_vertices, (n_faces, 3), generator=generator), 2 * n_vertices + 3


def interpolate_problem(
    dtype: torch.dtype, n_points: int = 300, n_channels: int = 4
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return random values, faces and barycentric coordinates."""
    generator = torch.Generator().manual_seed(n_points)
    values = torch.randn(50, n_channels, generator=generator, dtype=dtype)
    faces = torch.randint(50, (80, 3), generator=generator)
    bary = torch.rand(n_points, 3, generator=generator, dtype=dtype)
    return values, faces, torch.randint(80, (n_points,), generator=generator), bary / bary.sum(1, keepdim=True)


def object_points(
    verts_hom: Tensor, faces: Tensor, n_points: int
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
    """Return points on the last two thirds of a scene's faces, which belong to an object that numbers them from 0.

    As (face_id, (verts_hom, scene_faces, scene_face_id, view, xy_px)), in image order: mostly in runs on one face.
    """
    view, face_id, xy_px = seen_points(verts_hom, faces, n_points)
    first = len(faces) // 3
    order = torch.argsort(view * len(faces) + face_id)
    order = order[face_id[order] >= first]
    shuffled = torch.randperm(len(order) // 3, generator=torch.Generator().manual_seed(n_points))
    order[: len(order) // 3] = order[: len(order) // 3][shuffled]
    return face_id[order] - first, (verts_hom, faces, face_id[order], view[order], xy_px[order])


def interpolate_at_pixels_problem(
    kind: str, dtype: torch.dtype, n_points: int = 300, n_channels: int = 3
) -> tuple[Tensor, ...]:
    """Return an object that is part of a soup and has its own vertices, in another order."""
    verts, faces = soup(kind, 6, dtype=dtype)
    face_id, seen = object_points(verts, faces, n_points)
    generator = torch.Generator().manual_seed(n_channels)
    values = torch.randn(verts.shape[1] + 5, n_channels, generator=generator, dtype=dtype)
    own = torch.randperm(len(values), generator=generator)[: verts.shape[1]][faces[len(faces) // 3 :]]
    return values, own, face_id, *seen


def screen_uvs_problem(kind: str = "in_front", dtype: torch.dtype = F64, n_points: int = 300) -> tuple[Tensor, ...]:
    """Return an object that is part of a soup and has texture coordinates."""
    verts, faces = soup(kind, 3, dtype=F64)
    face_id, seen = object_points(verts, faces, n_points)
    generator = torch.Generator().manual_seed(4)
    uvs = torch.rand(50, 2, generator=generator, dtype=F64) * 3 - 1
    uv_faces = torch.randint(50, (len(faces) - len(faces) // 3, 3), generator=generator)
    parts = (uvs, uv_faces, face_id, *seen)
    return tuple(part.to(dtype) if part.is_floating_point() else part for part in parts)


def intersections_problem(
    kind: str, dtype: torch.dtype, n_pairs: int = 60_000, n_views: int = 2, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor, int, int]:
    """Return pixels of a soup, and pairs of its faces without a common vertex."""
    verts, faces = soup(kind, seed, n_views=n_views, dtype=dtype)
    generator = torch.Generator().manual_seed(seed)
    pixel = torch.randint(n_views * HEIGHT * WIDTH, (n_pairs,), generator=generator).sort().values
    pair = torch.randint(len(faces), (n_pairs, 2), generator=generator)
    apart = (faces[pair[:, 0], :, None] != faces[pair[:, 1], None, :]).flatten(1).all(1)
    return verts, faces, pixel[apart], pair[apart], HEIGHT, WIDTH


LAMBERT_INPUTS = ("normal", "to_light", "base_color")


def lambert_problem(
    dtype: torch.dtype = F64, n_points: int = 200, n_lights: int = 3, shared: tuple[str, ...] = ()
) -> tuple[Tensor, ...]:
    """Return normals and lights in all directions: half of the lights are behind the surface."""
    normal = normalize(gaussian(n_points, 3, seed=1), dim=1)
    to_light = normalize(gaussian(n_points, n_lights, 3, seed=2), dim=2)
    parts = (normal, to_light, uniform(n_points, 3))
    rows = (part[:1] if name in shared else part for name, part in zip(LAMBERT_INPUTS, parts, strict=True))
    return tuple(part.to(dtype) for part in rows)


def transform_problem(
    dtype: torch.dtype = F64, n_points: int = 300, n_maps: int = 2, width: int = 3
) -> tuple[Tensor, Tensor]:
    """Return random points and affine maps."""
    return gaussian(n_points, 3).to(dtype), gaussian(n_maps, width, 4, seed=1).to(dtype)


def texels_of(height: int, width: int, channels: int = 3, dtype: torch.dtype = F64) -> Tensor:
    """Return an image [H, W, C] of noise."""
    return uniform(height, width, channels, seed=100 * height + width).to(dtype)


def variation_problem(
    dtype: torch.dtype = F64, size: tuple[int, int, int] = (9, 13, 3), covers: bool = True, weighs: bool = True
) -> dict[str, Any]:
    """Return texels, some as their neighbours, NaN where not covered; and weights, NaN where there is no neighbour."""
    height, width, _ = size
    texels = (6 * texels_of(*size)).round() / 6
    problem: dict[str, Any] = {"small": 0.01}
    if covers:
        covered = uniform(height, width, seed=1) < 0.8
        texels[~covered] = math.nan
        problem["covered"] = covered
    if weighs:
        weights = uniform(2, height, width, seed=2)
        weights[0, -1], weights[1, :, -1] = math.nan, math.nan
        problem["weights"] = weights.to(dtype)
    return {"texels": texels.to(dtype), **problem}


def levels_problem(
    dtype: torch.dtype = F64, size: tuple[int, int, int] = (12, 20, 3), levels: int = 2, closed: bool = False
) -> dict[str, Any]:
    """Return the levels of a pyramid of noise."""
    height, width, channels = size
    count = sum((height >> level) * (width >> level) for level in range(levels + 1))
    texels = uniform(count, channels, seed=levels).to(dtype)
    return {
        "texels": texels, "height": height, "width": width, "levels": levels, "coarse_share": 0.4, "closed": closed
    }  # fmt: skip


def vectors_of_all_lengths(dtype: torch.dtype = F64, n_vectors: int = 300) -> Tensor:
    """Return vectors of lengths from 1e-5 to 1e5, some of them zero."""
    vectors = gaussian(n_vectors, 3) * 10 ** torch.linspace(-5, 5, n_vectors)[:, None]
    vectors[::7] = 0
    return vectors.to(dtype)


def color_problem(
    dtype: torch.dtype, space: str = "srgb", penalty: str = "l1", clips: bool = False, adds: bool = False,
    weighs: bool = False, size: tuple[int, int, int] = (2, 9, 13),
) -> dict[str, Any]:  # fmt: skip
    """Return rendered colours from below 0 to above 1, some of them those wanted, of which some are clipped.

    weighs: some pixels do not count, and hold what is no number; nothing of the last view counts.
    """
    generator = torch.Generator().manual_seed(len(space) + len(penalty))
    rgba = torch.rand(*size, 4, generator=generator, dtype=F64) * 1.6 - 0.2
    images = (torch.rand(*size, 3, generator=generator, dtype=F64) * 1.6 - 0.2).clamp_max(1)
    rgba[:, ::3, ::2, :3] = images[:, ::3, ::2]
    problem = {"rgba": rgba.to(dtype), "images": images.to(dtype), "space": space, "penalty": penalty, "clips": clips}
    if adds:
        added = torch.rand(size[0], 3, generator=generator, dtype=F64) - 0.5
        problem |= {"added": added.to(dtype), "masks": torch.rand(*size, generator=generator, dtype=F64).to(dtype)}
    if weighs:
        weights = (torch.rand(*size, generator=generator, dtype=F64) * 1.5 - 0.5).clamp_min(0).to(dtype)
        weights[1:] = 0
        for name in ("rgba", "images", "masks"):
            if name in problem:
                problem[name][weights == 0] = torch.nan
        problem["weights"] = weights
    return problem


def points_in_image(n_views: int, n_points: int, dtype: torch.dtype, beyond_px: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return random (view, xy_px), up to beyond_px outside the image."""
    generator = torch.Generator().manual_seed(n_points)
    unit = torch.rand(n_points, 2, generator=generator, dtype=F64)
    xy_px = unit * (torch.tensor([WIDTH, HEIGHT]) + 2 * beyond_px) - beyond_px
    return torch.randint(n_views, (n_points,), generator=generator), xy_px.to(dtype)


def visibility_problem(
    kind: str, dtype: torch.dtype, seed: int = 0, n_points: int = 3000
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor, int, int], FaceBins]:
    """Return points inside the image of a soup and slightly outside, and the tile lists of its faces."""
    verts, faces = soup(kind, seed, dtype=dtype)
    points = points_in_image(2, n_points, dtype, beyond_px=4)
    return (verts, faces, *points, HEIGHT, WIDTH), raster_of(verts, faces, "numba").bins


def silhouettes_problem(
    kind: str, dtype: torch.dtype, seed: int = 0, n_faces: int = 60
) -> tuple[Tensor, Topology, Tensor, Tensor]:
    """Return a soup, and the facing and depth that its pixel centres see."""
    verts, faces = soup(kind, seed, n_faces=n_faces, dtype=dtype)
    raster = raster_of(verts, faces, "numba")
    return verts, Topology(faces), raster.bins.facing, raster.depth[..., 0]


def offsets_of(n_samples: int, dtype: torch.dtype) -> Tensor:
    """Return random positions of samples in their pixel."""
    return torch.rand(n_samples, 2, generator=torch.Generator().manual_seed(n_samples), dtype=dtype)


def supersample_problem(
    kind: str, dtype: torch.dtype, seed: int = 0, n_samples: int = 16
) -> tuple[tuple[Tensor, Topology, Raster, Tensor], Tensor]:
    """Return a soup, its raster and sample offsets; and a random tenth of the pixels, which are always refined."""
    verts, faces = soup(kind, seed, dtype=dtype)
    extra_pixels = torch.rand(2, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed)) < 0.1
    return (verts, Topology(faces), raster_of(verts, faces, "numba"), offsets_of(n_samples, dtype)), extra_pixels


def shadow_problem(
    dtype: torch.dtype = F64, radius: int = 3, n: int = 300
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, int, Occluders, Tensor, Tensor]:
    """Points below two triangles, one of them before the other; some points are between the two."""
    corners = torch.tensor([[6, 5, 2], [33, 9, 2], [15, 31, 2], [3, 22, 1], [36, 17, 1.5], [28, 36, 1]], dtype=F64)
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    xy_px = (MAP_SIZE * uniform(n, 2, seed=n)).to(dtype)
    depth = torch.where(torch.arange(n) % 3 == 0, 1.8, FAR).to(dtype)
    verts = parallel_points(corners)[None].to(dtype)
    raster = rasterize(verts, faces, MAP_SIZE, MAP_SIZE, near=0)
    seen = Antialias(1).visible(verts, Topology(faces), raster, 0.0, None)
    segments = seen.segments
    order = segments.pixel.argsort(stable=True)
    front = (verts[0, faces[segments.face], 3] * segments.bary).sum(1)
    # What the nearer triangle's silhouette covers is the farther one.
    behind = torch.full_like(front, math.inf)
    behind[seen.outside.segment] = 2.0
    parts = (segments.pixel, segments.face, segments.bary, segments.normal_px, front, behind)
    map_depth = raster.depth[..., 0].where(raster.face_id[..., 0] >= 0, math.inf)
    slope, bias = torch.zeros(n, 2, dtype=dtype), torch.full((n,), 1e-3, dtype=dtype)
    map_id = torch.zeros(n, dtype=torch.int64)
    occluders = Occluders(*(part[order] for part in parts))
    return map_depth, map_id, xy_px, depth, slope, bias, radius, occluders, verts, faces


def texture_problem(
    kind: str,
    dtype: torch.dtype = F64,
    n: int = 400,
    size: tuple[int, int] = (13, 20),
    channels: int = 3,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return (texels, uv, footprint) with uv in -1.5..2.5, and footprints from a third of a texel to twice the image.

    kind: "none", "width" or "derivatives": the kind of footprint.
    """
    generator = torch.Generator().manual_seed(n)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=F64)

    texels, uv = draw(*size, channels).to(dtype), (4 * draw(n, 2) - 1.5).to(dtype)
    width = 2 ** (draw(n) * 7 - 1.5)
    if kind == "none":
        return texels, uv, None
    if kind == "width":
        return texels, uv, width.to(dtype)
    direction = torch.randn(n, 2, 2, generator=generator, dtype=F64)
    derivatives = direction * width[:, None, None] / torch.tensor([[size[1]], [size[0]]])
    return texels, uv, derivatives.to(dtype)


def pyramid_problem(
    kind: str, wrap: str, dtype: torch.dtype, **more: object
) -> tuple[MipPyramid, Tensor, Tensor | None, str]:
    """Return the arguments of sample_texture for a texture_problem."""
    texels, uv, footprint = texture_problem(kind, dtype, **more)  # type: ignore[arg-type]
    return mip_pyramid(texels), uv, footprint, wrap
