from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from diffrender.errors import BackendError, DataError, ShapeError
from diffrender.writers.images.video import write_video


def gray(level: int, height: int = 31, width: int = 45) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def read(path: Path, height: int, width: int) -> np.ndarray:
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), *raw]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(data, np.uint8).reshape(-1, height, width, 3)


def test_frames_sizes_and_colours(tmp_path, capfd):
    levels = (30, 120, 220)
    n_frames = write_video((gray(level) for level in levels), tmp_path / "film.mp4", fps=5, hold_last_s=0.4)
    film = read(tmp_path / "film.mp4", 32, 46)
    assert n_frames == 5
    assert len(film) == 5
    for frame, level in zip(film, (*levels, 220, 220), strict=True):
        assert np.abs(frame.astype(int) - level).max() <= 4
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_pictures_from_files_make_the_same_film(tmp_path):
    frames = [gray(level, 32, 32) for level in (10, 200)]
    paths = [tmp_path / f"{index}.png" for index in range(2)]
    for frame, path in zip(frames, paths, strict=True):
        Image.fromarray(frame).save(path)
    write_video(frames, tmp_path / "a.mp4", fps=2)
    write_video(paths, tmp_path / "b.mp4", fps=2)
    assert (read(tmp_path / "a.mp4", 32, 32) == read(tmp_path / "b.mp4", 32, 32)).all()


def test_the_index_is_at_the_front_for_the_web(tmp_path):
    write_video([gray(100)], tmp_path / "film.mp4", fps=10)
    data = (tmp_path / "film.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_errors_leave_no_file(tmp_path):
    with pytest.raises(DataError, match="at least one frame"):
        write_video([], tmp_path / "film.mp4", fps=5)
    with pytest.raises(ShapeError, match=r"one size, got 60 x 40 after 46 x 32"):
        write_video([gray(1), gray(2, 40, 60)], tmp_path / "film.mp4", fps=5)
    with pytest.raises(ShapeError, match="uint8"):
        write_video([gray(1).astype(float)], tmp_path / "film.mp4", fps=5)
    with pytest.raises(DataError, match=r"missing\.png"):
        write_video([tmp_path / "missing.png"], tmp_path / "film.mp4", fps=5)
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_that_cannot_be_started_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "ffmpeg"))
    with pytest.raises(BackendError, match=rf"film.*mp4: {tmp_path}/ffmpeg cannot be started: No such file"):
        write_video([gray(30)], tmp_path / "film.mp4", fps=5)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 1.0])
def test_a_film_that_ffmpeg_left_incomplete_is_an_error(tmp_path, monkeypatch, share):
    frames = [gray(level) for level in (10, 200)]
    write_video(frames, tmp_path / "whole.mp4", fps=5)
    data = (tmp_path / "whole.mp4").read_bytes()

    def cut(path, first, fps):
        path.write_bytes(data[: round(share * len(data))])
        while True:
            yield

    def opened(*arguments):
        writer = cut(*arguments)
        writer.send(None)
        return writer

    monkeypatch.setattr("diffrender.writers.images.video._open_ffmpeg", opened)
    if share == 1:
        assert write_video(frames, tmp_path / "cut.mp4", fps=5) == 2
        return
    with pytest.raises(BackendError, match=r"cut\.mp4: ffmpeg failed \(its file is incomplete\)"):
        write_video(frames, tmp_path / "cut.mp4", fps=5)
    assert [path.name for path in tmp_path.iterdir()] == ["whole.mp4"]
