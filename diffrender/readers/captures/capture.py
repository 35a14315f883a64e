"""The interface of a capture reader: what it is asked for, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from diffrender.scene.target_views import Views

LISTED = 6


@dataclass(frozen=True)
class CaptureOptions:
    """How to read a capture.

    resolution: the long side of the images in pixels, at least 1; larger images are shrunk to it, None keeps them.
    background: linear RGB that fills what masks and transparency leave free.
    use_masks: False ignores mask files and returns no masks.
    aovs: which of "normal" and "depth" to read for every image.
    ignore: a folder of pictures named as the images, white where these show nothing of the scene; None: no such folder.
    fov_deg: the field of view along the long side of one photograph that has no camera; None: by its EXIF.
    skip_missing: whether images that do not exist, and those without masks if others have some, are skipped with a
        note; otherwise they are an error.
    """

    resolution: int | None = None
    background: Sequence[float] = (0.0, 0.0, 0.0)
    use_masks: bool = True
    aovs: tuple[str, ...] = ()
    skip_missing: bool = False
    ignore: Path | None = None
    fov_deg: float | None = None


@dataclass(frozen=True)
class Capture:
    """What a capture reader returns.

    views: images, cameras and, if asked for and known, masks and AOVs. Images show the background of the options
        where masks leave it free, and `views.is_composited` says so; or black, if nothing else was ever there.
    holds_out: whether some of `views` are held out of a fit unless its options say otherwise; False if a fit needs
        each of them, or if the capture sets others apart.
    read_heldout: reads the views that the capture itself sets apart to evaluate a fit, and returns them with what is
        to be told of them, as `notes`; None if there are none.
    aabb: [2, 3] the low and the high corner of a box around the object in world units; None if the capture has none,
        and the box is then estimated from the views.
    origin: the point of the world, float64, that is the origin of `views`, `aabb` and `points`: (0, 0, 0) unless the
        cameras are so far from it that float32 does not hold their positions.
    notes: what of the capture was changed or skipped, each a sentence about "its ..." without a full stop.
    points: [M, 3] points of what the images show, as they were found with the cameras; None if there are none.
    """

    views: Views
    holds_out: bool = True
    read_heldout: Callable[[], tuple[Views, tuple[str, ...]]] | None = None
    aabb: Tensor | None = None
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    notes: tuple[str, ...] = ()
    points: Tensor | None = None


@dataclass(frozen=True)
class CaptureReader:
    """A format of captures.

    accepts: the format in words, for messages: "a folder with ...".
    claims: whether a path (which may not exist) is of this format, from names and the keys of a JSON.
    read: reads a path that it claims. Raises DataError that lists everything that is wrong.
    """

    accepts: str
    claims: Callable[[Path], bool]
    read: Callable[[Path, CaptureOptions], Capture]


def describe_path(path: Path) -> str:
    """Return in words what is at `path`, for messages that say what should be there."""
    if path.is_file():
        return "is a file of another kind"
    if not path.is_dir():
        return "does not exist"
    names = sorted(entry.name for entry in path.iterdir())
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"is a folder with {', '.join(names[:LISTED])}{more}" if names else "is an empty folder"
