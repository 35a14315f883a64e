"""Cameras that see colours through a Gaussian."""

from dataclasses import replace

import pytest
import torch
from support.shapes import bumpy, lobe_colors, oblique_cameras, placed, scene_of

from diffrender.ops.blur import blur
from diffrender.render.render import render
from diffrender.scene.materials import Unlit

MESH = bumpy(2)
SCENE = scene_of(placed(MESH, Unlit(lobe_colors(MESH.vertices))))
CAMERAS = oblique_cameras(2, 24)


def blurred(sigma_px):
    return replace(CAMERAS, blur_px=torch.as_tensor(sigma_px))


def test_colours_are_blurred_in_linear_light_and_all_else_is_sharp():
    aovs = ("normal", "color", "depth")
    sharp, soft = (render(SCENE, cameras, aovs=aovs) for cameras in (CAMERAS, blurred(0.9)))
    torch.testing.assert_close(soft.aov("color"), blur(sharp.aov("color").contiguous(), 0.9))
    assert (soft.aov("color") - sharp.aov("color")).abs().max() > 0.05
    for name in ("normal", "depth"):
        assert torch.equal(soft.aov(name), sharp.aov(name))
    assert torch.equal(soft.coverage, sharp.coverage)
    assert torch.equal(render(SCENE, blurred(0.9)).rgba[..., :3], soft.aov("color"))


def test_images_of_another_size_show_the_same_blur():
    large = replace(oblique_cameras(1, 96), blur_px=torch.tensor(4.0))
    whole = render(SCENE, large).rgba[..., :3]
    means = whole.reshape(1, 24, 4, 24, 4, 3).mean((2, 4))
    small = render(SCENE, large.resized(24, 24)).rgba[..., :3]
    # What a box of 4 pixels is for the one image, a box of 1 is for the other.
    assert (small - means).abs().max() < 0.02 < (render(SCENE, CAMERAS.select([0])).rgba[..., :3] - means).abs().max()


@pytest.mark.parametrize("start", [0.4, 2.0])
def test_blur_of_photographs_is_learned_from_a_known_scene(start):
    target = render(SCENE, blurred(1.1)).rgba[..., :3]
    latent = torch.tensor(start).log().requires_grad_()
    optimizer = torch.optim.Adam([latent], 0.05)
    for _ in range(100):
        optimizer.zero_grad()
        (render(SCENE, blurred(latent.exp())).rgba[..., :3] - target).square().mean().backward()
        optimizer.step()
    assert float(latent.detach().exp()) == pytest.approx(1.1, rel=0.02)


def test_a_mask_of_the_blur_is_of_its_derivative_alone():
    sigma, colors = torch.tensor(0.9, requires_grad=True), lobe_colors(MESH.vertices).requires_grad_()
    whole = torch.ones(len(CAMERAS), CAMERAS.height, CAMERAS.width, dtype=torch.bool)
    left = whole.clone()
    left[:, :, CAMERAS.width // 2 :] = False
    images, of_sigma, of_colors = {}, {}, {}
    for name, mask in (("none", None), ("whole", whole), ("left", left), ("right", ~left)):
        cameras = replace(blurred(sigma), blur_mask=mask)
        images[name] = render(scene_of(placed(MESH, Unlit(colors))), cameras).rgba
        of_sigma[name], of_colors[name] = torch.autograd.grad(images[name].square().sum(), (sigma, colors))
    for name in ("whole", "left", "right"):
        assert torch.equal(images[name], images["none"])
        torch.testing.assert_close(of_colors[name], of_colors["none"])
    torch.testing.assert_close(of_sigma["whole"], of_sigma["none"])
    torch.testing.assert_close(of_sigma["left"] + of_sigma["right"], of_sigma["none"])
    assert abs(float(of_sigma["left"])) > 0.01 * abs(float(of_sigma["none"]))
