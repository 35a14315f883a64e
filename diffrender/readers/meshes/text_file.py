"""Text files of meshes."""

from __future__ import annotations

from codecs import BOM_UTF8
from pathlib import Path

from diffrender.errors import DataError

UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8 or, if it is not that, in Latin-1, with line ends \\n.

    So names of any other encoding that contains ASCII stay different.
    Raises DataError if it is UTF-16 or no text.
    """
    content = path.read_bytes()
    if content.startswith(UTF16) or b"\0" in content:
        raise DataError(f"{path}: is not text in UTF-8, but UTF-16 or binary; save it as UTF-8 or export it again")
    content = content.removeprefix(BOM_UTF8)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")
