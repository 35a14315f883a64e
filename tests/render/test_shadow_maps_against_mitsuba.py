"""Cast shadows compared with an independent renderer: where one object darkens another."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.mitsuba_scene import mitsuba_image
from torch import Tensor

from diffrender.geometry.primitives import bumpy_sphere, plane, torus
from diffrender.render.edge_models import Hard
from diffrender.render.render import render
from diffrender.render.supersample import render_supersampled
from diffrender.scene.cameras import Cameras
from diffrender.scene.light import Light
from diffrender.scene.lights import Directional, Point, Spot
from diffrender.scene.materials import Lambert
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.shadow_cameras import Shadow

pytestmark = pytest.mark.slow

SIZE, SAMPLES = 128, 16
PLACE = torch.tensor([1.4, 2.2, 0.8])
LIGHTS = {
    "directional": Directional(torch.tensor([-0.6, -1.0, -0.4]), torch.full((3,), 3.0)),
    "point": Point(PLACE, torch.full((3,), 10.0)),
    # So wide that the cone's soft border, which Mitsuba defines differently, is outside the shadow.
    "spot": Spot(
        PLACE, torch.tensor([-0.6, -1.0, -0.3]), torch.full((3,), 10.0), torch.tensor(55.0), torch.tensor(60.0)
    ),
}


def casters() -> dict[str, Mesh]:
    blob, ring = bumpy_sphere(3), torus(0.6, 0.2, 64, 24)
    return {
        "blob": Mesh(0.7 * blob.vertices + torch.tensor([-0.2, 0.3, 0.0]), blob.faces),
        "ring": Mesh(ring.vertices + torch.tensor([-0.2, 0.2, 0.0]), ring.faces),
    }


def on_a_floor(light: Light, caster: Mesh | None) -> Scene:
    vertices, faces = plane(8.0, 8.0, 2, 2)
    floor = Object(Mesh(vertices - torch.tensor([0.0, 1.0, 0.0]), faces), Lambert(torch.full((3,), 0.6)))
    objects = {} if caster is None else {"caster": Object(caster, Lambert(torch.full((3,), 0.5)))}
    return Scene(objects | {"floor": floor}, {"lamp": light})


def is_dark(shaded: Tensor, lit: Tensor) -> Tensor:
    return shaded.mean(-1) < 0.5 * lit.mean(-1)


@pytest.mark.parametrize("shape", ["blob", "ring"])
@pytest.mark.parametrize("name", LIGHTS)
def test_the_shadow_of_one_object_on_another_lies_where_theirs_does(name: str, shape: str) -> None:
    light, caster = LIGHTS[name], casters()[shape]
    camera = Cameras.perspective(torch.tensor([[-2.0, 3.5, 2.5]]), fov_deg=50, height=SIZE, width=SIZE)
    lit = render_supersampled(on_a_floor(light, caster), camera, 4)[0, ..., :3]
    shaded = render_supersampled(on_a_floor(replace(light, shadow=Shadow(0.003, 1024)), caster), camera, 4)[0, ..., :3]
    with torch.no_grad():
        is_caster = render(on_a_floor(light, caster), camera, Hard()).face_id[0] < caster.n_faces
    # Exclude pixels that show a part of the caster.
    on_floor = torch.nn.functional.max_pool2d(is_caster[None].float(), 3, 1, 1)[0] == 0
    alone = mitsuba_image(on_a_floor(light, None), camera, SAMPLES)
    theirs = is_dark(mitsuba_image(on_a_floor(light, caster), camera, SAMPLES), alone)[on_floor]
    ours = is_dark(shaded, lit)[on_floor]
    assert theirs.sum() > 400
    assert float((ours & theirs).sum() / (ours | theirs).sum()) >= 0.97
