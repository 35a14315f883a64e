"""Scenes with reference derivatives along motions, to compare with the gradients of render()."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from support.shapes import placed, scene_of, smooth_colors, with_unshared_vertices
from support.truth import (
    Build,
    Leaves,
    Loss,
    Motion,
    MovedImages,
    assert_derivatives_agree,
    dense_image,
    derivatives,
    gradients_of,
    moved_images,
    moved_leaves,
    predictions,
    smooth_functional,
    squared_error,
    vertex_motions,
    with_gradients,
    world_motions,
)
from torch import Tensor

from diffrender.render.render import render
from diffrender.scene.materials import Unlit
from diffrender.scene.mesh import Mesh


@dataclass(frozen=True)
class Case:
    """A scene with reference images of some motions, and the image and gradients of render().

    gradients: of each loss; unshared: of the same scene with a vertex per corner.
    """

    leaves: Leaves
    image: Tensor
    dense: Tensor
    losses: dict[str, list[Loss]]
    gradients: dict[str, list[Leaves]]
    unshared: dict[str, list[Leaves]]
    moved: list[MovedImages]

    def check(self, what: str, motions: list[Motion], truth: list[MovedImages], **bounds: float) -> None:
        """Fail unless gradients along `motions` agree with `truth`; bounds: relative L2 error per loss."""
        for name, at_most in bounds.items():
            expected = derivatives(truth, self.losses[name], noise_at_most=0.6 * at_most)
            for kind, gradients in (("", self.gradients), (", unshared vertices", self.unshared)):
                assert_derivatives_agree(
                    f"{what}, {name} loss{kind}",
                    predictions(gradients[name], motions),
                    expected,
                    cosine_at_least=0.995,
                    relative_l2_at_most=at_most,
                )

    def check_all(self, what: str, **bounds: float) -> None:
        """Check all motions of the case."""
        self.check(what, [item.motion for item in self.moved], self.moved, **bounds)


def target_motion(leaf: str, points: Tensor) -> Motion:
    """Return a motion of a few pixels, which makes the target of squared losses."""
    turn = points @ (0.05 * (world_motions()["rotation y"] - world_motions()["rotation x"])[:3, :3].T)
    return Motion("target", {leaf: turn + 0.03 + 0.03 * points})


def make_case(build: Build, leaves: Leaves, motions: list[Motion], target: Motion, samples: int) -> Case:
    """Render the references for motions with samples x samples hard samples per pixel.

    target: the motion from the scene to the target of the squared loss.
    """
    with torch.no_grad():
        goal = dense_image(*build(moved_leaves(leaves, target, 1.0)), samples).mean(0)
        dense = dense_image(*build(leaves), samples).mean(0)
    learned = with_gradients(leaves)
    image = render(*build(learned)).rgba
    losses = {
        "linear": [smooth_functional(image.shape, seed) for seed in range(3)],
        "squared": [squared_error(goal)],
    }
    scene, cameras = build(learned)
    apart = render(with_unshared_vertices(scene), cameras).rgba
    gradients, unshared = (
        {name: [gradients_of(loss, of, learned) for loss in group] for name, group in losses.items()}
        for of in (image, apart)
    )
    moved = moved_images(build, leaves, motions, samples)
    return Case(leaves, image.detach(), dense, losses, gradients, unshared, moved)


def moving_mesh_case(
    mesh: Mesh,
    camera,
    *others,
    warps: int = 3,
    samples: int = 12,
    colors: Tensor | None = None,
    skip: tuple[str, ...] = (),
    depth_step: float | None = None,
) -> Case:
    """Make a case in which one mesh moves in front of, behind or through others.

    depth_step: step of "translation z", for cameras that see no vertex move by it but only lines of intersection.
    """
    torch.set_num_threads(1)
    material = Unlit(smooth_colors(mesh.vertices) if colors is None else colors)

    def build(leaves: Leaves):
        return scene_of(placed(mesh.with_vertices(leaves["vertices"]), material), *others), camera

    leaves = {"vertices": mesh.vertices}
    motions = [motion for motion in vertex_motions("vertices", mesh.vertices, warps) if motion.name not in skip]
    motions = [replace(motion, step=depth_step) if motion.name == "translation z" else motion for motion in motions]
    return make_case(build, leaves, motions, target_motion("vertices", mesh.vertices), samples)
