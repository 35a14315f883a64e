import importlib

import pytest
import torch
from support.comparators import assert_gradients_agree
from support.pictures import assert_images_agree
from support.shapes import (
    BACKGROUND,
    across_camera,
    behind_camera,
    bumpy,
    camera_at,
    empty,
    flat_camera,
    front_camera,
    needle,
    oblique_cameras,
    placed,
    scene_of,
    smooth_colors,
    square,
    triangle,
    two_crossing,
    wavy_sheet,
)

from diffrender.errors import BackendError, ShapeError
from diffrender.geometry.primitives import icosphere
from diffrender.ops.barycentrics import barycentrics
from diffrender.render.edge_models import EDGE_MODELS, Antialias, Hard
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.lights import Ambient, Directional, Point
from diffrender.scene.materials import Lambert, Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene

SMALL = {
    "triangle": triangle,
    "two crossing": two_crossing,
    "needle": needle,
    "behind the camera": behind_camera,
    "across the camera": across_camera,
    "empty": empty,
}
EDGES = {"antialias": Antialias(), "antialias, 1 sample": Antialias(1), "hard": Hard()}
RED, BLUE = torch.tensor([0.9, 0.1, 0.2]), torch.tensor([0.1, 0.3, 0.8])


def lit_scene(mesh, dtype=torch.float32):
    lights = {
        "sky": Ambient(torch.tensor([0.2, 0.2, 0.3], dtype=dtype)),
        "sun": Directional(torch.tensor([-0.3, -1.0, -0.6], dtype=dtype), torch.tensor([1.5, 1.2, 1.0], dtype=dtype)),
        "bulb": Point(torch.tensor([1.0, 0.5, 1.5], dtype=dtype), torch.tensor([1.0, 1.5, 2.0], dtype=dtype)),
    }
    return scene_of(placed(mesh, Lambert(smooth_colors(mesh.vertices))), lights=lights)


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize("edges", EDGES.values(), ids=EDGES)
@pytest.mark.parametrize("name", SMALL)
def test_small_shapes_give_finite_images_and_gradients(name, edges, backend):
    mesh = SMALL[name]()
    vertices = mesh.vertices.clone().requires_grad_()
    cameras = front_camera(16)
    output = render(lit_scene(mesh.with_vertices(vertices)), cameras, edges, backend=backend)
    assert output.rgba.shape == (1, 16, 16, 4) and output.rgba.dtype == torch.float32
    assert output.depth.shape == output.face_id.shape == (1, 16, 16) and output.face_id.dtype == torch.int64
    assert output.rgba.isfinite().all() and output.depth.isfinite().all()
    assert output.rgba[..., 3].min() >= 0 and output.rgba[..., 3].max() <= 1 + 1e-6
    (gradient,) = torch.autograd.grad(output.rgba.square().sum(), vertices, allow_unused=True)
    if name in ("behind the camera", "empty"):
        background = torch.tensor([*BACKGROUND, 0.0])
        assert_images_agree(output.rgba[0], background.expand(16, 16, 4), error_at_most=1e-6)
        assert (output.face_id == -1).all() and (output.depth == 0).all()
        assert gradient is None or not gradient.any()
    else:
        assert (output.face_id >= 0).any() or name == "needle"
        assert gradient is not None and gradient.isfinite().all() and gradient.any()


def test_worked_example():
    # 8 x 8 pixels over 2 x 2 units: the unit square covers the middle 4 x 4 pixels at depth 3.
    output = render(scene_of(placed(square(), Unlit(RED))), flat_camera(8, 8), Hard())
    covered = torch.zeros(8, 8, dtype=torch.bool)
    covered[2:6, 2:6] = True
    assert torch.equal(output.rgba[0, ..., 3], covered.float())
    torch.testing.assert_close(output.rgba[0, 2:6, 2:6, :3], RED.expand(4, 4, 3))
    torch.testing.assert_close(output.rgba[0, 0, 0, :3], torch.tensor(BACKGROUND))
    torch.testing.assert_close(output.depth[0], 3.0 * covered)
    # Face 0 is the lower right half; row 2 is the upper one: world y goes up, rows go down.
    assert output.face_id[0, 5, 5] == 0 and output.face_id[0, 2, 2] == 1 and output.face_id[0, 0, 0] == -1


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_barycentrics_of_what_is_seen_sum_to_one_and_are_inside(backend):
    scene, cameras = scene_of(placed(bumpy(3))), oblique_cameras(2, 48)
    visible = render(scene, cameras, backend=backend).visible
    samples = visible.samples
    verts_hom = cameras.project(scene.objects["a"].vertices_w())
    faces = scene.objects["a"].mesh.faces
    bary = barycentrics(verts_hom, faces, samples.view, samples.face_id, samples.xy_px, backend=backend)
    assert len(bary) > 1000
    torch.testing.assert_close(bary.sum(1), torch.ones(len(bary)), atol=1e-6, rtol=0)
    assert bary.min() > -1e-4


def test_depth_is_camera_depth_not_distance():
    output = render(scene_of(placed(square(side=20.0))), front_camera(16), Hard())
    torch.testing.assert_close(output.depth, torch.full((1, 16, 16), 3.0))


def test_perspective_interpolation_is_correct():
    """A receding floor: the colour, linear in space, must be that of the point under the pixel."""
    mesh = across_camera(torch.float64)
    colors = (mesh.vertices * 0.05 + 0.5).double()
    cameras = front_camera(32, torch.float64)
    output = render(scene_of(placed(mesh, Unlit(colors))), cameras, Hard())
    seen = output.face_id[0] >= 0
    row, column = torch.nonzero(seen, as_tuple=True)
    depth = output.depth[0][seen]
    focal, center = cameras.focal_px[0], cameras.center_px[0]
    x = (column + 0.5 - center[0]) / focal[0] * depth
    y = -(row + 0.5 - center[1]) / focal[1] * depth
    point = torch.stack([x, y, 3 - depth], 1)
    assert len(point) > 100
    torch.testing.assert_close(output.rgba[0][seen][:, :3], point * 0.05 + 0.5)
    torch.testing.assert_close(point[:, 1], torch.full_like(depth, -0.6))


@pytest.mark.parametrize("edges", EDGES.values(), ids=EDGES)
def test_whole_pixel_shift_of_the_principal_point_shifts_the_image(edges):
    # Exact in float64; pixels that come in from outside are cropped.
    scene, cameras = scene_of(placed(bumpy(3, torch.float64))), oblique_cameras(1, 48, torch.float64)
    shifted = Cameras(
        cameras.cam_from_world, cameras.focal_px, cameras.center_px + torch.tensor([5.0, -3.0]).double(), 48, 48
    )
    before, after = render(scene, cameras, edges).rgba, render(scene, shifted, edges).rgba
    assert_images_agree(after[:, :-3, 5:], before[:, 3:, :-5], error_at_most=1e-9)
    assert not torch.allclose(after, before, atol=0.1)


@pytest.mark.parametrize("shift", [0.03, 0.123])
def test_alpha_is_coverage(shift):
    """Coverage is within 1 % of the area of a triangle, and within .2 % of that of a disc."""
    pixels_per_unit = 32 / 2.0
    corner = triangle()
    corner = corner.with_vertices(corner.vertices + torch.tensor([shift, 0.4 * shift, 0.0]))
    alpha = render(scene_of(placed(corner)), flat_camera(32, 32)).rgba[..., 3]
    assert float(alpha.sum()) == pytest.approx(0.5 * pixels_per_unit**2, rel=0.01)
    vertices, faces = icosphere(4)
    ball = Mesh(0.7 * vertices + torch.tensor([shift, 0.4 * shift, 0.0]), faces)
    alpha = render(scene_of(placed(ball)), flat_camera(64, 64)).rgba[..., 3]
    assert float(alpha.sum()) == pytest.approx(torch.pi * 0.49 * (64 / 2.0) ** 2, rel=0.002)


def test_gradient_of_coverage_is_that_of_the_area():
    """d(pi r^2)/dr in pixels, for a finely tessellated ball; and no net change when it moves."""
    vertices, faces = icosphere(4)
    scale = torch.tensor(0.7, requires_grad=True)
    pose = torch.eye(4, requires_grad=True)
    item = placed(Mesh(vertices, faces))
    item = type(item)(item.mesh, item.material, pose, scale)
    render(scene_of(item), flat_camera(64, 64)).rgba[..., 3].sum().backward()
    assert scale.grad is not None and pose.grad is not None
    assert float(scale.grad) == pytest.approx(2 * torch.pi * 0.7 * 32**2, rel=0.005)
    assert pose.grad[:3, 3].abs().max() < 1e-2 * scale.grad


@pytest.mark.parametrize("edges", EDGES.values(), ids=EDGES)
def test_batch_of_views_is_the_views_one_by_one_bitwise(edges):
    scene, cameras = lit_scene(bumpy(3)), oblique_cameras(3, 40)
    together = render(scene, cameras, edges)
    for view in range(3):
        alone = render(scene, cameras.select([view]), edges)
        assert torch.equal(together.rgba[view], alone.rgba[0])
        assert torch.equal(together.depth[view], alone.depth[0])
        assert torch.equal(together.face_id[view], alone.face_id[0])


def image_and_gradients(mesh, n_views=2, size=64, edges=None, backend=None, dtype=torch.float32):
    """Return the lit image and the gradient of a squared loss with respect to everything learnable."""
    scene, cameras = lit_scene(mesh, dtype), oblique_cameras(n_views, size, dtype)
    leaves = {
        "vertices": mesh.vertices,
        "colors": smooth_colors(mesh.vertices),
        "pose": torch.eye(4, dtype=dtype),
        "scale": torch.ones((), dtype=dtype),
        "camera": cameras.cam_from_world,
        "focal": cameras.focal_px,
        "position": scene.lights["bulb"].position,
        "direction": scene.lights["sun"].direction,
        "background": scene.background,
    }
    leaves = {name: leaf.clone().requires_grad_() for name, leaf in leaves.items()}
    lights = {
        "sky": scene.lights["sky"],
        "sun": Directional(leaves["direction"], scene.lights["sun"].radiance),
        "bulb": Point(leaves["position"], scene.lights["bulb"].intensity),
    }
    item = placed(mesh.with_vertices(leaves["vertices"]), Lambert(leaves["colors"]))
    item = type(item)(item.mesh, item.material, leaves["pose"], leaves["scale"])
    cameras = Cameras(leaves["camera"], leaves["focal"], cameras.center_px, size, size)
    output = render(Scene({"a": item}, lights, leaves["background"]), cameras, edges, backend=backend)
    target = 0.5 + 0.5 * torch.sin(torch.arange(output.rgba.numel(), dtype=dtype)).reshape(output.rgba.shape)
    gradients = torch.autograd.grad((output.rgba - target).square().sum(), list(leaves.values()))
    return output, dict(zip(leaves, gradients, strict=True))


@pytest.mark.parametrize("mesh", [bumpy(4), wavy_sheet(40)], ids=["closed", "open"])
def test_one_and_two_threads_and_two_runs_agree_bitwise(mesh):
    results = []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        output, gradients = image_and_gradients(mesh, n_views=2, size=96)
        results.append((output.rgba, gradients))
    for image, gradients in results[1:]:
        assert torch.equal(image, results[0][0])
        for name, gradient in gradients.items():
            assert torch.equal(gradient, results[0][1][name]), name


@pytest.mark.parametrize("edges", [Antialias(), Hard()], ids=["antialias", "hard"])
@pytest.mark.parametrize("mesh", [bumpy(3, torch.float64), wavy_sheet(20, torch.float64)], ids=["closed", "open"])
def test_numba_and_reference_agree(mesh, edges):
    ours, gradients = image_and_gradients(mesh, edges=edges, backend="numba", dtype=torch.float64)
    theirs, expected = image_and_gradients(mesh, edges=edges, backend="reference", dtype=torch.float64)
    assert torch.equal(ours.face_id, theirs.face_id)
    assert_images_agree(ours.rgba, theirs.rgba, error_at_most=1e-10)
    torch.testing.assert_close(ours.depth, theirs.depth)
    for name, gradient in gradients.items():
        assert_gradients_agree(gradient, expected[name], what=name, relative_l2_at_most=1e-6, bias_at_most=1e-6)


def test_numba_and_reference_agree_in_float32():
    ours, gradients = image_and_gradients(bumpy(3), backend="numba")
    theirs, expected = image_and_gradients(bumpy(3), backend="reference")
    assert torch.equal(ours.face_id, theirs.face_id)
    assert_images_agree(ours.rgba, theirs.rgba, error_at_most=1e-5)
    for name, gradient in gradients.items():
        assert_gradients_agree(
            gradient,
            expected[name],
            what=name,
            relative_l2_at_most=1e-4,
            bias_at_most=1e-4,
            row_ratio_error_at_most=0.02,
        )


def test_nothing_depends_on_what_memory_held_before(poisoned_memory):
    for mesh in (bumpy(2), triangle()):
        clean, expected = image_and_gradients(mesh, size=33)
        with poisoned_memory():
            output, gradients = image_and_gradients(mesh, size=33)
        assert torch.equal(output.rgba, clean.rgba)
        assert torch.equal(output.depth, clean.depth) and torch.equal(output.face_id, clean.face_id)
        for name, gradient in gradients.items():
            assert torch.equal(gradient, expected[name]), name


def test_back_faces_are_drawn():
    # The square is also visible from behind.
    eye = torch.tensor([[0.0, 0.0, -3.0]])
    cameras = Cameras.parallel(eye, view_height=2.0, height=8, width=8)
    assert render(scene_of(placed(square())), cameras).rgba[..., 3].sum() == 16


def test_near_plane_clips_where_it_should():
    # A floor .6 below the camera is clipped at depth 2: at the row of y = .6 / 2 * focal.
    cameras = front_camera(64)
    cameras = Cameras(cameras.cam_from_world, cameras.focal_px, cameras.center_px, 64, 64, near=2.0)
    output = render(scene_of(placed(across_camera())), cameras, Hard())
    assert output.depth[output.face_id >= 0].min() >= 2.0
    last_row = int(torch.nonzero((output.face_id[0] >= 0).any(1)).max())
    assert last_row == int(32 + 0.3 * float(cameras.focal_px[0, 1]) - 0.5)


def test_images_that_are_not_square():
    cameras = flat_camera(24, 48)
    alpha = render(scene_of(placed(square())), cameras).rgba[0, ..., 3]
    assert alpha.shape == (24, 48) and alpha[6:18, 18:30].min() == 1 and float(alpha.sum()) == 144


def test_one_pixel():
    output = render(scene_of(placed(square(side=5.0), Unlit(RED))), flat_camera(1, 1))
    torch.testing.assert_close(output.rgba[0, 0, 0], torch.tensor([*RED.tolist(), 1.0]))


def test_default_edges_are_antialiased():
    scene, cameras = scene_of(placed(bumpy(2))), oblique_cameras(1, 32)
    assert torch.equal(render(scene, cameras).rgba, render(scene, cameras, Antialias()).rgba)
    assert set(EDGE_MODELS) >= {"antialias", "hard"}


def test_no_gradient_is_recorded_where_none_is_wanted():
    assert not render(scene_of(placed(bumpy(2))), oblique_cameras(1, 16)).rgba.requires_grad


def test_errors():
    with pytest.raises(ShapeError, match="no objects"):
        render(Scene({}), flat_camera())
    with pytest.raises(BackendError, match="must be one of numba, triton, reference"):
        render(scene_of(placed(triangle())), flat_camera(), backend="cuda")
    with pytest.raises(ShapeError, match="one row per vertex"):
        render(scene_of(placed(triangle(), Unlit(torch.ones(7, 3)))), flat_camera())


def test_silhouettes_are_shaded_only_where_something_can_move(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("diffrender.render.render")
    calls = []

    def counted(*arguments):
        calls.append(1)
        return jump_across(*arguments)

    jump_across = module.jump_across
    monkeypatch.setattr(module, "jump_across", counted)
    mesh, cameras = bumpy(1), camera_at((0.3, 0.2, 3.0)).resized(24, 24)
    colors = torch.rand(mesh.n_vertices, 3, requires_grad=True)

    def image(vertices: torch.Tensor) -> torch.Tensor:
        return render(Scene({"o": Object(mesh.with_vertices(vertices), Unlit(colors))}), cameras).rgba

    moving = mesh.vertices.clone().requires_grad_()
    still = image(mesh.vertices)
    with torch.no_grad():
        unwatched = image(moving)
    assert not calls
    assert torch.equal(image(moving), still) and torch.equal(unwatched, still)
    assert calls == [1]
    assert bool(torch.autograd.grad(still.sum(), colors)[0].any())


@pytest.mark.parametrize("edges", EDGE_MODELS.values())
def test_no_cameras_give_no_images(edges):
    mesh = square()
    for item in (mesh, Mesh(mesh.vertices, mesh.faces[:1])):
        scene = scene_of(placed(item, Unlit(torch.ones(item.n_vertices, 3, requires_grad=True))))
        image = render(scene, flat_camera(8, 8).select(slice(0, 0)), edges()).rgba
        assert image.shape == (0, 8, 8, 4)
        image.sum().backward()
