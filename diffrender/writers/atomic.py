"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffrender.errors import DataError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, moved onto it when the block ends well and removed when it does not.

    Missing parent folders are made. The temporary name keeps the suffix, because encoders choose their format by it.

    Raises: DataError where the file cannot be written.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        # Already moved in the good case; a folder that is gone or read-only has nothing to clean.
        if os.path.exists(temporary):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with Unix line ends. Raises: DataError where the file cannot be written."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data`. Raises: DataError where the file cannot be written."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def unwritable(path: Path, error: OSError) -> DataError:
    """The error for a file or folder that cannot be written, with its remedy."""
    reason = error.strerror or str(error)
    return DataError(f"cannot write {path}: {reason}; choose a writable folder with --out or free some space")
