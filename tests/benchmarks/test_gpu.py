from __future__ import annotations

import pytest
import torch
from benchmarks.gpu import FITS, SCENES, Image, markdown, on_device
from benchmarks.works import Work, setting_of

from diffrender.config.load import load_config


def test_an_image_has_the_gradients_of_all_that_it_is_made_of() -> None:
    image = Image(Work("antialias", 320, 24, texture=8, lighting="sun", views=2), "cpu")
    rgba, gradients = image.both()
    assert rgba.shape == (2, 24, 24, 4)
    assert len(gradients) == 7
    assert all(bool(gradient.any()) for gradient in gradients)
    # Without a GPU what is recorded is the function itself.
    replayed, again = image.both(recorded=True)
    assert torch.equal(replayed, rgba) and all(map(torch.equal, again, gradients))


def test_all_of_a_setting_moves() -> None:
    setting = setting_of(Work("antialias", 320, 24, texture=8, lighting="environment"))
    same = on_device(setting, "cpu", torch.float64)
    assert torch.equal(same.mesh.vertices, setting.mesh.vertices.double())
    assert same.cameras.focal_px.dtype == same.others[0].dtype == torch.float64
    assert len(same.others) == len(setting.others) == 3
    assert (same.lighting, same.cameras.height) == ("environment", 24)


@pytest.mark.parametrize(("name", "overrides"), FITS)
def test_the_scenes_that_are_fitted_are_valid(name: str, overrides: tuple[str, ...]) -> None:
    assert load_config(SCENES / f"{name}.yaml", [*overrides, "device=cuda"]).device == "cuda"


def test_tables_are_markdown() -> None:
    row = {"name": "image, soft", "forward ms": 1.2345, "target ms": None, "launches": 12, "slowest": {"kernel": 0.5}}
    found = {"device": "H100", "torch": "2.9", "images": [row], "fits": []}
    assert markdown(found).splitlines() == [
        "H100, PyTorch 2.9",
        "",
        "| name | forward ms | target ms | launches |",
        "|---|---|---|---|",
        "| image, soft | 1.23 | None | 12 |",
    ]
