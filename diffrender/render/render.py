"""render: the only way from a scene to an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from diffrender.checks import check_type
from diffrender.derivatives import constant, has_derivative, on_plain_tensors, without_derivatives
from diffrender.errors import ShapeError
from diffrender.imaging.response import respond
from diffrender.ops.barycentrics import barycentrics
from diffrender.ops.blur import blur_channels
from diffrender.ops.rasterize import rasterize
from diffrender.render.aovs import AOV, AOVS, background_of, channels_of, check_aovs
from diffrender.render.check_orientation import check_orientation
from diffrender.render.check_precision import check_precision
from diffrender.render.check_vertices import check_vertices
from diffrender.render.common_dtype import check_one_device, in_common_dtype, narrowest_dtype
from diffrender.render.edge_model import EdgeModel, Shaded, Visible
from diffrender.render.edge_models.antialias import Antialias
from diffrender.render.jump_edges import find_jumps
from diffrender.render.scene_triangles import SceneTriangles, gather_triangles
from diffrender.render.shading import prepare, shade
from diffrender.scene.cameras import Cameras
from diffrender.scene.parameter_paths import scene_at
from diffrender.scene.scene import Scene
from diffrender.scene.shading_points import ScreenPoints
from diffrender.threads import on_kernel_threads


@dataclass(frozen=True)
class RenderOutput:
    """The images that `render` returns.

    image: [N, H, W, C + 1] the AOVs one after the other, then coverage in 0..1.
    aovs: their names (diffrender.render.aovs).
    face_id: [N, H, W] int64; `face_id[n, i, j] = f`: the pixel's centre sees face f of the scene; -1 for none.
    depth: [N, H, W] camera depth at pixel centres in world units, 0 if uncovered; without gradient.
    visible: the samples and silhouette segments it was made of; None if the scene moves, which is an image per time.
    """

    image: Tensor
    aovs: tuple[str, ...]
    face_id: Tensor
    depth: Tensor
    visible: Visible | None

    @property
    def rgba(self) -> Tensor:
        """[N, H, W, 4] linear RGB over the background, and coverage. Raises ShapeError if "color" was not rendered."""
        if self.aovs == ("color",):
            return self.image
        return torch.cat([self.aov("color"), self.coverage[..., None]], -1)

    @property
    def coverage(self) -> Tensor:
        """[N, H, W] covered fraction of each pixel, in 0..1."""
        return self.image[..., -1]

    def aov(self, name: str) -> Tensor:
        """Return the AOV `name` [N, H, W, C], box-filtered. Raises ShapeError if it was not rendered."""
        if name not in self.aovs:
            raise ShapeError(f"RenderOutput: there is no AOV {name!r}, only {', '.join(self.aovs)}; pass it to render")
        return self.image[..., channels_of(self.aovs, name)]


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
    """Render `scene` from N `cameras`; differentiable in all tensors of the scene and of the cameras, once.

    In reverse mode, and in forward mode (torch.func.jvp and jacfwd, torch.autograd.forward_ad).

        image = render(scene, cameras).rgba  # [N, H, W, 4] linear RGB over the background, and coverage

    It is exported as `diffrender.render_scene`. Pixels are box-filtered: gradients include the motion of silhouettes.

    edges: edge model, which draws and differentiates silhouettes; if omitted: Antialias().
    aovs: the AOVs that the images hold: "color", "normal", "depth".
    Tensors may be float32 and float64: images are in the wider one of vertices, poses and cameras.
    A scene that moves (`scene.motion`) is rendered once for each of its times that the cameras see.
    backend: implementation of the ops, "numba", "triton" or "reference"; if omitted: Numba on the CPU, Triton on CUDA.

    Raises ShapeError for a scene without objects, for unknown AOVs, for values that do not match the meshes, and unless
    all tensors are on one device; BackendError for a backend that is unknown or cannot run there. Warns, once per mesh,
    of a scene so far from the origin that float32 does not resolve it (PrecisionWarning), of which most is nearer than
    `cameras.near` (NearPlaneWarning), or with faces turned against their neighbours (OrientationWarning); and of faces
    whose vertices are not finite (NotFiniteWarning).
    """
    check_type("render", "scene", scene, Scene)
    check_type("render", "cameras", cameras, Cameras)
    edges = Antialias() if edges is None else edges
    check_type("render", "edges", edges, EdgeModel, "an EdgeModel, such as Antialias() or Soft()")
    names = check_aovs("render", aovs)
    check_one_device(scene, cameras)
    if scene.motion is not None:
        return _render_moving(scene, cameras, edges, names, backend)
    given = narrowest_dtype(scene, cameras)
    scene, cameras = in_common_dtype(scene, cameras)
    geometry = gather_triangles(scene, backend)
    check_vertices(scene, geometry)
    check_precision(scene, geometry, cameras, given, backend)
    check_orientation(scene, names)
    scene = prepare(scene, geometry, cameras, backend)
    faces = geometry.topology.faces
    verts_hom = cameras.project(geometry.verts_w, backend)
    jumps = find_jumps(scene, geometry, aovs, backend)
    with on_plain_tensors():
        fixed = constant(verts_hom)
        raster = rasterize(fixed, faces, cameras.height, cameras.width, near=cameras.near, backend=backend)
        visible = edges.visible(fixed, geometry.topology, raster, cameras.near, backend, jumps)

    samples = visible.samples
    points = ScreenPoints(verts_hom, faces, samples.face_id, samples.view, samples.xy_px, backend)
    quantities = [AOVS[name] for name in names]
    values = shade(scene, geometry, cameras, quantities, samples.face_id, points, samples.view, backend)
    background = background_of(scene, names)
    if has_derivative(verts_hom):  # jumps only serve derivatives: under torch.no_grad() there are none
        jump = jump_across(scene, geometry, cameras, quantities, background, verts_hom, visible, backend)
    else:
        jump = verts_hom.new_zeros(len(visible.segments.pixel), len(background) + 1)
    shaded = Shaded(verts_hom, values, jump, background)
    image = apply_exposure(edges.image(shaded, geometry.topology, visible, backend), cameras, names)
    if cameras.blur_px is not None and "color" in names:
        color = channels_of(names, "color")
        image = blur_channels(image, cameras.blur_px, color, cameras.blur_mask, backend=backend)
    return RenderOutput(image, names, raster.face_id[..., 0], raster.depth[..., 0], visible)


def _render_moving(
    scene: Scene, cameras: Cameras, edges: EdgeModel, aovs: Sequence[str], backend: str | None
) -> RenderOutput:
    """Render a scene that moves: the views of each time together."""
    assert scene.motion is not None
    rows = [0] * len(cameras) if cameras.time is None else scene.motion.rows_at(cameras.time)
    outputs, order = [], []
    for row in dict.fromkeys(rows):
        views = [view for view, own in enumerate(rows) if own == row]
        still = scene_at(scene, row)
        outputs.append(render(still, cameras.select(views), edges, aovs=aovs, backend=backend))
        order += views
    if len(outputs) == 1:
        return outputs[0]
    places = torch.argsort(torch.tensor(order, device=scene.background.device))
    parts = zip(*((each.image, each.face_id, each.depth) for each in outputs), strict=True)
    image, face_id, depth = (torch.cat(part).index_select(0, places) for part in parts)
    return RenderOutput(image, tuple(aovs), face_id, depth, None)


def _around_color(image: Tensor, aovs: Sequence[str]) -> Sequence[Tensor]:
    """Split the channels of `image` [N, H, W, C + 1] into those before the colour, the colour and those after it."""
    where = channels_of(aovs, "color")
    return image.split([where.start, where.stop - where.start, image.shape[-1] - where.stop], -1)


def apply_exposure(image: Tensor, cameras: Cameras, aovs: Sequence[str]) -> Tensor:
    """Return `image` [N, H, W, C + 1] with the colours that each camera makes of light: gains, vignetting, response."""
    gains, passed = cameras.gains(), cameras.vignetting_factors()
    if "color" not in aovs:
        return image
    if gains is not None:
        factors = image.new_ones(len(image), image.shape[-1])
        factors[:, channels_of(aovs, "color")] = gains
        image = image * factors[:, None, None]
    if passed is None and cameras.response is None:
        return image
    before, seen, after = _around_color(image, aovs)
    if passed is not None:
        seen = seen * passed[..., None]
    if cameras.response is not None:
        seen = respond(seen, cameras.response)
    return torch.cat([before, seen, after], -1)


@without_derivatives()
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
    # A row more: points that there are none of are outside of the segment after the last.
    subtracted = torch.nn.functional.pad(background, (0, 1)).repeat(n_segments + 1, 1)
    subtracted[outside.segment] = torch.nn.functional.pad(values[n_segments:], (0, 1), value=1.0)
    return torch.nn.functional.pad(values[:n_segments], (0, 1), value=1.0) - subtracted[:-1]
