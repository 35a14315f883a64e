"""Gradients of lit meshes that are no closed, evenly turned surface: folded, doubled, turned, branching, degenerate."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support.cases import make_case
from support.truth import Leaves, Motion, smooth_warps
from torch import Tensor

from diffrender.geometry.primitives import torus
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.lights import Ambient, Directional
from diffrender.scene.materials import Lambert
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene

LIGHTS = {"sun": Directional(torch.tensor([-1.0, -1.3, -0.5]), torch.tensor([3.0, 2.5, 2.0])), "sky": Ambient()}
CAMERAS = Cameras.perspective(torch.tensor([[2.6, 2.1, 2.4]]), up=(0.3, 1.0, 0.1), fov_deg=24, height=64, width=64)
RING = Mesh(*torus(0.5, 0.22, 12, 8))
# Three pages that share their back, the edge (0, 1).
PAGES = torch.tensor([[0, -6, 0], [0, 6, 0], [6, -6, 0], [6, 6, 0], [-4, -6, 4], [-4, 6, 4], [-2, -6, -5], [-2, 6, -5]])
BOOK = Mesh(PAGES / 10, torch.tensor([[0, 2, 3], [0, 3, 1], [0, 4, 5], [0, 5, 1], [0, 6, 7], [0, 7, 1]]))


def ring(change: Callable[[Tensor], Tensor]) -> Mesh:
    return Mesh(RING.vertices, change(RING.faces))


def turn_half(faces: Tensor) -> Tensor:
    return torch.cat([faces[: len(faces) // 2].flip(1), faces[len(faces) // 2 :]])


def turn_every_other(faces: Tensor) -> Tensor:
    return torch.where(torch.arange(len(faces))[:, None] % 2 == 0, faces, faces.flip(1))


def add_degenerate(faces: Tensor) -> Tensor:
    """With a face without area along an edge of each face."""
    return torch.cat([faces, torch.stack([faces[:, 0], faces[:, 1], faces[:, 0]], 1)])


MESHES = {
    "faces twice": ring(lambda faces: torch.cat([faces, faces])),
    "faces and their backs": ring(lambda faces: torch.cat([faces, faces.flip(1)])),
    "half of it turned": ring(turn_half),
    "every other face turned": ring(turn_every_other),
    "inside out": ring(lambda faces: faces.flip(1)),
    "degenerate faces": ring(add_degenerate),
    "three pages": BOOK,
}
SMOOTH = (
    "faces twice",
    "half of it turned",
    "every other face turned",
    "inside out",
    "degenerate faces",
    "three pages",
)


@pytest.mark.filterwarnings("ignore::diffrender.errors.OrientationWarning")
@pytest.mark.parametrize(("name", "crease"), [*((name, 0.0) for name in MESHES), *((name, None) for name in SMOOTH)])
def test_gradients_are_those_of_the_image(name: str, crease: float | None) -> None:
    mesh = MESHES[name].with_crease(crease)

    def build(leaves: Leaves) -> tuple[Scene, Cameras]:
        item = Object(mesh.with_vertices(leaves["vertices"]), Lambert(torch.full((3,), 0.6)))
        return Scene({"a": item}, LIGHTS, torch.tensor([0.05, 0.02, 0.1])), CAMERAS

    points = mesh.vertices
    turn = torch.tensor([[0.0, -1, 0.4], [1, 0, -0.3], [-0.4, 0.3, 0]])
    stretch = torch.tensor([[1.0, 0.2, 0], [0, -0.5, 0.3], [0.1, 0, 0.4]])
    fields = [points @ turn.T, points @ stretch.T + torch.tensor([0.2, 0.1, -0.3]), *smooth_warps(points, 2)]
    motions = [Motion(str(i), {"vertices": field}) for i, field in enumerate(fields)]
    target = Motion("target", {"vertices": 0.04 * points @ turn.T + 0.02})
    case = make_case(build, {"vertices": points}, motions, target, 16)
    # A plain ring of smooth normals is off by 0.033 itself.
    case.check_all(f"{name}, crease {crease}", linear=0.03, squared=0.08)


def test_gradients_do_not_depend_on_which_way_faces_are_turned() -> None:
    weight = torch.rand(1, 64, 64, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = []
    for name in ("half of it turned", "inside out"):
        for mesh in (RING, MESHES[name]):
            vertices = mesh.vertices.double().requires_grad_()
            item = Object(mesh.with_crease(0).with_vertices(vertices), Lambert(torch.full((3,), 0.6)))
            (render(Scene({"a": item}, LIGHTS), CAMERAS).rgba * weight).sum().backward()
            assert vertices.grad is not None
            found.append(vertices.grad)
    for plain, turned in zip(found[::2], found[1::2], strict=True):
        torch.testing.assert_close(turned, plain, rtol=1e-6, atol=1e-6)
