"""Remeshing of a surface that is cut into several objects."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from diffrender.fit.model import SceneModel
from diffrender.fit.optimizer.fit_optimizer import FitOptimizer, ParamSettings
from diffrender.fit.reach import Reach
from diffrender.fit.remeshing.split_parts import crease_of
from diffrender.fit.remeshing.surgery import remesh_due
from diffrender.fit.remeshing_policy import Remeshing
from diffrender.geometry.primitives import icosphere
from diffrender.geometry.topology import Topology
from diffrender.scene.cameras import Cameras
from diffrender.scene.joined_parts import join_parts
from diffrender.scene.materials import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.textures.bake import unwrap_mesh
from diffrender.scene.textures.texture import Texture

NAMES = ("left", "front", "back")
PATHS = [f"objects.{name}.mesh.vertices" for name in NAMES]
COLORS = [f"objects.{name}.material.base_color" for name in NAMES]


def paint(points: Tensor) -> Tensor:
    """A colour that is linear in the position, which remeshing keeps exactly."""
    return 0.5 + 0.2 * points + 0.1 * points.roll(1, 1)


def ball(crease_deg: float | None = None) -> Scene:
    """A ball of three parts that meet at two points: one with vertex colours, one textured, one with vertex colours."""
    vertices, faces = icosphere(3)
    middle = vertices[faces].mean(1)
    part = torch.where(middle[:, 0] < 0, 0, torch.where(middle[:, 2] > 0, 1, 2))
    objects = {}
    for number, name in enumerate(NAMES):
        used, corners = faces[part == number].unique(return_inverse=True)
        mesh = Mesh(vertices[used], corners).with_crease(crease_deg)
        color: Tensor | Texture = paint(mesh.vertices)
        if name == "front":
            mesh, color = unwrap_mesh(mesh, 32), Texture(torch.full((32, 32, 3), 0.5))
        objects[name] = Object(mesh, Unlit(color))
    return Scene(join_parts(objects, "ball"))


def remeshed(scene: Scene, method: str, policy: Remeshing) -> tuple[SceneModel, FitOptimizer]:
    """Remesh `scene` by `policy` after a step that changes nothing; the drift of its vertices is linear."""
    cameras = Cameras.perspective(torch.tensor([[0.0, 0.5, 4.0]]), height=16, width=16)
    model = SceneModel(scene, cameras, dict.fromkeys(PATHS, method) | dict.fromkeys(COLORS, "identity"))
    settings = {path: ParamSettings(0.01) for path in PATHS} | {path: ParamSettings(1e-3) for path in COLORS}
    optimizer = FitOptimizer(model, settings, 6, dict.fromkeys(PATHS, policy))
    optimizer.begin(0)
    for latent in model.latents.values():
        latent.grad = torch.zeros_like(latent)
    optimizer.step()
    optimizer.target_lengths[PATHS[0]].drift = paint(model.vertex_mesh(PATHS[0]).vertices)
    remesh_due(model, optimizer, 1, Reach(model))
    return model, optimizer


@pytest.mark.parametrize("shortest", [0.08, 0.3])
@pytest.mark.parametrize("subdivide", [False, True])
@pytest.mark.parametrize("method", ["identity", "large_steps"])
def test_parts_keep_their_faces_borders_and_values(method: str, subdivide: bool, shortest: float) -> None:
    before = ball()
    policy = Remeshing(shortest, shortest, at=(1,), gain=0.0, passes=3, subdivide=subdivide)
    model, optimizer = remeshed(before, method, policy)
    scene, whole = model.snapshot()[0], model.vertex_mesh(PATHS[0])
    assert whole.topology.is_closed and whole.topology.n_components == 1
    n_faces = sum(item.mesh.n_faces for item in before.objects.values())
    assert (whole.n_faces > (4 if subdivide else 1) * n_faces) == (shortest == 0.08)
    for name, item in scene.objects.items():
        old, new = before.objects[name].mesh, item.mesh
        # The border of each part stays a single loop, about where it was, and its area too.
        assert new.topology.n_components == 1
        border = new.topology.edges[new.topology.is_border]
        assert bool((torch.bincount(border.reshape(-1)) % 2 == 0).all())
        points, at = (mesh.vertices[mesh.topology.edges[mesh.topology.is_border].unique()] for mesh in (old, new))
        assert float(torch.cdist(at, points).amin(1).max()) < 0.15
        share = _area(new) / sum(_area(each.mesh) for each in scene.objects.values())
        assert float(share) == pytest.approx({"left": 0.5}.get(name, 0.25), abs=0.04)
        # Corners, where parts meet, are on all of them; all on borders coincide with a vertex of another part.
        others = torch.cat([each.mesh.vertices for key, each in scene.objects.items() if key != name])
        assert float(torch.cdist(at.double(), others.double()).amin(1).max()) == 0
    # Positions, colours and what the optimiser knows of a vertex go together; only Loop's scheme moves positions alone.
    atol = 0.02 if subdivide else 1e-5
    for name in ("left", "back"):
        item = scene.objects[name]
        torch.testing.assert_close(item.material.base_color, paint(item.mesh.vertices), rtol=0, atol=atol)
    torch.testing.assert_close(optimizer.target_lengths[PATHS[0]].drift, paint(whole.vertices), rtol=0, atol=atol)
    front = scene.objects["front"].mesh
    assert front.uvs is not None and scene.objects["left"].mesh.uvs is None
    for path in PATHS[:1] + COLORS:
        moments = optimizer.moments[path]
        assert moments.mean.shape[:-1] == model.latents[path].shape[:-1]
    assert len(optimizer.target_lengths[PATHS[0]].lengths) == len(model.latents[PATHS[0]]) == whole.n_vertices


def _area(mesh: Mesh) -> Tensor:
    a, b, c = mesh.vertices[mesh.faces].unbind(1)
    return torch.linalg.cross(b - a, c - a).norm(dim=1).sum() / 2


@pytest.mark.parametrize("crease_deg", [None, 25.0])
def test_normals_run_on_across_borders_after_remeshing(crease_deg: float | None) -> None:
    model, _ = remeshed(ball(crease_deg), "identity", Remeshing(0.08, 0.08, at=(1,), gain=0.0, passes=2))
    meshes = [item.mesh for item in model.snapshot()[0].objects.values()]
    corners = torch.cat([mesh.vertices[mesh.faces].reshape(-1, 3) for mesh in meshes])
    numbers = torch.cat([mesh.normal_faces.reshape(-1) for mesh in meshes if mesh.normal_faces is not None])
    both = torch.cat([corners, numbers[:, None]], 1).unique(dim=0)
    assert len(both) == len(numbers.unique()) == len(corners.unique(dim=0))
    assert {mesh.crease_deg for mesh in meshes} == {crease_deg}
    joined = Topology(torch.cat([mesh.faces + i for mesh, i in zip(meshes, _starts(meshes), strict=True)]))
    assert joined.weld(torch.cat([mesh.vertices for mesh in meshes])).is_closed


def _starts(meshes: list[Mesh]) -> list[int]:
    return [sum(mesh.n_vertices for mesh in meshes[:i]) for i in range(len(meshes))]


def test_parts_of_different_creases_get_the_smallest() -> None:
    scene = ball(None)
    names = list(scene.objects)
    for angles, expected in (((10.0, 30.0), 10.0), ((None, 30.0), 30.0), ((30.0, None), 30.0)):
        items = {
            name: replace(scene.objects[name], mesh=scene.objects[name].mesh.with_crease(angle))
            for name, angle in zip(names, angles, strict=True)
        }
        assert crease_of(items) == expected
    bare = {name: replace(item, mesh=replace(item.mesh, normal_faces=None)) for name, item in scene.objects.items()}
    assert crease_of(bare) is None
