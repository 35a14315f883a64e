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
from diffrender.setup.picture_agreement import PictureAgreement, shares_told
from diffrender.setup.swept_views import shrink_views, sweep_views

# The long side that pictures are shrunk to, and how many views near each other are looked at, of at most so many.
SIDE, NEAR, MOST = 64, 10, 60
# Of mistakes that are as good within this, the likelier one is named.
AS_GOOD = 0.05
# A mistake is found if depths are told of so many pixels once it is undone, and of so many times as many as before.
TOLD, TIMES_TOLD = 0.1, 1.6


def try_on_pictures(views: Views, origin: tuple[float, float, float]) -> Trial:
    """Try mistakes that all of `views` may share, on those near the one in the middle; shares are of pixels.

    origin: the point of the capture's world that is the origin of `views`.
    """
    small = shrink_views(views, SIDE)

    def told(changed: Views) -> float:
        some = changed.select(evenly_spaced_indices(len(changed), MOST))
        shares = _shares_told(_nearest(some, some.cameras.select([len(some) // 2])))
        return sum(shares) / len(shares)

    tried = [(each, told(each.undo(small))) for each in mistakes_of_all(small, origin)]
    return Trial(told(small), sort_tried(tried, AS_GOOD), _is_explained)


def try_on_odd_pictures(views: Views, agreement: PictureAgreement) -> dict[str, Trial]:
    """Try on each odd view, beside those near it that are not, which mistake of its picture would explain it.

    Among them is that it has the picture of another view of which little is told. Returns a trial by name.
    """
    small = shrink_views(views, SIDE)
    known = sorted((share, small.names.index(name)) for name, share in agreement.told.items() if name in small.names)
    least = [view for _, view in known[:MOST_ODD]]
    odd = [view for view in least if small.names[view] in agreement.odd]
    sound = small.select([view for view in range(len(small)) if view not in least])
    trials = {}
    for view in odd:
        own = small.select([view])
        beside = _nearest(sound, own.cameras)

        def told(changed: Views, beside: Views = beside) -> float:
            return _shares_told(concatenate_views(changed, beside))[0]

        mistakes = [*mistakes_of_pictures(own), *(image_of(small, other) for other in least if other != view)]
        tried = [(each, told(each.undo(own))) for each in mistakes]
        trials[small.names[view]] = Trial(told(own), sort_tried(tried, AS_GOOD), _is_explained)
    return trials


def _is_explained(as_read: float, share: float) -> bool:
    return share >= max(TOLD, TIMES_TOLD * as_read)


def _nearest(views: Views, camera: Cameras) -> Views:
    """Return those of `views` that are nearest to one camera."""
    apart = (views.cameras.positions_w() - camera.positions_w()).norm(dim=1)
    return views.select(apart.argsort(stable=True)[:NEAR])


def _shares_told(views: Views) -> list[float]:
    """Return of each of the small `views` the share of its pixels of which the others tell the depth."""
    try:
        return shares_told(sweep_views(views, None, side=SIDE))
    except DataError:
        return [0.0] * len(views)
