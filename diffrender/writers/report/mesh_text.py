"""A MeshReport in words."""

from __future__ import annotations

from diffrender.geometry.mesh_checks import MeshReport


def describe_shape(report: MeshReport) -> str:
    """Describe size and form: "2,562 vertices, 5,120 faces; watertight, one part, no handles"."""
    size = f"{_count(report.n_vertices, 'vertex', 'vertices')}, {_count(report.n_faces, 'face')}"
    form = "watertight" if report.watertight else f"not watertight ({_describe_open(report)})"
    parts = "one part" if report.components == 1 else _count(report.components, "part")
    return f"{size}; {form}, {parts}, {_count(report.genus, 'handle')}"


def describe_faults(report: MeshReport) -> str:
    """Describe faults: "no self-intersections, 3 slivers, no folds"."""
    faults = [
        _count(report.self_intersections, "self-intersection"),
        _count(report.slivers, "sliver"),
        _count(report.folded_faces, "fold"),
    ]
    if not report.manifold:
        faults.append("not manifold")
    return ", ".join(faults)


def describe_facts(report: MeshReport) -> list[tuple[bool, str]]:
    """Describe each property in a sentence, and say whether it is as it should be."""
    size = f"{_count(report.n_vertices, 'vertex', 'vertices')} and {_count(report.n_faces, 'face')}"
    facts = [(True, f"{size}, {_count(report.components, 'part')}, {_count(report.genus, 'handle')}.")]
    if report.watertight:
        facts.append((report.volume > 0, f"Watertight; it encloses a volume of {report.volume:.4g}."))
    else:
        facts.append((False, f"Not watertight: {_describe_open(report)}."))
    if not report.manifold:
        facts.append((False, "Not manifold: some edge or vertex joins more than one sheet."))
    for count, one, meaning in (
        (report.self_intersections, "self-intersection", "pairs of faces that cross"),
        (report.folded_faces, "fold", "neighbouring faces that lie on one another"),
        (report.slivers, "sliver", f"the smallest angle is {report.smallest_angle_deg:.1f} degrees"),
    ):
        text = _count(count, one)
        facts.append((count == 0, f"{text[0].upper()}{text[1:]}{f' ({meaning})' if count else ''}."))
    return facts


def _describe_open(report: MeshReport) -> str:
    if report.boundary_edges:
        return _count(report.boundary_edges, "open edge")
    return "edges with more than two faces, or faces of opposite orientation"


def _count(count: int, one: str, several: str | None = None) -> str:
    if count == 0:
        return f"no {several or one + 's'}"
    return f"1 {one}" if count == 1 else f"{count:,} {several or one + 's'}"
