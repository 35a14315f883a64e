from __future__ import annotations

import json
from dataclasses import fields, replace

import torch

from diffrender.config.load import parse_config
from diffrender.scene.environment.env_map import EnvMap
from diffrender.scene.lights import LIGHTS, Environment
from diffrender.scene.quantity_kinds import kinds_of
from diffrender.scene.shadow_cameras import Shadow
from diffrender.setup.lights import build_light
from diffrender.writers.lights import write_lights


def written(folder, lights):
    write_lights(folder / "lights" / "final.json", lights)
    return json.loads((folder / "lights" / "final.json").read_text())["lights"]


def test_every_light_comes_back_from_its_entry(tmp_path):
    lights = {f"my_{kind}": light_class() for kind, light_class in LIGHTS.items()}
    lights["turned"] = replace(
        LIGHTS["environment"](EnvMap(torch.rand(16, 32, 3))), rotation=torch.tensor([0.3, -0.5, 0.2]), frame="camera"
    )
    lights["dark"] = replace(LIGHTS["point"](), shadow=Shadow(0.02, 64))
    entries = written(tmp_path, lights)
    assert [entry["name"] for entry in entries] == list(lights)
    scene_file = json.dumps({"targets": {"path": str(tmp_path)}, "material": "lambert", "lights": entries})
    config = parse_config(scene_file, tmp_path / "lights")
    for options, light in zip(config.lights, lights.values(), strict=True):
        rebuilt = build_light(options)
        assert type(rebuilt) is type(light)
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
