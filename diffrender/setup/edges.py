"""From the options of `render.edges` to the edges of each step."""

from __future__ import annotations

from diffrender.config.shelf import AnyEdges, SoftOptions
from diffrender.fit.edge_schedule import EdgeSchedule, FixedEdges
from diffrender.render.edge_models import EDGE_MODELS
from diffrender.render.edge_models.antialias import Antialias
from diffrender.render.edge_models.soft import SHARPEST_PX, Soft
from diffrender.scene.cameras import Cameras
from diffrender.setup.scene import shelf_options


def fill_edges(edges: AnyEdges, cameras: Cameras, steps: int) -> AnyEdges:
    """The edges with the sigmas and the step that were left out."""
    if not isinstance(edges, SoftOptions):
        return edges
    # Wide enough to reach what a rough start is off by, narrow enough to keep limbs apart; the same part of any image.
    sigma = edges.sigma or max(SHARPEST_PX, min(cameras.height, cameras.width) / 32)
    anneal = edges.anneal
    first, last = anneal.sigma or (sigma, SHARPEST_PX)
    until = anneal.until or max(1, steps // 2)
    anneal = anneal.model_copy(update={"sigma": (first, last), "until": until})
    return edges.model_copy(update={"sigma": first, "anneal": anneal})


def build_edge_schedule(edges: AnyEdges) -> EdgeSchedule | FixedEdges:
    """The edges of each step, from filled options."""
    if not isinstance(edges, SoftOptions):
        return FixedEdges(EDGE_MODELS[edges.type](**shelf_options(edges)))
    anneal = edges.anneal
    assert anneal.sigma is not None and anneal.until is not None
    first, last = anneal.sigma
    then = Antialias(edges.samples) if anneal.then == "antialias" else Soft(last, edges.samples)
    return EdgeSchedule(Soft(first, edges.samples), last, anneal.until, then)
