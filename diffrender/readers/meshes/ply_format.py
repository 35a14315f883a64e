"""The PLY format: its header, and its elements as columns of numbers, in ASCII or binary."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from diffrender.errors import DataError

TYPES = {
    "char": "i1",
    "int8": "i1",
    "uchar": "u1",
    "uint8": "u1",
    "short": "i2",
    "int16": "i2",
    "ushort": "u2",
    "uint16": "u2",
    "int": "i4",
    "int32": "i4",
    "uint": "u4",
    "uint32": "u4",
    "float": "f4",
    "float32": "f4",
    "double": "f8",
    "float64": "f8",
}
BYTE_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}
END = re.compile(rb"[\r\n]end_header(\r\n|\n|\r|$)")
LONGEST_NUMBER = 64


class Property(NamedTuple):
    """A column of an element. dtype: of its values. size_dtype: of the lengths of a list; None for one number."""

    name: str
    dtype: np.dtype
    size_dtype: np.dtype | None


class Lists(NamedTuple):
    """A column of lists. values: [M], all lists joined. sizes: [N] int64."""

    values: np.ndarray
    sizes: np.ndarray


@dataclass(frozen=True)
class Element:
    """Rows of one kind. numbers, lists: by property, in the types of the file; fractions of ASCII in float64."""

    count: int
    numbers: dict[str, np.ndarray]
    lists: dict[str, Lists]


class _Declared(NamedTuple):
    name: str
    count: int
    properties: list[Property]


@dataclass(frozen=True)
class PlyContent:
    """elements: by name. comments: lines of the header. rest: bytes after the last element, without white space."""

    elements: dict[str, Element]
    comments: list[str]
    rest: int


def read_ply_content(path: Path) -> PlyContent:
    """Read all elements. Raises DataError, with the line or the row, if the file is not PLY, damaged or cut off."""
    data = path.read_bytes().removeprefix(BOM_UTF8)
    byte_order, declared, comments, start = _read_header(path, data)
    elements: dict[str, Element] = {}
    if byte_order is None:
        lines = _Lines(path, data, start)
        for element in declared:
            elements[element.name] = _read_ascii(path, lines, element)
        return PlyContent(elements, comments, sum(map(len, lines.rest())))
    for element in declared:
        elements[element.name], start = _read_binary(path, data, start, element, byte_order)
    return PlyContent(elements, comments, len(data[start:].strip()))


def _read_header(path: Path, data: bytes) -> tuple[str | None, list[_Declared], list[str], int]:
    """Return the byte order (None: ASCII), elements without rows, comments, and where the rows start."""
    if not data.startswith(b"ply"):
        raise DataError(f"{path}: is not a PLY file: it starts with {data[:12]!r}, not with 'ply'; export it again")
    found = END.search(data)
    if found is None:
        raise DataError(f"{path}: its header has no line end_header; the file is damaged or cut off")
    end, start = found.span()
    byte_order: str | None = None
    declared: list[_Declared] = []
    comments: list[str] = []
    for number, line in enumerate(data[:end].decode("utf-8", errors="replace").splitlines(), start=1):
        words = line.split()
        try:
            match words:
                case [] | ["ply"] | ["obj_info", *_]:
                    pass
                case ["comment", *_]:
                    comments.append(line.split(None, 1)[1] if len(words) > 1 else "")
                case ["format", "ascii", _]:
                    byte_order = None
                case ["format", name, _] if name in BYTE_ORDERS:
                    byte_order = BYTE_ORDERS[name]
                case ["element", name, count] if int(count) >= 0 and all(name != e.name for e in declared):
                    declared.append(_Declared(name, int(count), []))
                case ["property", "list", size, kind, name] if _is_new(declared, name) and TYPES[size][0] != "f":
                    declared[-1].properties.append(Property(name, np.dtype(TYPES[kind]), np.dtype(TYPES[size])))
                case ["property", kind, name] if _is_new(declared, name):
                    declared[-1].properties.append(Property(name, np.dtype(TYPES[kind]), None))
                case _:
                    raise ValueError
        except (ValueError, KeyError):
            raise DataError(
                f"{path}, line {number}: {line.strip()!r} is not valid in the header of a PLY file; export it again"
            ) from None
    if byte_order is None and not any(line.split()[:2] == [b"format", b"ascii"] for line in data[:end].splitlines()):
        raise DataError(f"{path}: its header has no line 'format ascii 1.0' or 'format binary_little_endian 1.0'")
    return byte_order, declared, comments, start


def _is_new(declared: Sequence[_Declared], name: str) -> bool:
    """Return whether there is an element that a property called `name` can be added to."""
    return bool(declared) and all(prop.name != name for prop in declared[-1].properties)


def _cut_off(path: Path, element: _Declared, row: int) -> DataError:
    return DataError(
        f"{path}: ends in row {row + 1} of {element.count} of its element {element.name!r}; the file is cut off"
    )


class _Lines:
    """The lines of an ASCII file that are not empty, split into words, one after the other."""

    def __init__(self, path: Path, data: bytes, start: int) -> None:
        before = len(data[:start].splitlines())
        lines = enumerate(data[start:].splitlines(), start=before + 1)
        self._rows = [(number, words) for number, line in lines if (words := line.split())]
        self._next = 0

    def take(self, count: int) -> list[tuple[int, list[bytes]]]:
        """Return the next lines with their numbers; fewer if there are not so many."""
        rows = self._rows[self._next : self._next + count]
        self._next += len(rows)
        return rows

    def rest(self) -> list[list[bytes]]:
        """Return what has not been taken."""
        return [words for _, words in self._rows[self._next :]]


def _read_ascii(path: Path, lines: _Lines, element: _Declared) -> Element:
    rows = lines.take(element.count)
    if len(rows) < element.count:
        raise _cut_off(path, element, len(rows))
    starts = np.zeros(len(rows), np.int64)
    words = [word for _, row in rows for word in row]
    lengths = np.array([len(row) for _, row in rows], dtype=np.int64)
    first = np.concatenate([[0], lengths.cumsum()[:-1]]).astype(np.int64) if len(rows) else starts
    values = _numbers(path, rows, words)
    numbers, lists = {}, {}
    for prop in element.properties:
        size = _within(path, element, rows, starts, lengths, 1)
        found = values[first + starts]
        starts = starts + size
        if prop.size_dtype is None:
            numbers[prop.name] = _in_type(path, element, prop, found)
            continue
        is_size = (found >= 0) & (found < 2**31) & (found == np.floor(found))
        sizes = np.where(is_size, found, 2**40).astype(np.int64)  # more than any line has
        _within(path, element, rows, starts, lengths, sizes)
        found = values[_ranges(first + starts, sizes)]
        lists[prop.name] = Lists(_in_type(path, element, prop, found), sizes)
        starts = starts + sizes
    longer = np.flatnonzero(starts != lengths)
    if len(longer):
        line, row = rows[longer[0]]
        raise DataError(
            f"{path}, line {line}: has {len(row)} numbers, but a row of its element {element.name!r} has"
            f" {starts[longer[0]]}; export it again"
        )
    return Element(element.count, numbers, lists)


def _within(
    path: Path,
    element: _Declared,
    rows: Sequence[tuple[int, list[bytes]]],
    starts: np.ndarray,
    lengths: np.ndarray,
    size: np.ndarray | int,
) -> np.ndarray | int:
    """Return `size`. Raises DataError if a row is too short for `size` numbers after `starts`."""
    short = np.flatnonzero(starts + size > lengths)
    if len(short):
        line, row = rows[short[0]]
        raise DataError(
            f"{path}, line {line}: has {len(row)} numbers, too few for a row of its element {element.name!r};"
            " the file is damaged or cut off"
        )
    return size


def _numbers(path: Path, rows: Sequence[tuple[int, list[bytes]]], words: list[bytes]) -> np.ndarray:
    try:
        if max(map(len, words), default=0) > LONGEST_NUMBER:  # or else the array would have rows as long as that
            raise ValueError
        return np.array(words, dtype=bytes).astype(np.float64) if words else np.zeros(0)
    except ValueError:
        line, word = next((line, word) for line, row in rows for word in row if not _is_number(word))
        shown = word[:LONGEST_NUMBER].decode(errors="replace")
        raise DataError(f"{path}, line {line}: {shown!r} is not a number; export it again") from None


def _in_type(path: Path, element: _Declared, prop: Property, values: np.ndarray) -> np.ndarray:
    if prop.dtype.kind == "f":
        return values
    limits = np.iinfo(prop.dtype)
    wrong = np.flatnonzero(~((values >= limits.min) & (values <= limits.max) & (values == np.floor(values))))
    if len(wrong):
        raise DataError(
            f"{path}: {prop.name} of its element {element.name!r} is {values[wrong[0]]:g} (number {wrong[0]}); it must"
            f" be a whole number in {limits.min}..{limits.max}, as the header says"
        )
    return values.astype(prop.dtype)


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return len(word) <= LONGEST_NUMBER


def _ranges(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return starts[0], starts[0] + 1, ... (sizes[0] of them), starts[1], ..."""
    ends = sizes.cumsum()
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - sizes), sizes)


def _read_binary(path: Path, data: bytes, start: int, element: _Declared, byte_order: str) -> tuple[Element, int]:
    """Return the element whose rows start at byte `start`, and where they end."""
    if element.count > len(data):
        raise _cut_off(path, element, 0)
    typed = [
        Property(name, dtype.newbyteorder(byte_order), None if size is None else size.newbyteorder(byte_order))
        for name, dtype, size in element.properties
    ]
    found = _equal_rows(data, start, typed, element.count)
    if found is None:
        found = _unequal_rows(path, data, start, element, typed, "little" if byte_order == "<" else "big")
    columns, end = found
    numbers, lists = {}, {}
    for prop, (values, sizes) in zip(typed, columns, strict=True):
        native = values.astype(prop.dtype.newbyteorder("="))
        if prop.size_dtype is None:
            numbers[prop.name] = native
        else:
            lists[prop.name] = Lists(native, sizes)
    return Element(element.count, numbers, lists), end


def _equal_rows(data: bytes, start: int, properties: Sequence[Property], count: int) -> tuple[list[Lists], int] | None:
    """Return the columns (sizes of numbers are empty) and where they end, if all rows have as long lists as the first.

    None otherwise, or if the data end before.
    """
    fields: list[tuple] = []
    for number, prop in enumerate(properties):
        shape: tuple[int, ...] = ()
        if prop.size_dtype is not None:
            at = start + np.dtype(fields).itemsize
            if at + prop.size_dtype.itemsize > len(data):
                return None
            shape = (int(np.frombuffer(data, prop.size_dtype, 1, at)[0]),)
            fields.append((f"size {number}", prop.size_dtype))
            if not 0 <= shape[0] <= len(data):
                return None
        fields.append((f"{number}", prop.dtype, shape))
    row = np.dtype(fields)
    end = start + row.itemsize * count
    if end > len(data):
        return None
    rows = np.frombuffer(data, row, count, start) if end > start else np.zeros(count, row)
    columns = []
    for number, prop in enumerate(properties):
        sizes = np.zeros(0, np.int64) if prop.size_dtype is None else rows[f"size {number}"].astype(np.int64)
        if len(sizes) and (sizes != sizes[0]).any():
            return None
        columns.append(Lists(rows[f"{number}"].reshape(-1), sizes))
    return columns, end


def _unequal_rows(
    path: Path,
    data: bytes,
    start: int,
    element: _Declared,
    properties: Sequence[Property],
    order: Literal["little", "big"],
) -> tuple[list[Lists], int]:
    """Return the columns and where they end, of rows with lists of any length."""
    places = np.zeros((len(properties), element.count), np.int64)  # byte of the first value
    sizes = np.ones((len(properties), element.count), np.int64)
    at = start
    for row in range(element.count):
        for column, prop in enumerate(properties):
            size = 1
            if prop.size_dtype is not None:
                width = prop.size_dtype.itemsize
                size = int.from_bytes(data[at : at + width], order, signed=prop.size_dtype.kind == "i")
                at += width
                if size < 0:
                    raise DataError(
                        f"{path}: row {row} of its element {element.name!r} has a list of {size} numbers; the file is"
                        " damaged"
                    )
            places[column, row], sizes[column, row] = at, size
            at += size * prop.dtype.itemsize
            if at > len(data):
                raise _cut_off(path, element, row)
    content = np.frombuffer(data, np.uint8)
    columns = []
    for prop, first, size in zip(properties, places, sizes, strict=True):
        width = prop.dtype.itemsize
        values = content[_ranges(first, size * width)].view(prop.dtype)
        columns.append(Lists(values, size if prop.size_dtype is not None else np.zeros(0, np.int64)))
    return columns, at
