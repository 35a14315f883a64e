"""Edits of the JSON of GLB files, to imitate damaged files and those of other programs."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any


def edit_glb(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Apply `change` to the JSON document of the GLB at `path`, in place."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    document = json.loads(data[20 : 20 + length])
    change(document)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + length :]
    header = struct.pack("<4sII", b"glTF", 2, 20 + len(text) + len(rest))
    path.write_bytes(header + struct.pack("<I4s", len(text), b"JSON") + text + rest)
