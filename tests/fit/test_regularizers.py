import math

import pytest
import torch

from diffrender.errors import ConfigError
from diffrender.fit.regularizers import REGULARIZERS
from diffrender.fit.regularizers.laplacian import curvature_and_unevenness
from diffrender.fit.regularizers.symmetry import Symmetry
from diffrender.geometry.isosurface import Lattice, isosurface
from diffrender.geometry.primitives import box, icosphere
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.geometry.topology import Topology
from diffrender.geometry.umbrella_vectors import laplacian_vectors
from diffrender.scene.materials import MATERIALS
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene

# The regularisers of shape; test_material_priors.py has the others.
NAMES = [name for name in REGULARIZERS if name not in ("color_smoothness", "material_smoothness", "white_light")]
# Those of the mesh alone, without a start or a plane.
INTRINSIC = [name for name in NAMES if name not in ("arap", "symmetry")]


def scene_of(*triangles):
    meshes = [Mesh(vertices, faces) for vertices, faces in triangles]
    return Scene({str(i): Object(mesh, MATERIALS["unlit"]()) for i, mesh in enumerate(meshes)})


def bumpy(subdivisions=2, seed=0):
    vertices, faces = icosphere(subdivisions)
    noise = torch.randn(vertices.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return vertices.double() + 0.1 * noise, faces


def flat_grid(n=6):
    """A planar mesh of equilateral triangles."""
    row, column = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    x = column.double() + 0.5 * row.double()
    vertices = torch.stack([x, row * math.sqrt(3) / 2, torch.zeros(n, n)], -1).reshape(-1, 3)
    corner = (row[:-1, :-1] * n + column[:-1, :-1]).reshape(-1, 1)
    faces = torch.cat([corner + torch.tensor([0, 1, n]), corner + torch.tensor([1, n + 1, n])])
    return vertices, faces


def measure(name, *triangles, start=None):
    """`start`: the mesh that `arap` compares with; by default the same, stretched along x."""
    stretch = torch.tensor([1.1, 1.0, 1.0], dtype=torch.float64)
    start = start or [(vertices.detach() * stretch.to(vertices.dtype), faces) for vertices, faces in triangles]
    return REGULARIZERS[name]().bind(scene_of(*start))(scene_of(*triangles))


@pytest.mark.parametrize("name", INTRINSIC)
def test_unchanged_by_rigid_motion_and_scale(name):
    vertices, faces = bumpy()
    turn = axis_angle_to_matrix(torch.tensor([0.3, -1.2, 0.7], dtype=torch.float64))
    value = measure(name, (vertices, faces))
    moved = measure(name, (vertices @ turn.T + torch.tensor([3.0, -2.0, 5.0], dtype=torch.float64), faces))
    torch.testing.assert_close(moved, value)
    for factor in (1e-3, 1e3):
        torch.testing.assert_close(measure(name, (vertices * factor, faces)), value)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
@pytest.mark.parametrize("name", NAMES)
def test_any_unit_has_the_same_value_and_gradient_in_float32(name, factor):
    def value_and_gradient(scale):
        # As fine as fits end: fourth powers of edges of 1e-8 are below the range of float32.
        vertices, faces = bumpy(5)
        vertices = (scale * vertices).float().requires_grad_()
        value = measure(name, (vertices, faces))
        return value.detach(), scale * torch.autograd.grad(value, vertices)[0]

    torch.testing.assert_close(value_and_gradient(factor), value_and_gradient(1.0), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_positive_gradient_right_and_a_step_down_lowers_it(name):
    vertices, faces = bumpy(1)
    vertices = vertices.clone().requires_grad_()
    start = [bumpy(1, 5)]
    value = measure(name, (vertices, faces), start=start)
    assert value.shape == ()
    assert value > 0
    (gradient,) = torch.autograd.grad(value, vertices)
    assert measure(name, (vertices.detach() - 1e-3 * gradient / gradient.norm(), faces), start=start) < value


@pytest.mark.parametrize("name", ["normal_consistency", "edge_length", "arap"])
def test_gradient_is_that_of_the_value(name):
    vertices, faces = bumpy(0)
    assert torch.autograd.gradcheck(
        lambda v: measure(name, (v, faces), start=[bumpy(0, 5)]), vertices.clone().requires_grad_()
    )


@pytest.mark.parametrize("name", ["laplacian", "bilaplacian"])
def test_laplacian_gradient_takes_the_unit_as_fixed(name):
    vertices, faces = bumpy(0)
    vertices = vertices.clone().requires_grad_()
    value = measure(name, (vertices, faces))
    (gradient,) = torch.autograd.grad(value, vertices)
    # The numerator is quadratic in the vertices, so by Euler's theorem v . gradient is twice the value.
    torch.testing.assert_close((vertices * gradient).sum(), 2 * value)


@pytest.mark.parametrize("name", NAMES)
def test_objects_add_up_wherever_they_stand(name):
    one, two = bumpy(1, 1), bumpy(1, 2)
    torch.testing.assert_close(measure(name, one, two), measure(name, one) + measure(name, two))
    assert measure(name) == 0


@pytest.mark.parametrize("name", NAMES)
def test_degenerate_meshes_stay_finite(name):
    vertices, faces = bumpy(1)
    collapsed = vertices.float().clone()
    collapsed[faces[0]] = collapsed[faces[0, 0]].clone()
    sliver = vertices.float().clone()
    sliver[faces[0, 2]] = (sliver[faces[0, 0]] + sliver[faces[0, 1]]) / 2
    for points in (collapsed, sliver, torch.zeros_like(collapsed)):
        points = points.requires_grad_()
        value = measure(name, (points, faces))
        (gradient,) = torch.autograd.grad(value, points)
        assert torch.isfinite(value)
        assert gradient.abs().max() < 1e3


@pytest.mark.parametrize("name", NAMES)
def test_a_single_triangle_and_a_loose_vertex(name):
    value = measure(name, (torch.eye(4)[:, :3], torch.tensor([[0, 1, 2]])))
    assert torch.isfinite(value)


def test_flat_regular_grid_is_free_of_bending_and_unevenness():
    assert measure("normal_consistency", flat_grid()) < 1e-12
    assert measure("edge_length", flat_grid()) < 1e-12


def test_normal_consistency_of_a_cube():
    # 12 edges of 90 degrees (1 - cos = 1) and 6 flat diagonals.
    torch.testing.assert_close(measure("normal_consistency", box((1.0, 1.0, 1.0))), torch.tensor(12 / 18 * 12 / 5120))


def test_edge_length_of_a_right_triangle():
    triangle = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
    # Sides 3, 4, 5: variance 2/3 over the squared mean 16.
    torch.testing.assert_close(measure("edge_length", (triangle, torch.tensor([[0, 1, 2]]))), torch.tensor(2 / 48))


def test_laplacian_of_a_regular_tetrahedron():
    corners = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])
    # Each vertex is 4/3 of its distance sqrt(3) to the centre away from the mean of the others, along its normal; edges
    # have length sqrt(8), and there are four faces.
    torch.testing.assert_close(measure("laplacian", (corners, faces)), torch.tensor((16 / 9 * 3) / 8 * 4 / 5120))
    # The offsets form a tetrahedron again, turned inside out and 4/3 as large.
    torch.testing.assert_close(measure("bilaplacian", (corners, faces)), torch.tensor((16 / 9 * 3) / 8 * 16 / 9))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_bits_on_any_number_of_threads(name):
    vertices, faces = bumpy(5)
    results = []
    threads = torch.get_num_threads()
    for n in (1, 2):
        torch.set_num_threads(n)
        points = vertices.float().requires_grad_()
        value = measure(name, (points, faces), start=[(bumpy(5, 1)[0].float(), faces)])
        results.append((value.detach(), torch.autograd.grad(value, points)[0]))
    torch.set_num_threads(threads)
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def warped(vertices):
    """A smooth deformation: bends and stretches of up to a third."""
    return vertices + 0.15 * torch.sin(3 * vertices.roll(1, 1) + 0.4)


def cut_anew(cell):
    """A unit sphere with triangles of many sizes and shapes."""
    size = torch.full((3,), 1.2)
    found = isosurface(lambda points: points.norm(dim=1) - 1, Lattice.around(-size, size, cell))
    vertices = found.vertices.double()
    for _ in range(10):
        vertices = vertices + 0.5 * laplacian_vectors(vertices, Topology(found.faces).edges)
    return torch.nn.functional.normalize(vertices, dim=1), found.faces


@pytest.mark.parametrize("deformed", [False, True])
@pytest.mark.parametrize("shape", ["subdivided", "cut"])
@pytest.mark.parametrize(("name", "spread"), [("normal_consistency", 1.25), ("arap", 1.25), ("symmetry", 1.1)])
def test_a_smooth_deformation_costs_the_same_at_any_number_of_triangles(name, spread, shape, deformed):
    values = []
    for level in (0, 1, 2):
        vertices, faces = icosphere(3 + level) if shape == "subdivided" else cut_anew(0.35 / 2**level)
        moved = warped(vertices.double()) if deformed or name != "normal_consistency" else vertices.double()
        values.append(float(measure(name, (moved, faces), start=[(vertices.double(), faces)])))
    assert max(values) < spread * min(values)


@pytest.mark.parametrize("bent", [False, True])
@pytest.mark.parametrize("shape", ["subdivided", "cut"])
def test_curvature_costs_the_same_at_any_number_of_triangles(shape, bent):
    values = []
    for level in (0, 1, 2):
        vertices, faces = icosphere(3 + level) if shape == "subdivided" else cut_anew(0.35 / 2**level)
        vertices = warped(vertices.double()) if bent else vertices.double()
        curvature, unevenness = curvature_and_unevenness(Mesh(vertices, faces))
        values.append(float(curvature.mean()))
        whole = measure("laplacian", (vertices, faces))
        torch.testing.assert_close(whole, (curvature + unevenness).mean())
    assert max(values) < 1.1 * min(values)


def test_noise_costs_the_same_at_any_number_of_triangles():
    for name in ("bilaplacian", "edge_length"):
        values = []
        for level in (3, 4, 5):
            vertices, faces = icosphere(level)
            noise = torch.randn(vertices.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
            values.append(float(measure(name, (vertices.double() + 0.2 * 0.5**level * noise, faces))))
        assert max(values) < 1.15 * min(values)


def test_bilaplacian_leaves_bulges_and_sees_noise():
    vertices, faces = icosphere(4)
    rough = bumpy(4)[0] * 0.2 + vertices.double() * 0.8
    smooth, noisy = (
        [float(measure(name, (points.double(), faces))) for name in ("laplacian", "bilaplacian")]
        for points in (vertices, rough)
    )
    assert noisy[1] / smooth[1] > 2 * noisy[0] / smooth[0]


def test_arap_is_blind_to_rigid_motion_and_measures_stretch():
    vertices, faces = bumpy()
    turn = axis_angle_to_matrix(torch.tensor([0.3, -2.2, 0.7], dtype=torch.float64))
    moved = vertices @ turn.T + torch.tensor([3.0, -2.0, 5.0], dtype=torch.float64)
    start = [(vertices, faces)]
    assert measure("arap", (moved, faces), start=start) < 1e-12
    # Every edge is a tenth longer: 0.1^2 in squared lengths of the start.
    torch.testing.assert_close(measure("arap", (1.1 * moved, faces), start=start).item(), 0.01)
    # A mirror image is not a rotation.
    assert measure("arap", (vertices * torch.tensor([-1.0, 1.0, 1.0]), faces), start=start) > 0.1
    for factor in (1e-3, 1e3):
        scaled = measure("arap", (1.1 * factor * moved, faces), start=[(factor * vertices, faces)])
        torch.testing.assert_close(scaled.item(), 0.01)


def test_arap_wants_a_start_and_its_triangles():
    vertices, faces = bumpy(1)
    with pytest.raises(ConfigError, match="start of a fit"):
        REGULARIZERS["arap"]()(scene_of((vertices, faces)))
    with pytest.raises(ConfigError, match=r"triangles of 0 are no longer those of the start \(80 then, 320 now\)"):
        measure("arap", bumpy(2), start=[bumpy(1)])


def test_symmetry_of_a_symmetric_shape_about_its_own_plane_only():
    vertices, faces = icosphere(3)
    vertices = vertices.double() * torch.tensor([1.0, 0.5, 0.7])
    shift = torch.tensor([0.3, 0.0, 0.0], dtype=torch.float64)
    here = Symmetry((2.0, 0.0, 0.0), (0.3, 5.0, 5.0))
    # The mirrored vertices of this icosphere are on its faces or vertices, or within the sagitta of its flat faces.
    assert here(scene_of((vertices + shift, faces))) < 1e-5
    assert Symmetry()(scene_of((vertices + shift, faces))) > 1e-2
    tilted = Symmetry((1.0, 1.0, 0.0))
    assert tilted(scene_of((vertices, faces))) > 1e-2


def test_symmetry_of_one_moved_vertex():
    # A flat square around the mirror plane x = 0, except that one corner is lifted by 0.1.
    corners = torch.tensor([[-1.0, 0, -1], [-1, 0, 1], [1, 0, 1], [1, 0, -1]], dtype=torch.float64)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    lifted = corners + torch.tensor([[0, 0.1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]])
    squared_radius = float((lifted - lifted.mean(0)).square().sum(1).mean())
    value = float(Symmetry()(scene_of((lifted, faces)))) * squared_radius * 4
    # Two of four mirrored corners are off: the lifted one over the flat corner 3, and 3 under the lifted corner.
    assert 0.5 * 0.02 < value < 0.02
    assert float(Symmetry()(scene_of((corners, faces)))) < 1e-20


def test_symmetry_gradient_is_that_of_the_value_but_for_its_unit():
    vertices, faces = bumpy(0)
    leaf = vertices.clone().requires_grad_()
    value = measure("symmetry", (leaf, faces))
    (gradient,) = torch.autograd.grad(value, leaf)
    unit = float((vertices - vertices.mean(0)).square().sum(1).mean())
    step = 1e-6
    for i, j in ((0, 0), (3, 1), (7, 2)):
        there, back = vertices.clone(), vertices.clone()
        there[i, j] += step
        back[i, j] -= step
        change = [
            float(measure("symmetry", (points, faces)) * (points - points.mean(0)).square().sum(1).mean() / unit)
            for points in (there, back)
        ]
        assert float(gradient[i, j]) == pytest.approx((change[0] - change[1]) / (2 * step), rel=1e-4, abs=1e-8)


def test_fitting_symmetry_alone_makes_a_shape_symmetric():
    vertices, faces = bumpy(2)
    leaf = vertices.clone().requires_grad_()
    optimizer = torch.optim.Adam([leaf], lr=0.01)
    first = measure("symmetry", (leaf, faces)).item()
    for _ in range(40):
        optimizer.zero_grad()
        measure("symmetry", (leaf, faces)).backward()
        optimizer.step()
    assert measure("symmetry", (leaf, faces)).item() < 0.05 * first


def test_a_mirror_plane_needs_a_normal():
    with pytest.raises(ConfigError, match="normal of the plane"):
        Symmetry((0.0, 0.0, 0.0))
