"""--set over every shorthand that the options have: the shorthand is spelled out, and the key is put beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import diffrender.config.load  # noqa: F401  (all options classes)
from diffrender.config.load import load_config
from diffrender.config.options.base import Strict
from diffrender.config.overrides import Override

TARGETS = "targets: {synthetic: {mesh: {init: bumpy}}}\n"
# Class -> for each of its shorthands: the file, and a key put beside what the shorthand stands for.
CASES: dict[str, dict[str, tuple[str, str]]] = {
    "SoftOptions": {"word": ("render: {edges: soft}", "render.edges.sigma=3")},
    "AntialiasOptions": {"word": ("render: {edges: antialias}", "render.edges.samples=8")},
    "TermOptions": {"number": ("loss: {laplacian: 0.1}", "loss.laplacian.weight=0.2")},
    "SymmetryOptions": {"number": ("loss: {symmetry: 0.1}", "loss.symmetry.normal=[0, 1, 0]")},
    "MaterialSmoothnessOptions": {
        "number": ("loss: {material_smoothness: 0.1}", "loss.material_smoothness.chroma=0.2")
    },
    "L1Options": {
        "word": ("loss: {image: l1}", "loss.image.weight=2"),
        "number": ("loss: {image: 2}", "loss.image.space=linear"),
    },
    "L2Options": {"word": ("loss: {image: l2}", "loss.image.weight=2")},
    "HuberOptions": {"word": ("loss: {image: huber}", "loss.image.delta=0.2")},
    "PyramidOptions": {"word": ("loss: {image: pyramid}", "loss.image.levels=3")},
    "MaskIouOptions": {
        "word": ("loss: {mask: mask_iou}", "loss.mask.weight=2"),
        "number": ("loss: {mask: 2}", "loss.mask.type=l1"),
    },
    "MaskL1Options": {"word": ("loss: {mask: l1}", "loss.mask.weight=2")},
    "BufferLossOptions": {
        "word": ("loss: {normal: l1}", "loss.normal.weight=2"),
        "number": ("loss: {normal: 2}", "loss.normal.type=l2"),
    },
    "ShadowOptions": {
        "number": ("lights: [{type: point, position: [0, 2, 0], shadow: 0.02}]", "lights.point.shadow.resolution=256"),
        "switch": ("lights: [{type: point, position: [0, 2, 0], shadow: true}]", "lights.point.shadow.softness=0.1"),
    },
    "AmbientOptions": {"word": ("lights: [ambient]", "lights.ambient.radiance=0.5")},
    "EnvironmentOptions": {"word": ("lights: [environment]", "lights.environment.resolution=16")},
    "SphericalHarmonicsOptions": {"word": ("lights: [spherical_harmonics]", "lights.spherical_harmonics.order=3")},
    "LambertOptions": {"word": ("material: lambert\nlights: [ambient]", "material.base_color=0.3")},
    "PhongOptions": {"word": ("material: phong\nlights: [ambient]", "material.shininess=9")},
    "GgxOptions": {"word": ("material: ggx\nlights: [ambient]", "material.roughness=0.3")},
    "UnlitOptions": {"word": ("material: unlit", "material.base_color=0.3")},
    "SubdivideOptions": {"number": ("mesh: {init: box, subdivide: 1}", "mesh.subdivide.scheme=midpoint")},
    "FileMesh": {"word": ("mesh: FILE", "mesh.subdivide=1")},
    "CosineOptions": {"word": ("optimize: {pose: {schedule: cosine}}", "optimize.pose.schedule.final=0.3")},
    "ExponentialOptions": {"word": ("optimize: {pose: {schedule: exponential}}", "optimize.pose.schedule.final=0.3")},
    "RemeshScheduleOptions": {
        "word": ("optimize: {mesh.vertices: {remesh: continuous}}", "optimize.mesh.vertices.remesh.passes=2"),
        "items": ("optimize: {mesh.vertices: {remesh: [20, 40]}}", "optimize.mesh.vertices.remesh.passes=2"),
    },
    "ParameterOptions": {"number": ("optimize: {pose: 0.1}", "optimize.pose.stop=3")},
    "ResolutionOptions": {"number": ("optimize: {resolution: 0.25}", "optimize.resolution.until=50")},
}
# What has keys that must be given, or no other key to put beside the shorthand.
WITHOUT = {"HardOptions", "ConstantOptions", "DirectionalOptions", "PointOptions", "SpotOptions", "FlashesOptions"}


def classes(base: type[Strict] = Strict) -> Iterator[type[Strict]]:
    for kind in base.__subclasses__():
        yield kind
        yield from classes(kind)


def test_every_shorthand_of_the_schema_has_a_case() -> None:
    leaves = [kind for kind in classes() if kind.shorthands and (not kind.__subclasses__() or kind.__name__ in CASES)]
    assert {kind.__name__ for kind in leaves} - WITHOUT == set(CASES)
    forms = {kind.__name__: set(kind.shorthands) for kind in leaves}
    # The number of an image or mask loss is that of the default one.
    of_default = {"L2Options", "HuberOptions", "PyramidOptions", "MaskL1Options"}
    for name, cases in CASES.items():
        assert set(cases) == forms[name] - ({"number"} if name in of_default else set()), name


@pytest.mark.parametrize(("name", "form"), [(name, form) for name, cases in CASES.items() for form in cases])
def test_a_key_is_put_beside_what_a_shorthand_stands_for(name: str, form: str, tmp_path: Path) -> None:
    text, override = CASES[name][form]
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    path = tmp_path / "scene.yaml"
    path.write_text(TARGETS + text.replace("FILE", "a.obj"))
    before, after = load_config(path), load_config(path, [Override.parse(override)])
    assert before != after
    key, _, value = override.partition("=")
    assert load_config(path, [Override.parse(override), Override.parse(f"{key}={value}")]) == after
