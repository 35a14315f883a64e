"""Losses on images, by their names in scene.yaml under `loss: {image: ...}` and `loss: {mask: ...}`."""

from diffrender.fit.losses.mask_losses import MaskIoU, MaskL1
from diffrender.fit.losses.pointwise import POINTWISE
from diffrender.fit.losses.pyramid import Pyramid
from diffrender.fit.objective import Loss

IMAGE_LOSSES: dict[str, type[Loss]] = {**POINTWISE, "pyramid": Pyramid}
MASK_LOSSES: dict[str, type[Loss]] = {"mask_iou": MaskIoU, "l1": MaskL1}
