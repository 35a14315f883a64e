"""The shelf of losses on images: scene.yaml's `loss: {image: ...}` and `loss: {mask: ...}` pick from these tables."""

from diffrender.fit.losses.huber import Huber
from diffrender.fit.losses.l1 import L1
from diffrender.fit.losses.l2 import L2
from diffrender.fit.losses.mask_iou import MaskIoU
from diffrender.fit.losses.mask_l1 import MaskL1
from diffrender.fit.losses.pyramid import Pyramid
from diffrender.fit.objective import Loss

IMAGE_LOSSES: dict[str, type[Loss]] = {"l1": L1, "l2": L2, "huber": Huber, "pyramid": Pyramid}
MASK_LOSSES: dict[str, type[Loss]] = {"mask_iou": MaskIoU, "l1": MaskL1}
