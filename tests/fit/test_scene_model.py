import pytest
import torch
from support.fit_fakes import blob_cameras, blob_scene

from diffrender.errors import ConfigError, ShapeError
from diffrender.fit.model import SceneModel
from diffrender.scene.parameter_paths import get_value, learnable_paths

SCENE, CAMERAS = blob_scene(), blob_cameras()
EVERYTHING = dict.fromkeys(learnable_paths(SCENE, CAMERAS))


def test_starts_at_the_starting_guess():
    model = SceneModel(SCENE, CAMERAS, EVERYTHING)
    scene, cameras = model.state()
    for path in EVERYTHING:
        torch.testing.assert_close(
            get_value(scene, cameras, path), get_value(SCENE, CAMERAS, path), rtol=1e-5, atol=1e-6
        )


def test_gradients_reach_every_latent():
    model = SceneModel(SCENE, CAMERAS, EVERYTHING)
    weight = torch.Generator().manual_seed(0)
    total = sum((value * torch.randn(value.shape, generator=weight)).sum() for value in model.values().values())
    total.backward()
    assert set(model.latents) == set(EVERYTHING)
    for path, latent in model.latents.items():
        assert isinstance(latent, torch.nn.Parameter), path
        assert torch.isfinite(latent.grad).all(), path
        assert (latent.grad != 0).any(), path


def test_what_is_not_learned_is_shared():
    model = SceneModel(SCENE, CAMERAS, {"pose": None})
    scene = model()
    assert scene.objects["ball"].mesh is SCENE.objects["ball"].mesh
    assert model.cameras() is CAMERAS
    assert list(model.latents) == ["objects.ball.pose"]


def test_a_scene_never_holds_a_parameter():
    model = SceneModel(SCENE, CAMERAS, EVERYTHING)
    scene, cameras = model.state()
    for path in EVERYTHING:
        assert not isinstance(get_value(scene, cameras, path), torch.nn.Parameter), path


def test_a_snapshot_stays_as_it_is():
    model = SceneModel(SCENE, CAMERAS, EVERYTHING)
    scene, cameras = model.snapshot()
    before = {path: get_value(scene, cameras, path).clone() for path in EVERYTHING}
    with torch.no_grad():
        for latent in model.latents.values():
            latent.add_(0.3)
    for path, value in before.items():
        assert torch.equal(get_value(scene, cameras, path), value)
        assert not get_value(scene, cameras, path).requires_grad
        assert not torch.equal(model.values()[path], value)


def test_state_dict_round_trip():
    model = SceneModel(SCENE, CAMERAS, EVERYTHING)
    with torch.no_grad():
        for latent in model.latents.values():
            latent.add_(0.1)
    other = SceneModel(SCENE, CAMERAS, EVERYTHING)
    other.load_state_dict(model.state_dict())
    for path, latent in model.latents.items():
        assert torch.equal(other.latents[path], latent)
    assert len(model.state_dict()) == len(EVERYTHING)


def test_another_parametrisation_by_name():
    model = SceneModel(SCENE, CAMERAS, {"material.base_color": "positive"})
    torch.testing.assert_close(
        model.latents["objects.ball.material.base_color"].detach(), SCENE.objects["ball"].material.base_color.log()
    )


def test_nothing_to_optimise():
    with pytest.raises(ConfigError, match=r"nothing to optimise; name at least one of: objects\.ball\.mesh\.vertices"):
        SceneModel(SCENE, CAMERAS, {})


def test_unknown_names():
    with pytest.raises(ConfigError, match=r"did you mean mesh\.vertices"):
        SceneModel(SCENE, CAMERAS, {"mesh.vertice": None})
    with pytest.raises(ConfigError, match=r"there is no parametrisation 'quaternion'; choose from identity"):
        SceneModel(SCENE, CAMERAS, {"pose": "quaternion"})


def test_one_value_twice():
    with pytest.raises(ConfigError, match="given twice"):
        SceneModel(SCENE, CAMERAS, {"pose": None, "objects.ball.pose": None})


@pytest.mark.parametrize(
    ("path", "method", "complaint"),
    [
        ("lights.key.direction", "positive", r"lights\.key\.direction: positive: values must be above 0, got -1"),
        ("mesh.vertices", "pose", r"mesh\.vertices: pose: values must have shape"),
        ("mesh.vertices", "unit_interval", r"mesh\.vertices: unit_interval: values must be in 0\.\.1"),
        ("scale", "direction", r"scale: direction"),
    ],
)
def test_unsuitable_parametrisations_name_the_path(path, method, complaint):
    with pytest.raises(ShapeError, match=complaint):
        SceneModel(SCENE, CAMERAS, {path: method})
