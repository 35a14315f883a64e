"""Numbers as JSON: one line per step, and whole files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from diffrender.errors import DataError
from diffrender.writers.atomic import unwritable, write_text


def json_ready(value: object) -> object:
    """Convert `value` to JSON's types: tensors and arrays to lists, paths to text, non-finite numbers to None.

    JSON has no NaN or infinity; most parsers reject those that Python would write.

    Raises DataError for a type that JSON does not have.
    """
    if isinstance(value, torch.Tensor):
        return json_ready(value.detach().cpu().tolist())
    if isinstance(value, (np.ndarray, np.generic)):
        return json_ready(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): json_ready(entry) for key, entry in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Sequence):
        return [json_ready(entry) for entry in value]
    raise DataError(f"cannot write a {type(value).__name__} as JSON; convert it to numbers or text first")


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Write `value` as indented JSON, whole or not at all; non-finite numbers as null.

    Raises DataError if the file cannot be written.
    """
    write_text(Path(path), json.dumps(json_ready(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


class MetricsLog:
    """A growing metrics.jsonl: one JSON object per line, on disk as soon as it is appended.

    `rows` keeps what was written, for the curves at the end. A context manager; `close` may be called twice.

    before: the rows to begin with; they replace the file.
    Raises DataError if the file cannot be written.
    """

    def __init__(self, path: Path, before: Sequence[Mapping[str, object]] = ()) -> None:
        self.path = Path(path)
        self.rows: list[Mapping[str, object]] = list(before)
        write_text(self.path, "".join(_line(row) for row in before))
        try:
            self._file = self.path.open("a", encoding="utf-8", newline="\n")
        except OSError as error:
            raise unwritable(self.path, error) from error

    def append(self, row: Mapping[str, object]) -> None:
        """Write one row; non-finite numbers as null."""
        try:
            self._file.write(_line(row))
            self._file.flush()
        except OSError as error:
            raise unwritable(self.path, error) from error
        self.rows.append(dict(row))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _line(row: Mapping[str, object]) -> str:
    return json.dumps(json_ready(row), ensure_ascii=False, allow_nan=False) + "\n"
