from __future__ import annotations

import json
from dataclasses import fields, replace

import torch

from diffrender.config.options.lights import RotationOptions
from diffrender.readers.images.image import read_image
from diffrender.scene.environment.env_map import EnvMap
from diffrender.scene.fields import kinds_of
from diffrender.scene.lights import LIGHTS, Environment
from diffrender.scene.shadow_cameras import Shadow
from diffrender.setup.lights import rotation_vector
from diffrender.writers.lights import write_lights


def written(folder, lights):
    write_lights(folder / "lights" / "final.json", lights)
    return json.loads((folder / "lights" / "final.json").read_text())["lights"]


def test_every_light_comes_back_from_its_entry(tmp_path):
    lights = {f"my {kind}": light_class() for kind, light_class in LIGHTS.items()}
    lights["turned"] = replace(
        LIGHTS["environment"](EnvMap(torch.rand(16, 32, 3))), rotation=torch.tensor([0.3, -0.5, 0.2]), frame="camera"
    )
    lights["dark"] = replace(LIGHTS["point"](), shadow=Shadow(0.02, 64))
    entries = written(tmp_path, lights)
    assert [entry["name"] for entry in entries] == list(lights)
    for entry, (name, light) in zip(entries, lights.items(), strict=True):
        values = {key: value for key, value in entry.items() if key not in ("name", "type")}
        for key, value in values.items():
            if isinstance(light, Environment) and key == "radiance":
                values[key] = EnvMap(read_image(tmp_path / "lights" / value).rgb)
            elif key == "shadow":
                values[key] = None if value is None else Shadow(**value)
            elif isinstance(value, dict):
                values[key] = rotation_vector(RotationOptions.model_validate(value))
            elif key in kinds_of(light):
                values[key] = torch.tensor(value)
        rebuilt = LIGHTS[entry["type"]](**values)
        assert type(rebuilt) is type(lights[name])
        for field in fields(light):
            found, expected = getattr(rebuilt, field.name), getattr(light, field.name)
            if field.name not in kinds_of(light):
                assert found == expected
            else:
                found, expected = (item.texels if isinstance(item, EnvMap) else item for item in (found, expected))
                torch.testing.assert_close(found, expected)


def test_a_map_that_is_not_turned_has_some_axis(tmp_path):
    (entry,) = written(tmp_path, {"sky": Environment()})
    assert entry["rotation"] == {"axis": [0.0, 1.0, 0.0], "degrees": 0.0} and entry["radiance"] == "sky.exr"
    assert entry["frame"] == "world"
