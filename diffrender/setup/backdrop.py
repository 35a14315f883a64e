"""Find a backdrop of one colour in pictures without masks, and masks of what is in front of it."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from diffrender.imaging.color import linear_from_srgb, srgb_from_linear
from diffrender.scene.target_views import Views

# The part of a picture's sides that counts as its border, where no object is expected.
BORDER = 0.03
# In sRGB units, in the channel that differs most: what still is the colour of the backdrop, besides its noise.
ALIKE = 0.035
# More than this usual difference is not noise.
NOISIEST = 0.05
# A backdrop needs this share of the border's pixels, in this share of the views.
SHARE_OF_BORDER, SHARE_OF_VIEWS = 0.9, 0.8
# Masks that are smaller or larger parts of their picture are no objects.
SMALLEST, LARGEST = 0.002, 0.9
# A part of a picture that is left out is told if it has this share of the object.
TELLING = 0.1
# A part inside of a picture that is a smaller share of the largest at its border is a speck, and not the object.
SPECK = 0.03
# In sRGB units: a hole is see-through if its median pixel differs from the backdrop by less, besides noise.
GAP = 0.01
# In sRGB units: what differs less from a stated colour is that of the backdrop, by its light or noise, to be measured.
NEAR_KEY = 0.2
# Of light on a backdrop, times its stated colour.
DIMMEST, BRIGHTEST = 0.2, 2.5
# A colour whose least channel is a smaller part of its largest is one of its own; darker ones say nothing of light.
SATURATED, DARKEST = 0.5, 0.02
# A pixel has the backdrop's colour if it differs by this share of its brightness otherwise. FEWEST: of all pixels.
OTHER_COLOR, FEWEST = 0.15, 0.01
# In logarithms of brightness: pixels that differ by more from the smooth light are not of it. GROWTH: in so many turns.
BAND, GROWTH = 0.12, 12
# Pixels are counted where they differ by less than this part of BAND; another function must have so many times as many.
TIGHT, CLEARLY_MORE = 0.4, 1.15
# How reluctant light is to be uneven, and about how many pixels of a picture it is measured in.
FLAT, MEASURED = 1e-4, 40_000
# The side in pixels of the square in which the full colour of an object is looked for, at its border.
NEIGHBOURHOOD = 5


Color: TypeAlias = tuple[float, float, float]


class Backdrop(NamedTuple):
    """A backdrop of one colour: its sRGB values [3] in 0..1, and their usual difference from that, by noise."""

    color: np.ndarray
    noise: float

    @property
    def linear(self) -> Color:
        """The colour in linear RGB."""
        red, green, blue = linear_from_srgb(torch.from_numpy(self.color).float()).tolist()
        return red, green, blue


class FoundMasks(NamedTuple):
    """Views with masks of what is in front of a backdrop.

    views: unchanged if not all have an object. lost: the names of those without one. apart: the names of those with
    more large parts than their mask has. cut_off: the names of those whose mask reaches the border of the photograph.
    """

    views: Views
    lost: list[str]
    apart: list[str]
    cut_off: list[str]


def find_backdrop(views: Views) -> Backdrop | None:
    """Return the backdrop if the borders of nearly all pictures have one colour."""
    height, width = views.images.shape[1:3]
    is_border = views.borders(max(1, round(BORDER * height)), max(1, round(BORDER * width)))
    borders = [
        srgb_from_linear(image[chosen].clamp(0, 1)).numpy()
        for image, chosen in zip(views.images, is_border, strict=True)
    ]
    color = np.median(np.concatenate(borders), axis=0)
    differences = [np.abs(border - color).max(-1) for border in borders]
    noise = float(np.median(np.concatenate(differences)))
    is_plain = np.array(
        [len(each) > 0 and (each < ALIKE + 2 * noise).mean() >= SHARE_OF_BORDER for each in differences]
    )
    return Backdrop(color, noise) if noise < NOISIEST and is_plain.mean() >= SHARE_OF_VIEWS else None


def keyed_backdrop(views: Views, color: Color) -> Backdrop:
    """Return the backdrop of a stated colour, linear RGB, with the usual difference of the pixels that are near it."""
    key = srgb_from_linear(torch.tensor(color).clamp(0, 1)).numpy()
    differences = np.abs(srgb_from_linear(views.images[views.known_pixels].clamp(0, 1)).numpy() - key).max(-1)
    near = differences[differences < NEAR_KEY]
    return Backdrop(key, min(float(np.median(near)), NOISIEST) if len(near) else 0.0)


def light_on_backdrop(views: Views, color: Color) -> Tensor:
    """Return how bright a backdrop of a stated colour, linear RGB, is in each pixel [N, H, W], as a multiple of that.

    It is a smooth function of the place in each picture (the exponential of a quadratic one) of the pixels that have
    the backdrop's colour but for their brightness. It begins with the brightness that most of these have and grows from
    there, as far as brightness changes gradually: an object of that colour is left out. 1 where such pixels are
    few, and for grey backdrops.
    """
    key = np.asarray(color, np.float32)
    light = torch.ones(views.images.shape[:3])
    # A grey backdrop differs from grey things by its brightness alone.
    if key.max() < DARKEST or 1 - key.min() / key.max() < SATURATED:
        return light.to(views.images)
    height, width = light.shape[1:]
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1).astype(np.float32)
    step = max(1, round((height * width / MEASURED) ** 0.5))
    some = slice(None, None, step), slice(None, None, step)
    for index, (image, known) in enumerate(zip(views.images, views.known_pixels.numpy(), strict=True)):
        values, known = image.numpy()[some], known[some]
        factor = values @ key / (key @ key)
        other = np.abs(values - factor[..., None] * key).max(-1) / key.max()
        has_color = known & (factor > DIMMEST) & (factor < BRIGHTEST) & (other < OTHER_COLOR * factor)
        found = _smooth_light(np.log(factor[has_color]), terms[some][has_color])
        if has_color.mean() >= FEWEST and found is not None:
            fitted = np.exp((terms @ found).clip(np.log(DIMMEST), np.log(BRIGHTEST)))
            light[index] = torch.from_numpy(fitted)
    return light.to(views.images)


def _smooth_light(logarithm: np.ndarray, terms: np.ndarray) -> np.ndarray | None:
    """Return the factors [6] of `terms` [P, 6] that are the logarithms [P] of most pixels; None if there are none.

    Of one brightness, a slope and a quadratic function, the simplest that no other has clearly more pixels than.
    """
    if len(logarithm) < len(terms[0]):
        return None
    # Brightness near the stated one is likelier.
    counts, edges = np.histogram(logarithm, np.arange(-2, 1.5, BAND), weights=1 / (1 + np.abs(logarithm)))
    counts = np.convolve(counts, [1, 1, 1], "same")
    found = np.array([edges[counts.argmax()] + BAND / 2, 0, 0, 0, 0, 0])
    best, most = None, 0.0
    for n_terms in (1, 3, 6):
        chosen = np.zeros(len(logarithm), bool)
        for _ in range(GROWTH):
            before, chosen = chosen, np.abs(logarithm - terms @ found) < BAND
            if np.array_equal(before, chosen):
                break
            own = terms[chosen][:, :n_terms].astype(np.float64)
            squares = own.T @ own + FLAT * len(own) * np.diag([0.0] + [1.0] * (n_terms - 1))
            found = np.zeros(6)
            found[:n_terms] = np.linalg.solve(squares, own.T @ logarithm[chosen])
        count = float((np.abs(logarithm - terms @ found) < TIGHT * BAND).sum())
        if best is None or count > CLEARLY_MORE * most:
            best, most = found, count
    return best


def without_surroundings(views: Views, key: Color, light: Tensor, background: Color) -> Views:
    """Return masked `views` before the `background` in place of a backdrop of the colour `key` and all around that.

    light: on the backdrop, as `light_on_backdrop` has it.
    """
    assert views.masks is not None
    share = views.masks[..., None]
    change = views.images.new_tensor(background) - views.images.new_tensor(key) * light[..., None]
    images = (views.images + (1 - share) * change).clamp_min(0).where(share > 0, views.images.new_tensor(background))
    return replace(views, images=images)


def with_masks(views: Views, backdrop: Backdrop, n_parts: int | None = 1, is_inside: bool = False) -> FoundMasks:
    """Return `views` with masks of what differs from the backdrop; what is not known does not.

    n_parts: the number of connected parts of each mask, the largest; None: all that are not too small.
    is_inside: whether parts at the border of a photograph are something else, if there are others.
    Masks are fractions where the border of an object passes through a pixel.
    """
    images = srgb_from_linear(views.images.clamp(0, 1)).numpy()
    light = np.abs(views.images.clamp(0, 1).numpy() - np.array(backdrop.linear, np.float32)).max(-1)
    known = views.known_pixels.numpy()
    light, differences = np.where(known, light, 0), np.where(known, np.abs(images - backdrop.color).max(-1), 0)
    borders = (views.borders(1, 1) & is_inside).numpy()
    found = [_mask(*each, backdrop.noise, n_parts) for each in zip(differences, light, known, borders, strict=True)]
    masks = np.stack([mask for mask, _ in found])
    sizes = masks.sum((1, 2)) / known.sum((1, 2)).clip(1)
    is_object = (sizes > SMALLEST) & (sizes < LARGEST)
    lost = [name for name, good in zip(views.names, is_object, strict=True) if not good]
    if lost:
        return FoundMasks(views, lost, [], [])
    apart = [name for name, (_, is_apart) in zip(views.names, found, strict=True) if is_apart]
    at_border = (masks * views.borders(1, 1).numpy()).max((1, 2)) > 0.5
    cut_off = [name for name, is_cut in zip(views.names, at_border, strict=True) if is_cut]
    return FoundMasks(replace(views, masks=torch.from_numpy(masks).to(views.images)), [], apart, cut_off)


def _mask(
    difference: np.ndarray,
    light: np.ndarray,
    known: np.ndarray,
    border: np.ndarray,
    noise: float,
    n_parts: int | None,
) -> tuple[np.ndarray, bool]:
    """Return the mask [H, W] of a picture that differs from its backdrop by `difference` in sRGB, `light` in linear.

    Both are 0 where pixels are not `known`. Parts in `border` are in the mask only if there are no others.
    Also returns whether a large part is not in it.
    """
    from scipy import ndimage

    label, count = ndimage.label(ndimage.binary_opening(difference > ALIKE + 2 * noise))
    outside = np.unique(label[border & (label > 0)])
    inside = np.delete(np.bincount(label.reshape(-1)), [0, *outside])
    least = max(SMALLEST * label.size, SPECK * np.bincount(label.reshape(-1))[1:].max(initial=0))
    if len(outside) and inside.max(initial=0) > least:
        label[np.isin(label, outside)] = 0
        label, count = ndimage.label(label)
    if not count:
        return np.zeros(difference.shape, np.float32), False
    sizes = np.bincount(label.reshape(-1))[1:]
    largest_first = np.argsort(-sizes, kind="stable")
    kept = largest_first[:n_parts][sizes[largest_first[:n_parts]] > SMALLEST * label.size]
    kept = kept if len(kept) else largest_first[:1]
    left = np.delete(sizes, kept)
    part = np.isin(label, kept + 1)
    holes, count = ndimage.label(ndimage.binary_fill_holes(part) & ~part)
    if count:
        medians = ndimage.median(difference, holes, np.arange(1, count + 1))
        part |= np.isin(holes, np.flatnonzero(medians > GAP + noise) + 1)
    # A pixel is as much of the object as it has of the difference that the object has beside it.
    full = ndimage.grey_dilation(np.where(part, light, 0), size=NEIGHBOURHOOD)
    near = ndimage.binary_dilation(part) & ~ndimage.binary_erosion(part | ~known) & known
    share = np.where(near, np.clip(light / np.maximum(full, 1e-6), 0, 1), part)
    is_apart = bool(len(left)) and left.max() > max(TELLING * sizes.max(), SMALLEST * label.size)
    return share.astype(np.float32), is_apart
