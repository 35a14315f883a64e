import math
from dataclasses import replace

import pytest
import torch
from support.fit_fakes import blob_cameras, blob_scene, blob_views, render_blob

from diffrender.errors import ConfigError, FitError
from diffrender.fit import batch_targets
from diffrender.fit.batch_targets import ResolutionSchedule
from diffrender.fit.checkpoint import load_checkpoint, save_checkpoint
from diffrender.fit.loop import FitSettings, fit
from diffrender.fit.losses import IMAGE_LOSSES
from diffrender.fit.model import SceneModel
from diffrender.fit.objective import Objective, Term
from diffrender.fit.optimizer.fit_optimizer import FitOptimizer, ParamSettings
from diffrender.fit.parametrizations.large_steps import LargeSteps
from diffrender.fit.reach import FAR, Reach
from diffrender.fit.remeshing.surgery import remesh_due
from diffrender.fit.remeshing_policy import Remeshing
from diffrender.geometry.normals import face_normals
from diffrender.geometry.primitives import icosphere, plane
from diffrender.geometry.umbrella_vectors import laplacian_vectors
from diffrender.scene.materials import MATERIALS
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene

OBJECTIVE = Objective((Term("image", 1.0, IMAGE_LOSSES["l1"]()),))
VERTICES, COLOR = "objects.ball.mesh.vertices", "objects.ball.material.base_color"
FINER = Remeshing(0.1, 0.15, at=(2, 5), gain=0.0, passes=2)
STEPS = 8


def ball(with_uvs=False):
    triangles = icosphere(1, 0.5)
    uvs = uv_faces = None
    if with_uvs:
        uvs, uv_faces = triangles.vertices[:, :2] + 0.5, triangles.faces
    mesh = Mesh(triangles.vertices, triangles.faces, uvs, uv_faces)
    return Object(mesh, MATERIALS["unlit"](base_color=0.5 + 0.4 * triangles.vertices))


def render_vertices(scene, cameras, step=0):
    """A blob in the mean colour of the vertices."""
    (item,) = scene.objects.values()
    mean = MATERIALS["unlit"](base_color=item.material.base_color.mean(0))
    return render_blob(Scene({"ball": Object(item.mesh, mean)}, {}, scene.background), cameras)


def problem(method="identity", remeshing=FINER, colors="unit_interval", item=None):
    scene, cameras = Scene({"ball": item or ball()}, {}, torch.tensor([0.1, 0.2, 0.3])), blob_cameras()
    model = SceneModel(scene, cameras, {"mesh.vertices": method, "material.base_color": colors})
    rates = {"mesh.vertices": ParamSettings(0.02), "material.base_color": ParamSettings(0.1, optimizer="vector_adam")}
    optimizer = FitOptimizer(model, rates, STEPS, {"mesh.vertices": remeshing} if remeshing else None)
    return model, blob_views(blob_scene(1), cameras), optimizer


def run(model, views, optimizer, observers=(), first_step=0, render=render_vertices):
    return fit(model, views, OBJECTIVE, optimizer, FitSettings(STEPS, 2), render, observers, first_step)


def gradients(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for latent in model.latents.values():
        latent.grad = 1e-3 * torch.randn(latent.shape, generator=generator)


def take_step(model, optimizer, step):
    """Update and remesh as a fit does; `begin` and gradients come before."""
    optimizer.step()
    remesh_due(model, optimizer, step + 1, Reach(model))


@pytest.mark.parametrize(("coarseness", "least"), [(1.0, 0.1), (1.4, 0.14), (9.0, 0.15)])
def test_target_lengths_are_longer_while_images_are_small(coarseness, least):
    model, _, optimizer = problem("identity")
    (lengths,) = optimizer.target_lengths.values()
    lengths.lengths = torch.full_like(lengths.lengths, 1e-3)
    optimizer.begin(0, coarseness)
    gradients(model)
    optimizer.step()
    assert lengths.lengths.min() == pytest.approx(least)


def test_fits_tell_the_optimizer_how_coarse_the_next_images_are(monkeypatch):
    monkeypatch.setattr(batch_targets, "FEWEST_PX", 1)
    model, views, optimizer = problem()
    seen, begin = [], optimizer.begin
    optimizer.begin = lambda step, coarseness: (seen.append(coarseness), begin(step, coarseness))[1]
    settings = FitSettings(STEPS, 2, resolution=ResolutionSchedule(0.25, 4))
    fit(model, views, OBJECTIVE, optimizer, settings, render_vertices)
    assert seen == [2, 2, 2, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(("scale", "expected"), [(1, 1), (0.7, 1), (0.5, 1), (0.25, 2), (0.125, 4)])
def test_lengths_are_pixels_of_the_first_images_at_least(scale, expected):
    schedule = ResolutionSchedule(scale, 6)
    assert [schedule.coarseness(step) for step in range(8)] == pytest.approx([expected] * 6 + [1] * 2)


def remeshed(method="identity", **options):
    """A model and optimiser after two steps; the second one remeshed."""
    model, _, optimizer = problem(method, **options)
    for step in range(2):
        optimizer.begin(step)
        gradients(model, step)
        take_step(model, optimizer, step)
    return model, optimizer


@pytest.mark.parametrize("method", ["identity", "large_steps"])
def test_everything_at_the_vertices_follows_the_mesh(method):
    model, optimizer = remeshed(method, colors="identity")
    mesh = model.template.scene.objects["ball"].mesh
    assert mesh.n_vertices > 42
    assert mesh.topology.is_closed
    scene = model()
    item = scene.objects["ball"]
    assert item.mesh.faces is mesh.faces
    torch.testing.assert_close(item.mesh.vertices, mesh.vertices)
    expected = model.template.parametrizations[VERTICES].latent_of(mesh.vertices)
    assert torch.equal(model.latents[VERTICES].detach(), expected)
    state = optimizer.state_dict()
    for path in (VERTICES, COLOR):
        rows = len(model.latents[path])
        assert rows == mesh.n_vertices
        moments = state["moments"][path]
        assert moments["mean"].shape == (rows, 3)
        assert moments["square"].shape == (rows, 3 if path == VERTICES and method == "identity" else 1)
        assert (moments["square"] >= 0).all()
        assert (moments["mean"] != 0).any()
        assert float(moments["count"]) == 2
    assert state["motions"][VERTICES]["lengths"].shape == (mesh.n_vertices,)
    assert state["motions"][VERTICES]["drift"].shape == (mesh.n_vertices, 3)
    # The fit continues with it.
    optimizer.begin(2)
    gradients(model)
    optimizer.step()


def test_colours_stay_where_they_are_on_the_surface():
    """A colour that is a linear function of position is the same function afterwards."""
    item = ball()
    model, _, optimizer = problem(colors="identity", item=item)
    for step in range(2):
        optimizer.begin(step)
        for latent in model.latents.values():
            latent.grad = torch.zeros_like(latent)
        take_step(model, optimizer, step)
    after = model().objects["ball"]
    assert after.mesh.n_vertices > 42
    torch.testing.assert_close(after.material.base_color, 0.5 + 0.4 * after.mesh.vertices, rtol=0, atol=1e-6)


def test_colours_that_are_not_learned_follow_too():
    scene, cameras = Scene({"ball": ball()}, {}), blob_cameras()
    model = SceneModel(scene, cameras, {"mesh.vertices": "identity"})
    optimizer = FitOptimizer(model, {"mesh.vertices": ParamSettings(0.01)}, STEPS, {"mesh.vertices": FINER})
    optimizer.begin(1)
    model.latents[VERTICES].grad = torch.zeros(42, 3)
    take_step(model, optimizer, 1)
    item = model().objects["ball"]
    assert len(item.material.base_color) == item.mesh.n_vertices > 42


def test_texture_coordinates_follow_too():
    model, _ = remeshed(item=ball(with_uvs=True))
    mesh = model.template.scene.objects["ball"].mesh
    assert mesh.n_vertices > 42
    assert mesh.uv_faces.shape == mesh.faces.shape
    assert len(mesh.uvs) == mesh.n_vertices


@pytest.mark.parametrize("method", ["identity", "large_steps"])
def test_faces_become_four_after_the_last_remeshing(method):
    """A smooth surface, with all that is at its vertices; the fit goes on with it."""
    policy = Remeshing(0.1, 0.15, at=(2, 5), gain=0.0, most_faces=2000, subdivide=True)
    model, _, optimizer = problem(method, policy, "identity", ball(with_uvs=True))
    faces = []
    for step in range(6):
        optimizer.begin(step)
        for latent in model.latents.values():
            latent.grad = torch.zeros_like(latent)
        take_step(model, optimizer, step)
        faces.append(model.template.scene.objects["ball"].mesh.n_faces)
    assert faces[0] == 80 and 200 < faces[1] <= 500 and faces[1] == faces[3] and faces[5] == faces[4]
    item = model().objects["ball"]
    before = faces[4] / 4
    assert before == int(before) and 200 < before <= 500
    mesh = item.mesh
    assert mesh.topology.is_closed and len(mesh.uv_faces) == faces[5]
    # Loop's scheme takes colours to the middles of edges and pulls old vertices a little from their colours' places.
    torch.testing.assert_close(item.material.base_color, 0.5 + 0.4 * mesh.vertices, rtol=0, atol=0.02)
    assert optimizer.target_lengths[VERTICES].lengths.shape == (mesh.n_vertices,)
    assert len(model.latents[VERTICES]) == len(model.latents[COLOR]) == mesh.n_vertices
    optimizer.begin(6)
    gradients(model)
    optimizer.step()


def test_a_mesh_that_would_get_too_many_faces_is_not_subdivided():
    policy = Remeshing(0.1, 0.15, at=(2,), gain=0.0, most_faces=300, subdivide=True)
    assert policy.most_remeshed == 75
    model, _, optimizer = problem(remeshing=policy)
    for step in range(2):
        optimizer.begin(step)
        gradients(model, step)
        take_step(model, optimizer, step)
    assert model.template.scene.objects["ball"].mesh.n_faces <= 300


@pytest.mark.parametrize("method", ["identity", "large_steps"])
def test_a_resumed_fit_ends_in_the_same_bits(tmp_path, method):
    file = tmp_path / "checkpoint.pt"

    class SaveAt:
        def on_step(self, record, model):
            if record.step == 3:
                save_checkpoint(file, model, optimizer, 4)

    model, views, optimizer = problem(method)
    whole = run(model, views, optimizer, [SaveAt()])
    model, views, optimizer = problem(method)
    assert load_checkpoint(file, model, optimizer) == 4
    assert model.template.scene.objects["ball"].mesh.n_vertices > 42
    resumed = run(model, views, optimizer, first_step=4)
    one, two = (result.scene.objects["ball"] for result in (whole, resumed))
    assert torch.equal(one.mesh.faces, two.mesh.faces)
    assert torch.equal(one.mesh.vertices, two.mesh.vertices)
    assert torch.equal(one.material.base_color, two.material.base_color)


def test_an_early_checkpoint_brings_the_first_mesh_back(tmp_path):
    file = tmp_path / "checkpoint.pt"
    model, views, optimizer = problem()
    save_checkpoint(file, model, optimizer, 0)
    run(model, views, optimizer)
    assert model.template.scene.objects["ball"].mesh.n_vertices > 42
    load_checkpoint(file, model, optimizer)
    assert torch.equal(model().objects["ball"].mesh.vertices, ball().mesh.vertices)
    run(model, views, optimizer)


def test_checkpoints_with_and_without_remeshing_are_told_apart(tmp_path):
    file = tmp_path / "checkpoint.pt"
    model, _, optimizer = problem()
    save_checkpoint(file, model, optimizer, 0)
    model, _, optimizer = problem(remeshing=None)
    with pytest.raises(FitError, match="keep `remesh:`"):
        load_checkpoint(file, model, optimizer)


def test_what_a_remeshed_step_spoilt_is_undone_with_its_mesh():
    """Step 1 remeshes and the next step is not finite: the fit goes back to the mesh before it."""

    def spoilt(scene, cameras, step):
        output = render_vertices(scene, cameras)
        if step == 2:
            output = replace(output, image=output.image * math.nan)
        return output

    model, views, optimizer = problem()
    result = run(model, views, optimizer, render=spoilt)
    assert result.stop_reason == "non_finite"
    assert result.steps_done == 1
    assert result.scene.objects["ball"].mesh.n_vertices == 42
    reference, views, other = problem()

    class Stop:
        def on_step(self, record, model):
            raise KeyboardInterrupt

    expected = run(reference, views, other, [Stop()])
    assert torch.equal(expected.scene.objects["ball"].mesh.vertices, result.scene.objects["ball"].mesh.vertices)
    # Model and optimiser still match.
    assert optimizer.state_dict()["moments"][VERTICES]["mean"].shape == model.latents[VERTICES].shape


def test_an_interrupt_in_the_middle_of_remeshing_is_undone(monkeypatch):
    model, views, optimizer = problem()
    restore = model.restore

    def interrupted(frame, latents):
        restore(frame, latents)
        monkeypatch.setattr(model, "restore", restore)
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "restore", interrupted)
    result = run(model, views, optimizer)
    assert (result.stop_reason, result.steps_done) == ("interrupted", 1)
    assert result.scene.objects["ball"].mesh.n_vertices == 42
    assert optimizer.state_dict()["moments"][COLOR]["mean"].shape == model.latents[COLOR].shape
    assert len(optimizer.state_dict()["motions"][VERTICES]["lengths"]) == 42


def motion(optimizer):
    """Target lengths, drift and number of moves."""
    return tuple(optimizer.state_dict()["motions"][VERTICES].values())


@pytest.mark.parametrize("at", [(4,), (7,)], ids=["remeshed", "same mesh"])
def test_an_undone_step_restores_the_target_lengths_from_before_it(monkeypatch, at):
    """Step 3 is interrupted after its update, and after remeshing where it is due."""
    seen = []

    class Watch:
        def on_step(self, record, model):
            seen.append(motion(optimizer))

    def interrupted(model, optimizer, done, reach):
        remesh_due(model, optimizer, done, reach)
        if done == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr("diffrender.fit.step.remesh_due", interrupted)
    model, views, optimizer = problem(remeshing=Remeshing(0.1, 0.3, at=at))
    assert run(model, views, optimizer, [Watch()]).steps_done == 3
    assert model.template.scene.objects["ball"].mesh.n_vertices == 42
    lengths, drift, moves = motion(optimizer)
    assert torch.equal(lengths, seen[-1][0]) and not torch.equal(lengths, seen[0][0])
    assert torch.equal(drift, seen[-1][1])
    assert moves == 3


def test_a_step_says_what_it_did_to_the_mesh():
    seen = []

    class Watch:
        def on_step(self, record, model):
            seen.append(dict(record.geometry))

    model, views, optimizer = problem()
    run(model, views, optimizer, [Watch()])
    assert seen[0] == {"vertices": 42, "damped": 0, "flipped": 0}
    assert seen[1]["vertices"] > 42


@pytest.mark.parametrize("method", ["identity", LargeSteps(0.3)], ids=["identity", "large_steps"])
def test_a_step_that_would_turn_faces_over_is_damped(method):
    model, _, optimizer = problem(method, remeshing=None)
    optimizer.begin(0)
    generator = torch.Generator().manual_seed(0)
    for latent in model.latents.values():
        latent.grad = torch.zeros_like(latent)
    # The gradient moves a single vertex across the ball.
    model.latents[VERTICES].grad[7] = model.latents[VERTICES].detach()[7] * 1e3 + torch.rand(3, generator=generator)
    optimizer._settings[VERTICES] = ParamSettings(1.0 if method == "identity" else 10.0)
    optimizer.step()
    geometry = optimizer.geometry()
    assert geometry["damped"] > 0
    assert geometry["flipped"] == 0
    start = ball().mesh
    after = model().objects["ball"].mesh.vertices.detach()
    turned = (face_normals(start.vertices, start.faces) * face_normals(after, start.faces)).sum(1) < 0
    assert not turned.any()


def test_only_learned_shapes_are_remeshed():
    model = SceneModel(Scene({"ball": ball()}), blob_cameras(), {"pose": None})
    with pytest.raises(ConfigError, match=r"only an object whose mesh\.vertices are learned can be remeshed"):
        FitOptimizer(model, {"pose": ParamSettings(0.1)}, 3, {"mesh.vertices": FINER})


def motions(pulls, **options):
    """The target lengths of a sphere after steps with these gradients, each [V, 3] or one number for all."""
    model, _, optimizer = problem(
        remeshing=Remeshing(0.01, 1.0, at=(), settled=100.0, **options), colors="identity", method="identity"
    )
    for step, pull in enumerate(pulls):
        optimizer.begin(step)
        for latent in model.latents.values():
            latent.grad = torch.ones_like(latent) * pull
        optimizer.step()
    return optimizer.state_dict()["motions"][VERTICES]["lengths"]


def test_travelling_vertices_get_longer_edges_and_trembling_ones_shorter():
    first = motions([])
    assert (motions([1.0] * 6, full_speed=0.1) > 1.05 * first).all()
    tremble = motions([1.0, -1.0] * 4, full_speed=0.1)
    assert (tremble < 0.95 * motions([1.0, -1.0] * 2, full_speed=0.1)).all()
    torch.testing.assert_close(motions([1.0] * 6, gain=0.0), first)


def smoothed(item):
    """The vertices of an object after a step without gradient."""
    model, _, optimizer = problem("identity", Remeshing(0.01, 1.0, at=(), smoothing=0.25), "identity", item)
    optimizer.begin(0)
    for latent in model.latents.values():
        latent.grad = torch.zeros_like(latent)
    optimizer.step()
    return model.latents[VERTICES].detach()


def test_smoothing_pulls_vertices_to_their_neighbours():
    before = ball().mesh
    pull = laplacian_vectors(before.vertices, before.topology.edges)
    torch.testing.assert_close(smoothed(ball()), before.vertices + 0.25 * pull)


def test_a_border_is_smoothed_along_itself_and_does_not_retreat():
    before, faces = plane(1, 1, 5, 5)
    now = smoothed(Object(Mesh(before, faces), MATERIALS["unlit"](base_color=torch.full_like(before, 0.5))))
    size = before.abs().amax()
    on_sides = now[(before.abs() > 0.99 * size).sum(1) == 1]
    assert len(on_sides) >= 12
    torch.testing.assert_close(on_sides.abs().amax(1), size.expand(len(on_sides)))


def test_relative_rates_count_in_edges():
    model = SceneModel(Scene({"ball": ball()}), blob_cameras(), {"mesh.vertices": "identity"})
    rates = {"mesh.vertices": ParamSettings(0.1, optimizer="vector_adam", in_edges=True)}
    optimizer = FitOptimizer(model, rates, STEPS, {"mesh.vertices": Remeshing(0.01, 1.0, at=())})
    lengths = optimizer.state_dict()["motions"][VERTICES]["lengths"]
    before = model.latents[VERTICES].detach().clone()
    optimizer.begin(0)
    model.latents[VERTICES].grad = torch.ones(42, 3)
    optimizer.step()
    torch.testing.assert_close((before - model.latents[VERTICES].detach()).norm(dim=1), 0.1 * lengths)


@pytest.mark.parametrize("remeshing", [None, FINER])
def test_vertices_that_leave_the_scene_end_the_fit_and_are_not_remeshed(remeshing):
    """The flip guard holds them in step 0; after step 1 they are away, and a remeshing is due."""
    model, views, _ = problem(remeshing=remeshing)
    rates = {"mesh.vertices": ParamSettings(1e9), "material.base_color": ParamSettings(0.1)}
    optimizer = FitOptimizer(model, rates, STEPS, {"mesh.vertices": remeshing} if remeshing else None)
    result = run(model, views, optimizer)
    assert (result.stop_reason, result.steps_done) == ("diverged", 1)
    assert f"step 1 moved some of {VERTICES} more than {FAR:g} times" in result.message
    vertices = result.scene.objects["ball"].mesh.vertices
    assert len(vertices) == 42 and float(vertices.abs().max()) < 1
