import inspect

import pytest
from typer.testing import CliRunner

from diffrender.app.cli import app
from diffrender.config.options.base import Strict
from diffrender.config.options_reference import sections
from diffrender.config.schema import FitConfig
from diffrender.config.untyped_config import CAMERA_PATHS, LIGHT_OPTIONS, MATERIAL_OPTIONS, optimizable_paths


def test_every_mapping_of_a_scene_file_is_there_once_with_words_for_all_its_keys():
    found = sections()
    places = [place for section in found for place in section.places]
    assert len(set(places)) == len(places)
    assert {option.key for option in found[0].options} == set(FitConfig.fields_by_key())
    for name in LIGHT_OPTIONS:
        assert f"lights[] {{type: {name}}}" in places
    for name in MATERIAL_OPTIONS:
        assert f"material {{type: {name}}}" in places
    assert "optimize.<path>" in places
    wordless = [(section.places, option.key) for section in found for option in section.options if not option.meaning]
    assert not [each for each in wordless if each[1] not in ("type", "init")], wordless
    assert all(section.meaning for section in found)


def test_what_is_told_of_a_key():
    (section,) = [each for each in sections() if each.places == ("optimize",)]
    told = {option.key: option for option in section.options}
    assert told["steps"].default == "400"
    assert "integer" in told["steps"].accepts and "gradient steps" in told["steps"].meaning
    assert "<path>" in told


@pytest.mark.parametrize(
    ("about", "owners", "key"),
    [
        ("objects.a.material.base_color", {"UnlitOptions", "GgxOptions"}, "base_color"),
        ("lights[0].radiance", {"AmbientOptions", "DirectionalOptions"}, "radiance"),
        ("lights.ambient.radiance", {"AmbientOptions"}, "radiance"),
        ("optimize.mesh.vertices.remesh.every", {"RemeshScheduleOptions"}, "every"),
        ("targets.synthetic.views", {"SyntheticOptions"}, "views"),
        ("loss.image.delta", {"HuberOptions"}, "delta"),
        ("mesh.vertices", {"ParameterOptions"}, "lr"),
        ("cameras.exposure", {"ParameterOptions"}, "lr"),
    ],
)
def test_a_dotted_path_leads_to_its_key(about, owners, key):
    found = sections(about)
    names = {section.meaning for section in found if key in [option.key for option in section.options]}
    meanings = {model.__name__: inspect.getdoc(model) for model in every_model()}
    assert names >= {meanings[owner] for owner in owners}
    if len(owners) == 1:
        assert len(names) == 1


def every_model():
    return [model for model in Strict.__subclasses__() for model in (model, *below(model))]


def below(model):
    return [each for child in model.__subclasses__() for each in (child, *below(child))]


def test_the_command_shows_what_is_asked_for():
    result = CliRunner().invoke(app, ["options", "loss.laplacian"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "weight" in result.output and "targets" not in result.output
    result = CliRunner().invoke(app, ["options", "nonsense"])
    assert result.exit_code == 1 and "no section of a scene file matches 'nonsense'" in result.output


def test_all_that_can_be_learned_is_listed():
    (section,) = sections("params")
    data = {
        "material": {"type": "ggx", "normal": "flat", "emissive": 0.1},
        "lights": [{"type": "spot", "name": "<name>"}],
    }
    listed = {option.key for option in section.options}
    assert listed >= set(optimizable_paths(data)) - {path for path in optimizable_paths(data) if "objects." in path}
    assert {option.key for option in section.options if option.default == "learned"} == {
        "mesh.vertices", "material.base_color", "program.<name>",
    }  # fmt: skip
    (cameras,) = sections("cameras")
    assert [option.key for option in cameras.options] == list(CAMERA_PATHS)
    assert all(option.meaning for option in section.options)
