"""render: the one way from a scene to an image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.ops.barycentrics import barycentrics
from diffrender.ops.collect import Samples
from diffrender.ops.rasterize import rasterize
from diffrender.render.edge_model import EdgeModel, Shaded, Visible
from diffrender.render.edge_models.antialias import Antialias
from diffrender.render.geometry import Geometry, gather_geometry
from diffrender.render.shade import shade
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene


@dataclass(frozen=True)
class RenderOutput:
    """What `render` gives.

    rgba: [N, H, W, 4] linear colour over the scene's background, and coverage in 0..1.
    visible: the samples and outlines it was made of.
    """

    rgba: Tensor
    visible: Visible

    @property
    def fragments(self) -> Samples:
        """The samples that see a surface."""
        return self.visible.samples

    @property
    def face_id(self) -> Tensor:
        """[N, H, W] int64; `face_id[n, i, j] = f`: the centre of the pixel sees face f of the scene; -1 for none."""
        return self.visible.raster.face_id[..., 0]

    @property
    def depth(self) -> Tensor:
        """[N, H, W] camera depth at pixel centres in world units, 0 where nothing is; without gradient."""
        return self.visible.raster.depth[..., 0]


def render(
    scene: Scene, cameras: Cameras, edges: EdgeModel | None = None, *, backend: str | None = None
) -> RenderOutput:
    """Images of `scene` from N `cameras`, differentiable in everything in the scene and in the cameras.

    edges: how edges are drawn and differentiated; Antialias() by default.
    backend: implementation of the ops; by default the device's own.
    """
    edges = Antialias() if edges is None else edges
    geometry = gather_geometry(scene)
    faces = geometry.topology.faces
    verts_hom = cameras.project(geometry.verts_w)
    raster = rasterize(verts_hom, faces, cameras.height, cameras.width, near=cameras.near, backend=backend)
    visible = edges.visible(verts_hom.detach(), geometry.topology, raster, cameras.near, backend)

    samples = visible.samples
    bary = barycentrics(verts_hom, faces, samples.view, samples.face_id, samples.place_px, backend=backend)
    radiance = shade(scene, geometry, cameras, samples.face_id, bary, samples.view, backend)
    if verts_hom.requires_grad:  # without a gradient nothing moves, and never under torch.no_grad()
        jump = jump_across(scene, geometry, cameras, verts_hom, visible, backend)
    else:
        jump = verts_hom.new_zeros(len(visible.outlines.pixel), 4)
    shaded = Shaded(verts_hom, radiance, jump, scene.background)
    image = edges.image(shaded, geometry.topology, visible, backend)
    return RenderOutput(image, visible)


@torch.no_grad()
def jump_across(
    scene: Scene, geometry: Geometry, cameras: Cameras, verts_hom: Tensor, visible: Visible, backend: str | None
) -> Tensor:
    """[P, 4] colour and coverage on each piece of outline, minus those seen just outside it."""
    outlines, beyond = visible.outlines, visible.beyond
    if len(outlines.pixel) == 0:
        return verts_hom.new_empty(0, 4)
    faces = geometry.topology.faces
    bary = barycentrics(verts_hom, faces, beyond.view, beyond.face_id, beyond.place_px, backend=backend)
    radiance = shade(
        scene,
        geometry,
        cameras,
        torch.cat([outlines.face, beyond.face_id]),
        torch.cat([outlines.bary, bary]),
        torch.cat([visible.outline_view, beyond.view]),
        backend,
    )
    outside = torch.nn.functional.pad(scene.background, (0, 1)).repeat(len(outlines.pixel), 1)
    outside[beyond.outline, :3] = radiance[len(outlines.pixel) :]
    outside[beyond.outline, 3] = 1
    return torch.nn.functional.pad(radiance[: len(outlines.pixel)], (0, 1), value=1.0) - outside
