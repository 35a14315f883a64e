import builtins
import importlib.util

import pytest
import torch
from support.fit_fakes import blob_cameras, blob_scene

from diffrender.errors import BackendError, ConfigError, ShapeError
from diffrender.fit.model import SceneModel
from diffrender.fit.parametrizations.large_steps import LargeSteps
from diffrender.geometry.primitives import icosphere
from diffrender.geometry.spd_solver import SOLVERS, SparseSystem, choose_solver
from diffrender.scene.mesh import Mesh


def ball(subdivisions=2, dtype=torch.float64):
    triangles = icosphere(subdivisions)
    return Mesh(triangles.vertices.to(dtype), triangles.faces)


def cut_ball():
    """A sphere whose faces above the equator have their own vertices, as at a UV seam; and the index of each twin."""
    whole = ball()
    upper = whole.vertices[whole.faces].mean(1)[:, 2] > 0
    again = torch.arange(len(whole.vertices)) + len(whole.vertices)
    faces = torch.where(upper[:, None], again[whole.faces], whole.faces)
    used, faces = faces.unique(return_inverse=True)
    return Mesh(torch.cat([whole.vertices] * 2)[used], faces), used % len(whole.vertices), whole


def dense_laplacian(mesh):
    """The Laplacian by hand: degrees on the diagonal, -1 per edge."""
    matrix = torch.zeros(mesh.n_vertices, mesh.n_vertices, dtype=torch.float64)
    for a, b in {tuple(sorted((int(f[i]), int(f[i - 1])))) for f in mesh.faces for i in range(3)}:
        matrix[a, b] = matrix[b, a] = -1
        matrix[a, a] += 1
        matrix[b, b] += 1
    return matrix


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("smoothness", [0.0, 1.0, 19.0, 1000.0])
def test_the_latent_is_the_smoothed_vertices_undone(solver, smoothness):
    mesh = ball(1)
    matrix = torch.eye(mesh.n_vertices) + smoothness * dense_laplacian(mesh)
    parametrization = LargeSteps(smoothness, solver).bind(mesh)
    torch.testing.assert_close(parametrization.latent_of(mesh.vertices), matrix @ mesh.vertices)
    latent = torch.randn(mesh.n_vertices, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(parametrization.value_of(latent), torch.linalg.solve(matrix, latent))


@pytest.mark.parametrize("solver", SOLVERS)
def test_gradient(solver):
    mesh, *_ = cut_ball()
    parametrization = LargeSteps(solver=solver).bind(mesh)
    latent = parametrization.latent_of(mesh.vertices).requires_grad_()
    assert torch.autograd.gradcheck(parametrization.value_of, latent, fast_mode=True)
    assert torch.autograd.gradgradcheck(parametrization.value_of, latent, fast_mode=True)


def test_a_pull_at_one_vertex_spreads_and_fades():
    mesh = ball(3)
    parametrization = LargeSteps().bind(mesh)
    latent = parametrization.latent_of(mesh.vertices).requires_grad_()
    parametrization.value_of(latent)[0, 0].backward()
    pull = latent.grad[:, 0]
    ring = (mesh.topology.edges == 0).any(1)
    near = mesh.topology.edges[ring].sum(1)
    far = (mesh.vertices - mesh.vertices[0]).norm(dim=1).argmax()
    assert (pull > 0).all()
    assert pull[0] > pull[near].max() > pull[near].min() > 5 * pull[far]
    assert float(pull.sum()) == pytest.approx(1, abs=1e-9)  # a common step of all vertices is unchanged
    torch.testing.assert_close(latent.grad[:, 1:], torch.zeros_like(latent.grad[:, 1:]))


def test_vertices_at_one_position_are_one():
    cut, twin_of, whole = cut_ball()
    assert cut.n_vertices > whole.n_vertices
    of_cut, of_whole = LargeSteps().bind(cut), LargeSteps().bind(whole)
    torch.testing.assert_close(of_cut.latent_of(cut.vertices), of_whole.latent_of(whole.vertices)[twin_of])
    latent = torch.randn(whole.n_vertices, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(of_cut.value_of(latent[twin_of]), of_whole.value_of(latent)[twin_of])
    # The seam stays closed even if the latents of twins differ.
    apart = torch.randn(cut.n_vertices, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    value = of_cut.value_of(apart)
    for vertex in twin_of.bincount().gt(1).nonzero()[:, 0]:
        first, second = value[twin_of == vertex]
        assert torch.equal(first, second)


def test_float32_is_as_exact_as_float32_can_be():
    mesh = ball(4, torch.float32)
    parametrization = LargeSteps().bind(mesh)
    value = parametrization.value_of(parametrization.latent_of(mesh.vertices))
    assert value.dtype == torch.float32
    assert (value - mesh.vertices).abs().max() < 3e-7


def test_the_same_bits_every_time_on_any_number_of_threads():
    mesh = ball(4, torch.float32)
    latent = torch.randn(mesh.n_vertices, 3, generator=torch.Generator().manual_seed(3))
    threads = torch.get_num_threads()
    found = []
    for n in (1, 2, 2):
        torch.set_num_threads(n)
        found.append(LargeSteps().bind(mesh).value_of(latent))
    torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_vertices_without_faces_move_freely():
    mesh = ball(1)
    more = Mesh(torch.cat([mesh.vertices, torch.tensor([[5.0, 5.0, 5.0]]).double()]), mesh.faces)
    parametrization = LargeSteps().bind(more)
    latent = parametrization.latent_of(more.vertices)
    assert torch.equal(latent[-1], more.vertices[-1])
    torch.testing.assert_close(parametrization.value_of(latent), more.vertices)


def test_a_model_binds_it_to_the_mesh_of_the_object():
    scene = blob_scene(1)
    model = SceneModel(scene, blob_cameras(), {"mesh.vertices": LargeSteps(7.0), "scale": None})
    before = scene.objects["ball"].mesh.vertices
    torch.testing.assert_close(model.values()["objects.ball.mesh.vertices"].detach(), before)
    assert (model.latents["objects.ball.mesh.vertices"] - before).abs().max() > 0.1


def test_anything_but_vertices_is_refused():
    with pytest.raises(ShapeError, match=r"pose: large_steps: only the vertices of a mesh can have this method"):
        SceneModel(blob_scene(), blob_cameras(), {"pose": "large_steps"})


@pytest.mark.parametrize("smoothness", [-1.0, float("nan"), float("inf")])
def test_wrong_lambdas(smoothness):
    with pytest.raises(ConfigError, match="large_steps: lambda must be a finite number, at least 0, got"):
        LargeSteps(smoothness)


def test_solvers_by_name(monkeypatch):
    assert choose_solver("splu") == "splu"
    with pytest.raises(ConfigError, match="solver must be auto, cholesky or splu, got 'lu'"):
        choose_solver("lu")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "cholespy" else find(name))
    assert choose_solver("auto") == "splu"
    with pytest.raises(BackendError, match=r"cholespy, which is not installed; choose splu or auto"):
        choose_solver("cholesky")


def test_the_chosen_solver_is_the_one_that_runs(monkeypatch):
    """With splu, cholespy is not even imported."""
    real = builtins.__import__

    def refusing(name, *rest):
        assert name != "cholespy"
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refusing)
    place = torch.arange(2)
    half = SparseSystem(2, place, place, torch.full((2,), 2.0).double(), "splu").solve(torch.ones(2, 1))
    assert torch.equal(half, torch.full((2, 1), 0.5))
