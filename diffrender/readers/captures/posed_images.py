"""Images with known cameras: what readers of photographs (transforms.json and the like) end in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from diffrender.errors import DataError
from diffrender.imaging.filters import resize_area
from diffrender.imaging.unmix import replace_background
from diffrender.readers.captures.canvas import boxes_on_canvas, describe_sizes, put_on_canvas
from diffrender.readers.captures.capture import CaptureOptions
from diffrender.readers.captures.ignored import describe_ignored, read_weights
from diffrender.readers.captures.memory_need import check_memory
from diffrender.readers.captures.photometry import photometry_of_cameras
from diffrender.readers.captures.picture_doubts import doubt_brightness, doubt_copies, doubt_files
from diffrender.readers.captures.picture_files import some
from diffrender.readers.captures.picture_turns import turn_told_by_size
from diffrender.readers.captures.posed_image import PosedImage, turn_of
from diffrender.readers.captures.problems import load_or_note, problems_error
from diffrender.readers.captures.sized_masks import read_mask_of_image
from diffrender.readers.captures.undistort import note_undistorted, undistort_loaded
from diffrender.readers.images.high_bit_depth import LINEAR_SUFFIXES, has_high_bit_depth
from diffrender.readers.images.image import is_marked_to_be_turned, read_image, stored_and_turned_size
from diffrender.readers.images.image_data import ImageData
from diffrender.readers.images.masks import read_mask
from diffrender.scene.cameras import Cameras
from diffrender.scene.target_views import PhotographLens, ViewFiles, Views
from diffrender.threads import kernel_threads, threads_to_kernels

# How many images are loaded at a time, at most.
LOADERS = 4


@dataclass(frozen=True)
class _Loaded:
    """An image after reading: its full size (width, height), and its pixels at the requested size.

    weights: [h, w] how much of each pixel is known; None: all. lost: the share of the photograph outside the image.
    brightest, whitest: the largest values of a photograph of whole numbers above 8 bits, and of the mask; else None.
    is_resampled: whether the mask file has another size than the image.
    """

    size: tuple[int, int]
    rgb: Tensor
    mask: Tensor | None
    weights: Tensor | None
    opaque: bool
    lost: float
    brightest: float | None
    whitest: float | None
    is_resampled: bool


def with_mask_white(frames: Sequence[PosedImage], notes: list[str]) -> list[PosedImage]:
    """Return the frames with the `mask_white` of their mask files: 1, and a note, if none holds more than 0 and 1."""
    paths = [frame.mask_path for frame in frames if frame.mask_path is not None and os.path.isfile(frame.mask_path)]
    try:
        # One mask of another kind decides; usually it is the first.
        if not paths or not all(round(float(read_mask(path).max()) * 255, 3) == 1 for path in paths):
            return list(frames)
    except DataError:  # reading the frame says so
        return list(frames)
    notes.append(f"its {len(paths)} masks hold 0 and 1 of 255 only; 1 is taken for the object")
    return [replace(frame, mask_white=1) for frame in frames]


def read_posed_images(
    source: Path, frames: Sequence[PosedImage], options: CaptureOptions, notes: list[str] | None = None
) -> Views:
    """Read the images, masks and cameras of `frames`.

    Images of different sizes are in the middle of canvases of one size. Each is shrunk by itself, so that its own long
    side is at most that of the options: photographs of one camera, upright or not, become alike, and a crop keeps what
    detail there is room for.
    source: the file that lists the frames, for messages.
    options: images are shrunk by exact area means in linear light of what is not ignored; without masks, transparency
        still shows the background. Its AOVs are left to the caller. Distorted photographs are undistorted.
    notes: gets what was changed or is doubtful.
    Raises one DataError that lists everything that is wrong with all the images.
    """
    notes = [] if notes is None else notes
    problems: list[str] = []
    sizes = [size for frame in frames if (size := stored_and_turned_size(frame.image_path)) is not None]
    if sizes:  # of those that Pillow knows; all are in canvases of one size
        fitted = [_fit_size(height, width, options.resolution) for (width, height), _ in sizes]
        try:
            check_memory(len(frames), max(height for height, _ in fitted), max(width for _, width in fitted))
        except DataError as error:
            raise DataError(f"{source}: {error}") from None
    loaded = _load_all(frames, options, problems)
    good = [(frame, image) for frame, image in zip(frames, loaded, strict=True) if image is not None]
    kinds = sorted({frame.intrinsics.projection.__name__.lower() for frame in frames})
    if len(kinds) > 1:
        problems.append(f"some cameras are {' and others '.join(kinds)}; split the capture")
    masked = options.use_masks and any(image.mask is not None and not image.opaque for _, image in good)
    composited = any(not image.opaque for _, image in good)
    if masked and options.skip_missing:
        good = _skip_without_masks(good, notes)
    elif masked:
        problems += _mask_problems(good)
    if problems:
        raise problems_error(source, problems, len(frames))

    images = [image for _, image in good]
    names = tuple(frame.name for frame, _ in good)
    notes += doubt_files({frame.name: frame.image_path for frame, _ in good})
    notes += doubt_brightness(names, [image.brightest for image in images], [image.whitest for image in images])
    n_full = sum(frame.mask_path is not None and image.opaque for frame, image in good)
    if n_full == len(good) and options.use_masks:
        notes.append(f"its {n_full} masks are white all over, and say nothing: white must mark the object alone")
    resampled = [image for image in images if image.is_resampled]
    if resampled:
        notes.append(
            f"{len(resampled)} of its {len(images)} masks have another size than their images, and are resampled"
        )
    notes += doubt_copies(names, [image.rgb for image in images])
    notes += note_undistorted(
        [image.lost for frame, image in good if frame.intrinsics.distortion is not None], len(frames)
    )
    boxes, height, width = boxes_on_canvas([(len(image.rgb), len(image.rgb[0])) for image in images])
    is_padded = bool((boxes[:, 2:] != boxes.new_tensor([height, width])).any())
    whole = [image.size for image in images]
    if len(set(whole)) > 1:
        notes.append(describe_sizes(whole, height, width))
        notes += _doubt_shared_lenses(good)
    notes += describe_ignored([image.weights if frame.ignore_paths else None for frame, image in good])
    place = partial(put_on_canvas, boxes=boxes, height=height, width=width)
    is_known = not is_padded and all(image.weights is None for image in images)
    known = [torch.ones(image.rgb.shape[:2]) if image.weights is None else image.weights for image in images]
    return Views(
        _cameras(good, boxes, height, width),
        place([image.rgb for image in images]),
        place([image.mask for image in images if image.mask is not None]) if masked else None,
        names,
        is_composited=composited,
        weights=None if is_known else place(known),
        boxes=boxes if is_padded else None,
        files=tuple(_files(frame, image.size) for frame, image in good),
    )


def _files(frame: PosedImage, size: tuple[int, int]) -> ViewFiles | None:
    """Return the files of a frame, None if a transforms.json cannot say how they become its picture."""
    if len(frame.ignore_paths) > 1:
        return None
    turn = turn_of(frame)
    is_turned = turn is not None and is_marked_to_be_turned(frame.image_path)
    if is_turned and turn_told_by_size(frame.image_path, *size) != turn:
        return None
    ignore = frame.ignore_paths[0] if frame.ignore_paths else None
    lens, distortion = None, frame.intrinsics.distortion
    if distortion is not None:
        focal_x, focal_y, center_x, center_y = frame.intrinsics.resolved(*size)
        lens = PhotographLens(distortion, (focal_x, focal_y), (center_x, center_y))
    return ViewFiles(frame.image_path, frame.mask_path, ignore, *size, lens, frame.aov_paths, frame.depth_unit)


def _load_all(frames: Sequence[PosedImage], options: CaptureOptions, problems: list[str]) -> list[_Loaded | None]:
    """Load all images, LOADERS at a time: whole photographs take hundreds of megabytes each while they are shrunk."""
    found: list[list[str]] = [[] for _ in frames]
    n_threads = kernel_threads()
    # Each loader is one thread: torch would start as many again for each.
    with threads_to_kernels(n_threads), ThreadPoolExecutor(min(LOADERS, n_threads)) as pool:
        loads = [partial(_load, frame, options) for frame in frames]
        loaded = list(pool.map(load_or_note, [frame.place for frame in frames], found, loads))
    problems += chain.from_iterable(found)
    return loaded


def _load(frame: PosedImage, options: CaptureOptions) -> _Loaded:
    image = read_image(frame.image_path, turn_of(frame))
    height, width = image.rgb.shape[:2]
    for what, stated, found in (("w", frame.stated_width, width), ("h", frame.stated_height, height)):
        if stated is not None and stated != found:
            raise DataError(
                f"the image is {width} x {height} (width x height), but {what} is stated as {stated};"
                f" correct {what}, or give the image in that size"
            )
    weights = read_weights(frame.ignore_paths, height, width)
    mask, is_resampled = _mask(frame, image, options.use_masks, weights)
    opaque = mask is None or bool((mask == 1).all() if weights is None else ((mask == 1) | (weights == 0)).all())
    is_deep = has_high_bit_depth(frame.image_path) and frame.image_path.suffix.lower() not in LINEAR_SUFFIXES
    brightest, whitest = float(image.rgb.max()) if is_deep else None, None if mask is None else float(mask.max())
    if frame.mask_path is not None and mask is not None and image.alpha is None and not opaque:
        replace_background(image.rgb, mask, options.background, weights)
    rgb, background = image.rgb, torch.tensor(list(options.background), dtype=torch.float32)
    if mask is not None:
        rgb *= mask[..., None]  # the background is added when the image is small: both are linear
    new_height, new_width = _fit_size(height, width, options.resolution)
    lens, lost = frame.intrinsics, 0.0
    if lens.distortion is not None:
        behind = background if mask is None else torch.zeros(3)
        rgb, mask, weights, lost = undistort_loaded(
            rgb, mask, weights, lens.distortion, lens.resolved(width, height), new_height, new_width, behind.tolist()
        )
    else:
        counted = None if weights is None else weights[None]
        rgb = resize_area(rgb[None], new_height, new_width, counted)[0]
        if mask is not None:
            mask = resize_area(mask[None, :, :, None], new_height, new_width, counted)[0, :, :, 0]
        if weights is not None:
            weights = resize_area(weights[None, :, :, None], new_height, new_width)[0, :, :, 0]
            weights[weights > 1 - 1e-6] = 1  # rounding is not a part that is missing, nor more than all
    if mask is not None:
        rgb = rgb + background * (1 - mask[..., None])
    shown = mask if options.use_masks else None
    return _Loaded((width, height), rgb, shown, weights, opaque, lost, brightest, whitest, is_resampled)


def _mask(frame: PosedImage, image: ImageData, use_masks: bool, weights: Tensor | None) -> tuple[Tensor | None, bool]:
    """Return the share of each pixel that shows the object, [H, W]: by transparency, mask file, or their product.

    And whether the file had another size than the image.
    """
    mask, is_resampled = image.alpha, False
    if use_masks and frame.mask_path is not None:
        from_file, is_resampled = read_mask_of_image(frame.mask_path, *image.rgb.shape[:2])
        from_file = from_file * (255 / frame.mask_white)
        mask = from_file if mask is None else mask * from_file
    known = mask if mask is None or weights is None else mask * (weights > 0)
    if use_masks and known is not None and float(known.max()) < 0.5:
        file = frame.image_path if frame.mask_path is None else frame.mask_path
        where = "" if weights is None else ", where it is not ignored,"
        raise DataError(
            f"{file}: the mask holds no object: its largest value{where} is {round(float(known.max()) * 255)} of 255"
            " (0 is background, 255 is object); give a mask with an object in it, multiplied by 255 if 1 means object"
            " in it, or remove this frame"
        )
    return mask, is_resampled


def _fit_size(height: int, width: int, resolution: int | None) -> tuple[int, int]:
    """Return the size, of the same shape, whose long side is `resolution`, unless the image is smaller already."""
    long_side = max(height, width)
    if resolution is None or resolution >= long_side:
        return height, width
    return max(1, round(height * resolution / long_side)), max(1, round(width * resolution / long_side))


def _doubt_shared_lenses(good: Sequence[tuple[PosedImage, _Loaded]]) -> list[str]:
    """Return a note if images of several sizes have one principal point or field of view, which seldom fits them."""
    lenses = [frame.intrinsics for frame, _ in good]
    stated = {
        "cx, cy": {(lens.center_x_px, lens.center_y_px) for lens in lenses},
        "field of view": {(lens.fov_x_rad, lens.fov_y_rad) for lens in lenses},
    }
    shared = [what for what, values in stated.items() if len(values) == 1 and values != {(None, None)}]
    if not shared:
        return []
    return [f"its images of several sizes have the same {' and '.join(shared)}; if they are cut or turned, state each"]


def _skip_without_masks(
    good: Sequence[tuple[PosedImage, _Loaded]], notes: list[str]
) -> list[tuple[PosedImage, _Loaded]]:
    """Return the frames that have masks, as some do; adds a note on the others."""
    lost = [frame.name for frame, image in good if image.mask is None]
    if lost:
        told = f"{len(lost)} of its {len(good)} images have no mask while others have one, and are skipped"
        notes.append(f"{told}: {some(lost)}")
    return [(frame, image) for frame, image in good if image.mask is not None]


def _mask_problems(good: Sequence[tuple[PosedImage, _Loaded]]) -> list[str]:
    """Return one entry if only some images have masks."""
    without = [frame.place for frame, image in good if image.mask is None]
    if not without:
        return []
    return [
        f"{some(without)} has no mask while others have one; give every frame a mask, leave out those without by"
        " targets.missing: skip, or fit without masks by targets.masks: false"
    ]


def _cameras(good: Sequence[tuple[PosedImage, _Loaded]], boxes: Tensor, height: int, width: int) -> Cameras:
    """Return the cameras of images at `boxes` on canvases of one size."""
    frames = [frame for frame, _ in good]
    intrinsics = [frame.intrinsics for frame in frames]
    kind = intrinsics[0].projection
    projection = kind(
        **{name: torch.tensor([each.parameters[name] for each in intrinsics]) for name in kind.parameter_names()}
    )
    resolved = torch.tensor([frame.intrinsics.resolved(*image.size) for frame, image in good])
    full_sizes = [image.size for _, image in good]
    sizes = boxes[:, [3, 2]].tolist()
    ratio = torch.tensor([[w / full_w, h / full_h] for (w, h), (full_w, full_h) in zip(sizes, full_sizes, strict=True)])
    times = [frame.time for frame in frames if frame.time is not None]
    return Cameras(
        torch.stack([frame.cam_from_world for frame in frames]).float(),
        resolved[:, :2] * ratio,
        resolved[:, 2:] * ratio + boxes[:, [1, 0]],
        height,
        width,
        projection=projection,
        near=projection.default_near,
        time=torch.tensor(times, dtype=torch.float64) if len(times) == len(frames) else None,
        **photometry_of_cameras([frame.photometry for frame in frames], boxes, height, width),
    )
