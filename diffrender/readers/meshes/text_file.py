"""Text files of meshes."""

from __future__ import annotations

from pathlib import Path

from diffrender.errors import DataError

UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8 or another encoding that contains ASCII, with line ends \\n.

    What is not UTF-8 becomes U+FFFD.
    Raises DataError if it is UTF-16 or no text.
    """
    content = path.read_bytes()
    if content.startswith(UTF16) or b"\0" in content:
        raise DataError(f"{path}: is not text in UTF-8, but UTF-16 or binary; save it as UTF-8 or export it again")
    text = content.decode("utf-8-sig", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")
