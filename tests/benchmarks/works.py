"""What is measured: procedural scenes of a wanted number of faces, whole images of them, and the ops inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from benchmarks.replay import recorded_calls, replay
from support.shapes import unshared
from torch import Tensor

from diffrender.geometry.primitives import bumpy_sphere_colors, icosphere
from diffrender.ops.backend import OPS
from diffrender.render.edge_model import EdgeModel
from diffrender.render.edge_models import EDGE_MODELS
from diffrender.render.render import RenderOutput, render
from diffrender.scene.cameras import Cameras
from diffrender.scene.environment.env_map import EnvMap
from diffrender.scene.light import Light
from diffrender.scene.lights import Ambient, Directional, Environment
from diffrender.scene.material import SurfaceValue
from diffrender.scene.materials import Ggx, Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.textures.texture import Texture

# The reach of the soft edges that are measured, in pixels.
SOFT_SIGMA_PX = 2.0
# Rows of an environment map that is learned: as many as scenes/material.yaml takes.
MAP_HEIGHT = 32


@dataclass(frozen=True)
class Lighting:
    """Lights that surfaces of glTF's material stand in.

    values: the tensors they are made of, all learned. lights: makes them.
    """

    values: tuple[Tensor, ...]
    lights: Callable[..., dict[str, Light]]


LIGHTINGS = {
    "sun": Lighting(
        (torch.tensor([-0.3, -1.0, -0.5]), torch.ones(3), torch.full((3,), 0.3)),
        lambda direction, radiance, sky: {"sun": Directional(direction, radiance), "sky": Ambient(sky)},
    ),
    "environment": Lighting(
        (torch.rand(MAP_HEIGHT, 2 * MAP_HEIGHT, 3, generator=torch.Generator().manual_seed(2)),),
        lambda texels: {"sky": Environment(EnvMap(texels), texels.new_zeros(3))},
    ),
}


@dataclass(frozen=True)
class Work:
    """A row of the table: the whole image (op None), or the calls of one op that this image takes.

    edges: a name in EDGE_MODELS; faces: about how many; size: height and width in pixels.
    distance: of the camera from the middle of an object of radius 1.
    texture: colours are in a texture of so many texels a side; 0: in the vertices.
    views: images at once, from directions around the object; times and memory are per view.
    unshared: the mesh has a vertex per corner.
    tangents: forward mode: the image and so many tangents of it in one pass, of the object's rigid motions, at most 6.
    lighting: a name in LIGHTINGS, under which the material is Ggx with metallic and roughness as its colour; or "": it
        shows its colour without any light.
    """

    edges: str
    faces: int
    size: int
    op: str | None = None
    distance: float = 2.85
    texture: int = 0
    lighting: str = ""
    views: int = 1
    unshared: bool = False
    tangents: int = 0

    @property
    def name(self) -> str:
        """What the table calls it."""
        if self.op is not None:
            return self.op
        words = [f"image, {self.edges}"]
        words += [f"{'3 textures' if self.lighting else 'texture'} {self.texture}"] if self.texture else []
        words += [f"ggx, {self.lighting}"] if self.lighting else []
        words += [f"{self.views} views"] if self.views > 1 else []
        words += ["unshared vertices"] if self.unshared else []
        words += [f"{self.tangents} tangents"] if self.tangents else []
        return ", ".join(words)


@dataclass(frozen=True)
class Task:
    """Something to time.

    forward: gives what `backward` takes.
    backward: None where nothing is differentiable.
    frames: the buffers that the forward gives, and the gradients that come in for them.
    """

    forward: Callable[[], Any]
    backward: Callable[[Any], object] | None
    frames: tuple[Sequence[Tensor], Sequence[Tensor]] = ((), ())


@dataclass(frozen=True)
class Setting:
    """A mesh with colours, cameras and a background.

    colors: of its vertices [V, 3], or of a texture [H, W, 3].
    others: in light, metallic and roughness in the same form, then what the lights are made of.
    """

    mesh: Mesh
    colors: Tensor
    cameras: Cameras
    background: Tensor
    lighting: str = ""
    others: tuple[Tensor, ...] = ()


@lru_cache(maxsize=4)
def knobbly_sphere(n_faces: int) -> Mesh:
    """A closed mesh of radius 1 with twelve knobs that hide one another, of 20 n^2 faces: as near n_faces as may be.

    The faces of an icosahedron are cut into n x n triangles and pulled out; `bumpy_sphere` knows only powers of four.
    """
    n = max(1, round((n_faces / 20) ** 0.5))
    base = icosphere(0)
    i, j = torch.meshgrid(torch.arange(n + 1), torch.arange(n + 1), indexing="ij")
    inside = i + j <= n
    number = torch.full((n + 1, n + 1), -1)
    number[inside] = torch.arange(int(inside.sum()))
    weights = torch.stack([n - i - j, i, j], -1)[inside].double() / n
    points = torch.einsum("pc,fcx->fpx", weights, base.vertices.double()[base.faces])
    up = torch.stack([number[:-1, :-1], number[1:, :-1], number[:-1, 1:]], -1)[(i + j < n)[:-1, :-1]]
    down = torch.stack([number[1:, :-1], number[1:, 1:], number[:-1, 1:]], -1)[(i + j < n - 1)[:-1, :-1]]
    local = torch.cat([up, down])
    faces = (local + torch.arange(20)[:, None, None] * len(weights)).reshape(-1, 3)

    # Points on the icosahedron's edges come once from each side: weld what agrees to a millionth.
    _, weld = torch.unique((points.reshape(-1, 3) * 1e6).round().long(), dim=0, return_inverse=True)
    vertices = torch.empty(int(weld.max()) + 1, 3, dtype=torch.float64)
    vertices[weld] = torch.nn.functional.normalize(points.reshape(-1, 3), dim=1)
    heights = 0.4 + 0.05 * torch.arange(12).double().remainder(5)
    axes = torch.nn.functional.normalize(base.vertices.double(), dim=1)
    distance = 0.5 + torch.exp(13 * (vertices @ axes.T - 1)) @ heights
    vertices = vertices * (distance / distance.max())[:, None]
    return Mesh(vertices.float(), weld[faces])


def setting_of(work: Work) -> Setting:
    """What `work` is an image of."""
    mesh = knobbly_sphere(work.faces)
    colors = bumpy_sphere_colors(mesh.vertices).float()
    if work.texture:
        # Longitude and latitude; the strip of faces across the seam shows the whole texture, squeezed.
        x, y, z = torch.nn.functional.normalize(mesh.vertices, dim=1).unbind(1)
        uvs = torch.stack([torch.atan2(x, z) / (2 * torch.pi) + 0.5, torch.acos(y.clamp(-1, 1)) / torch.pi], 1)
        mesh = replace(mesh, uvs=uvs, uv_faces=mesh.faces)
        colors = torch.rand(work.texture, work.texture, 3, generator=torch.Generator().manual_seed(1))
    if work.unshared:
        colors, mesh = colors if work.texture else colors[mesh.faces.reshape(-1)], unshared(mesh)
    angle = torch.arange(work.views) / work.views * 2 * torch.pi
    x, z = 0.42 * angle.cos() + 0.85 * angle.sin(), 0.85 * angle.cos() - 0.42 * angle.sin()
    eyes = work.distance * torch.nn.functional.normalize(torch.stack([x, torch.full_like(x, 0.31), z], 1), dim=1)
    cameras = Cameras.perspective(eyes, fov_deg=45, height=work.size, width=work.size)
    others = ()
    if work.lighting:
        generator = torch.Generator().manual_seed(3)
        inputs = (torch.rand(*colors.shape[:-1], 1, generator=generator) for _ in ("metallic", "roughness"))
        others = (*inputs, *LIGHTINGS[work.lighting].values)
    return Setting(mesh, colors, cameras, torch.tensor([0.1, 0.2, 0.3]), work.lighting, others)


def edge_model(name: str) -> EdgeModel:
    """The edge model with its own defaults; soft edges at a stated reach."""
    return EDGE_MODELS[name](sigma=SOFT_SIGMA_PX) if name == "soft" else EDGE_MODELS[name]()


def upstream_gradient(size: int, views: int = 1) -> Tensor:
    """[views, size, size, 4] the gradient that comes in from a loss: noise, so that nothing is skipped."""
    return torch.randn(views, size, size, 4, generator=torch.Generator().manual_seed(0))


def rendered(
    setting: Setting, edges: EdgeModel, vertices: Tensor, colors: Tensor, others: Sequence[Tensor] = ()
) -> RenderOutput:
    """The image of the setting with these vertices [V, 3], colours and others (as it has them itself)."""
    color, *inputs = (_on_surface(value) for value in (colors, *others[:2]))
    material = Ggx(color, *inputs) if setting.lighting else Unlit(color)
    lights = LIGHTINGS[setting.lighting].lights(*others[2:]) if setting.lighting else {}
    scene = Scene({"it": Object(setting.mesh.with_vertices(vertices), material)}, lights, setting.background)
    return render(scene, setting.cameras, edges)


def _on_surface(value: Tensor) -> SurfaceValue:
    return value if value.dim() == 2 else Texture(value)


def image_task(work: Work) -> Task:
    """render() of the setting, and its gradient to all vertices, colours and whatever else there is."""
    setting = setting_of(work)
    edges = edge_model(work.edges)
    leaves = [part.clone().requires_grad_() for part in (setting.mesh.vertices, setting.colors, *setting.others)]
    vertices, colors, *others = leaves
    gradient = upstream_gradient(work.size, work.views)

    def forward() -> RenderOutput:
        return rendered(setting, edges, vertices, colors, others)

    def backward(output: Any) -> object:
        return torch.autograd.grad((output.rgba,), leaves, (gradient,))

    with torch.no_grad():
        output = forward()
    return Task(forward, backward, ([output.rgba, output.depth, output.face_id], [gradient]))


def tangent_task(work: Work) -> Task:
    """The image and its tangents of rigid motions of the object: three along the axes, three turns about them."""
    setting = setting_of(work)
    edges, vertices = edge_model(work.edges), setting.mesh.vertices
    axes = torch.eye(3)[:, None].expand(3, len(vertices), 3)
    motions = torch.cat([axes, torch.linalg.cross(axes, vertices.expand_as(axes), dim=2)])[: work.tangents]

    def image(vertices: Tensor) -> Tensor:
        return rendered(setting, edges, vertices, setting.colors, setting.others).rgba

    def forward() -> tuple[Tensor, Tensor]:
        one = lambda motion: torch.func.jvp(image, (vertices,), (motion,))  # noqa: E731
        return torch.func.vmap(one, out_dims=(None, 0))(motions)

    return Task(forward, None, (list(forward()), []))


def op_task(work: Work) -> Task:
    """The calls of `work.op` that the image takes, made again with the same arguments."""
    image = image_task(work)
    with recorded_calls() as calls:
        image.forward()
    mine = [call for call in calls if call.op == work.op]
    if not mine:
        raise ValueError(f"an image with {work.edges} edges does not take the op {work.op}")
    return Task(*replay(mine))


def ops_of(edges: str, texture: int = 0) -> list[str]:
    """The ops that an image with these edges takes, in the order of OPS."""
    with recorded_calls() as calls:
        image_task(Work(edges, 320, 32, texture=texture))
    taken = {call.op for call in calls}
    return [op for op in OPS if op in taken]


def task_of(work: Work) -> Task:
    """What to time for a row."""
    if work.tangents:
        return tangent_task(work)
    return image_task(work) if work.op is None else op_task(work)
