"""Reference directional derivatives of losses: central differences of densely supersampled hard images.

Hard samples involve no antialiasing and no gradients, so only rasterisation and shading are shared with what is tested.
The scene is a function of named leaves (tensors); a motion gives each leaf a direction. The two images of a motion are
rendered once and used for all losses. Each image is the mean of two halves with different sample grids (s and s + 1 per
side): the disagreement of the halves is the noise of the reference, and must be small against what is asserted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from support.comparators import assert_gradients_agree, relative_l2
from torch import Tensor

from diffrender.render.scene_triangles import gather_triangles
from diffrender.render.supersample import render_supersampled
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene

Leaves = Mapping[str, Tensor]
Build = Callable[[Leaves], tuple[Scene, Cameras]]
Loss = Callable[[Tensor], Tensor]

# A squared loss is nonlinear at the scale of a pixel, so motions are much smaller.
STEP_PX = 0.15


@dataclass(frozen=True)
class Motion:
    """A change of a scene that moves each named leaf along its tangent.

    step: distance to each side, in units of the tangent; None moves the fastest vertex by STEP_PX.
    """

    name: str
    tangents: Leaves
    step: float | None = None


@dataclass(frozen=True)
class MovedImages:
    """The images at both ends of a motion, [2 halves, N, H, W, 4] each."""

    motion: Motion
    low: Tensor
    high: Tensor
    step: float

    def derivative(self, loss: Loss) -> Tensor:
        """Return the derivative [] of the loss along the motion."""
        return (loss(self.high.mean(0)) - loss(self.low.mean(0))) / (2 * self.step)

    def disagreement(self, loss: Loss) -> Tensor:
        """Return half the difference [] between the derivatives of the two halves: the noise of `derivative`."""
        halves = [(loss(high) - loss(low)) / (2 * self.step) for high, low in zip(self.high, self.low, strict=True)]
        return (halves[0] - halves[1]) / 2


def dense_image(scene: Scene, cameras: Cameras, samples: int) -> Tensor:
    """Render the box-filtered image twice, with `samples` and samples + 1 samples per side: [2, N, H, W, 4] float64."""
    return torch.stack([render_supersampled(scene, cameras, s).double() for s in (samples, samples + 1)])


def moved_leaves(leaves: Leaves, motion: Motion, distance: float) -> dict[str, Tensor]:
    """Return the leaves moved by `distance` tangents."""
    moved = dict(leaves)
    for name, tangent in motion.tangents.items():
        moved[name] = leaves[name] + distance * tangent
    return moved


def step_of(build: Build, leaves: Leaves, motion: Motion) -> float:
    """Return the motion's step, or else the one that moves the fastest vertex in the image by STEP_PX."""
    if motion.step is not None:
        return motion.step
    probe = 1e-3  # far above rounding errors of float32
    ends = []
    for distance in (-probe, probe):
        scene, cameras = build(moved_leaves(leaves, motion, distance))
        ends.append(cameras.world_to_pixels(gather_triangles(scene).verts_w)[..., :2])
    middle = (ends[0] + ends[1]) / 2
    size = middle.new_tensor([cameras.width, cameras.height])
    # What is far outside the image, or near the camera plane, moves arbitrarily fast and is not seen.
    counts = ((middle > -0.5 * size) & (middle < 1.5 * size)).all(-1)
    speed = float((ends[1] - ends[0])[counts].norm(dim=-1).max()) / (2 * probe)
    assert speed > 0, f"motion {motion.name} moves nothing in the image; give it a step"
    return STEP_PX / speed


def moved_images(build: Build, leaves: Leaves, motions: Sequence[Motion], samples: int) -> list[MovedImages]:
    """Render both images of each motion."""
    images = []
    with torch.no_grad():
        for motion in motions:
            step = step_of(build, leaves, motion)
            low, high = (dense_image(*build(moved_leaves(leaves, motion, side)), samples) for side in (-step, step))
            images.append(MovedImages(motion, low, high, step))
    return images


def derivatives(images: Sequence[MovedImages], losses: Sequence[Loss], noise_at_most: float) -> Tensor:
    """Return reference derivatives [losses x motions]; fail if their relative noise exceeds `noise_at_most`."""
    truth = torch.stack([image.derivative(loss) for loss in losses for image in images])
    noise = torch.stack([image.disagreement(loss) for loss in losses for image in images])
    found = float(noise.norm() / truth.norm())
    assert found <= noise_at_most, f"the reference's relative noise must be at most {noise_at_most:g}, got {found:.4f}"
    return truth


def predictions(gradients: Sequence[Leaves], motions: Sequence[Motion]) -> Tensor:
    """Return the derivatives along the motions that the losses' gradients predict: [losses x motions]."""
    return torch.stack([_along(gradient, motion.tangents) for gradient in gradients for motion in motions])


def _along(gradient: Leaves, tangents: Leaves) -> Tensor:
    parts = [(gradient[name].double() * tangent.double()).sum() for name, tangent in tangents.items()]
    return torch.stack(parts).sum()


def gradients_of(loss: Loss, image: Tensor, leaves: Leaves) -> dict[str, Tensor]:
    """Return the gradient of loss(image) for each leaf; the image must depend on all of them."""
    found = torch.autograd.grad(loss(image.double()), list(leaves.values()), retain_graph=True)
    return dict(zip(leaves, found, strict=True))


def with_gradients(leaves: Leaves) -> dict[str, Tensor]:
    """Return copies of the leaves that require gradients."""
    return {name: leaf.detach().clone().requires_grad_() for name, leaf in leaves.items()}


def assert_derivatives_agree(
    what: str, predicted: Tensor, truth: Tensor, *, cosine_at_least: float, relative_l2_at_most: float
) -> None:
    """Fail unless predicted derivatives along motions agree with the reference in direction and relative L2 error."""
    assert_gradients_agree(
        predicted,
        truth,
        what=f"{what} (relative L2 {relative_l2(predicted, truth):.4f})",
        cosine_at_least=cosine_at_least,
        relative_l2_at_most=relative_l2_at_most,
        bias_at_most=relative_l2_at_most,
        row_ratio_error_at_most=float("inf"),
    )


def smooth_functional(shape: Sequence[int], seed: int) -> Loss:
    """Return a random linear loss on images [N, H, W, 4], whose weights vary smoothly between 6 x 6 knots."""
    n_views, height, width, channels = shape
    generator = torch.Generator().manual_seed(seed)
    knots = torch.randn(n_views, channels, 6, 6, generator=generator, dtype=torch.float64)
    weights = torch.nn.functional.interpolate(knots, (height, width), mode="bicubic", align_corners=False)
    weights = weights.permute(0, 2, 3, 1)
    return lambda image: (image * weights).sum()


def squared_error(target: Tensor) -> Loss:
    """Return a loss: the sum of squared differences to `target`."""
    return lambda image: ((image - target) ** 2).sum()


def world_motions(dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Return generators [4, 4] of three translations, three rotations and a scaling, all about the world's origin."""
    generators = {}
    for axis, name in enumerate("xyz"):
        generators[f"translation {name}"] = torch.zeros(4, 4, dtype=dtype)
        generators[f"translation {name}"][axis, 3] = 1
    for axis, name in enumerate("xyz"):
        turn = torch.zeros(4, 4, dtype=dtype)
        turn[(axis + 2) % 3, (axis + 1) % 3] = 1
        turn[(axis + 1) % 3, (axis + 2) % 3] = -1
        generators[f"rotation {name}"] = turn
    generators["scale"] = torch.diag(torch.tensor([1, 1, 1, 0], dtype=dtype))
    return generators


def smooth_warps(points: Tensor, n: int, seed: int = 0) -> list[Tensor]:
    """Return `n` random smooth vector fields at points [V, 3]."""
    generator = torch.Generator().manual_seed(seed)
    fields = []
    for _ in range(n):
        frequency = 2 * torch.randn(3, 3, generator=generator, dtype=torch.float64)
        phase = 6.28 * torch.rand(3, generator=generator, dtype=torch.float64)
        mixing = 0.5 * torch.randn(3, 3, generator=generator, dtype=torch.float64)
        fields.append((torch.sin(points.double() @ frequency.T + phase) @ mixing.T).to(points.dtype))
    return fields


def vertex_motions(leaf: str, points: Tensor, n_warps: int) -> list[Motion]:
    """Return motions of a leaf of world-space vertices [V, 3]: translations, rotations, scale and `n_warps` warps."""
    affine = [Motion(name, {leaf: points @ g[:3, :3].T + g[:3, 3]}) for name, g in world_motions(points.dtype).items()]
    return affine + [Motion(f"warp {i}", {leaf: field}) for i, field in enumerate(smooth_warps(points, n_warps))]
