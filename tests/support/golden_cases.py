"""The images of tests/goldens, one function each, rendered through the public API."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from support.pictures import as_picture
from torch import Tensor

import diffrender as dr
from diffrender.geometry.primitives import bumpy_sphere, bumpy_sphere_colors, icosphere, plane, torus
from diffrender.scene.shadow_cameras import Shadow
from diffrender.writers.report.progress_panels import ProgressPanels

SIZE = 64
BACKGROUND = torch.tensor([0.05, 0.08, 0.12])
COPPER = torch.tensor([0.9, 0.45, 0.2])
GRAY = torch.full((3,), 0.6)
SUN = dr.Directional(torch.tensor([1.0, -1.2, -0.9]), torch.tensor([2.6, 2.4, 2.1]))
HAZE = dr.Ambient(torch.tensor([0.15, 0.2, 0.3]))


def perspective(eye: tuple[float, float, float] = (1.2, 1.0, 2.8), **options: object) -> dr.Cameras:
    return dr.Cameras.perspective(torch.tensor([eye]), height=SIZE, width=SIZE, **options)


def scene(*objects: dr.Object, **lights: dr.Light) -> dr.Scene:
    return dr.Scene({f"object {i}": item for i, item in enumerate(objects)}, lights, BACKGROUND)


def lobes() -> dr.Mesh:
    return dr.Mesh(*bumpy_sphere(4))


def floor(y: float = -1.0) -> dr.Mesh:
    """Return a floor 8 units wide, whose texture coordinates cover the texture twice in each direction."""
    vertices, faces = plane(8.0, 8.0)
    return dr.Mesh(vertices + torch.tensor([0.0, y, 0.0]), faces, vertices[:, [0, 2]] / 4 + 1, faces)


def checkerboard(texels: int = 64, squares: int = 8) -> dr.Texture:
    index = torch.arange(texels) * squares // texels
    is_odd = (index[:, None] + index).remainder(2).bool()[..., None]
    return dr.Texture(torch.where(is_odd, COPPER, GRAY))


def sky() -> dr.Environment:
    """Return a sky that is blue above and brown below, with a warm source at one side."""
    height = torch.linspace(1, -1, 16)[:, None, None].expand(16, 32, 1)
    texels = torch.where(height > 0, torch.tensor([0.3, 0.5, 0.9]), torch.tensor([0.25, 0.18, 0.1]))
    texels[4:7, 10:13] = torch.tensor([14.0, 11.0, 7.0])
    return dr.Environment(dr.EnvMap(texels))


def ball_and_ring() -> dr.Scene:
    """Return a scene of a ball and a ring that intersects it."""
    ball, ring = dr.Mesh(*icosphere(4, 0.75)), dr.Mesh(*torus(0.75, 0.25))
    return scene(dr.Object(ball, dr.Lambert(COPPER)), dr.Object(ring, dr.Lambert(1 - COPPER)), sun=SUN, haze=HAZE)


def render_image(scene: dr.Scene, cameras: dr.Cameras | None = None, edges: dr.EdgeModel | None = None) -> Tensor:
    return dr.render_scene(scene, perspective() if cameras is None else cameras, edges).rgba[0]


def lambert_in_the_sun() -> Tensor:
    return render_image(scene(dr.Object(lobes(), dr.Lambert(COPPER)), sun=SUN, haze=HAZE))


def phong_under_a_bulb_and_a_spot() -> Tensor:
    bulb = dr.Point(torch.tensor([-1.5, 1.5, 1.5]), torch.tensor([4.0, 5.0, 8.0]))
    spot = dr.Spot(torch.tensor([2.0, 2.0, 2.0]), torch.tensor([-1.0, -1.1, -0.9]), torch.tensor([20.0, 16.0, 10.0]))
    return render_image(scene(dr.Object(lobes(), dr.Phong(GRAY)), bulb=bulb, spot=spot))


def ggx_in_the_sun() -> Tensor:
    plastic = dr.Ggx(torch.tensor([0.1, 0.4, 0.2]), torch.zeros(1), torch.tensor([0.35]))
    return render_image(scene(dr.Object(lobes(), plastic), sun=SUN, haze=HAZE))


def ggx_metal_in_an_environment() -> Tensor:
    return render_image(scene(dr.Object(lobes(), dr.Ggx(COPPER, torch.ones(1), torch.tensor([0.25]))), sky=sky()))


def spherical_harmonics() -> Tensor:
    coefficients = torch.zeros(9, 3)
    coefficients[0], coefficients[1], coefficients[3] = 2.0, torch.tensor([0.4, 0.8, 1.2]), torch.tensor([0.9, 0.3, 0])
    return render_image(scene(dr.Object(lobes(), dr.Lambert(GRAY)), sky=dr.SphericalHarmonics(coefficients)))


def vertex_colors() -> Tensor:
    vertices, faces = bumpy_sphere(4)
    return render_image(scene(dr.Object(dr.Mesh(vertices, faces), dr.Unlit(bumpy_sphere_colors(vertices)))))


def texture_at_a_grazing_angle() -> Tensor:
    return render_image(
        scene(dr.Object(floor(), dr.Unlit(checkerboard()))), perspective((0.3, -0.3, 3.9), target=(0, -1.1, 0))
    )


def normal_map() -> Tensor:
    """Render bumps like those of an egg box on a flat floor."""
    phase = torch.arange(64) * (2 * torch.pi / 16)
    slopes = torch.stack(torch.meshgrid(phase.sin(), phase.sin(), indexing="xy"), -1) * 0.6
    bumps = dr.Texture(torch.cat([slopes, torch.ones(64, 64, 1)], -1))
    return render_image(scene(dr.Object(floor(), dr.Lambert(GRAY, bumps)), sun=SUN), perspective((1.0, 2.5, 3.5)))


def hard_edges() -> Tensor:
    return render_image(ball_and_ring(), edges=dr.Hard())


def soft_edges() -> Tensor:
    return render_image(ball_and_ring(), edges=dr.Soft(3.0))


def antialiased_edges_of_objects_that_intersect() -> Tensor:
    return render_image(ball_and_ring())


def cast_shadow() -> Tensor:
    ring = torus(0.6, 0.2)
    objects = dr.Object(dr.Mesh(*ring), dr.Lambert(COPPER)), dr.Object(floor(-0.8), dr.Lambert(GRAY))
    sun = dr.Directional(SUN.direction, SUN.radiance, shadow=Shadow(0.01, 512))
    return render_image(scene(*objects, sun=sun, haze=HAZE), perspective((1.0, 2.5, 2.5)))


def orthographic_camera() -> Tensor:
    cameras = dr.Cameras.parallel(torch.tensor([[2.0, 1.5, 2.0]]), view_height=2.6, height=SIZE, width=SIZE)
    objects = dr.Object(lobes(), dr.Lambert(COPPER)), dr.Object(floor(), dr.Unlit(checkerboard()))
    return render_image(scene(*objects, sun=SUN, haze=HAZE), cameras)


def floor_that_passes_the_camera() -> Tensor:
    """Render faces that reach from in front of the camera to behind it."""
    cameras = perspective((0.3, 0.0, 1.0), target=(0, -0.35, 0), fov_deg=75)
    return render_image(scene(dr.Object(floor(-0.4), dr.Unlit(checkerboard()))), cameras)


def normals() -> Tensor:
    """From -1, black, to 1, white, in x, y and z."""
    output = dr.render_scene(scene(dr.Object(lobes(), dr.Unlit())), perspective(), aovs=("normal",))
    return output.aov("normal")[0] / 2 + 0.5


def depth() -> Tensor:
    """From 2, black, to 4, white."""
    output = dr.render_scene(scene(dr.Object(lobes(), dr.Unlit())), perspective(), aovs=("depth",))
    return (output.aov("depth")[0] - 2) / 2


def progress_picture() -> np.ndarray:
    target, render = lambert_in_the_sun(), ggx_in_the_sun()
    views = dr.Views(perspective(), target[None, ..., :3], target[None, ..., 3], ("view_000",))
    clay = target[None, ..., :3].mean(3, keepdim=True).expand(-1, -1, -1, 3)
    return ProgressPanels(views).picture(render[None], clay, "step 40", "of 100", 0.0123)


CASES: tuple[Callable[[], Tensor | np.ndarray], ...] = (
    lambert_in_the_sun,
    phong_under_a_bulb_and_a_spot,
    ggx_in_the_sun,
    ggx_metal_in_an_environment,
    spherical_harmonics,
    vertex_colors,
    texture_at_a_grazing_angle,
    normal_map,
    hard_edges,
    soft_edges,
    antialiased_edges_of_objects_that_intersect,
    cast_shadow,
    orthographic_camera,
    floor_that_passes_the_camera,
    normals,
    depth,
    progress_picture,
)


def _picture_of(case: Callable[[], Tensor | np.ndarray]) -> Callable[[], np.ndarray]:
    def picture() -> np.ndarray:
        image = case()
        return as_picture(image) if isinstance(image, Tensor) else image

    return picture


# The name of each golden, and the function that renders its picture, uint8 [H, W, 3].
GOLDENS = {case.__name__: _picture_of(case) for case in CASES}
