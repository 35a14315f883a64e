"""Losses on images, by their names in scene.yaml under `loss: {image: ...}` and `loss: {mask: ...}`."""

from diffrender.fit.losses.mask_losses import MASK_LOSSES
from diffrender.fit.losses.pointwise import POINTWISE
from diffrender.fit.losses.pyramid import Pyramid
from diffrender.fit.objective import Loss

__all__ = ["IMAGE_LOSSES", "MASK_LOSSES"]

IMAGE_LOSSES: dict[str, type[Loss]] = {**POINTWISE, "pyramid": Pyramid}
