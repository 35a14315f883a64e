"""render: the only way from a scene to an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.ops.barycentrics import barycentrics
from diffrender.ops.blur import blur
from diffrender.ops.rasterize import rasterize
from diffrender.render.aovs import AOV, AOVS, background_of, channels_of, check_aovs
from diffrender.render.check_precision import check_precision
from diffrender.render.edge_model import EdgeModel, Shaded, Visible
from diffrender.render.edge_models.antialias import Antialias
from diffrender.render.jump_edges import find_jumps
from diffrender.render.scene_triangles import SceneTriangles, gather_triangles
from diffrender.render.shading import prepare, shade
from diffrender.scene.cameras import Cameras
from diffrender.scene.quantity_kinds import named_tensors
from diffrender.scene.scene import Scene
from diffrender.scene.shading_points import ScreenPoints
from diffrender.threads import on_kernel_threads


@dataclass(frozen=True)
class RenderOutput:
    """The images that `render` returns.

    image: [N, H, W, C + 1] the AOVs one after the other, then coverage in 0..1.
    aovs: their names (diffrender.render.aovs).
    visible: the samples and silhouette segments it was made of.
    sharp: the images before the cameras' blur; None if they have none. sigma_px: that of the cameras.
    """

    image: Tensor
    aovs: tuple[str, ...]
    visible: Visible
    sharp: Tensor | None = None
    sigma_px: Tensor | None = None

    @property
    def rgba(self) -> Tensor:
        """[N, H, W, 4] linear RGB over the background, and coverage. Raises ShapeError if "color" was not rendered."""
        if self.aovs == ("color",):
            return self.image
        return torch.cat([self.aov("color"), self.coverage[..., None]], -1)

    def rgba_of_known_blur(self) -> Tensor:
        """Return `rgba`, without gradient in the blur of the cameras."""
        if self.sharp is None or self.sigma_px is None or not self.sigma_px.requires_grad:
            return self.rgba
        known = blur_colors(self.sharp, self.sigma_px.detach(), self.aovs, None)
        return RenderOutput(known, self.aovs, self.visible).rgba

    @property
    def coverage(self) -> Tensor:
        """[N, H, W] covered fraction of each pixel, in 0..1."""
        return self.image[..., -1]

    def aov(self, name: str) -> Tensor:
        """Return the AOV `name` [N, H, W, C], box-filtered. Raises ShapeError if it was not rendered."""
        if name not in self.aovs:
            raise ShapeError(f"RenderOutput: there is no AOV {name!r}, only {', '.join(self.aovs)}; pass it to render")
        return self.image[..., channels_of(self.aovs, name)]

    @property
    def face_id(self) -> Tensor:
        """[N, H, W] int64; `face_id[n, i, j] = f`: the pixel's centre sees face f of the scene; -1 for none."""
        return self.visible.raster.face_id[..., 0]

    @property
    def depth(self) -> Tensor:
        """[N, H, W] camera depth at pixel centres in world units, 0 if uncovered; without gradient."""
        return self.visible.raster.depth[..., 0]


RenderViews: TypeAlias = Callable[[Scene, Cameras], RenderOutput]
"""A function from a scene and N cameras to their images, differentiable."""

RenderStep: TypeAlias = Callable[[Scene, Cameras, int], RenderOutput]
"""A function from a scene, N cameras and the number of completed steps to their images, differentiable."""


@on_kernel_threads
def render(
    scene: Scene,
    cameras: Cameras,
    edges: EdgeModel | None = None,
    *,
    aovs: Sequence[str] = ("color",),
    backend: str | None = None,
) -> RenderOutput:
    """Render `scene` from N `cameras`; differentiable in all tensors of the scene and of the cameras.

        image = render(scene, cameras).rgba  # [N, H, W, 4] linear RGB over the background, and coverage

    It is exported as `diffrender.render_scene`. Pixels are box-filtered: gradients include the motion of silhouettes.

    edges: edge model, which draws and differentiates silhouettes; if omitted: Antialias().
    aovs: the AOVs that the images hold: "color", "normal", "depth".
    backend: implementation of the ops, "numba", "triton" or "reference"; if omitted: Numba on the CPU, Triton on CUDA.

    Raises ShapeError for a scene without objects, for unknown AOVs, for values that do not match the meshes, and unless
    all tensors are on one device; BackendError for a backend that is unknown or cannot run there. Warns, once per mesh,
    of a scene so far from the origin that float32 does not resolve it (PrecisionWarning), or of which most is nearer
    than `cameras.near` (NearPlaneWarning).
    """
    edges = Antialias() if edges is None else edges
    names = check_aovs("render", aovs)
    check_one_device(scene, cameras)
    geometry = gather_triangles(scene, backend)
    check_precision(scene, geometry, cameras, backend)
    scene = prepare(scene, geometry, cameras, backend)
    faces = geometry.topology.faces
    verts_hom = cameras.project(geometry.verts_w, backend)
    raster = rasterize(verts_hom, faces, cameras.height, cameras.width, near=cameras.near, backend=backend)
    jumps = find_jumps(scene, geometry, aovs, backend)
    visible = edges.visible(verts_hom.detach(), geometry.topology, raster, cameras.near, backend, jumps)

    samples = visible.samples
    points = ScreenPoints(verts_hom, faces, samples.face_id, samples.view, samples.xy_px, backend)
    quantities = [AOVS[name] for name in names]
    values = shade(scene, geometry, cameras, quantities, samples.face_id, points, samples.view, backend)
    background = background_of(scene, names)
    if verts_hom.requires_grad:  # jumps only serve gradients, so there are none under torch.no_grad()
        jump = jump_across(scene, geometry, cameras, quantities, background, verts_hom, visible, backend)
    else:
        jump = verts_hom.new_zeros(len(visible.segments.pixel), len(background) + 1)
    shaded = Shaded(verts_hom, values, jump, background)
    image = apply_exposure(edges.image(shaded, geometry.topology, visible, backend), cameras, names)
    if cameras.blur_px is None or "color" not in names:
        return RenderOutput(image, names, visible)
    blurred = blur_colors(image, cameras.blur_px, names, backend)
    return RenderOutput(blurred, names, visible, image, cameras.blur_px)


def check_one_device(scene: Scene, cameras: Cameras) -> None:
    """Raise ShapeError unless all tensors, single numbers aside, are where the vertices of the first object are."""
    wanted = next((item.mesh.vertices.device for item in scene.objects.values()), None)
    for whole, value in (("scene", scene), ("cameras", cameras)):
        for path, tensor in named_tensors(value, whole):
            if wanted is not None and tensor.device != wanted and tensor.dim():
                raise ShapeError(
                    f"render: {path} is on {tensor.device}, but the vertices of the first object are on {wanted};"
                    f" use {whole}.to({str(wanted)!r})"
                )


def blur_colors(image: Tensor, sigma_px: Tensor, aovs: Sequence[str], backend: str | None) -> Tensor:
    """Blur the colours of `image` [N, H, W, C + 1]; other AOVs and coverage stay sharp."""
    where = channels_of(aovs, "color")
    blurred = blur(image[..., where].contiguous(), sigma_px, backend=backend)
    return torch.cat([image[..., : where.start], blurred, image[..., where.stop :]], -1)


def apply_exposure(image: Tensor, cameras: Cameras, aovs: Sequence[str]) -> Tensor:
    """Multiply the colours of `image` [N, H, W, C + 1] by each camera's exposure and white balance."""
    gains = cameras.gains()
    if gains is None or "color" not in aovs:
        return image
    factors = image.new_ones(len(image), image.shape[-1])
    factors[:, channels_of(aovs, "color")] = gains
    return image * factors[:, None, None]


@torch.no_grad()
def jump_across(
    scene: Scene,
    geometry: SceneTriangles,
    cameras: Cameras,
    aovs: Sequence[AOV],
    background: Tensor,
    verts_hom: Tensor,
    visible: Visible,
    backend: str | None,
) -> Tensor:
    """Return [P, C + 1] AOVs and coverage on each silhouette segment minus those just outside it."""
    segments, outside = visible.segments, visible.outside
    if len(segments.pixel) == 0:
        return verts_hom.new_empty(0, len(background) + 1)
    faces = geometry.topology.faces
    bary = barycentrics(verts_hom, faces, outside.view, outside.face_id, outside.xy_px, backend=backend)
    values = shade(
        scene,
        geometry,
        cameras,
        aovs,
        torch.cat([segments.face, outside.face_id]),
        torch.cat([segments.bary, bary]),
        torch.cat([visible.segment_view, outside.view]),
        backend,
    )
    n_segments = len(segments.pixel)
    subtracted = torch.nn.functional.pad(background, (0, 1)).repeat(n_segments, 1)
    subtracted[outside.segment, :-1] = values[n_segments:]
    subtracted[outside.segment, -1] = 1
    return torch.nn.functional.pad(values[:n_segments], (0, 1), value=1.0) - subtracted
