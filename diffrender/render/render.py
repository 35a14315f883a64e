"""render: the one way from a scene to an image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.ops.barycentrics import barycentrics
from diffrender.ops.rasterize import rasterize
from diffrender.render.edge_model import EdgeModel, Visible
from diffrender.render.edge_models.antialias import Antialias
from diffrender.render.fragments import Fragments
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
    def fragments(self) -> Fragments:
        """The samples that see a surface."""
        return self.visible.fragments

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

    samples = visible.fragments
    view = samples.pixel // (cameras.height * cameras.width)
    bary = barycentrics(verts_hom, faces, view, samples.face_id, samples.place_px, backend=backend)
    radiance = shade(scene, geometry, cameras, samples.face_id, bary, view, backend)
    jump = jump_across(scene, geometry, cameras, verts_hom, visible, backend)
    image = edges.image(radiance, jump, verts_hom, geometry.topology, visible, backend)
    color, alpha = image[..., :3], image[..., 3:]
    return RenderOutput(torch.cat([color + (1 - alpha) * scene.background, alpha], -1), visible)


@torch.no_grad()
def jump_across(
    scene: Scene, geometry: Geometry, cameras: Cameras, verts_hom: Tensor, visible: Visible, backend: str | None
) -> Tensor:
    """[P, 4] premultiplied colour and coverage on each piece of outline, minus those seen just outside it."""
    outlines, beyond = visible.outlines, visible.beyond
    view = outlines.pixel // (cameras.height * cameras.width)
    covered = torch.nonzero(beyond.face_id >= 0)[:, 0]
    face_id, place_px = beyond.face_id[covered], beyond.place_px[covered]
    faces = geometry.topology.faces
    bary = barycentrics(verts_hom, faces, view[covered], face_id, place_px, backend=backend)
    radiance = shade(
        scene,
        geometry,
        cameras,
        torch.cat([outlines.face, face_id]),
        torch.cat([outlines.bary, bary]),
        torch.cat([view, view[covered]]),
        backend,
    )
    radiance = torch.nn.functional.pad(radiance, (0, 1), value=1.0)
    jump, outside = radiance.split([len(view), len(covered)])
    return jump.index_add(0, covered, outside, alpha=-1)
