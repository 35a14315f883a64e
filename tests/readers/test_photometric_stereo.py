from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from diffrender.config.load import load_config
from diffrender.errors import DataError
from diffrender.fit.loop import fit
from diffrender.readers.captures.capture import CaptureOptions
from diffrender.readers.captures.photometric_stereo import read_light_directions, read_photometric_stereo
from diffrender.setup.fit_setup import build_fit
from diffrender.threads import threads_to_kernels
from diffrender.writers.images.png import write_encoded_png

HEIGHT, WIDTH, RADIUS = 80, 100, 30
MIDDLE = (60.0, 35.0)  # x, y in pixels
LAMPS = torch.nn.functional.normalize(
    torch.tensor([[math.cos(a), math.sin(a), 1.6] for a in torch.arange(0, 6.2, 1.05).tolist()] + [[0.0, 0.1, 1.0]]),
    dim=1,
)
SCENE = Path(__file__).parents[2] / "scenes" / "photometric_stereo.yaml"


def ball() -> tuple[Tensor, Tensor]:
    """Normals [H, W, 3] of a ball (x right, y up, z to the viewer), and where it is [H, W]."""
    column, row = torch.meshgrid(torch.arange(WIDTH) + 0.5, torch.arange(HEIGHT) + 0.5, indexing="xy")
    x, y = (column - MIDDLE[0]) / RADIUS, (MIDDLE[1] - row) / RADIUS
    inside = x * x + y * y < 1
    return torch.stack([x, y, (1 - x * x - y * y).clamp_min(0).sqrt()], -1), inside


def write(folder: Path, pictures: list[Tensor]) -> Path:
    folder.mkdir(exist_ok=True)
    for number, picture in enumerate(pictures):
        shown = (picture.clamp(0, 1) * 255).round().to(torch.uint8)
        write_encoded_png(folder / f"ball.{number}.png", np.ascontiguousarray(shown[..., None].expand(-1, -1, 3)))
    mask = ball()[1].to(torch.uint8)[..., None].expand(-1, -1, 3) * 255
    write_encoded_png(folder / "ball.mask.png", np.ascontiguousarray(mask))
    return folder


@pytest.fixture(name="gray")
def gray_ball(tmp_path: Path) -> Path:
    normal, inside = ball()
    return write(tmp_path / "gray", [0.6 * (normal @ lamp).clamp_min(0) * inside for lamp in LAMPS])


@pytest.fixture(name="mirror")
def mirror_ball(tmp_path: Path) -> Path:
    normal, inside = ball()
    mirrored = 2 * normal[..., 2:] * normal - torch.tensor([0.0, 0.0, 1.0])
    return write(tmp_path / "mirror", [((mirrored @ lamp) > 0.97).float() * inside for lamp in LAMPS])


def test_pictures_are_cut_about_the_mask_and_stay_linear(gray: Path) -> None:
    views = read_photometric_stereo(gray, CaptureOptions())
    side = round(1.04 * 2 * RADIUS)
    assert views.images.shape == (len(LAMPS), side, side, 3) and views.masks is not None
    assert views.names[:2] == ("ball.0", "ball.1")
    assert views.cameras.number is not None and views.cameras.number.tolist() == list(range(len(LAMPS)))
    assert views.select([2, 0]).cameras.number.tolist() == [2, 0]  # type: ignore[union-attr]
    # The ball's middle faces the viewer; it is in the middle of the square.
    middle = views.images[:, side // 2, side // 2, 0]
    torch.testing.assert_close(middle, 0.6 * LAMPS[:, 2], atol=0.02, rtol=0)
    assert read_photometric_stereo(gray, CaptureOptions(24)).images.shape[1:3] == (24, 24)
    # What is one unit to the right in the world is at the border of the square.
    edge = views.cameras.world_to_pixels(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))[0]
    torch.testing.assert_close(edge[:, :2], torch.tensor([[side, side / 2], [side / 2, 0.0]]))


def test_lights_from_a_file_and_from_a_mirror_ball(mirror: Path, tmp_path: Path) -> None:
    rows = "\n".join(" ".join(f"{x:.6f}" for x in lamp) for lamp in (3 * LAMPS).tolist())
    (tmp_path / "lights.txt").write_text(f"{len(LAMPS)}\n{rows}\n")
    torch.testing.assert_close(read_light_directions(tmp_path / "lights.txt"), -LAMPS)
    found = read_light_directions(mirror)
    degrees = torch.rad2deg((found * -LAMPS).sum(1).clamp(-1, 1).acos())
    assert degrees.max() < 2.5


def test_wrong_files_are_told(gray: Path, tmp_path: Path) -> None:
    (tmp_path / "lights.txt").write_text("2\n0 0 1\n")
    with pytest.raises(DataError, match="three numbers for each, got 4 numbers"):
        read_light_directions(tmp_path / "lights.txt")
    (tmp_path / "zero.txt").write_text("1\n0 0 0\n")
    with pytest.raises(DataError, match="a direction is zero"):
        read_light_directions(tmp_path / "zero.txt")
    with pytest.raises(DataError, match=r"must hold pictures <name>\.0\.png"):
        read_light_directions(tmp_path)
    write_encoded_png(gray / "ball.1.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match="is 8 x 8, but the mask is 100 x 80"):
        read_photometric_stereo(gray, CaptureOptions())


@pytest.mark.parametrize("lights", ["known", "mirror ball"])
def test_the_scene_finds_normals_and_albedo(lights: str, gray: Path, mirror: Path, tmp_path: Path) -> None:
    rows = "\n".join(" ".join(f"{x:.6f}" for x in lamp) for lamp in LAMPS.tolist())
    (tmp_path / "lights.txt").write_text(f"{len(LAMPS)}\n{rows}\n")
    source = tmp_path / "lights.txt" if lights == "known" else mirror
    config = load_config(
        SCENE,
        [
            f"targets.path={gray}", f"lights.flashes.direction={source}", "targets.resolution=40",
            "material.base_color.resolution=40", "material.normal.resolution=40", "optimize.steps=120",
            "optimize.batch_size=null",
        ],
    )  # fmt: skip
    with threads_to_kernels(1):
        setup = build_fit(config)
        result = fit(setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step)
    material = next(iter(result.scene.objects.values())).material
    found = torch.nn.functional.normalize(material.normal.texels, dim=2)  # type: ignore[attr-defined]
    place = (torch.arange(40) + 0.5) / 40 * 2.08 - 1.04
    x, y = torch.meshgrid(place, -place, indexing="xy")
    inside = x * x + y * y < 0.8
    normal = torch.stack([x, y, (1 - x * x - y * y).clamp_min(0).sqrt()], -1)
    degrees = torch.rad2deg((found * normal).sum(2).clamp(-1, 1).acos())
    assert float(degrees[inside].mean()) < 4
    albedo = material.base_color.texels.mean(2)  # type: ignore[attr-defined]
    assert float(albedo[inside].median()) == pytest.approx(0.6, abs=0.03)
