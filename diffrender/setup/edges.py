"""Build the edge model of each step from the options of `render.edges`."""

from __future__ import annotations

from diffrender.config.options.edges import AnyEdges, SoftOptions
from diffrender.config.scene_dependent_defaults import SHARPEST_PX, SIGMAS_PER_SIDE, end_of_coarse_steps
from diffrender.fit.edge_schedule import EdgeSchedule, FixedEdges
from diffrender.render.edge_models import EDGE_MODELS
from diffrender.render.edge_models.antialias import Antialias
from diffrender.render.edge_models.soft import Soft
from diffrender.scene.cameras import Cameras
from diffrender.setup.scene import constructor_options


def fill_edges(edges: AnyEdges, cameras: Cameras, steps: int) -> AnyEdges:
    """Return `edges` with omitted sigmas and steps filled in."""
    if not isinstance(edges, SoftOptions):
        return edges
    sigma = edges.sigma or max(SHARPEST_PX, min(cameras.height, cameras.width) / SIGMAS_PER_SIDE)
    anneal = edges.anneal
    first, last = anneal.sigma or (sigma, SHARPEST_PX)
    until = anneal.until or end_of_coarse_steps(steps)
    anneal = anneal.model_copy(update={"sigma": (first, last), "until": until})
    return edges.model_copy(update={"sigma": first, "anneal": anneal})


def build_edge_schedule(edges: AnyEdges) -> EdgeSchedule | FixedEdges:
    """Return the edge model of each step, from filled-in options."""
    if not isinstance(edges, SoftOptions):
        return FixedEdges(EDGE_MODELS[edges.type](**constructor_options(edges)))
    anneal = edges.anneal
    assert anneal.sigma is not None and anneal.until is not None
    first, last = anneal.sigma
    then = Antialias(edges.samples) if anneal.then == "antialias" else Soft(last, edges.samples)
    return EdgeSchedule(Soft(first, edges.samples), last, anneal.until, then)
