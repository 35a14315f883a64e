import dataclasses

import pytest
import torch

from diffrender.errors import ConfigError, ShapeError
from diffrender.fit.parametrizations import PARAMETRIZATIONS
from diffrender.scene.cameras import Cameras
from diffrender.scene.lights import LIGHTS
from diffrender.scene.materials import MATERIALS
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.parameter_paths import (
    ParameterPath,
    canonical_path,
    get_value,
    kind_of,
    learnable_paths,
    replace_values,
)
from diffrender.scene.quantity_kinds import kinds_of
from diffrender.scene.scene import Scene
from diffrender.scene.textures.texture import Texture

CAMERAS = Cameras.perspective(torch.tensor([[0.0, 0.0, 3.0], [3.0, 0.0, 0.0]]), height=8, width=8)


def triangle(material="unlit", color=None):
    mesh = Mesh(
        torch.eye(3),
        torch.tensor([[0, 1, 2]]),
        torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
        torch.tensor([[0, 1, 2]]),
    )
    return Object(mesh, MATERIALS[material](base_color=torch.full((3,), 0.5) if color is None else color))


def one_object(color=None):
    lights = {"key": LIGHTS["directional"](), "lamp": LIGHTS["point"]()}
    return Scene({"my.thing": triangle(color=color)}, lights)


def two_objects():
    return Scene({"left": triangle(), "right": triangle("lambert")})


def test_all_paths_of_a_scene_in_order():
    assert learnable_paths(one_object(), CAMERAS) == [
        "objects.my.thing.mesh.vertices",
        "objects.my.thing.material.base_color",
        "objects.my.thing.pose",
        "objects.my.thing.scale",
        "lights.key.direction",
        "lights.key.radiance",
        "lights.lamp.position",
        "lights.lamp.intensity",
        "background",
        "cameras.pose",
        "cameras.focal",
        "cameras.center",
    ]


@pytest.mark.parametrize("kind", MATERIALS)
def test_every_material_field_with_a_parametrisation_has_a_path(kind):
    marked = list(kinds_of(MATERIALS[kind]))
    assert marked
    bare = MATERIALS[kind]()
    absent = {name: torch.ones(3) for name in marked if getattr(bare, name) is None}
    for material in (bare, dataclasses.replace(bare, **absent)):
        present = {f"objects.a.material.{name}" for name in marked if getattr(material, name) is not None}
        paths = learnable_paths(Scene({"a": Object(triangle().mesh, material)}), CAMERAS)
        assert {path for path in paths if ".material." in path} == present


@pytest.mark.parametrize("kind", LIGHTS)
def test_every_light_field_with_a_parametrisation_has_a_path(kind):
    scene = Scene({"a": triangle()}, {"l": LIGHTS[kind]()})
    marked = list(kinds_of(LIGHTS[kind]))
    assert [f"lights.l.{name}" for name in marked] == [
        path for path in learnable_paths(scene, CAMERAS) if path.startswith("lights.")
    ]


def test_every_default_parametrisation_is_on_the_shelf_and_suits_the_value():
    scene = one_object()
    for path in learnable_paths(scene, CAMERAS):
        parametrization = PARAMETRIZATIONS[kind_of(scene, CAMERAS, path).parametrization]()
        parts = ParameterPath.parse(path)
        if parts.is_vertices:
            parametrization = parametrization.bind(scene.objects[parts.name].mesh)
        value = get_value(scene, CAMERAS, path)
        parametrization = parametrization.starting_at(value)
        assert parametrization.value_of(parametrization.latent_of(value)).shape == value.shape


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("mesh.vertices", "large_steps"),
        ("material.base_color", "unit_interval"),
        ("pose", "pose"),
        ("scale", "positive"),
        ("lights.key.direction", "direction"),
        ("cameras.pose", "camera_poses"),
        ("cameras.center", "identity"),
        ("cameras.focal", "positive"),
        ("background", "unit_interval"),
    ],
)
def test_default_parametrisations(path, name):
    assert kind_of(one_object(), CAMERAS, path).parametrization == name


def test_the_parts_of_a_path():
    for path in learnable_paths(one_object(), CAMERAS):
        assert str(ParameterPath.parse(path)) == path
    assert ParameterPath.parse("objects.my.thing.mesh.vertices") == ParameterPath.vertices("my.thing")
    assert ParameterPath.parse("objects.a.material.roughness") == ParameterPath.material("a", "roughness")
    assert ParameterPath.parse("objects.mesh.pose") == ParameterPath("objects", "mesh", "", "pose")
    assert ParameterPath.parse("lights.key.radiance") == ParameterPath("lights", "key", "", "radiance")
    assert ParameterPath.parse("cameras.pose") == ParameterPath("cameras", "", "", "pose")
    assert ParameterPath.parse("background") == ParameterPath("", "", "", "background")


def rotation_about_x(like):
    motion = torch.eye(4, dtype=like.dtype)
    motion[1:3, 1:3] = torch.tensor([[0.8, -0.6], [0.6, 0.8]])
    return motion


@pytest.mark.parametrize("path", learnable_paths(one_object(), CAMERAS))
def test_what_is_put_in_comes_out_and_nothing_else_changes(path):
    scene = one_object()
    before = {other: get_value(scene, CAMERAS, other).clone() for other in learnable_paths(scene, CAMERAS)}
    value = get_value(scene, CAMERAS, path)
    value = value @ rotation_about_x(value) if path.endswith("pose") else value + 0.25
    changed, cameras = replace_values(scene, CAMERAS, {path: value})
    assert get_value(changed, cameras, path) is value
    for other, old in before.items():
        assert torch.equal(get_value(scene, CAMERAS, other), old)
        if other != path:
            assert get_value(changed, cameras, other) is get_value(scene, CAMERAS, other)


def test_several_values_at_once_keep_the_topology():
    scene = one_object()
    values = {path: get_value(scene, CAMERAS, path) * 1.5 for path in ("mesh.vertices", "scale", "cameras.focal")}
    changed, cameras = replace_values(scene, CAMERAS, values)
    for path, value in values.items():
        assert get_value(changed, cameras, path) is value
    assert changed.objects["my.thing"].mesh.topology is scene.objects["my.thing"].mesh.topology


def test_a_texture_is_its_texels():
    texels = torch.rand(4, 5, 3)
    scene = one_object(Texture(texels))
    assert get_value(scene, CAMERAS, "material.base_color") is texels
    changed, _ = replace_values(scene, CAMERAS, {"material.base_color": texels * 2})
    color = changed.objects["my.thing"].material.base_color
    assert isinstance(color, Texture)
    assert torch.equal(color.texels, texels * 2)


def test_gradients_pass_through():
    scene = one_object()
    vertices = torch.rand(3, 3, requires_grad=True)
    changed, _ = replace_values(scene, CAMERAS, {"mesh.vertices": vertices})
    changed.objects["my.thing"].vertices_w().sum().backward()
    assert torch.equal(vertices.grad, torch.ones(3, 3))


def test_no_values_give_the_same_objects():
    scene = one_object()
    assert replace_values(scene, CAMERAS, {}) == (scene, CAMERAS)


def test_short_form_only_with_one_object():
    assert canonical_path(one_object(), CAMERAS, "pose") == "objects.my.thing.pose"
    with pytest.raises(ConfigError, match=r"2 objects, so name one, as in objects\.left\.mesh\.vertices"):
        get_value(two_objects(), CAMERAS, "mesh.vertices")


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("mesh.vertexes", "mesh.vertices"),
        ("lights.kye.direction", "lights.key.direction"),
        ("camera.pose", "cameras.pose"),
    ],
)
def test_unknown_path_names_the_nearest_and_all_others(wrong, right):
    with pytest.raises(ConfigError) as caught:
        get_value(one_object(), CAMERAS, wrong)
    message = str(caught.value)
    assert repr(wrong) in message
    assert f"did you mean {right}?" in message
    assert "background" in message
    assert "cameras.focal" in message


def test_nothing_near_gives_no_suggestion():
    with pytest.raises(ConfigError) as caught:
        get_value(one_object(), CAMERAS, "zzzzzz")
    assert "did you mean" not in str(caught.value)


def test_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"objects\.my\.thing\.scale must keep its shape \[\], got \[1\]"):
        replace_values(one_object(), CAMERAS, {"scale": torch.ones(1)})


def test_one_place_twice_is_refused():
    with pytest.raises(ConfigError, match="given twice"):
        replace_values(one_object(), CAMERAS, {"pose": torch.eye(4), "objects.my.thing.pose": torch.eye(4)})
