from __future__ import annotations

import json
from dataclasses import fields

import torch

from diffrender.scene.lights import LIGHTS
from diffrender.writers.lights import write_lights


def test_every_light_comes_back_from_its_entry(tmp_path):
    lights = {f"my {kind}": light_class() for kind, light_class in LIGHTS.items()}
    write_lights(tmp_path / "lights" / "final.json", lights)
    entries = json.loads((tmp_path / "lights" / "final.json").read_text())["lights"]
    assert [entry["name"] for entry in entries] == list(lights)
    for entry, (name, light) in zip(entries, lights.items(), strict=True):
        values = {key: torch.tensor(value) for key, value in entry.items() if key not in ("name", "type")}
        rebuilt = LIGHTS[entry["type"]](**values)
        assert type(rebuilt) is type(lights[name])
        for field in fields(light):
            assert torch.equal(getattr(rebuilt, field.name), getattr(light, field.name))
