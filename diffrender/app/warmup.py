"""Compile all CPU kernels ahead of time, so that the first fit does not wait for them."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from diffrender.errors import BackendError
from diffrender.geometry.coincidence import any_coincide
from diffrender.geometry.depth_fusion import fuse_depths
from diffrender.geometry.distances import SurfaceQuery
from diffrender.geometry.mesh_checks import self_intersections
from diffrender.geometry.primitives import Triangles, icosphere
from diffrender.geometry.remesh.remesh import remesh
from diffrender.geometry.topology import Topology
from diffrender.geometry.weld_corners import weld_corners
from diffrender.imaging.lens_distortion import BrownConrady
from diffrender.imaging.plane_sweep import sweep_planes
from diffrender.ops.barycentrics import barycentrics
from diffrender.ops.changes_across import changes_across
from diffrender.ops.collapse_pyramid import collapse_pyramid
from diffrender.ops.compare_colors import compare_colors
from diffrender.ops.interpolate import interpolate
from diffrender.ops.screen_uvs import screen_uvs
from diffrender.ops.total_variation import total_variation
from diffrender.readers.captures.undistort import undistort
from diffrender.render.edge_models import EDGE_MODELS
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.lights import Directional, Environment
from diffrender.scene.materials import MATERIALS, Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.shadow_cameras import Shadow
from diffrender.scene.textures.texture import Texture
from diffrender.threads import threads_to_kernels


def warmup(dtype: torch.dtype = torch.float32) -> float:
    """Compile the kernels of images and of surfaces, in a process each, and return the seconds that it took.

    Compiling holds the GIL, so threads would not help. Numba caches compiled kernels on disk.
    Raises BackendError if a process fails, which reports the reason on standard error.
    """
    started = time.perf_counter()
    calls = [f"{part.__name__}({dtype})" for part in PARTS]
    code = "import torch; from diffrender.app import warmup; warmup."
    processes = [subprocess.Popen([sys.executable, "-c", code + call]) for call in calls]
    codes = [process.wait() for process in processes]
    if any(codes):
        raise BackendError("warmup: the kernels could not be compiled; the message above says why")
    return time.perf_counter() - started


def warm_up_images(dtype: torch.dtype = torch.float32) -> None:
    """Render and differentiate two triangles with every edge model, every material under a sky and a sun with shadows.

    The latter in forward mode, too.
    """
    corners = [[-1, -1, 0.5], [1, -1, -0.5], [0, 1, 0], [-1, -1, -0.5], [1, -1, 0.5], [0, 0.9, 0.1]]
    vertices = torch.tensor(corners, dtype=dtype, requires_grad=True)
    colors = torch.full((6, 3), 0.5, dtype=dtype, requires_grad=True)
    mesh = Mesh(vertices, torch.tensor([[0, 1, 2], [3, 4, 5]]))
    pose = torch.eye(4, dtype=dtype, requires_grad=True)
    item = Object(mesh, Unlit(colors), pose, torch.ones((), dtype=dtype))
    background = torch.zeros(3, dtype=dtype, requires_grad=True)
    cameras = Cameras.perspective(torch.tensor([[0.0, 0.0, 3.0]], dtype=dtype), height=16, width=16)
    with threads_to_kernels(1):
        scene = Scene({"object": item}, background=background)
        for edges in EDGE_MODELS.values():
            render(scene, cameras, edges()).rgba.sum().backward()
        render(scene, cameras, aovs=("normal", "depth")).image.sum().backward()
        ones = torch.ones(3, dtype=dtype)
        sun = Directional(-ones, ones, shadow=Shadow(0.1, 16))
        for material in MATERIALS.values():
            lit = Object(mesh, material(colors), torch.eye(4, dtype=dtype), torch.ones((), dtype=dtype))
            shown = Scene({"object": lit}, {"sun": sun, "sky": Environment()}, background)
            render(shown, cameras).rgba.sum().backward()
            torch.func.jvp(
                lambda moved, shown=shown: _draw(shown, moved, cameras), (vertices.detach(),), (vertices.detach(),)
            )


def _draw(scene: Scene, vertices: Tensor, cameras: Cameras) -> Tensor:
    item = scene.objects["object"]
    moved = replace(item, mesh=item.mesh.with_vertices(vertices))
    return render(replace(scene, objects={"object": moved}), cameras).rgba


def warm_up_surfaces(dtype: torch.dtype = torch.float32) -> None:
    """Remesh a ball, measure it, sample and smooth a texture, interpolate a value; undistort, sweep, compare images."""
    ball = icosphere(0)
    remesh(*ball, target_length=0.5)
    triangles = Triangles(*ball)
    self_intersections(triangles)
    SurfaceQuery(triangles).closest(triangles.vertices)
    weld_corners(ball.faces, torch.zeros(*ball.faces.shape, 2, dtype=dtype))
    Topology(ball.faces).is_outward(ball.vertices.to(dtype))
    any_coincide(ball.vertices.to(dtype), torch.arange(len(ball.vertices)))
    _sample_texture(dtype)
    _interpolate(dtype)
    undistort(torch.zeros(2, 2, 3), BrownConrady(k1=0.1), (2.0, 2.0, 1.0, 1.0), 1, 1)
    blank = np.zeros((1, 2, 2, 3), np.float32)
    fuse_depths(np.zeros((3, 1)), np.zeros((1, 3, 4)), blank[..., 0], blank[..., 0] > 0, 1.0, 1.0)
    sweep_planes(blank[0, ..., 0], blank[..., 0], blank, blank[0, 0, :1], blank[0, 0, 0])
    rgba, image = torch.zeros(1, 2, 2, 4, dtype=dtype, requires_grad=True), torch.ones(1, 2, 2, 3, dtype=dtype)
    for weights in (None, image[..., 0].contiguous()):
        compare_colors(rgba, image, weights=weights)[0].sum().backward()
    texels = collapse_pyramid(torch.zeros(20, 3, dtype=dtype, requires_grad=True), 4, 4, 1)
    total_variation(texels, 1e-3)[0].backward()


def _interpolate(dtype: torch.dtype) -> None:
    """Compile the two ops that a custom renderer would start with."""
    corners = torch.tensor([[0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0]], dtype=dtype)
    values = corners[:, :3].clone().requires_grad_()
    face, point = torch.tensor([[0, 1, 2]]), torch.zeros(1, dtype=torch.int64)
    bary = barycentrics(corners[None].requires_grad_(), face, point, point, torch.full((1, 2), 1 / 3, dtype=dtype))
    interpolate(values, face, point, bary).sum().backward()
    place = torch.full((1, 2), 1 / 3, dtype=dtype)
    torch.func.jvp(lambda verts: barycentrics(verts, face, point, point, place), (corners[None],), (corners[None],))


def _sample_texture(dtype: torch.dtype) -> None:
    """Compile what only textured scenes, and those with hard edges, need, for every kind of footprint."""
    texels = torch.zeros(3, 2, 3, dtype=dtype, requires_grad=True)
    corners = torch.tensor([[0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0]], dtype=dtype)
    verts_hom, uvs = corners[None].requires_grad_(), corners[:, :2].clone().requires_grad_()
    face, point = torch.tensor([[0, 1, 2]]), torch.zeros(1, dtype=torch.int64)
    barycentric = torch.full((1, 2), 1 / 3, dtype=dtype)
    _, derivatives = screen_uvs(uvs, face, point, verts_hom, face, point, point, barycentric)
    for footprint in (None, torch.ones(1, dtype=dtype), derivatives):
        Texture(texels).sample(uvs[:1], footprint).sum().backward(retain_graph=True)
    Texture(texels[:2]).sample(uvs[:1], derivatives).sum().backward()

    def sample(texels: Tensor, uvs: Tensor) -> Tensor:
        uv, derivatives = screen_uvs(uvs, face, point, verts_hom.detach(), face, point, point, barycentric)
        return Texture(texels).sample(uv, derivatives)

    values = texels.detach(), uvs.detach()
    torch.func.jvp(sample, values, values)
    changes_across(corners, torch.zeros(1, 2, 2, dtype=torch.int64), 1.0)


# Of about the same duration.
PARTS = (warm_up_images, warm_up_surfaces)
