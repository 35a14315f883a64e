"""What lies in the place of a file that was never fetched: nothing, a pointer of Git LFS, a web page."""

from __future__ import annotations

# So many bytes tell.
HEAD = 64
LFS = b"version https://git-lfs.github.com/spec/"
PAGES = (b"<!doctype html", b"<html")


def stand_in(head: bytes) -> str | None:
    """Return what a file that begins with `head` is instead of a mesh or picture, and the remedy; None: it may be one.

    head: its first HEAD bytes, or all of it. Pointers: the specification of Git LFS, version 1.
    """
    if not head:
        return "is empty (0 bytes); copy, download or export it again"
    if head.startswith(LFS):
        return "is a pointer of Git LFS in place of the file; fetch the file with `git lfs pull`"
    if head.lstrip().lower().startswith(PAGES):
        return "is a web page in place of the file, as failed downloads leave it; download the file itself"
    return None
