"""Conversion of scenes to Mitsuba 3, an independent renderer, to verify materials and lights.

Its conventions differ from ours in three ways. Two are converted here: a camera looks along its +z with +x to the left
and +y up (ours: +x right, +y down), and the centre of an environment map is at +z (ours: +x). The third remains: its
`principled` dielectrics have Disney's diffuse base, which is retroreflective, and therefore a few percent brighter than
ours where rough surfaces are seen at grazing angles.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diffrender.geometry.normals import vertex_normals
from diffrender.scene.cameras import Cameras
from diffrender.scene.light import Light
from diffrender.scene.lights.directional import Directional
from diffrender.scene.lights.environment import Environment
from diffrender.scene.lights.point import Point
from diffrender.scene.lights.spot import Spot
from diffrender.scene.material import Material
from diffrender.scene.materials.ggx import Ggx
from diffrender.scene.materials.lambert import Lambert
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene


def mitsuba() -> Any:
    """Return the module with its scalar CPU variant selected; skip the test if it is not installed."""
    module = pytest.importorskip("mitsuba", reason="the independent renderer is not installed")
    module.set_variant("scalar_rgb")
    return module


def mitsuba_image(scene: Scene, camera: Cameras, samples: int, max_depth: int = 2) -> Tensor:
    """Render `scene` by Mitsuba's path tracer from one perspective camera: [H, W, 3] linear, over black.

    samples: paths per pixel. max_depth: 2 is direct light, with shadows.
    """
    mi = mitsuba()
    parts: dict[str, Any] = {
        "type": "scene",
        "integrator": {"type": "path", "max_depth": max_depth, "hide_emitters": True},
        "sensor": _sensor(mi, camera, samples),
    }
    for name, item in scene.objects.items():
        parts[f"object_{name}"] = _shape(mi, name, item)
    for name, light in scene.lights.items():
        parts[f"light_{name}"] = _emitter(mi, light)
    image = np.array(mi.render(mi.load_dict(parts), seed=1))
    return torch.from_numpy(image[..., :3]).float()


def _sensor(mi: Any, camera: Cameras, samples: int) -> dict[str, Any]:
    world_from_camera = torch.linalg.inv(camera.cam_from_world[0].double())
    world_from_camera[:, :2] *= -1
    fov = 2 * math.degrees(math.atan(camera.height / (2 * float(camera.focal_px[0, 1]))))
    return {
        "type": "perspective",
        "fov": fov,
        "fov_axis": "y",
        "to_world": mi.ScalarTransform4f(world_from_camera.numpy()),
        "sampler": {"type": "independent", "sample_count": samples},
        "film": {
            "type": "hdrfilm",
            "width": camera.width,
            "height": camera.height,
            "rfilter": {"type": "box"},
            "pixel_format": "rgb",
        },
    }


def _shape(mi: Any, name: str, item: Object) -> Any:
    vertices, faces = item.vertices_w().detach(), item.mesh.faces
    properties = mi.Properties()
    properties["bsdf"] = mi.load_dict(_bsdf(item.material))
    mesh = mi.Mesh(name, len(vertices), len(faces), has_vertex_normals=True, props=properties)
    parameters = mi.traverse(mesh)
    parameters["vertex_positions"] = vertices.flatten().numpy()
    normals = torch.nn.functional.normalize(vertex_normals(vertices, faces), dim=1)
    parameters["vertex_normals"] = normals.flatten().numpy()
    parameters["faces"] = faces.int().flatten().numpy()
    parameters.update()
    return mesh


def _bsdf(material: Material) -> dict[str, Any]:
    if isinstance(material, Lambert):
        return {"type": "diffuse", "reflectance": _rgb(material.base_color)}
    assert isinstance(material, Ggx)
    return {
        "type": "principled",
        "base_color": _rgb(material.base_color),
        "roughness": _number(material.roughness),
        "metallic": _number(material.metallic),
        # f0 = 0.08 x specular: 0.04, as for glTF's dielectrics.
        "specular": 0.5,
    }


def _emitter(mi: Any, light: Light) -> dict[str, Any]:
    if isinstance(light, Directional):
        return {"type": "directional", "direction": light.direction.tolist(), "irradiance": _rgb(light.radiance)}
    if isinstance(light, Point):
        return {"type": "point", "position": light.position.tolist(), "intensity": _rgb(light.intensity)}
    if isinstance(light, Spot):
        position, along = light.position, torch.nn.functional.normalize(light.direction, dim=0)
        # Any up axis that is not parallel to the spot's own.
        up = torch.zeros(3).index_fill(0, along.abs().argmin(), 1.0)
        return {
            "type": "spot",
            "to_world": mi.ScalarTransform4f().look_at(position.tolist(), (position + along).tolist(), up.tolist()),
            "intensity": _rgb(light.intensity),
            "beam_width": _number(light.inner_deg),
            "cutoff_angle": _number(light.outer_deg),
        }
    assert isinstance(light, Environment)
    angle = float(light.rotation.norm())
    turn = mi.ScalarTransform4f()
    if angle > 0:
        turn = mi.ScalarTransform4f().rotate((light.rotation / angle).tolist(), math.degrees(angle))
    bitmap = mi.Bitmap(light.radiance.texels.numpy())
    return {"type": "envmap", "bitmap": bitmap, "to_world": turn @ mi.ScalarTransform4f().rotate([0, 1, 0], 90)}


def _rgb(value: Any) -> dict[str, Any]:
    return {"type": "rgb", "value": value.tolist()}


def _number(value: Any) -> float:
    return float(value)
