import pytest
import torch
from support.comparators import assert_gradients_agree
from support.shapes import bumpy, camera_at, flat_camera, oblique_cameras, square, wavy_sheet

from diffrender.errors import ShapeError
from diffrender.geometry.primitives import icosphere
from diffrender.scene.mesh import Mesh
from diffrender.scene.shading_points import ShadingPoints, VertexFrames
from diffrender.scene.textures.texture import Texture


def surface_of(mesh, face_id=None, bary=None, eye=(0.0, 0.0, 3.0), backend=None):
    face_id = torch.arange(mesh.n_faces) if face_id is None else torch.tensor(face_id)
    dtype = mesh.vertices.dtype
    bary = torch.full((len(face_id), 3), 1 / 3, dtype=dtype) if bary is None else torch.tensor(bary, dtype=dtype)
    cameras = camera_at(eye, dtype=dtype)
    return ShadingPoints(mesh, mesh.vertices, face_id, bary, torch.zeros_like(face_id), cameras, backend)


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_values_by_hand(backend):
    surface = surface_of(square(), [0, 1], [[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]], backend=backend)
    assert len(surface) == 2
    torch.testing.assert_close(surface.position_w, torch.tensor([[0.0, -0.25, 0.0], [-0.5, 0.5, 0.0]]))
    torch.testing.assert_close(surface.uv, torch.tensor([[0.5, 0.75], [0.0, 0.0]]))
    torch.testing.assert_close(
        surface.value(torch.tensor([[1.0], [2.0], [4.0], [8.0]])), torch.tensor([[2.0 + 0.0], [8.0]])
    )
    assert surface.value(torch.tensor([0.1, 0.2])).tolist() == [pytest.approx([0.1, 0.2])]
    torch.testing.assert_close(surface.value(Texture(torch.full((2, 2, 1), 0.3))), torch.full((2, 1), 0.3))


def test_values_are_interpolated_once_and_kept():
    surface = surface_of(bumpy(1))
    assert surface.normal_w is surface.normal_w and surface.position_w is surface.position_w


def test_normals_are_unit_and_smooth():
    vertices, faces = icosphere(3)
    surface = surface_of(Mesh(vertices, faces))
    torch.testing.assert_close(surface.normal_w.norm(dim=1), torch.ones(len(faces)))
    outward = torch.nn.functional.normalize(surface.position_w, dim=1)
    assert (surface.normal_w * outward).sum(1).min() > 0.999  # those of a ball, not of its faces


def test_normals_of_a_closed_mesh_point_outwards_and_inwards_where_the_camera_is_inside():
    vertices, faces = icosphere(2)
    for eye, side in (((0.0, 0.0, 3.0), 1), ((0.0, 0.0, 0.01), -1)):
        surface = surface_of(Mesh(vertices, faces), eye=eye)
        assert (side * (surface.normal_w * surface.position_w).sum(1) > 0).all()


@pytest.mark.parametrize("eye", [(0.5, 1.0, 3.0), (0.5, 1.0, -3.0)])
def test_normals_of_an_open_mesh_follow_the_side_that_is_seen(eye):
    flat = surface_of(square(), eye=eye)
    assert ((flat.normal_w * flat.to_camera_w).sum(1) > 0).all()
    sheet = surface_of(wavy_sheet(30), eye=eye)
    # Except for grazing ones, whose smooth normal may differ from their face's.
    assert ((sheet.normal_w * sheet.to_camera_w).sum(1) > -0.1).all()


def test_to_camera_points_at_the_view_that_sees_the_point():
    mesh = square()
    eyes = ((0.0, 0.0, 3.0), (4.0, 0.0, 0.0))
    face_id = torch.tensor([0, 0])
    bary = torch.tensor([[1.0, 0.0, 0.0]] * 2)
    surface = ShadingPoints(mesh, mesh.vertices, face_id, bary, torch.tensor([0, 1]), camera_at(*eyes))
    expected = torch.nn.functional.normalize(torch.tensor(eyes) - torch.tensor([-0.5, -0.5, 0.0]), dim=1)
    torch.testing.assert_close(surface.to_camera_w, expected)


def test_to_a_parallel_camera_every_direction_is_the_same():
    mesh = square()
    surface = ShadingPoints(mesh, mesh.vertices, torch.tensor([0]), torch.eye(3)[:1], torch.tensor([0]), flat_camera())
    torch.testing.assert_close(surface.to_camera_w, torch.tensor([[0.0, 0.0, 1.0]]))


@pytest.mark.parametrize("mesh", [bumpy(1, torch.float64), wavy_sheet(6, torch.float64)], ids=["closed", "open"])
def test_gradients_do_not_depend_on_what_is_asked_first(mesh):
    """Every value is cached when first computed: it must be cached with its gradient."""
    found = []
    for names in (("normal_w", "to_camera_w", "position_w"), ("position_w", "to_camera_w", "normal_w")):
        moving = mesh.with_vertices(mesh.vertices.clone().requires_grad_())
        surface = surface_of(moving, eye=(0.5, 1.0, 3.0))
        values = {name: getattr(surface, name) for name in names}
        gradients = {
            name: torch.autograd.grad(value[:, 0].sum(), moving.vertices, retain_graph=True)[0]
            for name, value in values.items()
            if value.requires_grad
        }
        assert len(gradients) == 3, f"asked in the order {names}, only {sorted(gradients)} have a gradient"
        found.append(gradients)
    for name, gradient in found[0].items():
        assert_gradients_agree(gradient, found[1][name], what=name)


def test_degenerate_faces_have_finite_normals_and_gradients():
    mesh = Mesh(torch.zeros(3, 3).requires_grad_(), torch.tensor([[0, 1, 2]]))
    surface = surface_of(mesh)
    (gradient,) = torch.autograd.grad(surface.normal_w.sum(), mesh.vertices)
    assert surface.normal_w.isfinite().all() and gradient.isfinite().all()


def test_footprints_are_the_derivatives_of_uv():
    mesh = square()
    surface = ShadingPoints(
        mesh, mesh.vertices, torch.tensor([0]), torch.full((1, 3), 1 / 3), torch.tensor([0]), flat_camera()
    )
    # 16 pixels per unit, and the texture is one unit wide; v goes down, as rows do.
    torch.testing.assert_close(surface.uv_footprint, torch.eye(2)[None] / 16)
    at_an_angle = surface_of(square(torch.float64), eye=(3.0, 0.0, 1.0)).uv_footprint
    straight = surface_of(square(torch.float64), eye=(0.0, 0.0, 10**0.5)).uv_footprint
    ratio = at_an_angle[:, 0, 0] / straight[:, 0, 0]
    assert 2.5 < float(ratio.mean()) < 4  # foreshortened about threefold


def test_errors():
    with pytest.raises(ShapeError, match=r"one row per vertex \(4\), got \[5, 3\]"):
        surface_of(square()).value(torch.zeros(5, 3))
    with pytest.raises(ShapeError, match=r"got \[2, 3\]; for a value per face give each corner a vertex of its own"):
        surface_of(square()).value(torch.zeros(2, 3))
    with pytest.raises(ShapeError, match="needs a mesh with texture coordinates"):
        surface_of(bumpy(1)).value(Texture(torch.zeros(2, 2, 3)))
    with pytest.raises(ShapeError, match="has no texture coordinates"):
        _ = surface_of(bumpy(1)).uv_footprint


def test_a_mesh_without_vertices_shows_backs_as_any_open_one() -> None:
    nothing = Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))
    assert bool(VertexFrames(nothing, nothing.vertices).shows_backs(oblique_cameras()))
