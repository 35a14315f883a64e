"""Shadow maps: depth maps of the scene from each light, looked up at the points that it shines on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.derivatives import constant, has_derivative, on_plain_tensors, without_derivatives
from diffrender.list_sizes import SizesError, has_sizes
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

# Surfaces closer than this, in texels of the map at their position, do not shadow each other: neighbouring faces of a
# curved surface deviate that much from each other's planes.
BIAS_TEXELS = 1.5
# Upper limit of a surface's slope against the light, as the tangent of the angle.
STEEPEST = 20.0
# Depth of empty texels.
NOTHING = float("inf")


@dataclass(frozen=True)
class ShadowMaps:
    """The shadow maps of one light.

    shadow: the light's options.
    cameras: the L cameras of the maps: `sides` of them per camera of the image, or for all of these together.
    sides: number of maps from one position in different directions.
    per_view: whether each camera of the image has its own maps.
    depth: [L, H, W] screen depths, which are linear across the image of a plane (`_screen_depth`).
    occluders: the silhouette segments in the maps.
    verts_hom: [L, V, 4] homogeneous pixel coordinates of the scene in the maps, with gradient. faces: [F, 3].
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
    """A light with shadow maps: dimmed where it is occluded."""

    light: PunctualLight
    maps: ShadowMaps

    def prepared(self) -> Shadowed:
        """Return the light itself."""
        return self

    def sample(self, surface: ShadingPoints) -> LightSamples:
        """Return the light's sample times the fraction of it that each point sees."""
        samples = self.light.sample(surface)
        visible = visible_fraction(self.maps, surface)
        return LightSamples(samples.to_light_w, samples.radiance * visible[:, None, None])

    def shade(self, surface: ShadingPoints, material: Material) -> Tensor:
        """Return the material's reflection of its sample."""
        return shade_samples(self.sample(surface), surface, material)


def with_shadows(light: Light, geometry: SceneTriangles, cameras: Cameras, backend: str | None) -> Light:
    """Return `light`, with shadow maps of the scene if it casts shadows."""
    if not isinstance(light, PunctualLight) or light.shadow is None:
        return light
    if has_sizes():
        raise SizesError("shadow maps ask the device where their lights look")
    vertices = constant(geometry.verts_w)
    low, high = vertices.amin(0), vertices.amax(0)
    center = (low + high) / 2
    bounds = Bounds(center, (vertices - center).norm(dim=1).max())
    map_cameras = light.shadow_cameras(bounds, cameras)
    sides = len(map_cameras) // (len(cameras) if light.frame == "camera" else 1)
    return Shadowed(light, _render_maps(light.shadow, map_cameras, sides, light.frame == "camera", geometry, backend))


def _render_maps(
    shadow: Shadow, cameras: Cameras, sides: int, per_view: bool, geometry: SceneTriangles, backend: str | None
) -> ShadowMaps:
    faces = geometry.topology.faces
    verts_hom = cameras.project(geometry.verts_w, backend)
    moves = has_derivative(verts_hom)
    with on_plain_tensors():
        fixed = constant(verts_hom)
        raster = rasterize(fixed, faces, cameras.height, cameras.width, near=cameras.near, backend=backend)
        seen = raster.face_id[..., 0] >= 0
        depth = _screen_depth(raster.depth[..., 0].where(seen, 1), cameras).where(seen, NOTHING)
        occluders = _occluders(cameras, geometry, fixed, raster, backend) if moves else _no_occluders(fixed)
    return ShadowMaps(shadow, cameras, sides, per_view, depth, occluders, verts_hom, faces)


def _no_occluders(verts_hom: Tensor) -> Occluders:
    """Return no occluders: without derivatives none are needed."""
    none, zeros = torch.zeros(0, dtype=torch.int64, device=verts_hom.device), verts_hom.new_zeros
    return Occluders(none, none, zeros(0, 3), zeros(0, 2), zeros(0), zeros(0))


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
    behind[outside.segment] = _screen_depth(_depth_at(verts_hom, faces, outside.view, outside.face_id, bary), cameras)
    return Occluders(
        segments.pixel[order],
        segments.face[order],
        segments.bary[order],
        segments.normal_px[order],
        _screen_depth(front, cameras)[order],
        behind[order],
    )


def _depth_at(verts_hom: Tensor, faces: Tensor, view: Tensor, face: Tensor, bary: Tensor) -> Tensor:
    return (verts_hom[view[:, None], faces[face], 3] * bary).sum(1)


def _screen_depth(depth: Tensor, cameras: Cameras) -> Tensor:
    """Return the screen depth of camera depths: it is linear across the image of a plane."""
    return _lens(cameras).screen_depth(depth.clamp_min(cameras.near))


def _lens(cameras: Cameras) -> Rectilinear:
    """Return the projection of the shadow maps, which keeps straight lines straight (scene.shadow_cameras)."""
    assert isinstance(cameras.projection, Rectilinear)
    return cameras.projection


def visible_fraction(maps: ShadowMaps, surface: ShadingPoints) -> Tensor:
    """Return the [M] fraction in 0..1 of the light that each point of the surface sees."""
    cameras = maps.cameras
    base = surface.view * maps.sides if maps.per_view else torch.zeros_like(surface.view)
    map_id = base if maps.sides == 1 else base + _side(maps, surface, base)
    rotation = cameras.cam_from_world[:, :3, :3].index_select(0, map_id)
    offset = cameras.cam_from_world[:, :3, 3].index_select(0, map_id)
    point = (rotation * surface.position_w[:, None, :]).sum(-1) + offset
    depth = point[:, 2].clamp_min(cameras.near)
    lens, focal, center = _lens(cameras), cameras.focal_px[0, 0], cameras.width / 2
    xy_px = point[:, :2] / lens.scale(depth)[:, None] * focal + center

    with without_derivatives():
        normal = (rotation * surface.face_normal_w[:, None, :]).sum(-1)
        facing, slope = lens.plane_slope(point, normal, depth, focal, STEEPEST)
        bias = lens.screen_depth_step(depth, BIAS_TEXELS * (lens.scale(depth) / focal))
        # Faces that face away from the light are dark already: they get no shadow edge, whatever their smooth normals.
        bias = bias.where(facing > 0, NOTHING)
        screen_depth = lens.screen_depth(depth)
    return sample_shadow_map(
        maps.depth, map_id, xy_px, screen_depth, slope, bias, maps.shadow.radius, maps.occluders, maps.verts_hom,
        maps.faces, backend=surface.backend,
    )  # fmt: skip


@without_derivatives()
def _side(maps: ShadowMaps, surface: ShadingPoints, base: Tensor) -> Tensor:
    """Return the [M] index of the map of a position that sees each point: the one in which its depth is largest."""
    forward = maps.cameras.cam_from_world[:, 2]
    rows = forward[base[:, None] + torch.arange(maps.sides, device=base.device)]
    return ((rows[..., :3] * surface.position_w[:, None, :]).sum(-1) + rows[..., 3]).argmax(1)
