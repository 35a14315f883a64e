"""The plain PyTorch implementation on each device, compared with the CPU kernels: images and all gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support.comparators import assert_gradients_agree
from support.pictures import assert_images_agree
from support.shapes import BACKGROUND, bumpy, oblique_cameras, smooth_colors, square, two_crossing
from torch import Tensor

from diffrender.render.edge_models import Antialias, Soft
from diffrender.render.render import RenderOutput, render
from diffrender.scene.cameras import Cameras
from diffrender.scene.environment.env_map import EnvMap
from diffrender.scene.lights import Ambient, Directional, Environment, Point
from diffrender.scene.materials import Ggx, Lambert
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.shadow_cameras import Shadow
from diffrender.scene.textures.texture import Texture

# The same arithmetic in another order; in float32 a few samples at edges would flip.
DTYPE = torch.float64
Leaves = dict[str, Tensor]


def texels(*shape: int, seed: int) -> Tensor:
    return 0.2 + 0.6 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=DTYPE)


def lit_leaves() -> Leaves:
    """Two objects with vertex colors that pass through each other, under three lights; one casts shadows."""
    ball = bumpy(2, DTYPE)
    return {
        "vertices": ball.vertices,
        "colors": smooth_colors(ball.vertices),
        "crossing": two_crossing(DTYPE).vertices,
        "sky": torch.tensor([0.2, 0.25, 0.3], dtype=DTYPE),
        "sun": torch.tensor([-0.3, -1.0, -0.6], dtype=DTYPE),
        "bulb": torch.tensor([1.1, 0.6, 1.3], dtype=DTYPE),
        "camera": oblique_cameras(2, dtype=DTYPE).cam_from_world,
    }


def render_lit(leaves: Leaves, backend: str | None) -> RenderOutput:
    device, ones = leaves["sun"].device, torch.ones_like(leaves["sun"])
    pose, scale = torch.eye(4, dtype=DTYPE, device=device), torch.ones((), dtype=DTYPE, device=device)
    ball = Mesh(leaves["vertices"], bumpy(2).faces.to(device))
    crossing = Mesh(leaves["crossing"], two_crossing().faces.to(device))
    objects = {
        "ball": Object(ball, Lambert(leaves["colors"]), pose, scale),
        "crossing": Object(crossing, Lambert(0.7 * ones), pose, scale),
    }
    lights = {
        "sky": Ambient(leaves["sky"]),
        "sun": Directional(leaves["sun"], ones, shadow=Shadow(0.05, 64)),
        "bulb": Point(leaves["bulb"], ones),
    }
    seen = oblique_cameras(2, 32, DTYPE).to(device)
    cameras = Cameras(leaves["camera"], seen.focal_px, seen.center_px, 32, 32)
    return render(Scene(objects, lights, ones * 0.1), cameras, Antialias(), backend=backend)


def textured_leaves() -> Leaves:
    """A textured, bumpy metal in an environment, behind soft edges, seen by an orthographic camera."""
    bumps = texels(8, 8, 3, seed=3) - 0.5
    bumps[..., 2] = 1
    return {
        "vertices": square(DTYPE, side=1.4).vertices,
        "color": texels(16, 16, 3, seed=0),
        "roughness": texels(16, 16, 1, seed=1),
        "bumps": bumps,
        "radiance": texels(16, 32, 3, seed=2),
        "background": torch.tensor(BACKGROUND, dtype=DTYPE),
    }


def render_textured(leaves: Leaves, backend: str | None) -> RenderOutput:
    device = leaves["vertices"].device
    pose, scale = torch.eye(4, dtype=DTYPE, device=device), torch.ones((), dtype=DTYPE, device=device)
    shape = square(DTYPE)
    uvs, faces = shape.uvs.to(device), shape.faces.to(device)
    metal = Ggx(
        Texture(leaves["color"]),
        torch.full((1,), 0.8, dtype=DTYPE, device=device),
        Texture(leaves["roughness"]),
        Texture(leaves["bumps"]),
    )
    item = Object(Mesh(leaves["vertices"], faces, uvs, faces), metal, pose, scale)
    sky = Environment(EnvMap(leaves["radiance"]), torch.tensor([0.1, 0.4, 0.0], dtype=DTYPE, device=device))
    scene = Scene({"card": item}, {"sky": sky}, leaves["background"])
    # Oblique: seen head-on, pixel centers coincide with texel centers, where the gradient is discontinuous.
    eye = torch.tensor([[0.7, 0.5, 3.0]], dtype=DTYPE, device=device)
    cameras = Cameras.parallel(eye, view_height=2.0, height=32, width=40)
    return render(scene, cameras, Soft(1.5), backend=backend)


@pytest.mark.parametrize(
    ("leaves", "draw"),
    [(lit_leaves(), render_lit), (textured_leaves(), render_textured)],
    ids=["lit", "textured"],
)
def test_images_and_gradients_are_those_of_the_kernels(
    leaves: Leaves, draw: Callable[[Leaves, str | None], RenderOutput], device: torch.device
) -> None:
    found = []
    for where, backend in ((torch.device("cpu"), "numba"), (device, "reference")):
        learned = {name: leaf.to(where).clone().requires_grad_() for name, leaf in leaves.items()}
        output = draw(learned, backend)
        assert output.rgba.device.type == where.type
        weight = torch.linspace(-1, 2, output.rgba.numel(), dtype=DTYPE).mul(40).sin().reshape(output.rgba.shape)
        loss = (output.rgba * weight.to(where)).sum() + output.rgba.square().sum()
        gradients = torch.autograd.grad(loss, list(learned.values()))
        found.append((output.rgba.detach().cpu(), [gradient.cpu() for gradient in gradients]))
    (expected, expected_gradients), (image, gradients) = found
    assert_images_agree(image, expected, error_at_most=1e-9)
    for name, gradient, wanted in zip(leaves, gradients, expected_gradients, strict=True):
        assert wanted.any(), name
        assert_gradients_agree(gradient, wanted, what=name, relative_l2_at_most=1e-6, bias_at_most=1e-6)
