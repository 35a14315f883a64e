"""Try out the usual mistakes of captures without masks: with which of them undone do pictures tell depths?"""

from __future__ import annotations

from diffrender.errors import DataError
from diffrender.scene.cameras import Cameras
from diffrender.scene.target_views import Views, concatenate_views, evenly_spaced_indices
from diffrender.setup.likely_mistakes import (
    MOST_ODD,
    Trial,
    image_of,
    mistakes_of_all,
    mistakes_of_pictures,
    sort_tried,
)
from diffrender.setup.picture_agreement import ENOUGH, PictureAgreement, shares_told
from diffrender.setup.swept_views import resize_views, sweep_small_views

# The long side that pictures are shrunk to, and how many views near each other are looked at, of at most so many.
SIDE, NEAR, MOST = 64, 10, 60
# Of mistakes that are as good within this, the likelier one is named.
AS_GOOD = 0.05
# A mistake is found if depths are told of so many times as many pixels as before.
TIMES_TOLD = 1.6


def try_on_pictures(small: Views, origin: tuple[float, float, float]) -> Trial:
    """Try mistakes that all of the small views, with images in sRGB, may share, on those near the one in the middle.

    Shares are of pixels. origin: the point of the capture's world that is the origin of the views.
    """
    small = resize_views(small, SIDE)

    def told(changed: Views) -> float:
        return _shares_told(_nearest(changed, changed.cameras.select([len(changed) // 2])))[0]

    tried = [(each, told(each.undo(small))) for each in mistakes_of_all(small, origin)]
    return Trial(told(small), sort_tried(tried, AS_GOOD), _is_explained)


def try_on_odd_pictures(agreement: PictureAgreement) -> dict[str, Trial]:
    """Try on each odd view, beside those near it that are not, which mistake of its picture would explain it.

    Among them is that it has the picture of another view of which little is told. Returns a trial by name, for the
    worst ones.
    """
    small = resize_views(agreement.views, SIDE)
    names, odd = small.names, agreement.odd
    least = [names.index(name) for name in sorted(agreement.told, key=agreement.told.__getitem__)[:MOST_ODD]]
    sound = small.select([view for view in range(len(small)) if names[view] not in odd])
    trials = {}
    for view in (names.index(name) for name in odd[:MOST_ODD]):
        own = small.select([view])
        beside = _nearest(sound, own.cameras)

        def told(changed: Views, beside: Views = beside) -> float:
            return _shares_told(concatenate_views(changed, beside))[1]

        mistakes = [*mistakes_of_pictures(own), *(image_of(small, other) for other in least if other != view)]
        tried = [(each, told(each.undo(own))) for each in mistakes]
        trials[names[view]] = Trial(told(own), sort_tried(tried, AS_GOOD), _is_explained)
    return trials


def _is_explained(as_read: float, share: float) -> bool:
    return share >= max(ENOUGH, TIMES_TOLD * as_read)


def _nearest(views: Views, camera: Cameras) -> Views:
    """Return those of `views`, of many evenly chosen ones, that are nearest to one camera."""
    some = views.select(evenly_spaced_indices(len(views), MOST))
    apart = (some.cameras.positions_w() - camera.positions_w()).norm(dim=1)
    return some.select(apart.argsort(stable=True)[:NEAR])


def _shares_told(views: Views) -> tuple[float, float]:
    """Return of which share of the pixels of small `views` the others tell the depth: of all, and of the first."""
    try:
        shares = [share or 0.0 for share in shares_told(sweep_small_views(views, len(views), with_ground=False))]
    except DataError:
        return 0.0, 0.0
    return sum(shares) / len(shares), shares[0]
