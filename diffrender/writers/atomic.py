"""Write files whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffrender.errors import DataError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which is moved onto it if the block succeeds and removed if it fails.

    Missing parent folders are made. The temporary name keeps the suffix, by which encoders choose their format. Of a
    link, it is the file that it leads to; pipes and devices, such as /dev/stdout, are written to and not replaced.

    Raises DataError if the file cannot be written.
    """
    if os.path.islink(path) and os.path.isfile(path):
        path = Path(os.path.realpath(path))
    if os.path.lexists(path) and not os.path.isdir(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        try:
            yield path
        except OSError as error:
            raise unwritable(path, error) from error
        return
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        # Already moved if all went well; in a folder that is gone or read-only there is nothing to clean.
        if os.path.exists(temporary):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with its line endings. Raises DataError if the file cannot be written."""
    write_bytes(path, encode_text(text))


def encode_text(text: str) -> bytes:
    """Return `text` in UTF-8; bytes of a path that Python could not decode are what they were, if that is UTF-8."""
    data = text.encode("utf-8", "surrogateescape")
    try:
        data.decode()
    except UnicodeDecodeError:
        data = text.encode("utf-8", "backslashreplace")
    return data


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data`. Raises DataError if the file cannot be written."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def unwritable(path: Path, error: OSError) -> DataError:
    """Return the error for a file or folder that cannot be written, with its remedy."""
    reason = error.strerror or str(error)
    return DataError(f"cannot write {path}: {reason}; choose a writable folder with --out or free some space")
