"""Inspect a mesh file or a capture: what is in it, what is used of it, and its health."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from diffrender.config.scene_dependent_defaults import PHOTO_RESOLUTION
from diffrender.geometry.mesh_checks import MeshReport, check_mesh
from diffrender.geometry.primitives import Triangles
from diffrender.readers.captures import CAPTURE_READERS, read_capture
from diffrender.readers.captures.capture import Capture, CaptureOptions
from diffrender.readers.clean_mesh import clean_mesh
from diffrender.readers.mesh_data import Finish, MeshData
from diffrender.readers.mesh_file import MeshFile
from diffrender.readers.meshes.read_mesh import MESH_READERS, open_mesh, read_part
from diffrender.scene.cameras import Cameras
from diffrender.scene.projections import projection_name
from diffrender.scene.projections.orthographic import Orthographic
from diffrender.scene.target_views import Views
from diffrender.scene.textures.texture import Texture
from diffrender.setup.backdrop import find_backdrop, with_masks
from diffrender.setup.bounds import Bounds, find_bounds
from diffrender.setup.camera_poses import doubt_poses
from diffrender.setup.region import region_of_views, sight_of_views
from diffrender.writers.report.mesh_text import describe_facts

Rows = list[tuple[str, str]]


def inspect_file(path: Path, console: Console) -> None:
    """Print what a mesh file (.obj, .ply, .glb, .gltf, .stl) or else a capture holds, as `fit` would read it.

    Raises DataError if it cannot be used.
    """
    rows = _mesh_rows(open_mesh(path)) if _is_mesh(path) else _capture_rows(path)
    console.print(Text(str(path), style="bold"), soft_wrap=True)
    table = Table(box=None, show_header=False, padding=(0, 0, 0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, Text(text, style="yellow" if name in ("note", "fault") else ""))
    console.print(table)


def _is_mesh(path: Path) -> bool:
    """Return whether the path is a mesh file, or a file of another kind, which is refused as one."""
    is_capture = any(reader.claims(path) for reader in CAPTURE_READERS)
    return path.suffix.lower() in MESH_READERS or (path.is_file() and not is_capture)


def _mesh_rows(file: MeshFile) -> Rows:
    """Return rows on the whole file, and on each part of what becomes several objects."""
    whole = clean_mesh(file.path, file.read_all())
    low, high = whole.mesh.bounds().tolist()
    parts = file.parts("materials")
    rows = [
        ("size", " x ".join(f"{b - a:.6g}" for a, b in zip(low, high, strict=True)) + ", in the unit of the file"),
        ("from, to", f"{_point(low, _digits(low, high))} to {_point(high, _digits(low, high))}"),
    ]
    objects = file.parts("objects")
    if len(objects) > 1:
        rows.append(("objects", f"{len(objects)}, with split: objects: {', '.join(objects)}"))
    notes: dict[str, None] = {}
    if len(parts) < 2:
        rows += _look_rows(whole)
        notes = dict.fromkeys(whole.all_notes)
    else:
        rows.append(("parts", f"{len(parts)}, one per material that looks different"))
        for name, pieces in parts.items():
            part = read_part(file, pieces)
            rows += [("", ""), (f"part {name}", f"{part.mesh.n_faces:,} faces"), *_look_rows(part)]
            notes |= dict.fromkeys(f"{name}: {note}" for note in part.all_notes)
        rows.append(("", ""))
    rows += [
        ("" if is_good else "fault", text)
        for is_good, text in _health(check_mesh(Triangles(whole.mesh.vertices, whole.mesh.faces)))
    ]
    return rows + [("note", note) for note in notes]


def _look_rows(data: MeshData) -> Rows:
    mesh = data.mesh
    rows = [
        ("colour", _describe_color(data)),
        ("normals", _describe_normals(data)),
        ("texture coordinates", "none" if mesh.uvs is None else f"{len(mesh.uvs):,}"),
    ]
    rows += [(name.replace("_", ", "), _describe_texture(texture)) for name, texture in data.maps.items()]
    return [*rows, ("material", _describe_finish(data.finish))]


def _health(report: MeshReport) -> list[tuple[bool, str]]:
    facts = describe_facts(report)
    if report.watertight and report.volume < 0:
        facts.append((False, "It is turned inside out: its faces are clockwise seen from outside."))
    return facts


def read_photographs(path: Path) -> Capture:
    """Return a capture in the size that it is fitted in by default. Raises DataError if it cannot be used."""
    return read_capture(path, CaptureOptions(resolution=PHOTO_RESOLUTION))


def _capture_rows(path: Path) -> Rows:
    capture = read_photographs(path)
    return capture_rows(capture, find_bounds(capture))


def capture_rows(capture: Capture, bounds: Bounds | None) -> Rows:
    """Return what a capture holds, as rows of a name and a text. Raises DataError if its held-out views are wrong."""
    views, cameras = capture.views, capture.views.cameras
    region, doubt = region_of_views(views), doubt_poses(views, capture.origin, capture.aabb)
    distance = (cameras.positions_w() - torch.tensor(region.center)).norm(dim=1)
    heldout, told = (None, ()) if capture.read_heldout is None else capture.read_heldout()
    by_default = "every 8th view, by default" if capture.holds_out else "none"
    rows = [
        ("images", f"{len(views)} of {cameras.width} x {cameras.height}{_shrunk(cameras)}"),
        ("held out", by_default if heldout is None else f"{len(heldout)} by the capture"),
        ("masks", _describe_masks(views)),
        ("camera", f"{_camera_model(views)}, {_describe_lens(cameras)}"),
    ]
    sight = sight_of_views(views)
    # Where sights that are about parallel meet says nothing of what they show.
    if sight.is_met and not (sight.is_narrow and views.masks is None):
        middle = _point(list(region.center))
        rows += [
            ("object", f"radius about {region.radius:.4g}, middle {middle}, by the views"),
            ("cameras from it", f"{_range(distance)}, in the unit of the capture"),
        ]
    if any(capture.origin):
        rows.append(("origin", f"the fit takes place about {_point(list(capture.origin))}"))
    if capture.points is not None:
        rows.append(("points", f"{len(capture.points):,}"))
    if bounds is not None:
        corners = " to ".join(_point(corner.tolist()) for corner in (bounds.low, bounds.high))
        rows.append(("box", f"{corners}, by {bounds.by}"))
    if doubt is not None:
        rows.append(("note" if views.masks is None else "fault", doubt))
    return rows + [("note", note) for note in (*capture.notes, *(f"held out: {note}" for note in told))]


def _shrunk(cameras: Cameras) -> str:
    is_shrunk = max(cameras.width, cameras.height) == PHOTO_RESOLUTION
    return f", larger ones shrunk to a long side of {PHOTO_RESOLUTION}" if is_shrunk else ""


def _describe_masks(views: Views) -> str:
    if views.masks is not None:
        return f"{float(views.mask_shares().mean()):.0%} object"
    backdrop = find_backdrop(views)
    if backdrop is None or with_masks(views, backdrop).lost:
        return "none: a fit tries to find the object by its depth, or else the surface that pictures show"
    return "none, but a fit finds some in front of the backdrop, which has one colour"


def _camera_model(views: Views) -> str:
    """Return what files call the cameras, as the photographs were taken."""
    lenses = [None if file is None else file.lens for file in views.files or (None,)]
    pinhole = projection_name(views.cameras.projection)
    return " and ".join(dict.fromkeys(pinhole if lens is None else lens.distortion.camera_model() for lens in lenses))


def _describe_lens(cameras: Cameras) -> str:
    pixels = _range(cameras.focal_px)
    is_parallel = isinstance(cameras.projection, Orthographic)
    return f"{pixels} pixels per unit" if is_parallel else f"focal length {pixels} px"


def _describe_color(data: MeshData) -> str:
    if data.texture is not None:
        return f"a texture, {_describe_texture(data.texture)}"
    return "none" if data.vertex_colors is None else "one per vertex"


def _describe_normals(data: MeshData) -> str:
    mesh = data.mesh
    if mesh.normals is None:
        return "none: smooth ones are made"
    return f"{mesh.n_normals:,}" + ("" if mesh.n_normals == mesh.n_vertices else ", with hard edges")


def _describe_texture(texture: Texture) -> str:
    height, width = texture.texels.shape[:2]
    return f"{width} x {height}, {'repeated' if texture.wrap == 'repeat' else 'clamped'} outside"


def _describe_finish(finish: Finish) -> str:
    parts = [f"metallic {finish.metallic:g}", f"roughness {finish.roughness:g}"]
    if finish.emissive is not None:
        parts.append(f"emits {_point(list(finish.emissive))}")
    return "unlit" if finish.unlit else ", ".join(parts)


def _digits(low: list[float], high: list[float]) -> int:
    """Return how many digits tell the corners of a box apart to a thousandth of its size: 6 or more."""
    size = max(b - a for a, b in zip(low, high, strict=True))
    farthest = max(map(abs, (*low, *high)))
    return 6 if not farthest > size > 0 else min(17, max(6, math.ceil(math.log10(farthest / size)) + 4))


def _point(values: list[float], digits: int = 6) -> str:
    return f"({', '.join(f'{value:.{digits}g}' for value in values)})"


def _range(values: torch.Tensor) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.4g}" if high - low < 1e-4 * abs(high) else f"{low:.4g} to {high:.4g}"
