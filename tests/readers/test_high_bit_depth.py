from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from diffrender.errors import DataError, ShapeError
from diffrender.imaging.color import srgb_from_linear
from diffrender.readers.captures.capture import CaptureOptions
from diffrender.readers.captures.transforms_json import read_transforms
from diffrender.readers.images.image import read_image
from diffrender.readers.images.masks import read_mask
from diffrender.scene.cameras import Cameras
from diffrender.writers.cameras import write_transforms
from diffrender.writers.images.float_images import write_hdr_image


def picture(channels: int = 3, top: float = 8.0) -> Tensor:
    """[5, 7, channels] with colours up to `top`, and alpha between 0.1 and 1."""
    values = torch.rand(5, 7, channels, generator=torch.Generator().manual_seed(channels))
    values[..., :3] *= top
    values[..., 3:] = 0.1 + 0.9 * values[..., 3:]
    return values


def write_png16(path: Path, image: Tensor) -> None:
    """A linear picture in 0..1, [H, W, 3] or [H, W, 4] with alpha, as a 16-bit sRGB PNG."""
    import OpenImageIO

    encoded = torch.cat([srgb_from_linear(image[..., :3].double()), image[..., 3:]], -1)
    height, width, channels = image.shape
    spec = OpenImageIO.ImageSpec(width, height, channels, "uint16")
    # The colours that are given are not multiplied by alpha; OpenImageIO would divide them.
    spec.attribute("oiio:UnassociatedAlpha", 1)
    pixels = (encoded * 65535).round().numpy().astype(np.uint16)
    file = OpenImageIO.ImageOutput.create(str(path))
    assert file.open(str(path), spec) and file.write_image(pixels) and file.close()


def write_raw(path: Path, pixels: np.ndarray, names: tuple[str, ...]) -> None:
    """An OpenEXR file with these channels, as they are."""
    import OpenImageIO

    spec = OpenImageIO.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], "float")
    spec.channelnames = names
    file = OpenImageIO.ImageOutput.create(str(path))
    assert file.open(str(path), spec) and file.write_image(pixels.astype(np.float32)) and file.close()


def test_exr_keeps_every_bit_and_values_above_one(tmp_path: Path) -> None:
    write_hdr_image(tmp_path / "a.exr", picture())
    image = read_image(tmp_path / "a.exr")
    assert torch.equal(image.rgb, picture()) and image.alpha is None and image.rgb.max() > 7


def test_hdr_keeps_values_above_one_to_three_digits(tmp_path: Path) -> None:
    write_hdr_image(tmp_path / "a.hdr", picture(top=300.0))
    difference = (read_image(tmp_path / "a.hdr").rgb - picture(top=300.0)).abs()
    assert float((difference / picture(top=300.0).amax(-1, keepdim=True)).max()) < 0.01


def test_png16_is_srgb_to_a_hundred_thousandth(tmp_path: Path) -> None:
    write_png16(tmp_path / "a.png", picture(top=1.0))
    torch.testing.assert_close(read_image(tmp_path / "a.png").rgb, picture(top=1.0), atol=2e-5, rtol=0)


@pytest.mark.parametrize(("name", "tolerance"), [("a.exr", 1e-6), ("a.png", 1e-4)])
def test_alpha_does_not_change_the_colours(tmp_path: Path, name: str, tolerance: float) -> None:
    """Neither file may come back with colours multiplied, or divided, by alpha."""
    wanted = picture(4, top=1.0)
    (write_hdr_image if name.endswith("exr") else write_png16)(tmp_path / name, wanted)
    image = read_image(tmp_path / name)
    assert image.alpha is not None
    torch.testing.assert_close(image.rgb, wanted[..., :3], atol=tolerance, rtol=0)
    torch.testing.assert_close(image.alpha, wanted[..., 3], atol=tolerance, rtol=0)


def test_exr_on_disk_is_multiplied_by_alpha(tmp_path: Path) -> None:
    write_raw(tmp_path / "a.exr", np.array([[[0.25, 0.5, 1.0, 0.5], [0.0, 0.0, 0.0, 0.0]]]), ("R", "G", "B", "A"))
    image = read_image(tmp_path / "a.exr")
    assert image.rgb.tolist() == [[[0.5, 1.0, 2.0], [0, 0, 0]]] and image.alpha.tolist() == [[0.5, 0.0]]


def test_gray_and_further_channels(tmp_path: Path) -> None:
    write_raw(tmp_path / "gray.exr", np.full((2, 3, 1), 3.0), ("Y",))
    assert torch.equal(read_image(tmp_path / "gray.exr").rgb, torch.full((2, 3, 3), 3.0))
    pixels = np.stack([np.full((2, 3), value) for value in (1.0, 2.0, 3.0, np.inf)], -1)
    write_raw(tmp_path / "depth.exr", pixels, ("R", "G", "B", "Z"))
    image = read_image(tmp_path / "depth.exr")  # the infinite depths are no colours
    assert image.rgb[0, 0].tolist() == [1, 2, 3] and image.alpha is None


def test_masks(tmp_path: Path) -> None:
    mask = torch.tensor([[0.0, 1.0], [0.5, 0.25]])
    write_hdr_image(tmp_path / "a.exr", mask[..., None].expand(2, 2, 3))
    torch.testing.assert_close(read_mask(tmp_path / "a.exr"), mask)
    write_hdr_image(tmp_path / "b.exr", torch.cat([torch.ones(2, 2, 3), mask[..., None]], 2))
    torch.testing.assert_close(read_mask(tmp_path / "b.exr"), mask)
    import OpenImageIO

    spec = OpenImageIO.ImageSpec(2, 2, 1, "uint16")
    file = OpenImageIO.ImageOutput.create(str(tmp_path / "c.png"))
    assert file.open(str(tmp_path / "c.png"), spec)
    assert file.write_image((mask.numpy() * 65535).round().astype(np.uint16)[..., None]) and file.close()
    torch.testing.assert_close(read_mask(tmp_path / "c.png"), mask, atol=1e-4, rtol=0)


def test_a_capture_of_exr_images(tmp_path: Path) -> None:
    cameras = Cameras.perspective(torch.tensor([[0.0, 0, 3], [1.0, 0, 3]]), height=4, width=6)
    images = [torch.rand(4, 6, 4, generator=torch.Generator().manual_seed(i)) + 0.5 for i in range(2)]
    for i, image in enumerate(images):
        image[..., :3] *= 4
        image[..., 3] = (image[..., 3] > 1).float()
        write_hdr_image(tmp_path / f"{i}.exr", image)
    write_transforms(tmp_path / "transforms.json", cameras, ["0.exr", "1.exr"])
    frames = json.loads((tmp_path / "transforms.json").read_text())["frames"]
    assert [Path(frame["file_path"]).suffix for frame in frames] == [".exr"] * 2
    views = read_transforms(tmp_path, CaptureOptions(background=(0.5, 0.5, 0.5)))
    for i, image in enumerate(images):
        expected = torch.where(image[..., 3:] > 0, image[..., :3], 0.5)
        torch.testing.assert_close(views.images[i], expected)
    assert views.masks is not None and views.images.max() > 4


def test_damaged_files_are_named(tmp_path: Path) -> None:
    write_hdr_image(tmp_path / "a.exr", picture())
    write_hdr_image(tmp_path / "a.hdr", picture())
    for name in ("a.exr", "a.hdr"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / f"cut.{name}").write_bytes(content[:-20])
        (tmp_path / f"foreign.{name}").write_bytes(b"hello")
        for bad in (f"cut.{name}", f"foreign.{name}"):
            with pytest.raises(DataError, match=f"{bad}: cannot be read as an image"):
                read_image(tmp_path / bad)
    with pytest.raises(DataError, match=r"none\.exr: does not exist"):
        read_image(tmp_path / "none.exr")
    write_raw(tmp_path / "normals.exr", np.zeros((2, 2, 3)), ("N.X", "N.Y", "N.Z"))
    with pytest.raises(DataError, match=r"has the channels N.X, N.Y, N.Z; it must have R, G, B or Y"):
        read_image(tmp_path / "normals.exr")
    bad = picture()
    bad[2, 3, 1] = torch.nan
    write_hdr_image(tmp_path / "nan.exr", bad)
    with pytest.raises(DataError, match=r"row 2, column 3 is .*nan.*; it must be finite"):
        read_image(tmp_path / "nan.exr")


def test_without_openimageio_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_hdr_image(tmp_path / "a.exr", picture())
    monkeypatch.setitem(sys.modules, "OpenImageIO", None)
    with pytest.raises(DataError, match=r"a\.exr: this kind of image needs the package OpenImageIO; run `pip install"):
        read_image(tmp_path / "a.exr")
    with pytest.raises(DataError, match=r"cannot write .*needs the package OpenImageIO; run `pip install"):
        write_hdr_image(tmp_path / "b.exr", picture())


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match=r"must end in \.exr"):
        write_hdr_image(tmp_path / "a.png", picture())
    with pytest.raises(ShapeError, match=r"without alpha in \.hdr"):
        write_hdr_image(tmp_path / "a.hdr", picture(4))
    with pytest.raises(ShapeError, match=r"image must have shape \[H, W, 3\]"):
        write_hdr_image(tmp_path / "a.exr", picture()[0])
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        write_hdr_image(tmp_path / "file" / "a.exr", picture())
