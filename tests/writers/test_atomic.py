from __future__ import annotations

import os
from pathlib import Path

import pytest

from diffrender.errors import DataError
from diffrender.writers.atomic import replacing, write_bytes, write_text


def test_makes_folders_and_leaves_only_the_file(tmp_path):
    write_text(tmp_path / "a" / "b" / "note.txt", "grün\n")
    assert (tmp_path / "a" / "b" / "note.txt").read_bytes() == "grün\n".encode()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["note.txt"]


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "data.bin"
    write_bytes(path, b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_bytes(b"half of the n")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_links_and_pipes_are_written_to_and_not_replaced(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_text() == "new"
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "link") as temporary:
        temporary.write_bytes(b"half of the n")
        raise KeyboardInterrupt
    assert (tmp_path / "file").read_text() == "new"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_bytes(tmp_path / "pipe", b"through")
    assert os.read(reader, 99) == b"through" and (tmp_path / "pipe").is_fifo()
    os.close(reader)
    (tmp_path / "lost").symlink_to("none/at/all")
    with pytest.raises(DataError, match=r"cannot write .*lost: No such file"):
        write_bytes(tmp_path / "lost", b"")


def test_the_temporary_file_keeps_the_suffix(tmp_path):
    with replacing(tmp_path / "film.mp4") as temporary:
        assert temporary.suffix == ".mp4"
        temporary.write_bytes(b"")


def test_unwritable_folder_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot write .*file/x\.txt: .*; choose a writable folder with --out"):
        write_text(tmp_path / "file" / "x.txt", "")


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("scan ü".encode().decode("ascii", "surrogateescape"), "scan ü"),  # as a console of plain ASCII has it
        (b"caf\xe9".decode("utf-8", "surrogateescape"), "caf\\udce9"),  # a name that is no UTF-8
    ],
)
def test_paths_that_python_could_not_decode_are_written_as_utf_8(tmp_path: Path, name: str, written: str) -> None:
    write_text(tmp_path / "a.txt", f"path: {name}\n")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == f"path: {written}\n"
