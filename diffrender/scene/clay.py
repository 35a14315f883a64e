"""Clay: a scene whose colours and lights are replaced, so that a picture of it shows its shape alone."""

from __future__ import annotations

from dataclasses import replace

from diffrender.scene.lights.ambient import Ambient
from diffrender.scene.lights.directional import Directional
from diffrender.scene.materials.lambert import Lambert
from diffrender.scene.scene import Scene

# Linear. The key light comes from the upper left, at 60 degrees to the view: bumps have a bright and a dark side.
# A weak one from the camera shows bumps where the key light does not reach.
GRAY = 0.55
KEY_DIRECTION, KEY = (0.9, 0.9, 0.75), 3.2
HEAD_DIRECTION, HEAD = (0.0, 0.0, 1.0), 0.6
AMBIENT = 0.05
# The paper of the progress pictures (sRGB #202226).
BACKGROUND = (0.0144, 0.0160, 0.0194)


def cover_in_clay(scene: Scene) -> Scene:
    """Return the shapes of `scene` in gray clay, under lights that move with the camera.

    Materials are a uniform diffuse gray without normal maps: what is seen are the mesh and its shading normals.
    """
    like = scene.background
    return replace(
        scene,
        objects={
            name: replace(item, material=Lambert(like.new_full((3,), GRAY))) for name, item in scene.objects.items()
        },
        lights={
            "key": Directional(like.new_tensor(KEY_DIRECTION), like.new_full((3,), KEY), frame="camera"),
            "head": Directional(like.new_tensor(HEAD_DIRECTION), like.new_full((3,), HEAD), frame="camera"),
            "ambient": Ambient(like.new_full((3,), AMBIENT)),
        },
        background=like.new_tensor(BACKGROUND),
    )
