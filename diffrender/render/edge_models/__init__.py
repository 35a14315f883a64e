"""The shelf of edge models: scene.yaml's `render: {edges: ...}` picks from this table."""

from diffrender.render.edge_model import EdgeModel
from diffrender.render.edge_models.antialias import Antialias
from diffrender.render.edge_models.hard import Hard
from diffrender.render.edge_models.soft import Soft

EDGE_MODELS: dict[str, type[EdgeModel]] = {"antialias": Antialias, "hard": Hard, "soft": Soft}
