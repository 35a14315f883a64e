"""The table of materials, by the `type` that a scene file gives: `material: {type: lambert}`."""

from diffrender.scene.material import Material
from diffrender.scene.materials.ggx import Ggx
from diffrender.scene.materials.lambert import Lambert
from diffrender.scene.materials.phong import Phong
from diffrender.scene.materials.unlit import Unlit

MATERIALS: dict[str, type[Material]] = {"lambert": Lambert, "phong": Phong, "ggx": Ggx, "unlit": Unlit}
