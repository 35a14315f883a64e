"""Target views of a known scene, for demonstrations and tests."""

from __future__ import annotations

from diffrender.errors import ShapeError
from diffrender.render.truth import render_supersampled
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene
from diffrender.scene.views import Views


def synthetic_views(scene: Scene, cameras: Cameras, samples: int = 8) -> Views:
    """What `cameras` see of `scene`: images over its background, masks, and names view_000, view_001, ...

    Every pixel is the mean of samples x samples points with hard edges, not the picture of the edge model that is
    fitted to it: a fit cannot reach zero by sharing the errors of its targets.
    samples: points along each side of a pixel, at least 1.
    Raises ShapeError for no camera and no sample.
    """
    if samples < 1:
        raise ShapeError(f"synthetic_views: samples must be at least 1, got {samples}")
    if len(cameras) == 0:
        raise ShapeError("synthetic_views: cameras must hold at least one camera, got none")
    rgba = render_supersampled(scene, cameras, samples)
    names = tuple(f"view_{index:03d}" for index in range(len(cameras)))
    return Views(cameras, rgba[..., :3].contiguous(), rgba[..., 3].contiguous(), names)
