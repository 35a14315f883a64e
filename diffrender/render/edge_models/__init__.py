"""The table of edge models, by the `type` that a scene file gives: `render: {edges: {type: antialias}}`."""

from diffrender.render.edge_model import EdgeModel
from diffrender.render.edge_models.antialias import Antialias
from diffrender.render.edge_models.hard import Hard
from diffrender.render.edge_models.soft import Soft

EDGE_MODELS: dict[str, type[EdgeModel]] = {"antialias": Antialias, "hard": Hard, "soft": Soft}
