"""Target views of a known scene, for demonstrations and tests."""

from __future__ import annotations

from collections.abc import Sequence

from diffrender.errors import ShapeError
from diffrender.render.aovs import channels_of
from diffrender.render.supersample import render_supersampled
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views


def synthetic_views(scene: Scene, cameras: Cameras, samples: int = 8, aovs: Sequence[str] = ()) -> Views:
    """Render `scene` as target views: images over its background, masks, and names view_000, view_001, ...

    Every pixel is the mean of samples x samples points with hard edges, not a rendering by the edge model that is
    fitted to it: a fit cannot reach zero by sharing the errors of its targets.
    samples: points along each side of a pixel, at least 1.
    aovs: what to render besides colours, "normal" or "depth".
    Raises ShapeError for less than one camera or sample.
    """
    if samples < 1:
        raise ShapeError(f"synthetic_views: samples must be at least 1, got {samples}")
    if len(cameras) == 0:
        raise ShapeError("synthetic_views: cameras must hold at least one camera, got none")
    names = ("color", *aovs)
    image = render_supersampled(scene, cameras, samples, aovs=names)
    parts = {name: image[..., channels_of(names, name)].contiguous() for name in names}
    titles = tuple(f"view_{index:03d}" for index in range(len(cameras)))
    return Views(cameras, parts.pop("color"), image[..., -1].contiguous(), titles, parts)
