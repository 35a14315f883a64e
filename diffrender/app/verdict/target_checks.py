"""Checks of the targets, before a fit: masks, pictures, cameras."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from diffrender.app.verdict.evidence import Case
from diffrender.app.verdict.reason import Reason
from diffrender.config.options.meshes import FileMesh
from diffrender.imaging.color import is_clipped, srgb_from_linear
from diffrender.scene.materials.unlit import Unlit
from diffrender.scene.quantity_kinds import CAMERA_POSES, POSE, SCALE, VERTICES
from diffrender.setup.mask_width import excess_px, photograph_scale

# An object is seldom on most of the image's border, and then it fills the middle too.
BORDER_COVERED, EMPTIER_MIDDLE = 0.7, 0.2
FULL, EMPTY = 0.98, 0.002
# Crops move the principal point, but those of an image of another size move both coordinates by the same factor.
OFF_CENTER, SAME_FACTOR = 0.24, 0.05
# Of linear colours: darker than the first step of an 8-bit file.
BLACK = 3e-4
MOST_CLIPPED = 0.5
# sRGB: of one background, and of another.
SAME_COLOR, OTHER_COLOR, MOSTLY = 0.03, 0.1, 0.7
FEWEST_VIEWS, LEAST_ANGLE_DEG = 3, 5.0
# Of a shape with masks: a visual hull of fewer is all corners.
FEWEST_OF_HULL = 6
# Of all pixels of pictures without masks: a facade or a table is half or more of what is seen of it.
LITTLE, LITTLE_IN_BOX = 0.15, 0.05
MOST_NAMED = 4


def _means(values: Tensor, pixels: Tensor) -> Tensor:
    """Return the mean of values [N, H, W] over some pixels of each view [N]; NaN if there are none."""
    return torch.where(pixels, values, 0).sum((1, 2)) / pixels.sum((1, 2))


def _names(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def find_inverted_masks(case: Case) -> Reason | None:
    """Masks that cover the border of the images but not their middle."""
    masks = case.views.masks
    if masks is None:
        return None
    height, width = masks.shape[1:]
    in_middle = torch.zeros_like(masks, dtype=torch.bool)
    in_middle[:, height // 3 : -(height // 3), width // 3 : -(width // 3)] = True
    border, middle = (
        _means(masks, pixels).nanmedian() for pixels in (case.views.borders(1, 1), in_middle & case.views.known_pixels)
    )
    if not (border > BORDER_COVERED and middle < border - EMPTIER_MIDDLE):
        return None
    return Reason(
        "inverted_masks",
        f"The masks mark the background: they cover {border:.0%} of the images' border, {middle:.0%} of the middle",
        "Invert the mask files, or the alpha channel of the images: white or opaque must mark the object",
        fails=True,
    )


def find_full_masks(case: Case) -> Reason | None:
    """Masks that cover all of most images."""
    views = case.views
    if views.masks is None or not case.shape_paths or views.mask_shares().median() < FULL:
        return None
    return Reason(
        "full_masks",
        "The masks cover whole images, so that they say nothing of the shape",
        "Check the alpha channel or the mask files, or leave masks out with targets.masks: false",
    )


def find_empty_masks(case: Case) -> Reason | None:
    """Views whose mask marks nothing."""
    views = case.views
    if views.masks is None:
        return None
    is_empty = views.mask_shares() < EMPTY
    names = [name for name, empty in zip(views.names, is_empty.tolist(), strict=True) if empty]
    if not names:
        return None
    return Reason(
        "empty_masks",
        f"The masks of {len(names)} of {len(views)} fitted views are empty, or almost: {_names(names)}",
        "They ask for nothing to be seen there; remove these frames, or mend their masks",
        fails=len(names) > len(views) / 2,
    )


def find_wide_masks(case: Case) -> Reason | None:
    """Masks inside which is a seam of background."""
    views, setup = case.views, case.setup
    if views.masks is None or setup.has_found_masks or setup.target_scene is not None or not case.compares_colors:
        return None
    width = excess_px(views)
    if width is None:
        return None
    width, less = width * photograph_scale(views), setup.config.targets.shrink_masks or 0
    return Reason(
        "wide_masks",
        f"The masks are wider than the object, by about {width:.0f} pixels of the photographs: what is behind it"
        " becomes a part of it",
        f"Make them tighter, or set targets.shrink_masks: {width + less:.0f}",
    )


def find_other_image_size(case: Case) -> Reason | None:
    """Principal points that would be central in images of another size."""
    cameras = case.views.cameras
    x, y = (cameras.center_px.mean(0) / torch.tensor([cameras.width, cameras.height])).tolist()
    if abs(x - 0.5) < OFF_CENTER or abs(x - y) > SAME_FACTOR * max(x, y):
        return None
    return Reason(
        "other_image_size",
        f"The principal point is at {x:.2f} of the width and {y:.2f} of the height of the images: the intrinsics fit"
        f" images {2 * x:.2g} times as large",
        "Give cx, cy, fl_x, fl_y (and w, h) of transforms.json for the size of the image files",
    )


def find_black_images(case: Case) -> Reason | None:
    """Views without any light on the object."""
    views = case.views
    if not case.compares_colors:
        return None
    brightest = torch.where(views.known_pixels, views.images.amax(-1), 0)
    if views.masks is not None:
        # An empty mask is another mistake.
        brightest = torch.where(views.masks > 0.5, brightest, (views.mask_shares() < EMPTY)[:, None, None].float())
    is_black = brightest.amax((1, 2)) < BLACK
    names = [name for name, black in zip(views.names, is_black.tolist(), strict=True) if black]
    if not names:
        return None
    return Reason(
        "black_images",
        f"{len(names)} of {len(views)} fitted images are black where the object is: {_names(names)}",
        "Check these image files, and targets.synthetic.lights of rendered targets",
        fails=len(names) > len(views) / 2,
    )


def find_overexposed_images(case: Case) -> Reason | None:
    """Pictures that are clipped on most of the object."""
    views = case.views
    if views.masks is None or not case.compares_colors or _is_unlit(case):
        return None
    inside = (views.masks > 0.5) & views.known_pixels
    share = float((is_clipped(views.images).all(-1) & inside).sum() / inside.sum().clamp_min(1))
    if share < MOST_CLIPPED:
        return None
    return Reason(
        "overexposed_images",
        f"{share:.0%} of the object's pixels are white: the pictures are overexposed and do not show its colours",
        "Take darker pictures, or give unclipped ones (.exr, 16 bits)",
    )


def find_other_background(case: Case) -> Reason | None:
    """Pictures in front of one colour that is not the scene's background."""
    views, background = case.views, srgb_from_linear(case.setup.scene.background.detach().cpu())
    if not case.compares_colors or "background" in case.setup.model.latents or views.is_composited:
        return None
    # View by view: of hundreds of photographs the borders alone are small.
    at_border = zip(views.images, views.borders(1, 1), strict=True)
    borders = [srgb_from_linear(image[chosen].clamp(0, 1)) for image, chosen in at_border]
    color = torch.stack(
        [border.median(0).values if len(border) else border.new_full((3,), math.nan) for border in borders]
    )
    differences = [(border - own).abs().amax(-1) for border, own in zip(borders, color, strict=True)]
    is_even = torch.stack([(each < SAME_COLOR).float().mean() for each in differences]) > MOSTLY
    common = color.nanmedian(0).values
    is_common = (color - common).abs().amax(-1) < SAME_COLOR
    if (is_even & is_common).float().mean() < MOSTLY or (common - background).abs().max() < OTHER_COLOR:
        return None
    found, own = (", ".join(f"{each:.2f}" for each in value.tolist()) for value in (common, background))
    return Reason(
        "other_background",
        f"The images' border is of one colour, ({found}) in sRGB, but the scene's background is ({own})",
        "Set background or targets.background to the colour of the images, or give masks",
    )


def find_few_viewpoints(case: Case) -> Reason | None:
    """Shapes that are learned from one side only."""
    cameras = case.views.cameras
    # A surface that depths show has been seen from places that are far enough apart.
    if not case.shape_paths or case.setup.config.targets.find_surface:
        return None
    knows_shape = case.views.masks is None or case.views.aovs or isinstance(case.setup.config.mesh, FileMesh)
    has_sides = knows_shape or len(cameras) >= FEWEST_OF_HULL
    forward = cameras.cam_from_world[:, 2, :3].double()
    angle = math.degrees(math.acos(float((forward @ forward.T).clamp(-1, 1).min())))
    is_round = len(cameras) >= FEWEST_VIEWS and angle > LEAST_ANGLE_DEG
    if is_round and has_sides:
        return None
    what = f"{len(cameras)} fitted {'view' if len(cameras) == 1 else 'views'}"
    return Reason(
        "few_viewpoints",
        f"A shape is learned from {what}, {angle:.0f} degrees apart:"
        f" {'what is between their outlines is a guess' if is_round else 'its other sides, and depth, are guesses'}",
        "Give more pictures, from all around"
        + ("" if is_round else "; check transform_matrix of the frames if they were"),
    )


def find_little_compared(case: Case) -> Reason | None:
    """A surface, of all that pictures show, that hardly any of their pixels see."""
    config, weights = case.setup.config, case.views.weights
    if not config.targets.find_surface or weights is None:
        return None
    is_boxed = case.setup.box is not None or getattr(config.mesh, "aabb", None) is not None
    share = float(weights.sum()) / sum(height * width for _, _, height, width in case.views.photo_boxes())
    if share > (LITTLE_IN_BOX if is_boxed else LITTLE):
        return None
    remedy = "Check the box (aabb)" if is_boxed else "Give more pictures of the same places"
    return Reason(
        "little_compared",
        f"Only {share:.1%} of the pictures see the surface that was found: the rest is neither fitted nor judged",
        f"{remedy}; if an object was meant, give masks, or say targets: {{find_masks: true}}",
    )


def find_hard_edges(case: Case) -> Reason | None:
    """Shapes that are learned without gradients of silhouettes."""
    setup = case.setup
    shapes = [path for path in setup.model.latents if setup.model.kind(path) in (VERTICES, POSE, CAMERA_POSES, SCALE)]
    edges = setup.config.render.edges
    if not shapes or edges.moves_silhouettes:
        return None
    return Reason(
        "hard_edges",
        f"render.edges is {edges.type}: silhouettes have no gradient, so {', '.join(shapes)} can only be learned"
        " from shading",
        "Set render.edges: antialias or soft",
    )


def _is_unlit(case: Case) -> bool:
    return all(isinstance(item.material, Unlit) for item in case.setup.scene.objects.values())


TARGET_CHECKS: tuple[Callable[[Case], Reason | None], ...] = (
    find_inverted_masks,
    find_full_masks,
    find_empty_masks,
    find_wide_masks,
    find_other_image_size,
    find_black_images,
    find_overexposed_images,
    find_other_background,
    find_few_viewpoints,
    find_little_compared,
    find_hard_edges,
)
