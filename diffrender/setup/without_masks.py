"""Find what photographs without masks show: an object before a plain backdrop or clutter, or else a surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from diffrender.config.options.meshes import FileMesh, StereoMesh, VisualHullMesh
from diffrender.config.schema import FitConfig
from diffrender.errors import DataError
from diffrender.geometry.primitives import Triangles
from diffrender.imaging.color import srgb_from_linear
from diffrender.readers.captures.picture_files import some
from diffrender.scene.target_views import Views
from diffrender.setup.backdrop import (
    Backdrop,
    find_backdrop,
    keyed_backdrop,
    light_on_backdrop,
    with_masks,
    without_surroundings,
)
from diffrender.setup.local_origin import Origin
from diffrender.setup.mask_agreement import measure_agreement, shrink_masks
from diffrender.setup.object_masks import ObjectMasks, composite, find_object_masks
from diffrender.setup.picture_agreement import PictureAgreement, measure_pictures
from diffrender.setup.seen_surface import find_seen_surface
from diffrender.setup.swept_views import SweptViews, sweep_views

# Masks leave out parts in this share of the pictures, their outlines agree by less than AGREEING, and with the parts by
# CLEARLY more: then the parts belong to the object.
OFTEN, AGREEING, CLEARLY = 0.25, 0.8, 0.2
# Or with the parts they agree entirely, and without them not.
SURE, LITTLE = 0.98, 0.015
CUT_OFF = (
    "what is in the middle of its pictures is cut off by their borders (`targets: {find_masks: true}` gives it masks)"
)


@dataclass(frozen=True)
class Found:
    """What is known of photographs.

    fit, heldout: the views, maybe with masks. background: linear RGB behind what they show.
    surface: what they show, if it is not an object in masks. notes: what was found, or why nothing was.
    pictures: how far they fit onto each other, if depths are known.
    """

    fit: Views
    heldout: Views | None
    background: tuple[float, float, float]
    surface: Triangles | None = None
    notes: tuple[str, ...] = ()
    pictures: PictureAgreement | None = None


def find_without_masks(
    config: FitConfig, given: Found, has_background: bool, box: Tensor | None, origin: Origin
) -> Found:
    """Return the views of `given`, which have no masks, with what is found in them as far as `config` asks for it.

    has_background: whether the background is stated. box: [2, 3] low and high corner around what counts, if known.
    origin: the point of the user's world that is that of the views.
    Raises DataError if masks or a surface that the file asks for cannot be found.
    """
    mesh, options = config.mesh, config.targets
    if isinstance(mesh, StereoMesh) or options.find_surface:
        if isinstance(mesh, StereoMesh) and mesh.aabb is not None:
            box = torch.tensor(mesh.aabb, dtype=torch.float64).sub(torch.tensor(origin).double()).float()
        try:
            return _with_surface(given, sweep_views(given.fit, given.heldout, box), box)
        except DataError as error:
            where = "" if box is None else f" in the box {box.tolist()}"
            raise DataError(f"no surface is found{where}: {error}; start from another shape") from error
    is_asked, is_hull = options.find_masks, isinstance(mesh, VisualHullMesh)
    if options.key is not None:
        return _keyed(given, options.key, has_background, config)
    finds_masks = options.masks and (is_hull or not has_background) if is_asked is None else is_asked
    found = _before_backdrop(given, has_background, config) if finds_masks else given
    is_alone = config.objects is None and config.pose is None
    is_named = any(path.endswith("mesh.vertices") for path in config.optimize.written())
    is_open = is_alone and mesh is None and not (is_asked or is_named) and options.find_surface is None
    if finds_masks and found is given and (is_asked or (is_alone and (is_hull or mesh is None))):
        found = _by_depth(given, box, is_open)
    elif not finds_masks and is_open and not has_background and find_backdrop(given.fit) is None:
        found = _by_depth(given, box, is_open, may_have_masks=False)
    if is_asked and found.fit.masks is None:
        raise DataError(f"masks cannot be found: {'; '.join(found.notes)}; remove `targets.find_masks`")
    return found


def _by_depth(given: Found, box: Tensor | None, is_open: bool, may_have_masks: bool = True) -> Found:
    """Return `given` with masks of an object that is apart from the rest, if it may have masks.

    is_open: whether that may be a surface, if there is no such object, or it is flat or not all in the pictures.
    """
    failed = "it has no masks, and its pictures have no backdrop of one colour; "
    try:
        swept = sweep_views(given.fit, given.heldout, box)
    except DataError as error:
        return replace(given, notes=(failed + str(error),))
    masks = ObjectMasks(None, None)
    if may_have_masks:
        masks = find_object_masks(given.fit, given.heldout, swept, may_be_flat=not is_open)
    if masks.fit is not None and not (is_open and masks.is_cut_off):
        return _with_masks(given, masks, swept)
    if not is_open:
        return replace(given, notes=(failed + masks.why,))
    why = CUT_OFF if masks.is_cut_off else masks.why
    try:
        return _with_surface(given, swept, box, why)
    except DataError as error:
        if masks.fit is not None:
            return _with_masks(given, masks, swept)
        return replace(given, notes=(f"{failed}{masks.why}; {error}" if masks.why else failed + str(error),))


def _with_masks(given: Found, masks: ObjectMasks, swept: SweptViews) -> Found:
    note = (
        "it has no masks: those of the object that all pictures look at are found, by its depth and colours, without"
        " what it stands on; `diffrender check` draws them; give your own if they are wrong, or"
        " start from all that they show: `mesh: stereo`"
    )
    assert masks.fit is not None
    fit, heldout = composite(masks.fit, given.background), masks.heldout
    if heldout is not None and heldout.masks is not None:
        heldout = composite(heldout, given.background)
    notes = [note, masks.why] if masks.why else [note]
    return _with_agreement(replace(given, fit=fit, heldout=heldout), swept, notes)


def _with_surface(given: Found, swept: SweptViews, box: Tensor | None, why: str = "") -> Found:
    """Return `given` with the surface that its views show. Raises DataError if there is none."""
    found = find_seen_surface(given.fit, given.heldout, swept, box)
    reason = f", and {why}" if why else ""
    notes = [
        f"it has no masks{reason}: depths of its pictures show a surface, and the fit compares the {found.compared:.0%}"
        " of them that see it"
    ]
    if found.blind:
        notes.append(f"hardly anything of the surface is seen by {some(list(found.blind))}, left out")
    given = replace(given, fit=found.fit, heldout=found.heldout, surface=found.mesh)
    return _with_agreement(given, swept, notes)


def _with_agreement(given: Found, swept: SweptViews, notes: list[str]) -> Found:
    """Return `given` with notes, and with how far its pictures fit onto each other."""
    pictures = measure_pictures(swept)
    return replace(given, notes=(*notes, *pictures.doubts()), pictures=pictures)


def _most_parts(config: FitConfig) -> int | None:
    """Return how many parts apart from each other the objects are expected to be in a picture; None: any number."""
    objects = config.all_objects()
    if any(isinstance(item.mesh, VisualHullMesh) and item.mesh.components == "all" for item in objects):
        return None
    # A file of several materials is one entry, but several in the resolved file.
    parts = {
        (item.mesh.file, repr(item.pose)) for item in objects if isinstance(item.mesh, FileMesh) and item.mesh.part
    }
    return len(parts) + sum(not (isinstance(item.mesh, FileMesh) and item.mesh.part) for item in objects)


def _may_be_several(config: FitConfig) -> bool:
    """Return whether the one object may be several parts apart from each other, as masks need them."""
    is_hull = isinstance(config.mesh, VisualHullMesh) and config.mesh.components == "needed"
    return config.objects is None and (is_hull or config.mesh is None)


def _keyed(given: Found, key: tuple[float, float, float], has_background: bool, config: FitConfig) -> Found:
    """Return `given` with masks of what is before a backdrop of the colour `key`, and nothing around that.

    Raises DataError if there is nothing.
    """
    n_parts, background = _most_parts(config), given.background if has_background else key
    is_fixed = not _may_be_several(config)
    backdrop, views, apart, cut_off = None, [], [], []
    for each in (given.fit, given.heldout):
        if each is None:
            continue
        light = light_on_backdrop(each, key)
        even = replace(each, images=each.images / light[..., None])
        if backdrop is None:
            backdrop = keyed_backdrop(even, key)
            n_parts = n_parts if is_fixed else _parts_that_agree(even, backdrop, n_parts, is_inside=True)
        masked, lost, others, cut = with_masks(even, backdrop, n_parts, is_inside=True)
        if lost:
            raise DataError(
                f"no object is found before the colour {_in_hex(key)} of `targets.key` in {some(lost)}: nothing differs"
                " from it, or everything does; at the pictures' borders most is about"
                f" {_in_hex(_usual_at_borders(each))};"
                ' colours are linear RGB, and hexadecimal ones ("#00b140") sRGB'
            )
        views.append(without_surroundings(replace(masked, images=each.images), key, light, background))
        apart, cut_off = apart + others, cut_off + cut
    heldout = views[1] if len(views) > 1 else None
    notes = ["its masks are what differs from the colour of `targets.key`, without what reaches the pictures' borders"]
    if cut_off:
        notes.append(
            f"but the masks of {len(cut_off)} of its pictures, such as {cut_off[0]}, reach their borders: nothing in"
            " them has that colour all around; `diffrender check` draws them"
        )
    notes += _told_apart(apart)
    return replace(given, fit=views[0], heldout=heldout, background=background, notes=tuple(notes))


def _parts_that_agree(views: Views, backdrop: Backdrop, n_parts: int | None, is_inside: bool = False) -> int | None:
    """Return `n_parts`, or None for all if masks of these alone contradict each other and those of all parts do not.

    Of two objects side by side, now the one is the larger in its picture, now the other.
    """
    some_parts = with_masks(views, backdrop, n_parts, is_inside)
    if len(some_parts.apart) < OFTEN * len(views):
        return n_parts
    all_parts = with_masks(views, backdrop, None, is_inside)
    if all_parts.lost:
        return n_parts
    before, after = (measure_agreement(shrink_masks(each.views)).as_read for each in (some_parts, all_parts))
    is_clear = before < AGREEING and after > before + CLEARLY
    return None if is_clear or (after > SURE and after > before + LITTLE) else n_parts


def _in_hex(color: Sequence[float]) -> str:
    encoded = srgb_from_linear(torch.tensor(color).clamp(0, 1))
    return "#" + "".join(f"{round(255 * value):02x}" for value in encoded.tolist())


def _usual_at_borders(views: Views) -> list[float]:
    return views.images[views.borders(2, 2)].median(0).values.tolist()


def _told_apart(names: list[str]) -> list[str]:
    """Return a note if there are pictures with parts before their backdrop that are not in their masks."""
    if not names:
        return []
    return [
        f"there is another part in front of its backdrop in {len(names)} of its pictures, such as {names[0]}, that"
        " is not in the masks: if it is to be fitted, give masks, an entry of `objects` for each, or `mesh: {init:"
        " visual_hull, components: all}`"
    ]


def _before_backdrop(given: Found, has_background: bool, config: FitConfig) -> Found:
    """Return `given` with masks of what is before a backdrop of one colour; unchanged without any.

    Held-out views stay without masks if one of them has none.
    """
    backdrop = find_backdrop(given.fit)
    if backdrop is None:
        return given
    n_parts = _most_parts(config)
    if _may_be_several(config):
        n_parts = _parts_that_agree(given.fit, backdrop, n_parts)
    color = ", ".join(f"{value:.3g}" for value in backdrop.linear)
    before = f"a backdrop of one colour ([{color}] in linear RGB)"
    masked, lost, apart, _ = with_masks(given.fit, backdrop, n_parts)
    if lost:
        note = f"it has {before}, but no object is found in front of it in {lost[0]}: no masks"
        return replace(given, notes=(note,))
    largest = "the largest part" if n_parts == 1 else "all parts" if n_parts is None else f"the {n_parts} largest parts"
    notes = [
        f"it has no masks, but {before}: masks of {largest} in front of it are found;"
        " `targets: {masks: false}` does without"
    ]
    notes += _told_apart(apart)
    heldout = given.heldout
    if heldout is not None:
        heldout, lost, _, _ = with_masks(heldout, backdrop, n_parts)
        notes += [f"no object is found in the held-out {lost[0]}: held-out views have no masks"] if lost else []
    background = given.background if has_background else backdrop.linear
    return replace(given, fit=masked, heldout=heldout, background=background, notes=tuple(notes))
