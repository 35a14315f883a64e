"""Lights with cast shadows: maps of the scene as each light sees it, asked by the points that it shines on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.ops.barycentrics import barycentrics
from diffrender.ops.rasterize import Raster, rasterize
from diffrender.ops.sample_shadow_map import Occluders, sample_shadow_map
from diffrender.render.edge_models.antialias import Antialias
from diffrender.render.scene_triangles import SceneTriangles
from diffrender.scene.cameras import Cameras
from diffrender.scene.light import Light, LightSamples, PunctualLight, shade_samples
from diffrender.scene.material import Material
from diffrender.scene.projection import Rectilinear
from diffrender.scene.shading_points import ShadingPoints
from diffrender.scene.shadow_cameras import Bounds, Shadow

# Surfaces closer than this to another one, in texels of the map at their place, do not shade each other: facets of
# a curved surface lie that far from one another's planes.
BIAS_TEXELS = 1.5
# A surface that slants more than this against the light (the tangent of the angle) counts as if it slanted so much.
STEEPEST = 20.0
# Depths of what is not there.
NOTHING = float("inf")


@dataclass(frozen=True)
class ShadowMaps:
    """What a light sees.

    shadow: what the light asks for.
    cameras: L maps' cameras: `sides` of them for each camera of the image, or for all of them together.
    sides: maps that look different ways from one place.
    per_view: whether each camera of the image has its own.
    depth: [L, H, W] depths in a measure that is linear across the image of a plane (`_measure`).
    occluders: the silhouette segments in the maps.
    verts_hom: [L, V, 4] the scene in the maps, with gradient; faces: [F, 3].
    """

    shadow: Shadow
    cameras: Cameras
    sides: int
    per_view: bool
    depth: Tensor
    occluders: Occluders
    verts_hom: Tensor
    faces: Tensor


@dataclass(frozen=True)
class Shadowed(Light):
    """A light, dimmed where something stands before it."""

    light: PunctualLight
    maps: ShadowMaps

    def prepared(self) -> Shadowed:
        """Itself."""
        return self

    def sample(self, surface: ShadingPoints) -> LightSamples:
        """The light's sample, times the part of it that each point sees."""
        samples = self.light.sample(surface)
        visible = visible_fraction(self.maps, surface)
        return LightSamples(samples.to_light_w, samples.radiance * visible[:, None, None])

    def shade(self, surface: ShadingPoints, material: Material) -> Tensor:
        """What the material reflects of its sample."""
        return shade_samples(self.sample(surface), surface, material)


def with_shadows(light: Light, geometry: SceneTriangles, cameras: Cameras, backend: str | None) -> Light:
    """`light`, with maps of the scene where it casts shadows."""
    if not isinstance(light, PunctualLight) or light.shadow is None:
        return light
    vertices = geometry.verts_w.detach()
    low, high = vertices.amin(0), vertices.amax(0)
    center = (low + high) / 2
    bounds = Bounds(center, (vertices - center).norm(dim=1).max())
    seen_by = light.shadow_cameras(bounds, cameras)
    sides = len(seen_by) // (len(cameras) if light.frame == "camera" else 1)
    return Shadowed(light, _maps(light.shadow, seen_by, sides, light.frame == "camera", geometry, backend))


def _maps(
    wanted: Shadow, cameras: Cameras, sides: int, per_view: bool, geometry: SceneTriangles, backend: str | None
) -> ShadowMaps:
    faces = geometry.topology.faces
    verts_hom = cameras.project(geometry.verts_w)
    raster = rasterize(verts_hom, faces, cameras.height, cameras.width, near=cameras.near, backend=backend)
    seen = raster.face_id[..., 0] >= 0
    depth = _measure(raster.depth[..., 0].where(seen, 1), cameras).where(seen, NOTHING)
    if verts_hom.requires_grad:
        occluders = _occluders(cameras, geometry, verts_hom, raster, backend)
    else:
        occluders = _no_occluders(verts_hom)
    return ShadowMaps(wanted, cameras, sides, per_view, depth, occluders, verts_hom, faces)


def _no_occluders(verts_hom: Tensor) -> Occluders:
    """Where nothing has a gradient, none are needed."""
    none, number = torch.zeros(0, dtype=torch.int64, device=verts_hom.device), verts_hom.new_zeros
    return Occluders(none, none, number(0, 3), number(0, 2), number(0), number(0))


@torch.no_grad()
def _occluders(
    cameras: Cameras, geometry: SceneTriangles, verts_hom: Tensor, raster: Raster, backend: str | None
) -> Occluders:
    """Return the silhouette segments in the maps."""
    topology, faces = geometry.topology, geometry.topology.faces
    visible = Antialias(1).visible(verts_hom, topology, raster, cameras.near, backend)
    segments, outside = visible.segments, visible.outside
    order = segments.pixel.argsort(stable=True)
    front = _depth_at(verts_hom, faces, visible.segment_view, segments.face, segments.bary)
    behind = front.new_full(front.shape, NOTHING)
    bary = barycentrics(verts_hom, faces, outside.view, outside.face_id, outside.xy_px, backend=backend)
    behind[outside.segment] = _measure(_depth_at(verts_hom, faces, outside.view, outside.face_id, bary), cameras)
    return Occluders(
        segments.pixel[order],
        segments.face[order],
        segments.bary[order],
        segments.normal_px[order],
        _measure(front, cameras)[order],
        behind[order],
    )


def _depth_at(verts_hom: Tensor, faces: Tensor, view: Tensor, face: Tensor, bary: Tensor) -> Tensor:
    return (verts_hom[view[:, None], faces[face], 3] * bary).sum(1)


def _measure(depth: Tensor, cameras: Cameras) -> Tensor:
    """Depths in the measure that is linear across the image of a plane."""
    return _lens(cameras).screen_depth(depth.clamp_min(cameras.near))


def _lens(cameras: Cameras) -> Rectilinear:
    """The projection of a shadow map, one of those that image planes as planes (scene.shadow_cameras)."""
    assert isinstance(cameras.projection, Rectilinear)
    return cameras.projection


def visible_fraction(maps: ShadowMaps, surface: ShadingPoints) -> Tensor:
    """[M] in 0..1: the part of the light that each point of the surface sees."""
    cameras = maps.cameras
    base = surface.view * maps.sides if maps.per_view else torch.zeros_like(surface.view)
    map_id = base if maps.sides == 1 else base + _side(maps, surface, base)
    rotation = cameras.cam_from_world[:, :3, :3].index_select(0, map_id)
    offset = cameras.cam_from_world[:, :3, 3].index_select(0, map_id)
    point = (rotation * surface.position_w[:, None, :]).sum(-1) + offset
    depth = point[:, 2].clamp_min(cameras.near)
    lens, focal, center = _lens(cameras), cameras.focal_px[0, 0], cameras.width / 2
    xy_px = point[:, :2] / lens.scale(depth)[:, None] * focal + center

    with torch.no_grad():
        normal = (rotation * surface.face_normal_w[:, None, :]).sum(-1)
        facing, slope = lens.plane_slope(point, normal, depth, focal, STEEPEST)
        bias = lens.screen_depth_step(depth, BIAS_TEXELS * (lens.scale(depth) / focal))
        # Faces that turn away from the light get none of it; whatever their smooth normals say, no edge begins there.
        bias = bias.where(facing > 0, NOTHING)
        measure = lens.screen_depth(depth)
    return sample_shadow_map(
        maps.depth, map_id, xy_px, measure, slope, bias, maps.shadow.radius, maps.occluders, maps.verts_hom,
        maps.faces, backend=surface.backend,
    )  # fmt: skip


@torch.no_grad()
def _side(maps: ShadowMaps, surface: ShadingPoints, base: Tensor) -> Tensor:
    """[M] which of the maps around one place looks at each point: the one it lies deepest in."""
    forward = maps.cameras.cam_from_world[:, 2]
    rows = forward[base[:, None] + torch.arange(maps.sides, device=base.device)]
    return ((rows[..., :3] * surface.position_w[:, None, :]).sum(-1) + rows[..., 3]).argmax(1)
