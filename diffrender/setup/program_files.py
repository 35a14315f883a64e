"""The files of a program: its own, and the modules beside it that it imports; one hash of all."""

from __future__ import annotations

import ast
import hashlib
import sys
from pathlib import Path

from diffrender.errors import DataError, ProgramError


def files_of(file: Path) -> list[Path]:
    """Return the file of a program and, in order of their names, the modules in its folder that it or they import.

    They are found in the text, wherever it imports; what it reads otherwise, such as data, is not among them.
    Raises DataError for a file that cannot be read.
    """
    found, new = {file}, [file]
    while new:
        more = {each for name in _imported_names(new.pop()) if (each := _beside(file, name)) is not None} - found
        found |= more
        new += more
    return [file, *sorted(found - {file})]


def hash_of(file: Path) -> str:
    """Return the SHA-256 of the file of a program or, if it imports modules beside it, of all these files in order."""
    first, *others = files_of(file)
    digest = hashlib.sha256(_read(first))
    for each in others:
        digest.update(f"\0{_name_of(file, each)}\0".encode() + _read(each))
    return digest.hexdigest()


def modules_of(file: Path) -> dict[str, Path]:
    """Return the modules beside a program that it imports, by their file's name from its folder: parts/arm.py."""
    return {_name_of(file, each): each for each in files_of(file)[1:]}


def make_importable(file: Path) -> None:
    """Let a program import the modules in its folder as they are now, unless others are called as they are."""
    folder = str(file.parent.resolve())
    modules = modules_of(file)
    paths = {path.resolve() for path in modules.values()}
    for name, module in list(sys.modules.items()):  # those that an earlier load of the program imported
        origin = getattr(module, "__file__", None)
        if origin is not None and modules and Path(origin).resolve() in paths:
            del sys.modules[name]
    if modules and folder not in sys.path:
        sys.path.append(folder)


def check_imported(file: Path) -> None:
    """Raise ProgramError if a program was given another module than the one beside it of that name."""
    for name, path in modules_of(file).items():
        module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        origin = getattr(sys.modules.get(module), "__file__", None) if module in sys.modules else str(path)
        if origin is None or Path(origin).resolve() != path.resolve():
            raise ProgramError(
                f"{file}: `import {module}` found {origin or 'a module of Python'}, and not {path}; rename the latter"
            )


def _imported_names(file: Path) -> list[str]:
    """Return the dotted names that a file imports; none of one that is not valid, which importing it tells."""
    try:
        tree = ast.parse(_read(file))
    except (SyntaxError, ValueError):
        return []
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    # Importing a.b runs a as well.
    return [".".join(name.split(".")[:end]) for name in names for end in range(1, name.count(".") + 2)]


def _beside(file: Path, name: str) -> Path | None:
    """Return the file of a module in the program's folder; None if it is not there."""
    path = file.parent.joinpath(*name.split("."))
    of_name = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((each for each in of_name if each.is_file() and each != file), None)


def _name_of(file: Path, other: Path) -> str:
    return other.relative_to(file.parent).as_posix()


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error
