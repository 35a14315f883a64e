"""The same work by DEODR 0.2.3 (`pip install deodr==0.2.3`), the CPU peer, through both of its interfaces.

Its torch interface does what ours does: tensors in, gradients by autograd out. Its NumPy interface is its quickest.
Both are given what suits them: float64, nothing converted inside the measured time, topology computed before, no
lighting. Its image has RGB only and attributes without perspective correction, on one thread.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch
from benchmarks.works import Setting, Task, Work, edge_model, rendered, setting_of, upstream_gradient
from torch import Tensor

from diffrender.errors import BackendError
from diffrender.scene.cameras import Cameras


def require_deodr() -> None:
    """BackendError where DEODR is not installed."""
    if find_spec("deodr") is None:
        raise BackendError("deodr is not installed in this environment; run `pip install deodr==0.2.3`")


class DeodrCamera(NamedTuple):
    """What DEODR's cameras are made from: both use OpenCV's axes, as we do."""

    extrinsic: np.ndarray
    intrinsic: np.ndarray
    height: int
    width: int


def deodr_camera(cameras: Cameras) -> DeodrCamera:
    """Our first camera."""
    (fx, fy), (cx, cy) = cameras.focal_px[0].tolist(), cameras.center_px[0].tolist()
    intrinsic = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    return DeodrCamera(cameras.cam_from_world[0, :3].double().numpy(), intrinsic, cameras.height, cameras.width)


def numpy_task(work: Work) -> Task:
    """DEODR's NumPy interface: image of the setting, and its gradient to all vertices and colours."""
    from deodr import Camera, ColoredTriMesh, Scene3D

    setting = setting_of(work)
    camera = Camera(*deodr_camera(setting.cameras), tol=1e-5)
    vertices, colors = setting.mesh.vertices.double().numpy(), setting.colors.double().numpy()
    # Counter-clockwise from outside, as our faces are, is clockwise=False: were it not, it would draw the inside of the
    # far half, and `compare_with_deodr` would show it.
    mesh = ColoredTriMesh(setting.mesh.faces.numpy(), vertices, clockwise=False, colors=colors)
    scene = Scene3D(sigma=1, integer_pixel_centers=False)
    scene.set_mesh(mesh)
    scene.set_light(light_directional=None, light_ambient=1.0)  # type: ignore[arg-type]
    scene.set_background_color(setting.background.double().numpy())
    gradient = np.ascontiguousarray(upstream_gradient(work.size)[0, :, :, :3].double().numpy())

    def forward() -> Any:
        mesh.set_vertices(vertices)
        mesh.set_vertices_colors(colors)
        return scene.render(camera)

    def backward(_: Any) -> object:
        scene.render_backward(gradient)
        scene.store_backward_current = None  # its image and depth would lie there until the next step
        return mesh._vertices_b, mesh.vertices_colors_b

    return Task(forward, backward)


class TorchDeodr(NamedTuple):
    """DEODR's torch interface: `render()` gives [H, W, 3], differentiable in the vertices and colours [V, 3]."""

    render: Callable[[], Tensor]
    vertices: Tensor
    colors: Tensor


def torch_deodr(setting: Setting) -> TorchDeodr:
    """The setting in DEODR."""
    from deodr.pytorch.differentiable_renderer_pytorch import CameraPytorch, Scene3DPytorch
    from deodr.pytorch.triangulated_mesh_pytorch import ColoredTriMeshPytorch

    vertices = setting.mesh.vertices.double().requires_grad_()
    colors = setting.colors.double().requires_grad_()
    camera = CameraPytorch(*deodr_camera(setting.cameras))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it makes tensors in ways that torch calls outdated
        mesh = ColoredTriMeshPytorch(setting.mesh.faces.numpy(), vertices.detach().numpy(), colors=colors)
    scene = Scene3DPytorch()
    scene.integer_pixel_centers = False
    scene.set_mesh(mesh)
    scene.set_background_color(setting.background.double().numpy())
    # It can draw lit surfaces only, which takes normals; unlit ones are the same work as ours.
    scene._compute_vertices_colors_with_illumination = lambda: mesh.vertices_colors

    def render() -> Tensor:
        mesh.set_vertices(vertices)
        mesh.set_vertices_colors(colors)
        return scene.render(camera)

    return TorchDeodr(render, vertices, colors)


def torch_task(work: Work) -> Task:
    """DEODR's torch interface: image of the setting, and its gradient to all vertices and colours."""
    peer = torch_deodr(setting_of(work))
    gradient = upstream_gradient(work.size)[0, :, :, :3].double().contiguous()
    return Task(peer.render, lambda image: torch.autograd.grad((image,), (peer.vertices, peer.colors), (gradient,)))


PEERS: dict[str, Callable[[Work], Task]] = {"deodr torch": torch_task, "deodr numpy": numpy_task}


class Agreement(NamedTuple):
    """How alike our work and the peer's are: evidence that it is the same work.

    ours, theirs: [H, W, 3] linear images.
    rmse: of the images. rmse_inside: of the pixels more than two away from every outline.
    cosine_vertices, cosine_colors: between gradients of one smooth linear functional.
    """

    ours: Tensor
    theirs: Tensor
    rmse: float
    rmse_inside: float
    cosine_vertices: float
    cosine_colors: float


def compare_with_deodr(work: Work) -> Agreement:
    """Our image and gradients beside the peer's."""
    setting = setting_of(work)
    waves = torch.randn(1, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    waves = torch.nn.functional.interpolate(waves, (work.size, work.size), mode="bicubic", align_corners=False)
    smooth = waves[0].permute(1, 2, 0).contiguous()  # the peer takes no strides

    leaves = (setting.mesh.vertices.clone().requires_grad_(), setting.colors.clone().requires_grad_())
    ours = rendered(setting, edge_model(work.edges), *leaves).rgba[0, ..., :3]
    our_gradients = torch.autograd.grad((ours * smooth).sum(), leaves)
    peer = torch_deodr(setting)
    theirs = peer.render()
    their_gradients = torch.autograd.grad((theirs * smooth).sum(), (peer.vertices, peer.colors))

    with torch.no_grad():
        hard = rendered(setting, edge_model("hard"), *leaves).rgba[0, ..., :3]
        on_outline = ((ours - hard).abs().amax(-1) > 1e-3).float()[None, None]
        inside = torch.nn.functional.max_pool2d(on_outline, 5, stride=1, padding=2)[0, 0] == 0
        difference = ours - theirs
        return Agreement(
            ours.detach(),
            theirs.detach().float(),
            float(difference.square().mean().sqrt()),
            float(difference[inside].square().mean().sqrt()),
            *(_cosine(a, b) for a, b in zip(our_gradients, their_gradients, strict=True)),
        )


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.double().flatten(), b.double().flatten(), dim=0))
