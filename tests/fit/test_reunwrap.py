"""Textured objects that are unwrapped again after the last remeshing of their mesh."""

from dataclasses import replace

import pytest
import torch
from support.fit_fakes import blob_cameras
from support.shapes import bumpy, smooth_colors

from diffrender.fit.checkpoint import load_checkpoint, save_checkpoint
from diffrender.fit.model import SceneModel
from diffrender.fit.optimizer.fit_optimizer import FitOptimizer, ParamSettings
from diffrender.fit.parametrizations.coarse_to_fine import CoarseToFine
from diffrender.fit.parametrizations.later_texels import LaterTexels
from diffrender.fit.parametrizations.unit_interval import UnitInterval
from diffrender.fit.reach import Reach
from diffrender.fit.regularizers.color_smoothness import ColorSmoothness
from diffrender.fit.regularizers.material_smoothness import MaterialSmoothness
from diffrender.fit.remeshing.surgery import remesh_due
from diffrender.fit.remeshing_policy import Remeshing
from diffrender.scene.materials import Ggx, Lambert
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.quantity_kinds import textures_of
from diffrender.scene.scene import Scene
from diffrender.scene.textures.bake import bake_to_texture, unwrap_mesh
from diffrender.scene.textures.texel_to_surface import texel_map
from diffrender.scene.textures.texture import Texture

VERTICES, COLOR = "objects.it.mesh.vertices", "objects.it.material.base_color"
STEPS = 6
TWICE = Remeshing(0.12, 0.2, at=(2, 4), gain=0.0, unwrap=True)


LATER = replace(TWICE, texture_sides={COLOR: 256})


def start() -> Object:
    """A lobed shape with a learned colour, and roughness and normals that are not learned."""
    mesh = unwrap_mesh(bumpy(2), 128)
    colors = bake_to_texture(mesh, smooth_colors(mesh.vertices) * 0.5 + 0.25, 128)
    rough = bake_to_texture(mesh, smooth_colors(mesh.vertices)[:, :1] * 0.5 + 0.25, 64)
    normals = Texture(torch.tensor([0.6, 0.0, 0.8]).expand(64, 64, 3))
    return Object(mesh, Ggx(colors, roughness=rough, normal=normals))


def problem(remeshing=TWICE, method="unit_interval"):
    scene = Scene({"it": start()}, {})
    model = SceneModel(scene, blob_cameras(), {"mesh.vertices": "identity", "material.base_color": method})
    rates = {"mesh.vertices": ParamSettings(0.02), "material.base_color": ParamSettings(0.05)}
    return model, FitOptimizer(model, rates, STEPS, {"mesh.vertices": remeshing})


def steps(model, optimizer, first, last, size=0.0):
    for step in range(first, last):
        optimizer.begin(step)
        generator = torch.Generator().manual_seed(step)
        for latent in model.latents.values():
            latent.grad = size * torch.randn(latent.shape, generator=generator)
        optimizer.step()
        remesh_due(model, optimizer, step + 1, Reach(model))


def item_of(model: SceneModel) -> Object:
    return model.snapshot()[0].objects["it"]


def shown(item: Object, texture: Texture) -> torch.Tensor:
    """The texture's values at a random point of each face."""
    assert item.mesh.uvs is not None and item.mesh.uv_faces is not None
    bary = torch.rand(item.mesh.n_faces, 3, generator=torch.Generator().manual_seed(0))
    corners = item.mesh.uvs[item.mesh.uv_faces]
    return texture.sample((corners * (bary / bary.sum(1, keepdim=True))[:, :, None]).sum(1))


@pytest.mark.parametrize("method", ["unit_interval", CoarseToFine(UnitInterval(), 128, 128, 4)])
def test_textures_show_the_same_on_the_same_triangles(method):
    model, optimizer = problem(method=method)
    other, plain = problem(replace(TWICE, unwrap=False), method)
    for each in ((model, optimizer), (other, plain)):
        steps(*each, 0, 2)
    assert torch.equal(item_of(model).mesh.uvs, item_of(other).mesh.uvs)  # not the last remeshing
    for each in ((model, optimizer), (other, plain)):
        steps(*each, 2, 4)
    new, old = item_of(model), item_of(other)
    assert torch.equal(new.mesh.vertices, old.mesh.vertices) and torch.equal(new.mesh.faces, old.mesh.faces)
    assert new.mesh.uvs.shape != old.mesh.uvs.shape or not torch.equal(new.mesh.uvs, old.mesh.uvs)
    for field in ("base_color", "roughness"):
        first, second = (shown(item, getattr(item.material, field)) for item in (new, old))
        assert getattr(new.material, field).texels.shape == getattr(old.material, field).texels.shape
        assert float((first - second).abs().mean()) < 0.004, field
    assert float((new.material.normal.texels - old.material.normal.texels).abs().max()) > 0.3  # rotated
    # No old gutter texels remain, and the fit continues.
    covered = texel_map(new.mesh, 128, 128).covered
    assert float(new.material.base_color.texels[~covered].min()) > 0.2
    latent = model.latents[COLOR].detach().clone()
    steps(model, optimizer, 4, 6, size=1e-3)
    assert not torch.equal(model.latents[COLOR], latent)


@pytest.mark.parametrize(
    ("method", "is_carried"), [("unit_interval", True), (CoarseToFine(UnitInterval(), 128, 128, 4), False)]
)
def test_moments_of_textures_are_carried_to_the_points_where_they_were(method, is_carried):
    model, optimizer = problem(method=method)
    steps(model, optimizer, 0, 2, size=1e-3)
    moments = optimizer.moments[COLOR]
    finest = slice(0, 128 * 128)
    where = texel_map(item_of(model).mesh, 128, 128)
    points = where.values(item_of(model).mesh.vertices, item_of(model).mesh.faces)
    with torch.no_grad():
        for values, slope in ((moments.mean, 0.1), (moments.square, 0.2)):
            image = values[finest].view(128, 128, 3) if values.dim() == 2 else values
            image[where.covered] = 1 + slope * points
    count = float(moments.count)
    steps(model, optimizer, 2, 4)
    carried, item = optimizer.moments[COLOR], item_of(model)
    if not is_carried:
        assert float(carried.count) == 0 and not carried.mean.any()
        return
    where = texel_map(item.mesh, 128, 128)
    points = where.values(item.mesh.vertices, item.mesh.faces)
    # Two steps without gradient: both decay.
    assert float(carried.count) == count + 2
    speed, root = carried.rows()
    flat = (1 + 0.1 * points) / (1 + 0.2 * points).sqrt()
    ratio = speed[where.covered] / flat
    assert float((ratio / ratio.mean() - 1).abs().mean()) < 0.01
    ratio = root[where.covered] / (1 + 0.2 * points).sqrt()
    assert float((ratio / ratio.mean() - 1).abs().mean()) < 0.01


def test_what_gutters_have_learned_does_not_come_along():
    spoilt, clean = problem(), problem()
    item = item_of(spoilt[0])
    covered = texel_map(item.mesh, 128, 128).covered
    with torch.no_grad():
        spoilt[0].latents[COLOR][~covered] = 9.0
    for each in (spoilt, clean):
        steps(*each, 0, 4)
    first, second = (item_of(model).material.base_color.texels for model, _ in (spoilt, clean))
    # Charts grow slightly as their mesh is remeshed: a few texels at their borders were gutters before.
    assert float(((first - second).abs() > 0.1).float().mean()) < 0.01


def at_vertices(remeshing=LATER):
    """The same shape with a colour per vertex, and nothing else, that becomes a texture."""
    mesh = bumpy(2)
    scene = Scene({"it": Object(mesh, Lambert(smooth_colors(mesh.vertices) * 0.5 + 0.25))}, {})
    method = LaterTexels(UnitInterval(), CoarseToFine(UnitInterval(), 256, 256, 5))
    model = SceneModel(scene, blob_cameras(), {"mesh.vertices": "identity", "material.base_color": method})
    rates = {"mesh.vertices": ParamSettings(0.02), "material.base_color": ParamSettings(0.05)}
    return model, FitOptimizer(model, rates, STEPS, {"mesh.vertices": remeshing})


def test_colours_of_vertices_become_a_texture_that_shows_the_same():
    (model, optimizer), (other, plain) = at_vertices(), at_vertices(replace(TWICE, unwrap=False))
    for each in ((model, optimizer), (other, plain)):
        steps(*each, 0, 3, size=1e-3)
    assert isinstance(item_of(model).material.base_color, torch.Tensor)  # one remeshing is left
    for each in ((model, optimizer), (other, plain)):
        steps(*each, 3, 4, size=1e-3)
    new, old = item_of(model), item_of(other)
    assert torch.equal(new.mesh.vertices, old.mesh.vertices) and torch.equal(new.mesh.faces, old.mesh.faces)
    texture, colors = new.material.base_color, old.material.base_color
    assert isinstance(texture, Texture) and texture.texels.shape == (256, 256, 3)
    bary = torch.rand(old.mesh.n_faces, 3, generator=torch.Generator().manual_seed(0))
    wanted = (colors[old.mesh.faces] * (bary / bary.sum(1, keepdim=True))[:, :, None]).sum(1)
    assert float((shown(new, texture) - wanted).abs().mean()) < 0.002
    assert len(model.latents[COLOR]) > 256 * 256 and optimizer.moments[COLOR].rows()[0].abs().max() == 0
    steps(model, optimizer, 4, 6, size=1e-3)
    assert not torch.equal(item_of(model).material.base_color.texels, texture.texels)


@pytest.mark.parametrize("done", [2, 4])
@pytest.mark.parametrize("make", [problem, at_vertices])
def test_a_fit_goes_on_from_a_checkpoint_in_the_new_layout(tmp_path, make, done):
    model, optimizer = make()
    steps(model, optimizer, 0, done, size=1e-3)
    save_checkpoint(tmp_path / "a.pt", model, optimizer, done)
    other, resumed = make()
    assert load_checkpoint(tmp_path / "a.pt", other, resumed) == done
    for each in ((model, optimizer), (other, resumed)):
        steps(*each, done, STEPS, size=1e-3)
    first, second = item_of(model), item_of(other)
    assert torch.equal(first.mesh.uvs, second.mesh.uvs) and torch.equal(first.mesh.vertices, second.mesh.vertices)
    for field in textures_of(first.material):
        assert torch.equal(getattr(first.material, field).texels, getattr(second.material, field).texels)


def test_an_object_without_textures_is_left_alone():
    mesh = bumpy(2)
    scene = Scene({"it": Object(mesh, Lambert(torch.full((mesh.n_vertices, 3), 0.5)))}, {})
    model = SceneModel(scene, blob_cameras(), {"mesh.vertices": "identity"})
    optimizer = FitOptimizer(model, {"mesh.vertices": ParamSettings(0.02)}, STEPS, {"mesh.vertices": TWICE})
    steps(model, optimizer, 0, STEPS)
    assert item_of(model).mesh.uvs is None


def test_the_last_remeshing_is_known():
    at = Remeshing(0.1, 0.2, at=(2, 9, 5))
    assert [done for done in range(12) if at.is_last(done, 12)] == [9]
    assert [done for done in range(12) if at.is_last(done, 8)] == [5]
    every = Remeshing(0.1, 0.2, every=3, start=1, stop=9)
    assert [done for done in range(12) if every.is_last(done, 12)] == [7]


@pytest.mark.parametrize("prior", [ColorSmoothness(), MaterialSmoothness(chroma=0)])
def test_priors_count_the_texels_of_the_layout_of_now(prior):
    corners, faces = torch.tensor([[-0.5, -0.5, 0], [0.5, -0.5, 0], [-0.5, 0.5, 0]]), torch.tensor([[0, 1, 2]])
    lower = Mesh(corners, faces, torch.tensor([[0.0, 1], [1, 1], [0, 0]]), faces.clone())
    upper = Mesh(corners, faces, torch.tensor([[1.0, 0], [0, 0], [1, 1]]), faces.clone())
    texels = torch.zeros(32, 32, 3)
    texels[:8, 24:] = 1.0  # visible only in the upper layout
    material = Ggx(Texture(texels), roughness=Texture(texels[:, :, :1].contiguous()))
    scenes = [Scene({"it": Object(mesh, material)}, {}) for mesh in (lower, upper)]
    bound = prior.bind(scenes[0])
    assert [float(bound(scene)) > 0.02 for scene in (scenes[0], scenes[1], scenes[0])] == [False, True, False]
