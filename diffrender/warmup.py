"""Compiles every CPU kernel ahead, so that the first fit does not wait for it."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch

from diffrender.geometry.distances import Surface
from diffrender.geometry.mesh_checks import self_intersections
from diffrender.geometry.primitives import Triangles, icosphere
from diffrender.geometry.remesh.remesh import remesh
from diffrender.ops.texture_places import texture_places
from diffrender.render.edge_models import EDGE_MODELS
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.lights import Directional
from diffrender.scene.materials import Ggx, Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.shadow import Shadow
from diffrender.scene.texture import Texture
from diffrender.threads import threads_to_kernels


def warmup(dtype: torch.dtype = torch.float32) -> float:
    """Compiles the kernels of images and those of surfaces, each in a process of its own; gives the seconds it took.

    Compiling takes the interpreter's lock, so that threads would not help. Numba keeps what it compiled on disk.
    """
    started = time.perf_counter()
    with ProcessPoolExecutor(len(PARTS), mp_context=get_context("spawn")) as pool:
        for part in [pool.submit(part, dtype) for part in PARTS]:
            part.result()
    return time.perf_counter() - started


def warm_up_images(dtype: torch.dtype = torch.float32) -> None:
    """Renders and differentiates two crossing triangles with every edge model, and in a light that casts shadows."""
    corners = [[-1, -1, 0.5], [1, -1, -0.5], [0, 1, 0], [-1, -1, -0.5], [1, -1, 0.5], [0, 0.9, 0.1]]
    vertices = torch.tensor(corners, dtype=dtype, requires_grad=True)
    colors = torch.full((6, 3), 0.5, dtype=dtype, requires_grad=True)
    mesh = Mesh(vertices, torch.tensor([[0, 1, 2], [3, 4, 5]]))
    item = Object(mesh, Unlit(colors), torch.eye(4, dtype=dtype), torch.ones((), dtype=dtype))
    background = torch.zeros(3, dtype=dtype, requires_grad=True)
    cameras = Cameras.perspective(torch.tensor([[0.0, 0.0, 3.0]], dtype=dtype), height=16, width=16)
    with threads_to_kernels(1):
        for edges in EDGE_MODELS.values():
            render(Scene({"object": item}, background=background), cameras, edges()).rgba.sum().backward()
        lit = Object(mesh, Ggx(colors), torch.eye(4, dtype=dtype), torch.ones((), dtype=dtype))
        ones = torch.ones(3, dtype=dtype)
        sun = Directional(-ones, ones, shadow=Shadow(0.1, 16))
        render(Scene({"object": lit}, {"sun": sun}, background), cameras).rgba.sum().backward()


def warm_up_surfaces(dtype: torch.dtype = torch.float32) -> None:
    """Remeshes a ball, measures it, and looks a texture up."""
    ball = icosphere(0)
    remesh(*ball, target_length=0.5)
    triangles = Triangles(*ball)
    self_intersections(triangles)
    Surface(triangles).closest(triangles.vertices)
    _sample_a_texture(dtype)


def _sample_a_texture(dtype: torch.dtype) -> None:
    """Compiles what only textured scenes need, for every kind of footprint."""
    texels = torch.zeros(3, 2, 3, dtype=dtype, requires_grad=True)
    corners = torch.tensor([[0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0]], dtype=dtype)
    verts_hom, uvs = corners[None].requires_grad_(), corners[:, :2].clone().requires_grad_()
    face, point = torch.tensor([[0, 1, 2]]), torch.zeros(1, dtype=torch.int64)
    place = torch.full((1, 2), 1 / 3, dtype=dtype)
    _, derivatives = texture_places(uvs, face, point, verts_hom, face, point, point, place)
    for footprint in (None, torch.ones(1, dtype=dtype), derivatives):
        Texture(texels).sample(uvs[:1], footprint).sum().backward(retain_graph=True)
    Texture(texels[:2]).sample(uvs[:1], derivatives).sum().backward()


# Of about the same length.
PARTS = (warm_up_images, warm_up_surfaces)
