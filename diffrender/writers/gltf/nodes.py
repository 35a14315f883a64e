"""Nodes of glTF for lights and cameras.

Source: glTF 2.0 specification, section 3.10 (Cameras), and the extension KHR_lights_punctual.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from diffrender.geometry.rotations import matrix_to_quaternion
from diffrender.scene.cameras import Cameras
from diffrender.scene.light import Light, PunctualLight
from diffrender.scene.lights import GLTF_LIGHTS
from diffrender.scene.projections.orthographic import Orthographic
from diffrender.scene.projections.perspective import Perspective
from diffrender.scene.projections.radial_tangential import RadialTangential
from diffrender.scene.quantity_kinds import DIRECTION, POSITION, RADIANCE, kinds_of
from diffrender.writers.cameras import world_from_opengl_cameras
from diffrender.writers.gltf.document import GltfFile, Json

LIGHTS_EXTENSION = "KHR_lights_punctual"


def rotation_entry(rotation: Tensor) -> list[float]:
    """Return a node's `rotation` (unit quaternion x, y, z, w) for a rotation matrix [3, 3]."""
    w, x, y, z = matrix_to_quaternion(rotation.detach().to("cpu", torch.float64)).tolist()
    return [x, y, z, w]


def add_lights(gltf: GltfFile, lights: Mapping[str, Light]) -> list[int]:
    """Add the lights that glTF has and that are fixed to the world; return their nodes."""
    entries: list[Json] = []
    nodes: list[int] = []
    for name, light in lights.items():
        gltf_type = next((name for name, light_class in GLTF_LIGHTS.items() if type(light) is light_class), None)
        if gltf_type is None or not isinstance(light, PunctualLight) or light.frame != "world":
            continue
        entry: Json = {"type": gltf_type}
        place: Json = {}
        for field, kind in kinds_of(light).items():
            value = getattr(light, field)
            if kind == RADIANCE:
                entry |= _color_and_intensity(value)
            elif kind == POSITION:
                place["translation"] = value.tolist()
            elif kind == DIRECTION:
                place["rotation"] = rotation_entry(_frame_along(value))
        entry |= light.gltf_entries()
        reference: Json = {LIGHTS_EXTENSION: {"light": len(entries)}}
        entries.append(entry | {"name": name})
        nodes.append(gltf.add("nodes", {"name": name, "extensions": reference} | place))
    if entries:
        gltf.extensions_used.add(LIGHTS_EXTENSION)
        gltf.extensions[LIGHTS_EXTENSION] = {"lights": entries}
    return nodes


def add_cameras(gltf: GltfFile, cameras: Cameras, reach: float) -> list[int]:
    """Add every camera, named camera_000 and so on; return their nodes, none for a lens that glTF does not know.

    A radial lens is written as the pinhole that it distorts.
    reach: the largest distance of anything from the world's origin; orthographic cameras must state their far plane.
    """
    if not isinstance(cameras.projection, Perspective | RadialTangential | Orthographic):
        return []
    nodes = []
    poses = world_from_opengl_cameras(cameras)
    for index, (pose, focal) in enumerate(zip(poses, cameras.focal_px.detach().cpu().tolist(), strict=True)):
        name = f"camera_{index:03d}"
        half_width, half_height = cameras.width / 2 / focal[0], cameras.height / 2 / focal[1]
        if isinstance(cameras.projection, Orthographic):
            near = max(cameras.near, 0.0)
            far = near + float(pose[:3, 3].norm()) + reach + 1.0
            lens: Json = {"xmag": half_width, "ymag": half_height, "znear": near, "zfar": far}
            camera: Json = {"type": "orthographic", "orthographic": lens}
        else:
            # The ratio of the fields of view, not of the pixels: it keeps unequal focal lengths.
            lens = {"yfov": 2 * math.atan(half_height), "aspectRatio": half_width / half_height, "znear": cameras.near}
            camera = {"type": "perspective", "perspective": lens}
        node: Json = {
            "name": name,
            "camera": gltf.add("cameras", {"name": name} | camera),
            "translation": pose[:3, 3].tolist(),
            "rotation": rotation_entry(pose[:3, :3]),
        }
        nodes.append(gltf.add("nodes", node))
    return nodes


def _color_and_intensity(strength: Tensor) -> Json:
    """Split into a colour in 0..1 and an intensity, the largest channel, as glTF has them."""
    values = strength.detach().cpu().double().clamp_min(0)
    intensity = float(values.max())
    color = (values / intensity).tolist() if intensity > 0 else [1.0, 1.0, 1.0]
    return {"color": color, "intensity": intensity}


def _frame_along(direction: Tensor) -> Tensor:
    """Return a rotation matrix that turns -z, along which lights of glTF shine, to `direction` [3]."""
    forward = torch.nn.functional.normalize(direction.detach().cpu().double(), dim=0)
    backward = -forward
    # Any rotation about the direction will do: begin with the axis least parallel to it.
    helper = torch.zeros(3, dtype=torch.float64)
    helper[backward.abs().argmin()] = 1.0
    right = torch.nn.functional.normalize(torch.linalg.cross(helper, backward), dim=0)
    up = torch.linalg.cross(backward, right)
    return torch.stack([right, up, backward], 1)
