from __future__ import annotations

import inspect
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from diffrender.app import cli
from diffrender.app.compare_mesh_files import compare_files, show_comparison
from diffrender.errors import ShapeError
from diffrender.evaluate.compare_meshes import compare_meshes
from diffrender.geometry.distances import SAMPLES
from diffrender.geometry.primitives import Triangles, box, icosphere, plane
from diffrender.scene.mesh import Mesh
from diffrender.writers.meshes.obj import write_obj


def mesh_of(triangles: Triangles, by: float = 0.0) -> Mesh:
    return Mesh(triangles.vertices + torch.tensor([by, 0.0, 0.0]), triangles.faces)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A cube of side 2, and the same moved to the right by a quarter of its side."""
    paths = tmp_path / "first.obj", tmp_path / "second.obj"
    for path, by in zip(paths, (0.0, 0.5), strict=True):
        write_obj(path, mesh_of(box(2.0), by))
    return paths


def invoke(*arguments: object) -> Any:
    return CliRunner(env={"COLUMNS": "100"}).invoke(cli.app, ["compare", *map(str, arguments)])


def test_a_moved_cube_by_hand() -> None:
    comparison = compare_meshes(mesh_of(box(2.0)), mesh_of(box(2.0), 0.5), n_samples=60_000)
    assert comparison.diagonal == pytest.approx(2 * math.sqrt(3))
    # Of 24 units of area: the left side is 0.5 away, the right one 0.5 behind the other's; of the four others a
    # quarter sticks out, by up to 0.5, and a point inside the other is at most 0.5 from a side.
    assert comparison.distance.there.max == pytest.approx(0.5, abs=1e-3)
    assert comparison.distance.back.max == pytest.approx(0.5, abs=1e-3)
    left_and_right, sticks_out, on_it = (4 + 4) / 24, 4 * 2 * 0.5 / 24, 4 * 2 * 1.5 / 24
    assert left_and_right + sticks_out + on_it == pytest.approx(1.0)
    # The side inside: 0.5 from the moved side, nearer to the others at its rim. Its mean of min(0.5, distance to rim):
    rim = torch.linspace(-1, 1, 2001)[1:-1].double()
    to_rim = 1 - torch.maximum(rim[:, None].abs(), rim[None, :].abs())
    inside = float(to_rim.clamp_max(0.5).mean())
    expected = (4 * 0.5 + 4 * inside) / 24 + sticks_out * 0.25
    assert comparison.distance.there.mean == pytest.approx(expected, rel=0.01)
    assert comparison.distance.mean == pytest.approx(expected, rel=0.01)
    # Four corners of each are 0.5 from the other, four lie on its edges.
    assert comparison.vertex_rms == pytest.approx(math.sqrt(0.25 / 2), rel=1e-6)
    assert comparison.first.volume == pytest.approx(8.0)
    assert comparison.first == comparison.second
    numbers = comparison.as_json()
    assert numbers["relative"]["mean"] == pytest.approx(comparison.distance.mean / comparison.diagonal)
    assert numbers["relative"]["vertex_rms"] == pytest.approx(comparison.vertex_rms / comparison.diagonal)
    assert set(numbers["relative"]) == {"rms", "mean", "p95", "max", "vertex_rms"}


def test_shares_of_the_diagonal_do_not_depend_on_the_unit() -> None:
    for scale in (1.0, 1e-3, 1e5):
        first, second = (mesh_of(Triangles(scale * icosphere(2, r).vertices, icosphere(2).faces)) for r in (1.0, 1.1))
        relative = compare_meshes(first, second, 2000).as_json()["relative"]
        assert relative["rms"] == pytest.approx(0.1 / (2.2 * math.sqrt(3)), rel=0.1)


def test_the_command_shows_and_writes_the_numbers(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "deep" / "numbers.json"
    result = invoke(*files, "--json", out, "--samples", 3000, "--seed", 5)
    assert result.exit_code == 0, result.output
    numbers = json.loads(out.read_text())
    assert numbers["files"] == [str(path) for path in files]
    same = compare_files(*files, Console(file=io.StringIO()), None, 3000, 5)
    assert numbers == {"files": numbers["files"], "notes": [[], []]} | json.loads(json.dumps(same.as_json()))
    assert re.search(rf"mean distance +{numbers['distance']['mean']:.4g} ", result.output)
    assert re.search(r"RMS vertex distance +0\.3536 +10\.2 %", result.output)
    assert re.search(r"watertight +yes +yes", result.output)
    assert re.search(r"volume +8 +8", result.output)
    assert f"A  {files[0]}\n" in result.output.replace("  A", "A")


def test_the_tables_fit_into_80_columns_and_tell_open_from_closed() -> None:
    shown = io.StringIO()
    comparison = compare_meshes(mesh_of(plane()), mesh_of(box(1e-7)), 100)
    show_comparison(comparison, ("a" * 150, "b"), Console(file=shown, width=80, _environ={}))
    lines = shown.getvalue().splitlines()
    assert "a" * 150 in lines[0]
    assert all(len(line) <= 80 for line in lines[1:])
    assert re.search(r"volume +- \(not closed\) +1e-21", shown.getvalue())
    assert re.search(r"open edges +4 +0", shown.getvalue())


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("missing.obj", None, "does not exist"),
        ("mesh.txt", b"v 0 0 0", "unknown mesh format"),
        ("empty.obj", b"", "is empty (0 bytes)"),
        ("noise.obj", bytes(range(256)) * 4, "noise.obj"),
        ("noise.ply", bytes(range(256)) * 4, "is not a PLY file"),
        ("nan.obj", b"v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "must be three finite numbers"),
        ("line.obj", b"v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "line.obj: none of its 1 triangles has an area"),
    ],
)
def test_files_that_are_not_meshes_are_reported_without_a_traceback(
    files: tuple[Path, Path], name: str, content: bytes | None, said: str
) -> None:
    path = files[0].with_name(name)
    if content is not None:
        path.write_bytes(content)
    for arguments in ((path, files[1]), (files[0], path)):
        result = invoke(*arguments, "--samples", 10)
        assert result.exit_code == 1
        assert result.output.startswith("error: ") and said in result.output
        assert "Traceback" not in result.output


def test_notes_on_the_files_are_shown_and_written(files: tuple[Path, Path], tmp_path: Path) -> None:
    with files[1].open("a") as file:
        file.write("f 1 1 2\nmtllib lost.mtl\n")
    result = invoke(*files, "--samples", 10, "--json", tmp_path / "numbers.json")
    about_b = result.output[result.output.index("  note") :]
    assert about_b == (
        "  note  B: the material library lost.mtl does not exist\n"
        "  note  B: 1 of its 13 triangles have two equal corners and are left out\n"
    )
    found = [line.partition("B: ")[2] for line in about_b.splitlines()]
    assert json.loads((tmp_path / "numbers.json").read_text())["notes"] == [[], found]


def test_a_file_that_cannot_be_written_is_reported(files: tuple[Path, Path]) -> None:
    result = invoke(*files, "--samples", 10, "--json", files[0] / "numbers.json")
    assert result.exit_code == 1
    assert "error: cannot write" in result.output


@pytest.mark.parametrize("arguments", [[], ["a.obj"], ["a.obj", "b.obj", "--samples", "0"]])
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    assert invoke(*arguments).exit_code == 2


def test_one_default_and_one_error_in_python() -> None:
    assert inspect.signature(cli.compare).parameters["samples"].default == SAMPLES
    with pytest.raises(ShapeError, match="n_samples"):
        compare_meshes(mesh_of(box()), mesh_of(box()), 0)
