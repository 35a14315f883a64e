"""The house rules of the package that a program can check: who imports whom, how long files are, what is documented."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "diffrender"
# Low to high; what stands on one floor does not import each other.
FLOORS = (
    ("errors",),
    ("list_sizes",),
    ("checks", "threads", "memory", "derivatives", "config"),
    ("geometry", "imaging", "programs", "recorded"),
    ("ops",),
    ("scene",),
    ("render",),
    ("fit", "readers", "writers"),
    ("evaluate",),
    ("setup",),
    ("app",),
    ("__main__",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
LONGEST_FILE = 400
# Only these rooms look up entries of these tables, or read scene files.
READERS_OF_TABLES = {"readers", "writers", "setup", "app"}
TABLES = {
    "MATERIALS", "LIGHTS", "GLTF_LIGHTS", "PROJECTIONS", "EDGE_MODELS", "IMAGE_LOSSES", "MASK_LOSSES", "REGULARIZERS",
}  # fmt: skip
READERS_OF_CONFIG = {"config", "setup", "app"}


def module_name(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules_of(package: Path) -> dict[str, ast.Module]:
    return {
        module_name(path, package): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(package.rglob("*.py"))
    }


def imported(tree: ast.AST, known: set[str]) -> Iterator[str]:
    """The modules of `known` that import statements anywhere below `tree` name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            while name and name not in known:
                name = name.rpartition(".")[0]  # a class or function: its module
            if name:
                yield name


def at_import_time(tree: ast.Module) -> ast.Module:
    """`tree` without the bodies of functions, which run later; imports for types alone count: they hide circles."""

    class Pruned(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]  # noqa: N815

    return Pruned().visit(ast.parse(ast.unparse(tree)))


def climbs(modules: dict[str, ast.Module]) -> list[str]:
    """Imports that go up or across a floor. The root `__init__` stands apart: it only lists where names live."""
    found = []
    for name, tree in modules.items():
        room = name.split(".")[1] if "." in name else None
        for target in imported(tree, set(modules)):
            other = target.split(".")[1] if "." in target else None
            if room is None or other is None or (room != other and FLOOR_OF[other] >= FLOOR_OF[room]):
                found.append(f"{name} imports {target}")
    return found


def circle(modules: dict[str, ast.Module]) -> list[str]:
    """Modules that import one another while they are being imported, or nothing."""
    return first_circle(
        {name: set(imported(at_import_time(tree), set(modules))) - {name} for name, tree in modules.items()}
    )


def circle_of_folders(modules: dict[str, ast.Module]) -> list[str]:
    """Folders of one room whose modules import one another's, or nothing. Modules directly in a room are apart."""
    folders = {name.rpartition(".")[0] for name in modules if name.count(".") > 2}
    graph: dict[str, set[str]] = {folder: set() for folder in folders}
    for name, tree in modules.items():
        folder = name if name in folders else name.rpartition(".")[0]
        for target in imported(tree, set(modules)) if folder in folders else ():
            other = target if target in folders else target.rpartition(".")[0]
            if other in folders and other != folder and other.split(".")[1] == folder.split(".")[1]:
                graph[folder].add(other)
    return first_circle(graph)


def first_circle(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def undocumented(modules: dict[str, ast.Module]) -> list[str]:
    """Modules, and public classes, functions and methods, without a docstring."""

    def below(node: ast.Module | ast.ClassDef, name: str) -> Iterator[str]:
        if ast.get_docstring(node) is None:
            yield name
        for child in node.body:
            if not isinstance(child, ast.ClassDef | ast.FunctionDef) or child.name.startswith("_"):
                continue
            if isinstance(child, ast.ClassDef):
                yield from below(child, f"{name}.{child.name}")
            elif ast.get_docstring(child) is None:
                yield f"{name}.{child.name}"

    return [found for name, tree in modules.items() for found in below(tree, name)]


@pytest.fixture(scope="module")
def modules() -> dict[str, ast.Module]:
    return modules_of(PACKAGE)


def test_every_room_has_a_floor(modules: dict[str, ast.Module]) -> None:
    rooms = {name.split(".")[1] for name in modules if "." in name}
    assert rooms == set(FLOOR_OF)


def test_a_module_imports_lower_floors_or_its_own_room(modules: dict[str, ast.Module]) -> None:
    assert climbs(modules) == []


def test_the_engine_knows_neither_tables_nor_scene_files(modules: dict[str, ast.Module]) -> None:
    for name, tree in modules.items():
        room = name.split(".")[1] if "." in name else "app"  # the root only lists where names are
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
        assert room in READERS_OF_TABLES or not names & TABLES, name
        imports_config = any(f"{target}.".startswith("diffrender.config.") for target in imported(tree, set(modules)))
        assert room in READERS_OF_CONFIG or not imports_config, name


def test_no_circular_imports(modules: dict[str, ast.Module]) -> None:
    assert circle(modules) == []


def test_no_circles_of_folders(modules: dict[str, ast.Module]) -> None:
    assert circle_of_folders(modules) == []


def test_files_stay_short() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {str(path): length for path, length in lengths.items() if length > LONGEST_FILE} == {}


def test_everything_public_is_documented(modules: dict[str, ast.Module]) -> None:
    assert undocumented(modules) == []


def test_the_checks_find_what_they_look_for(tmp_path: Path) -> None:
    files = {
        "diffrender/__init__.py": '"""A."""',
        "diffrender/errors.py": '"""A."""\nclass Public: pass\nclass _Private: pass\n',
        "diffrender/scene.py": '"""A."""\ndef late():\n    "A."\n    from diffrender.render import draw\n',
        "diffrender/render.py": '"""A."""\nfrom diffrender.fit import a\nfrom diffrender.errors import Public\n',
        "diffrender/fit.py": "from diffrender.render import b\nimport torch\ndef public(): pass\n",
        "diffrender/setup/a/one.py": '"""A."""\nimport diffrender.setup.b.two\n',
        "diffrender/setup/b/two.py": '"""A."""\n',
        "diffrender/setup/b/three.py": '"""A."""\nfrom diffrender.setup.a.one import c\n',
        "diffrender/readers.py": '"""A."""\nif TYPE_CHECKING:\n    import diffrender.fit\n',
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    modules = modules_of(tmp_path / "diffrender")
    assert sorted(climbs(modules)) == [
        "diffrender.readers imports diffrender.fit",
        "diffrender.render imports diffrender.fit",
        "diffrender.scene imports diffrender.render",
    ]
    assert set(circle(modules)) == {"diffrender.render", "diffrender.fit"}
    assert set(circle_of_folders(modules)) == {"diffrender.setup.a", "diffrender.setup.b"}
    assert sorted(undocumented(modules)) == ["diffrender.errors.Public", "diffrender.fit", "diffrender.fit.public"]
