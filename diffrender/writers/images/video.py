"""Images as an MP4 video."""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from diffrender.errors import BackendError, DataError, ShapeError
from diffrender.writers.atomic import replacing

# imageio-ffmpeg's scale of 0..10 (x264's constant rate factor 15): edges of text and triangles show no artefacts.
QUALITY = 7


def write_video(frames: Iterable[np.ndarray | Path], path: Path, fps: float, hold_last_s: float = 0.0) -> int:
    """Write an H.264 video that browsers and phones play (yuv420p, index at the front); return the number of frames.

    frames: uint8 [H, W, 3] sRGB, or paths of images; all of one size. They are taken one at a time, so an iterator may
        render them. Odd sizes grow by a copy of the last row or column (yuv420p needs even ones).
    fps: frames per second.
    hold_last_s: how much longer the last frame stays, in seconds.

    Raises DataError without any frame or if the file cannot be written, ShapeError for a frame of another size or type,
    BackendError if ffmpeg is missing or fails.
    """
    source = iter(frames)
    first = next(source, None)
    if first is None:
        raise DataError(f"cannot write {path}: a video needs at least one frame")
    first = _even(_pixels(first))
    with replacing(Path(path)) as temporary:
        try:
            n_frames = _encode(first, source, temporary, fps, hold_last_s)
            is_whole = _is_whole(temporary)
        except OSError as error:
            raise _failed(path, error.strerror or str(error).partition("\n")[0]) from error
        if not is_whole:
            raise _failed(path, "its file is incomplete")
    return n_frames


def _failed(path: Path, reason: str) -> BackendError:
    remedy = "check that the folder can be written, the free space, and IMAGEIO_FFMPEG_EXE if it is set"
    return BackendError(f"cannot write {path}: ffmpeg failed ({reason}); {remedy}")


def _encode(first: np.ndarray, others: Iterable[np.ndarray | Path], path: Path, fps: float, hold_last_s: float) -> int:
    """Encode the frames into `path`; return how many there are."""
    writer = _open_ffmpeg(path, first, fps)
    try:
        n_frames, last = 1, first
        writer.send(first)
        for frame in others:
            last = _even(_pixels(frame))
            if last.shape != first.shape:
                raise ShapeError(
                    f"write_video: all frames must have one size, got {last.shape[1]} x {last.shape[0]}"
                    f" after {first.shape[1]} x {first.shape[0]}"
                )
            writer.send(last)
            n_frames += 1
        for _ in range(round(hold_last_s * fps)):
            writer.send(last)
            n_frames += 1
    finally:
        writer.close()
    return n_frames


def _is_whole(path: Path) -> bool:
    """Return whether the boxes of an MP4 fill the file and hold an index; on a full disk ffmpeg ends in silence.

    Source: ISO/IEC 14496-12, section 4.2.
    """
    kinds, start, size = set(), 0, path.stat().st_size
    with path.open("rb") as file:
        while start + 16 <= size:
            file.seek(start)
            length, kind, long_length = struct.unpack(">I4sQ", file.read(16))
            length = long_length if length == 1 else length
            if length < 8:
                return False
            kinds.add(kind)
            start += length
    return {b"moov", b"mdat"} <= kinds and size - 16 < start <= size


def _open_ffmpeg(path: Path, first: np.ndarray, fps: float) -> Generator[None, np.ndarray | None, None]:
    try:
        import imageio_ffmpeg

        program = imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise BackendError(f"cannot write {path}: no ffmpeg found; install imageio-ffmpeg") from error
    height, width = first.shape[:2]
    writer = imageio_ffmpeg.write_frames(
        str(path),
        (width, height),
        fps=fps,  # type: ignore[arg-type]  any number is accepted
        codec="libx264",
        pix_fmt_in="rgb24",
        pix_fmt_out="yuv420p",
        macro_block_size=2,
        ffmpeg_log_level="error",
        quality=QUALITY,
        output_params=["-preset", "medium", "-movflags", "+faststart"],
    )
    try:
        writer.send(None)
    except OSError as error:
        raise BackendError(f"cannot write {path}: {program} cannot be started: {error.strerror or error}") from error
    return writer


def read_frame(path: Path) -> np.ndarray:
    """Read an image file as a frame, [H, W, 3] uint8 sRGB. Raises DataError if it cannot be read."""
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except OSError as error:
        raise DataError(f"cannot read the video's frame {path}: {error}") from error


def _pixels(frame: np.ndarray | Path) -> np.ndarray:
    if isinstance(frame, Path):
        return read_frame(frame)
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ShapeError(f"write_video: a frame must be uint8 [H, W, 3], got {frame.dtype} {list(frame.shape)}")
    return frame


def _even(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    return np.ascontiguousarray(np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge"))
