"""Compare two mesh files in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from diffrender.app.file_notes import show_notes
from diffrender.errors import DataError
from diffrender.evaluate.compare_meshes import LENGTHS, MeshComparison, compare_meshes
from diffrender.geometry.distances import SAMPLES, OneWayDistance, SurfaceDistance
from diffrender.geometry.mesh_checks import MeshReport
from diffrender.geometry.normals import face_normals
from diffrender.readers.mesh_data import MeshData
from diffrender.readers.meshes.read_mesh import read_mesh
from diffrender.writers.run.metrics import write_json


def compare_files(
    first: Path, second: Path, console: Console, json_file: Path | None = None, n_samples: int = SAMPLES, seed: int = 0
) -> MeshComparison:
    """Compare two mesh files, print the comparison and notes on the files, and write it to `json_file` if given.

    Raises DataError if a file is missing, not a mesh, without area, or cannot be written; ShapeError as
    `compare_meshes`.
    """
    one, other = (_read_surface(path) for path in (first, second))
    comparison = compare_meshes(one.mesh, other.mesh, n_samples, seed)
    show_comparison(comparison, (str(first), str(second)), console)
    found = {"A": one.all_notes, "B": other.all_notes}
    notes = [f"{letter}: {note}" for letter, own in found.items() for note in own]
    if notes:
        console.print()
        show_notes(notes, console)
    if json_file is not None:
        about = {"files": [str(first), str(second)], "notes": list(found.values())}
        write_json(json_file, about | comparison.as_json())
    return comparison


def _read_surface(path: Path) -> MeshData:
    data = read_mesh(path)
    if not bool(face_normals(data.mesh.vertices.double(), data.mesh.faces).any()):
        raise DataError(f"{path}: none of its {data.mesh.n_faces} triangles has an area; there is nothing to compare")
    return data


def show_comparison(comparison: MeshComparison, names: tuple[str, str], console: Console) -> None:
    """Print two tables: the distances, then the two meshes. names: of the meshes, which the tables call A and B."""
    for letter, name in zip("AB", names, strict=True):
        # No line breaks of our own, so that paths can be copied whole.
        console.print(Text.assemble("  ", (letter, "bold"), "  ", name), soft_wrap=True)
    console.print()
    console.print(_distance_table(comparison))
    console.print()
    console.print(_mesh_table(comparison))


def _distance_table(comparison: MeshComparison) -> Table:
    table = _table("", "both ways", "of B's diagonal", "A to B", "B to A")
    distance = comparison.distance
    for name, key in LENGTHS:
        both, there, back = (getattr(part, key) for part in (distance, distance.there, distance.back))
        table.add_row(name, _bold(f"{both:.4g}"), _percent(both, comparison), f"{there:.4g}", f"{back:.4g}")
    there, back = (_format_degrees(part) for part in (distance.there, distance.back))
    table.add_row("normal deviation", _bold(_format_degrees(distance)), "", there, back)
    rms = comparison.vertex_rms
    table.add_row("RMS vertex distance", _bold(f"{rms:.4g}"), _percent(rms, comparison), "", "")
    return table


def _mesh_table(comparison: MeshComparison) -> Table:
    table = _table("", "A", "B")
    rows: Mapping[str, Callable[[MeshReport], str]] = {
        "vertices": lambda report: f"{report.n_vertices:,}",
        "faces": lambda report: f"{report.n_faces:,}",
        "watertight": lambda report: _yes(report.watertight),
        "manifold": lambda report: _yes(report.manifold),
        "open edges": lambda report: f"{report.boundary_edges:,}",
        "parts": lambda report: f"{report.components:,}",
        "handles (genus)": lambda report: f"{report.genus:,}",
        "self-intersections": lambda report: f"{report.self_intersections:,}",
        "slivers": lambda report: f"{report.slivers:,}",
        "folded neighbours": lambda report: f"{report.folded_faces:,}",
        "smallest angle": lambda report: f"{report.smallest_angle_deg:.1f}°",
        "volume": lambda report: f"{report.volume:.5g}" if report.watertight else "- (not closed)",
        "area": lambda report: f"{report.area:.5g}",
    }
    for name, value in rows.items():
        table.add_row(name, value(comparison.first), value(comparison.second))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=True, header_style="dim")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    return table


def _bold(text: str) -> Text:
    return Text(text, style="bold")


def _percent(length: float, comparison: MeshComparison) -> str:
    return f"{100 * length / comparison.diagonal:.3g} %"


def _format_degrees(distance: OneWayDistance | SurfaceDistance) -> str:
    return f"{distance.normal_deg:.2f}°"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
