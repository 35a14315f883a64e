"""Captures of any content, by hypothesis: each is read as finite cameras, or refused with one error that names it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.any_capture import read
from support.colmap_files import write_pictures, write_points

from diffrender.errors import DataError
from diffrender.readers.captures.camera_models import CAMERA_MODELS, UNKNOWN_LENSES
from diffrender.scene.projections import PROJECTIONS

many = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
numbers = st.one_of(
    st.floats(), st.floats(0.1, 20), st.integers(-3, 12), st.sampled_from([0, 8, 6, 1e-320, 1e300, float("nan")])
)
junk = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=6), st.lists(numbers, max_size=4))
names = st.sampled_from(["0.png", 300 * "x" + ".png", "1.png", "images/0.png", "lost.png", "", "..", "0.txt", "\0"])
matrices = st.one_of(
    st.sampled_from([np.eye(4).tolist(), np.eye(4)[:3].tolist(), np.diag([2.0, 2, 2, 1]).tolist()]),
    st.lists(st.lists(numbers, min_size=4, max_size=4), min_size=3, max_size=4),
    junk,
)
models = st.sampled_from([*CAMERA_MODELS, *UNKNOWN_LENSES, *PROJECTIONS, "NONE", ""])
COEFFICIENTS = sorted({name for model in CAMERA_MODELS.values() for name in model.coefficients()})
LENS = ("fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x", "camera_angle_y", "exposure", "time", *COEFFICIENTS)


def mostly(good: st.SearchStrategy, bad: st.SearchStrategy = junk) -> st.SearchStrategy:
    """Usually good: where all is wrong, nothing behind the first check is tried."""
    return st.integers(0, 23).flatmap(lambda number: bad if number == 23 else good)


lens = st.fixed_dictionaries(
    {"fl_x": mostly(st.just(10.0))},
    optional={key: mostly(st.floats(-0.2, 0.2)) for key in ("k1", "p1")}
    | {"camera_model": st.sampled_from(["OPENCV", "FULL_OPENCV", "OPENCV_FISHEYE", "THIN_PRISM_FISHEYE"])}
    | {"cx": mostly(st.just(4.0)), "w": mostly(st.just(8))},
)
frame = st.builds(
    lambda name, matrix, own: {"file_path": name, "transform_matrix": matrix, **own},
    mostly(st.sampled_from(["0.png", "1.png"]), names), mostly(st.just(np.eye(4).tolist()), matrices),
    mostly(st.just({}), st.dictionaries(st.sampled_from([*LENS, "mask_path", "ignore_path", "depth_path"]), junk)),
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("any")
    write_pictures(folder / "images", {"0.png": 50, "1.png": 200})
    write_pictures(folder, {"0.png": 50, "1.png": 200})
    return folder


def check(path: Path) -> None:
    try:
        capture = read(path)
    except DataError as error:
        assert str(path if path.is_file() else path.name) in str(error)
        return
    cameras = capture.views.cameras
    for values in (cameras.cam_from_world, cameras.focal_px, cameras.center_px, capture.views.images):
        assert bool(values.isfinite().all())
    assert capture.points is None or bool(capture.points.isfinite().all())


@many
@given(
    mostly(st.lists(mostly(frame), min_size=1, max_size=3)),
    lens,
    mostly(st.just({}), st.dictionaries(st.sampled_from([*LENS, "aabb", "train_filenames", "is_fisheye"]), junk)),
)
def test_any_transforms_json(folder: Path, frames: Any, common: dict[str, Any], more: dict[str, Any]) -> None:
    path = folder / "transforms.json"
    path.write_text(json.dumps({**common, **more, "frames": frames}))
    check(path)


@many
@given(st.fixed_dictionaries(
    {
        "images": mostly(st.lists(mostly(st.sampled_from(["0.png", "1.png"]), names), min_size=1, max_size=2)),
        "K": mostly(st.just(np.diag([9.0, 9, 1]).tolist()), matrices),
        "convention": mostly(st.sampled_from(["opencv", "opengl", "llff"])),
        "cam_from_world": mostly(st.lists(mostly(st.just(np.eye(4).tolist()), matrices), min_size=1, max_size=2)),
    },
    optional={key: mostly(st.none()) for key in ("width", "height", "masks", "pixel_center", "world_from_cam")},
))  # fmt: skip
def test_any_matrices(folder: Path, content: dict[str, Any]) -> None:
    path = folder / "cameras.json"
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    check(path)


rows = mostly(
    st.just([0.0, 1, 0, 0, -1, 0, 0, 0, 0, 0, 1, 3, 6, 8, 9, 1, 9]),
    st.lists(numbers.map(float), min_size=17, max_size=17),
)


@many
@given(
    mostly(st.lists(rows, min_size=2, max_size=2), st.lists(st.lists(numbers.map(float), max_size=18), max_size=3)),
    mostly(st.just("f8"), st.sampled_from(["f4", "i8", "u1", "c16", "O", "U3"])),
)
def test_any_poses_bounds(folder: Path, values: list[list[float]], kind: str) -> None:
    path = folder / "poses_bounds.npy"
    with np.errstate(all="ignore"):
        try:
            array = np.array(values, kind)
        except (ValueError, OverflowError, TypeError):  # rows of unequal length, or numbers that the kind cannot hold
            array = np.array([str(row) for row in values])
    np.save(path, array)
    check(path)


def text_model(cameras: list[Any], images: list[Any], model: Path) -> None:
    lines = [f"{number} {name} 8 6 {' '.join(map(repr, values))}" for number, name, values in cameras]
    (model / "cameras.txt").write_text("\n".join(lines))
    lines = [f"{number} {' '.join(map(repr, pose))} {camera} {name}\n" for number, pose, camera, name in images]
    (model / "images.txt").write_text("\n".join(lines), encoding="utf-8", errors="replace")


def binary_model(cameras: list[Any], images: list[Any], model: Path) -> None:
    numbers_of = {name: each.number for name, each in CAMERA_MODELS.items()}
    numbers_of |= {name: number for name, (number, _) in UNKNOWN_LENSES.items()}
    data = struct.pack("<Q", len(cameras))
    for number, name, values in cameras:
        data += struct.pack(f"<IiQQ{len(values)}d", number, numbers_of.get(name, 99), 8, 6, *values)
    (model / "cameras.bin").write_bytes(data)
    data = struct.pack("<Q", len(images))
    for number, pose, camera, name in images:
        data += struct.pack("<I7dI", number, *pose, camera) + name.encode("utf-8", "replace") + b"\0"
        data += struct.pack("<Q", 0)
    (model / "images.bin").write_bytes(data)


def sound_camera(number: int, name: str) -> tuple[int, str, list[float]]:
    values = {"f": 9.0, "fx": 9.0, "fy": 10.0, "cx": 4.0, "cy": 3.0}
    return number, name, [values.get(parameter, 0.01) for parameter in CAMERA_MODELS[name].parameters]


def camera_of(number: int) -> st.SearchStrategy:
    known = st.sampled_from(list(CAMERA_MODELS)).map(lambda name: sound_camera(number, name))
    return mostly(known, st.tuples(st.just(number), models, st.lists(numbers.map(float), max_size=12)))


images = st.lists(
    st.tuples(
        st.integers(0, 3),
        mostly(st.just([1.0, 0, 0, 0, 0, 0, 3]), st.lists(numbers.map(float), min_size=7, max_size=7)),
        mostly(st.just(1), st.integers(0, 3)),
        mostly(st.sampled_from(["0.png", "1.png"]), names),
    ),
    max_size=2,
)


@pytest.mark.parametrize("write", [text_model, binary_model])
@many
@given(data=st.data())
def test_any_colmap_model(folder: Path, write: Callable, data: st.DataObject) -> None:
    model = folder / write.__name__ / "sparse" / "0"
    write_pictures(folder / write.__name__ / "images", {"0.png": 50, "1.png": 200})
    model.mkdir(parents=True, exist_ok=True)
    one = st.lists(camera_of(1), min_size=1, max_size=1)
    write(data.draw(mostly(one, st.lists(camera_of(1), max_size=2))), data.draw(images), model)
    points = data.draw(st.lists(st.lists(numbers.map(float), min_size=3, max_size=3), max_size=3))
    kind = "text" if write is text_model else "binary"
    write_points(model, kind, points)
    if data.draw(st.integers(0, 3)) == 0:
        file = data.draw(st.sampled_from(sorted(model.iterdir())))
        content = file.read_bytes()
        file.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    check(folder / write.__name__)
