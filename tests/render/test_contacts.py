"""Gradients where surfaces touch, where vertices coincide, and where a surface changes its colour at an edge."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from support.cases import make_case
from support.truth import Leaves, Motion
from torch import Tensor

from diffrender.geometry.primitives import box, icosphere
from diffrender.render.jump_edges import find_jumps
from diffrender.render.render import render
from diffrender.render.scene_triangles import gather_triangles
from diffrender.scene.cameras import Cameras
from diffrender.scene.lights import Ambient, Directional
from diffrender.scene.materials import Ggx, Lambert, Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.textures.texture import Texture

X, Y, Z = torch.eye(3)
RED, GREEN = torch.tensor([0.9, 0.2, 0.1]), torch.tensor([0.1, 0.8, 0.3])
BACKGROUND = torch.tensor([0.05, 0.02, 0.1])
SIDES = torch.tensor(
    [[0.9, 0.2, 0.1], [0.1, 0.8, 0.3], [0.2, 0.3, 0.9], [0.8, 0.7, 0.1], [0.6, 0.6, 0.6], [0.1, 0.1, 0.4]]
)
LIGHTS = {"sun": Directional(torch.tensor([-1.0, -1.3, -0.5]), torch.tensor([3.0, 2.5, 2.0])), "sky": Ambient()}
BOX = box(0.6)
Objects = dict[str, tuple[Tensor, Tensor, Tensor]]


def camera(x: float = 0.5, y: float = 1.5, z: float = 4.0) -> Cameras:
    """Tilted, so that no edge runs along rows or columns."""
    return Cameras.perspective(torch.tensor([[x, y, z]]), up=(0.3, 1.0, 0.1), fov_deg=24, height=64, width=64)


def rectangle(left: float, right: float) -> tuple[Tensor, Tensor]:
    x, y = torch.tensor([left, right, right, left]), torch.tensor([-0.3, -0.3, 0.3, 0.3])
    return torch.stack([x, y, torch.zeros(4)], 1), torch.tensor([[0, 1, 2], [0, 2, 3]])


def apart(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """The same triangles without shared vertices."""
    return vertices[faces.reshape(-1)], torch.arange(faces.numel()).reshape(-1, 3)


def by_side(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """A box whose sides share no vertices: 24."""
    found = [side.unique(return_inverse=True) for side in faces.reshape(6, 2, 3)]
    return torch.cat([vertices[used] for used, _ in found]), torch.cat([f + 4 * i for i, (_, f) in enumerate(found)])


def on_floor(shift: Tensor) -> Objects:
    floor = torch.tensor([[-1.0, -0.3, 1.0], [1, -0.3, 1], [1, -0.3, -1], [-1, -0.3, -1]])
    return {"box": (BOX.vertices + shift, BOX.faces, RED), "floor": (floor, rectangle(0, 1)[1], GREEN)}


def side_by_side(shift: Tensor, together: bool = False) -> Objects:
    (left, faces), (right, _) = rectangle(-0.6, 0.0), rectangle(0.0, 0.6)
    return {"a": (left + shift, faces, RED), "b": (right + shift if together else right, faces, GREEN)}


def stacked(shift: Tensor, together: bool = False) -> Objects:
    low, high = BOX.vertices - 0.3 * Y, BOX.vertices + 0.3 * Y + shift
    return {"high": (high, BOX.faces, RED), "low": (low + shift if together else low, BOX.faces, GREEN)}


def across_an_edge(shift: Tensor, together: bool = False) -> Objects:
    """Boxes that have an edge in common: one side of each is seen, in a valley or, from behind, on a ridge."""
    right, high = BOX.vertices + 0.3 * (X - Y) + shift, BOX.vertices + 0.3 * (Y - X)
    return {"right": (right, BOX.faces, RED), "high": (high + shift if together else high, BOX.faces, GREEN)}


def on_a_ridge(shift: Tensor, together: bool = False) -> Objects:
    """Wedges that have an edge in common and lean against each other like a roof."""
    ends = torch.tensor([[0.0, 0.0], [0.35, -0.3], [0.1, -0.5]])
    right = torch.cat([torch.nn.functional.pad(ends, (0, 1), value=z) for z in (-0.35, 0.35)])
    faces = torch.tensor([[0, 1, 2], [3, 5, 4], [0, 4, 1], [0, 3, 4], [1, 5, 2], [1, 4, 5], [2, 3, 0], [2, 5, 3]])
    left = right * torch.tensor([-1.0, 1, 1])
    return {"a": (right + shift, faces, RED), "b": (left + shift if together else left, faces.flip(1), GREEN)}


def twice(shift: Tensor) -> Objects:
    return dict.fromkeys("ab", (BOX.vertices + shift, BOX.faces, RED))


def doubled(shift: Tensor) -> Objects:
    return {"a": (BOX.vertices + shift, torch.cat([BOX.faces, BOX.faces.flip(1)]), RED)}


def with_t_junction(shift: Tensor) -> Objects:
    """A prism; vertex 3 is in the middle of an edge of its front."""
    vertices = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [0, 1, 0], [0, -1, 0], [-1, -1, -1], [1, -1, -1], [0, 1, -1]])
    faces = [[0, 1, 2], [0, 4, 3], [3, 4, 5], [3, 5, 1], [4, 6, 5], [0, 2, 6], [0, 6, 4], [1, 5, 6], [1, 6, 2]]
    return {"a": (0.4 * vertices + shift, torch.tensor(faces), RED)}


def unshared(shift: Tensor) -> Objects:
    vertices, faces = apart(*BOX)
    return {"a": (vertices + shift, faces, RED)}


def one_color_per_side(shift: Tensor) -> Objects:
    vertices, faces = by_side(*BOX)
    return {"a": (vertices + shift, faces, SIDES.repeat_interleave(4, 0))}


def one_color_per_corner(shift: Tensor) -> Objects:
    vertices, faces = apart(*BOX)
    return {"a": (vertices + shift, faces, torch.rand(36, 3, generator=torch.Generator().manual_seed(1)))}


CASES: dict[str, tuple[Callable[[Tensor], Objects], Tensor]] = {
    # What of them can move without tearing apart or entering one another.
    "box on a floor": (on_floor, torch.stack([X, Z])),
    "two rectangles that share a border": (lambda shift: side_by_side(shift, together=True), torch.stack([X, Y, Z])),
    "two boxes, one on the other": (lambda shift: stacked(shift, together=True), torch.stack([X, Y, Z])),
    "two boxes with a common edge": (lambda shift: across_an_edge(shift, together=True), torch.stack([X, Y, Z])),
    "two wedges with a common edge": (lambda shift: on_a_ridge(shift, together=True), torch.stack([X, Y, Z])),
    "a box twice": (twice, torch.stack([X, Y, Z])),
    "each face twice": (doubled, torch.stack([X, Y, Z])),
    "T-junction": (with_t_junction, torch.stack([X, Y, Z])),
    "unshared vertices": (unshared, torch.stack([X, Y, Z])),
    "a colour per side": (one_color_per_side, torch.stack([X, Y, Z])),
    "a colour per corner": (one_color_per_corner, torch.stack([X, Y, Z])),
    # The derivative to one side differs from that to the other: the gradient is their mean, as central differences are.
    "the upper of two boxes": (stacked, torch.stack([X, Z])),
    "one of two boxes with a common edge": (across_an_edge, torch.stack([X, Y, Z])),
    "one of two rectangles": (side_by_side, torch.stack([X])),
}
EYES = [(0.5, 1.5, 4.0), (2.6, 2.1, 2.4), (-3.0, 0.8, -2.0)]
FROM_ABOVE = ("two wedges with a common edge", (0.4, 4.0, 0.8))  # both end there
# Seen straight on, rounding does not decide which rectangle is before the other where they overlap.
STRAIGHT = ("one of two rectangles", (0.0, 0.0, 4.0))


@pytest.mark.parametrize(("name", "eye"), [*product(list(CASES)[:-1], EYES), FROM_ABOVE, STRAIGHT])
def test_gradients_are_those_of_the_image(name: str, eye: tuple[float, float, float]) -> None:
    make, directions = CASES[name]

    def build(leaves: Leaves) -> tuple[Scene, Cameras]:
        objects = {key: Object(Mesh(v, f), Unlit(c)) for key, (v, f, c) in make(leaves["shift"]).items()}
        return Scene(objects, background=BACKGROUND), camera(*eye)

    motions = [Motion(str(i), {"shift": direction}) for i, direction in enumerate(directions)]
    target = Motion("target", {"shift": torch.tensor([0.04, 0.0, 0.03])})
    case = make_case(build, {"shift": torch.zeros(3)}, motions, target, 16)
    case.check_all(name, linear=0.03, squared=0.08)


@pytest.mark.parametrize("split", [apart, by_side])
def test_hard_edges_by_unshared_vertices(split: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
    vertices, faces = split(*BOX)

    def build(leaves: Leaves) -> tuple[Scene, Cameras]:
        cube = Object(Mesh(vertices + leaves["shift"], faces), Lambert(torch.full((3,), 0.6)))
        return Scene({"cube": cube}, LIGHTS, BACKGROUND), camera(2.6, 2.1, 2.4)

    motions = [Motion(str(i), {"shift": direction}) for i, direction in enumerate((X, Y, Z))]
    case = make_case(build, {"shift": torch.zeros(3)}, motions, Motion("target", {"shift": 0.05 * X}), 16)
    case.check_all("a lit cube", linear=0.03, squared=0.06)


@pytest.mark.parametrize("eye", EYES)
def test_textures_that_jump_at_seams(eye: tuple[float, float, float]) -> None:
    # Each side of the box has its own stretch of a picture.
    texture = Texture(SIDES.repeat_interleave(8, 0).repeat(8, 1, 1))
    flat = (BOX.vertices[BOX.faces] / 0.6 + 0.5).reshape(6, 6, 3)
    axes = [[axis for axis in range(3) if float(side[:, axis].std()) > 0.1] for side in flat]
    inside = torch.stack([side[:, pair] for side, pair in zip(flat, axes, strict=True)]) * 0.75 + 0.125
    uvs = torch.stack([(inside[:, :, 0] + torch.arange(6)[:, None]) / 6, inside[:, :, 1]], 2).reshape(-1, 2)
    mesh = Mesh(*BOX, uvs, torch.arange(36).reshape(-1, 3))

    def build(leaves: Leaves) -> tuple[Scene, Cameras]:
        item = Object(mesh.with_vertices(mesh.vertices + leaves["shift"]), Unlit(texture))
        return Scene({"a": item}, background=BACKGROUND), camera(*eye)

    motions = [Motion(str(i), {"shift": direction}) for i, direction in enumerate((X, Y, Z))]
    case = make_case(build, {"shift": torch.zeros(3)}, motions, Motion("target", {"shift": 0.05 * X}), 16)
    case.check_all("a textured box", linear=0.03, squared=0.08)


def test_seams_of_a_texture_without_a_jump_are_no_outlines() -> None:
    mesh = Mesh(*BOX, torch.rand(36, 2), torch.arange(36).reshape(-1, 3))
    gray = Unlit(Texture(torch.full((8, 8, 3), 0.5)))
    scene = Scene({"a": Object(mesh, gray)})
    assert find_jumps(scene, gather_triangles(scene), ("color",)) is None


@pytest.mark.parametrize("column", [0, 4, 8])
def test_a_texture_that_jumps_somewhere_along_a_seam(column: int) -> None:
    texels = torch.full((9, 9, 1), 0.5)
    texels[0, column] = 0.6
    uvs = torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 0.05], [1.0, 0.05], [0.0, 0.95], [1.0, 0.95]])
    vertices, faces = rectangle(0.0, 1.0)  # which share the edge (0, 2)
    mesh = Mesh(vertices, faces, uvs, torch.tensor([[2, 0, 3], [4, 5, 1]]))
    scene = Scene({"a": Object(mesh, Ggx(roughness=Texture(texels)))}, LIGHTS)
    jumps = find_jumps(scene, gather_triangles(scene), ("color",))
    assert jumps is not None and mesh.topology.edges[jumps].tolist() == [[0, 2]]


def gradient_of(vertices: Tensor, faces: Tensor, weight: Tensor) -> Tensor:
    vertices = vertices.clone().requires_grad_()
    image = render(Scene({"a": Object(Mesh(vertices, faces), Unlit(RED.double()))}), camera()).rgba
    (image * weight).sum().backward()
    assert vertices.grad is not None
    return vertices.grad


def test_the_gradient_of_unshared_vertices_is_that_of_shared_ones() -> None:
    vertices, faces = icosphere(3, 0.6)
    weight = torch.rand(1, 64, 64, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = gradient_of(vertices.double(), faces, weight)
    found = gradient_of(*apart(vertices.double(), faces), weight)
    summed = torch.zeros_like(expected).index_add(0, faces.reshape(-1), found)
    torch.testing.assert_close(summed, expected, rtol=1e-9, atol=1e-9)


def test_vertices_that_part_are_no_longer_one() -> None:
    vertices, faces = apart(*icosphere(2, 0.6))
    mesh = Mesh(vertices, faces)
    assert mesh.welded_topology.is_closed and mesh.with_vertices(vertices * 1.5).welded_topology.is_closed
    torn = vertices + 0.1 * (torch.arange(len(vertices)) < 3)[:, None]
    welded = mesh.with_vertices(torn).welded_topology
    assert not welded.is_closed and welded.n_components == 2
    assert int(welded.is_border.sum()) == 6  # three of the triangle, three of the hole
    fresh = Mesh(torn, faces).welded_topology
    assert torch.equal(fresh.edges, welded.edges) and torch.equal(fresh.welded_faces, welded.welded_faces)


@pytest.mark.parametrize("turned", [False, True])
def test_a_closed_mesh_turned_inside_out_looks_as_it_would(turned: bool) -> None:
    vertices, faces = icosphere(3, 0.6)
    inner = Mesh(torch.cat([vertices, 0.5 * vertices + 2]), torch.cat([faces, faces + len(vertices)]))
    other = Mesh(inner.vertices, torch.cat([faces.flip(1) if turned else faces, faces.flip(1) + len(vertices)]))
    images = [render(Scene({"a": Object(mesh, Lambert())}, LIGHTS), camera()).rgba for mesh in (inner, other)]
    assert not other.faces_outward and inner.faces_outward and float(images[0].mean()) > 0.1
    torch.testing.assert_close(*images, rtol=1e-5, atol=1e-5)
