"""What readers of posed images share: images that are missing, worlds far away, notes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from diffrender.errors import DataError
from diffrender.readers.captures.capture import Capture, CaptureOptions
from diffrender.readers.captures.ignored import find_ignored
from diffrender.readers.captures.lens_doubts import doubt_lenses
from diffrender.readers.captures.masks_beside import with_masks_beside
from diffrender.readers.captures.normal_depth import read_aov
from diffrender.readers.captures.picture_files import some
from diffrender.readers.captures.posed_image import PosedImage, camera_centers, far_origin, move_frames
from diffrender.readers.captures.posed_images import read_posed_images, with_mask_white
from diffrender.readers.rounding import doubt_rounding
from diffrender.scene.target_views import Views


def read_posed_capture(
    source: Path, frames: Sequence[PosedImage], options: CaptureOptions, notes: Sequence[str] = ()
) -> Capture:
    """Read the images of `frames`, none of which the capture holds out itself.

    source: the file that lists them. notes: what is told already. Raises DataError.
    """
    told = list(notes)
    check_resolution(source, options)
    usable = with_ignored(usable_frames(source, frames, options, told), options, told)
    origin = far_origin(usable)
    if any(origin):
        told += notes_on_origin(usable, origin)
    usable = move_frames(usable, origin)
    views = read_views(source, usable, options, told)
    told += doubt_lenses(frames_of(views, usable), views)
    return Capture(views, origin=origin, notes=tuple(told))


def check_resolution(source: Path, options: CaptureOptions) -> None:
    """Raise DataError if the resolution that is asked for is not valid."""
    if options.resolution is not None and options.resolution < 1:
        raise DataError(f"{source}: resolution must be at least 1 pixel, got {options.resolution}")


def usable_frames(
    source: Path, frames: Sequence[PosedImage], options: CaptureOptions, notes: list[str], names_masks: bool = False
) -> list[PosedImage]:
    """Return the frames whose images exist, if missing ones are skipped, with short names and the white of their masks.

    names_masks: whether the capture says which masks there are, so that none are looked for.
    Raises DataError if none is left.
    """
    found = list(frames)
    lost = [frame.name for frame in found if not os.path.isfile(frame.image_path)]
    if lost and options.skip_missing:
        if len(lost) == len(found):
            raise DataError(f"{source}: none of its {len(lost)} images exists; the first is {found[0].image_path}")
        notes.append(f"{len(lost)} of its {len(found)} images do not exist and are skipped: {some(lost)}")
        found = [frame for frame in found if os.path.isfile(frame.image_path)]
    if options.use_masks and not names_masks:
        found = with_masks_beside(source, found, options.skip_missing, notes)
    if options.use_masks and options.skip_missing:
        found = _with_their_masks(found, notes)
    return _short_names(with_mask_white(found, notes) if options.use_masks else found)


def _with_their_masks(frames: list[PosedImage], notes: list[str]) -> list[PosedImage]:
    """Return the frames whose mask files exist, unless none does; adds to `notes`."""
    lost = [frame for frame in frames if frame.mask_path is not None and not os.path.isfile(frame.mask_path)]
    if not lost or len(lost) == sum(frame.mask_path is not None for frame in frames):
        return frames  # where none exists, the path is wrong: reading says so
    names = some([frame.name for frame in lost])
    notes.append(f"{len(lost)} of its {len(frames)} images are skipped, as their masks do not exist: {names}")
    return [frame for frame in frames if frame not in lost]


def with_ignored(frames: Sequence[PosedImage], options: CaptureOptions, notes: list[str]) -> list[PosedImage]:
    """Return the frames with the pictures of what to ignore in them; adds to `notes`. frames: all of the capture."""
    if options.ignore is None:
        return list(frames)
    found = find_ignored(options.ignore, [frame.image_path for frame in frames], notes)
    return [replace(frame, ignore_paths=frame.ignore_paths + more) for frame, more in zip(frames, found, strict=True)]


def read_views(
    source: Path, frames: Sequence[PosedImage], options: CaptureOptions, notes: list[str] | None = None
) -> Views:
    """Read the images, masks and AOVs of `frames`; what is told of them is added to `notes`. Raises DataError."""
    views = read_posed_images(source, frames, options, notes)
    kept = frames_of(views, frames)
    return replace(views, aovs={name: read_aov(source, kept, views, name) for name in options.aovs})


def frames_of(views: Views, frames: Sequence[PosedImage]) -> list[PosedImage]:
    """Return the frames of `views`, in which those without masks may have been skipped."""
    names = set(views.names)
    return [frame for frame in frames if frame.name in names]


def notes_on_origin(frames: Sequence[PosedImage], origin: tuple[float, float, float]) -> list[str]:
    """Return notes about a world whose origin is moved to `origin`, in which `frames` were far away."""
    point = ", ".join(f"{value:.6g}" for value in origin)
    doubt = doubt_rounding(camera_centers(frames).numpy())
    note = f"its cameras are far from the world's origin; the fit takes place about ({point})"
    return [note] if doubt is None else [note, doubt.replace("its coordinates", "the coordinates of its cameras", 1)]


def _short_names(frames: Sequence[PosedImage]) -> list[PosedImage]:
    """Name the frames by the stems of their files, or by their paths if stems repeat."""
    stems = [frame.image_path.stem for frame in frames]
    if len(set(stems)) < len(stems):
        stems = [frame.name.removeprefix("./") for frame in frames]
    return [replace(frame, name=stem) for frame, stem in zip(frames, stems, strict=True)]
