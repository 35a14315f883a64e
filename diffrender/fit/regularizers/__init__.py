"""Regularisers, by their names in scene.yaml under `loss:`, as in `laplacian: 0.1`."""

from diffrender.fit.objective import Regularizer
from diffrender.fit.regularizers.arap import Arap
from diffrender.fit.regularizers.bilaplacian import Bilaplacian
from diffrender.fit.regularizers.color_smoothness import ColorSmoothness
from diffrender.fit.regularizers.edge_length import EdgeLength
from diffrender.fit.regularizers.laplacian import Laplacian
from diffrender.fit.regularizers.material_smoothness import MaterialSmoothness
from diffrender.fit.regularizers.normal_consistency import NormalConsistency
from diffrender.fit.regularizers.symmetry import Symmetry
from diffrender.fit.regularizers.white_light import WhiteLight

REGULARIZERS: dict[str, type[Regularizer]] = {
    "laplacian": Laplacian,
    "bilaplacian": Bilaplacian,
    "normal_consistency": NormalConsistency,
    "edge_length": EdgeLength,
    "arap": Arap,
    "symmetry": Symmetry,
    "color_smoothness": ColorSmoothness,
    "material_smoothness": MaterialSmoothness,
    "white_light": WhiteLight,
}
