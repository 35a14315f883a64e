"""The table of the views of a capture: a row per view, or the remarkable ones and a summary."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.table import Table
from rich.text import Text

from diffrender.app.check.picture_diagnosis import PictureDiagnosis
from diffrender.app.verdict.diagnosis import Diagnosis
from diffrender.scene.target_views import Views
from diffrender.setup.mask_agreement import shrink_masks, uncovered_masks
from diffrender.setup.region import Region

# A capture of more views is shown by those that stand out, and a summary of the others.
MOST_ROWS, MOST_REMARKABLE = 40, 20
# Shares of masks and of their border; IoU that is far below the median.
EMPTY, FULL, TOUCHING, FAR_BELOW = 0.002, 0.98, 0.01, 0.1
# The note of a view that does not agree with the others.
ODD = "does not agree"
HEADINGS = ("view", "size", "mask", "uncovered", "depth", "start IoU", "distance", "focal px", "ignored", "notes")


@dataclass(frozen=True)
class ViewRow:
    """What the table shows of a view; None is unknown.

    width, height: of the photograph as it is read. mask: its share of what is known. uncovered: share of its mask that
    the hull of the others leaves uncovered. depth: share of its pixels of which neighbours tell the depth.
    start_iou: of the start and the mask. distance: of the camera from the object. focal_px: in pixels of that size,
    (x, y). ignored: share of the photograph that is not known.
    """

    name: str
    width: int
    height: int
    mask: float | None
    uncovered: float | None
    depth: float | None
    start_iou: float | None
    distance: float
    focal_px: tuple[float, float]
    ignored: float
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return all values."""
        return asdict(self)


def view_rows(
    views: Views,
    heldout: Sequence[int],
    region: Region,
    iou: Mapping[str, float],
    diagnosis: Diagnosis | None,
    pictures: PictureDiagnosis | None,
) -> list[ViewRow]:
    """Return a row per view. iou: of the start, by name. heldout: the views that are held out."""
    told = {} if pictures is None or pictures.agreement is None else pictures.agreement.told
    uncovered = None if diagnosis is None else uncovered_masks(shrink_masks(views), diagnosis.agreement)
    center = torch.tensor(region.center)
    cameras = views.cameras
    offset = center - cameras.positions_w()
    distance, ahead = offset.norm(dim=1), (offset * cameras.cam_from_world[:, 2, :3]).sum(1)
    masks = None if views.masks is None else views.mask_shares()
    borders = views.borders(1, 1)
    usual = sorted(value for value in iou.values() if math.isfinite(value))
    middle = usual[len(usual) // 2] if usual else math.nan
    rows = []
    for view, (name, (top, left, height, width)) in enumerate(zip(views.names, views.photo_boxes(), strict=True)):
        photo = views.known_pixels[view, top : top + height, left : left + width]
        share = None if masks is None else float(masks[view])
        own = _finite(iou.get(name))
        notes = ["held out"] if view in heldout else []
        is_odd = diagnosis is not None and diagnosis.is_odd(view)
        if is_odd or (pictures is not None and pictures.is_odd(name)):
            notes.append(ODD)
        if share is not None and views.masks is not None:
            on_border = float(views.masks[view][borders[view]].mean()) if bool(borders[view].any()) else 0.0
            notes += [text for text, found in (
                ("empty mask", share < EMPTY), ("mask fills the image", share > FULL),
                ("touches the border", on_border > TOUCHING and share <= FULL),
            ) if found]  # fmt: skip
        notes += ["looks away"] if float(ahead[view]) <= 0 and cameras.projection.default_near > 0 else []
        notes += ["start far off"] if own is not None and own < middle - FAR_BELOW else []
        focal = cameras.focal_px[view].tolist()
        left = None if uncovered is None else _finite(float(uncovered[view]))
        rows.append(
            ViewRow(
                name, width, height, share, left, told.get(name), own, float(distance[view]), (focal[0], focal[1]),
                1 - float(photo.float().mean()), tuple(notes),
            )
        )  # fmt: skip
    return rows


def worst_first(rows: Sequence[ViewRow]) -> list[int]:
    """Return the rows' indices: those that do not agree, then the lowest IoU of the start, or the least depth, first.

    Unknown ones are last.
    """

    def badness(row: int) -> tuple[bool, float, float]:
        iou, depth = (2.0 if value is None else value for value in (rows[row].start_iou, rows[row].depth))
        return ODD not in rows[row].notes, iou, depth

    return sorted(range(len(rows)), key=badness)


def view_table(rows: Sequence[ViewRow]) -> Table:
    """Return the table for the terminal; columns that say nothing are left out."""
    shown = list(rows)
    if len(rows) > MOST_ROWS:
        order = worst_first(rows)
        order.sort(key=lambda row: not set(rows[row].notes) - {"held out"})
        shown = [rows[row] for row in sorted(order[:MOST_REMARKABLE])]
    cells = [_cells(row) for row in shown]
    if len(shown) < len(rows):
        names = {row.name for row in shown}
        cells.append(_summary([row for row in rows if row.name not in names]))
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    used = [k for k in range(len(HEADINGS)) if k == 0 or any(row[k] for row in cells)]
    for k in used:
        is_text = HEADINGS[k] in ("view", "notes")
        # Wide enough for "38 others" and "touches the" in 80 columns.
        width, side = (11, "left") if is_text else (None, "right")
        table.add_column(HEADINGS[k], justify=side, overflow="fold", no_wrap=not is_text, min_width=width)
    for row in cells:
        table.add_row(*(Text(row[k], style="yellow" if HEADINGS[k] == "notes" else "") for k in used))
    return table


def _cells(row: ViewRow) -> list[str]:
    x, y = row.focal_px
    focal = f"{x:.4g}" if abs(x - y) < 1e-3 * x else f"{x:.4g}, {y:.4g}"
    iou = "" if row.start_iou is None else f"{row.start_iou:.3f}"
    return [
        row.name, f"{row.width} x {row.height}", _percent(row.mask), _percent(row.uncovered), _percent(row.depth), iou,
        f"{row.distance:.4g}", focal, _percent(row.ignored) if row.ignored > 0 else "", ", ".join(row.notes),
    ]  # fmt: skip


def _summary(rows: Sequence[ViewRow]) -> list[str]:
    """Return the cells of a row about several views: the ranges of their values."""

    def spread(values: Sequence[float | None], text: str) -> str:
        known = [value for value in values if value is not None]
        if not known:
            return ""
        low, high = format(min(known), text), format(max(known), text)
        return low if low == high else f"{low}-{high}"

    sizes = sorted({f"{row.width} x {row.height}" for row in rows})
    return [
        f"{len(rows)} others", sizes[0] if len(sizes) == 1 else f"{len(sizes)} sizes",
        spread([row.mask for row in rows], ".0%"), spread([row.uncovered for row in rows], ".0%"),
        spread([row.depth for row in rows], ".0%"),
        spread([row.start_iou for row in rows], ".3f"), spread([row.distance for row in rows], ".3g"),
        spread([row.focal_px[0] for row in rows], ".4g"),
        spread([row.ignored for row in rows], ".0%") if any(row.ignored > 0 for row in rows) else "", "",
    ]  # fmt: skip


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
