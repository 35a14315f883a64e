"""Evaluation of the geometry of a scene, for metrics.json, the closing words and the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from diffrender.geometry.distances import SurfaceQuery, surface_distance, vertex_distance
from diffrender.geometry.mesh_checks import MeshReport, check_mesh
from diffrender.geometry.primitives import Triangles
from diffrender.geometry.topology import first_equal_row
from diffrender.ops.rasterize import rasterize
from diffrender.scene.cameras import Cameras
from diffrender.scene.joined_parts import surfaces_of
from diffrender.scene.scene import Scene

# Takes a fraction of a second and gives two correct digits.
SAMPLES = 20_000
# As many views, evenly among all, tell how much of a surface's inside is seen.
VIEWS_OF_INSIDE = 8


@dataclass(frozen=True)
class GeometryReport:
    """A report on the geometry of a scene, in world space.

    whole: of all objects as one mesh, in which parts of one surface are joined. objects: of each object, by name.
    rms_to_target: `vertex_distance` between the whole and the known target; None if there is none.
    surface_rms_to_target: the symmetric RMS distance between the two surfaces; None if there is no target.
    """

    whole: MeshReport
    objects: dict[str, MeshReport]
    rms_to_target: float | None = None
    surface_rms_to_target: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the numbers of the whole by name, `objects` if there are several, and distances to a known target."""
        numbers = asdict(self.whole)
        if self.rms_to_target is not None:
            numbers |= {"rms_to_target": self.rms_to_target, "surface_rms_to_target": self.surface_rms_to_target}
        if len(self.objects) > 1:
            numbers["objects"] = {name: asdict(report) for name, report in self.objects.items()}
        return numbers


class GeometryEvaluator:
    """Evaluates the geometry of scenes, against a target if one is known; built once, used for several scenes.

    target: the scene that the target images show, or None if they are photographs.
    """

    def __init__(self, target: Scene | None) -> None:
        self._target = None if target is None else SurfaceQuery(_join(target, triangles_w(target)))

    def report(self, scene: Scene) -> GeometryReport:
        """Return the report on `scene`; without distances to the target for a scene without area."""
        parts = triangles_w(scene)
        whole = _join(scene, parts)
        reports = {name: check_mesh(part) for name, part in parts.items()}
        # For one object both are the same; for several, the whole also counts intersections between them.
        report = next(iter(reports.values())) if len(reports) == 1 else check_mesh(whole)
        if self._target is None or not report.area > 0:
            return GeometryReport(report, reports)
        surface = SurfaceQuery(whole)
        return GeometryReport(
            report,
            reports,
            rms_to_target=vertex_distance(surface, self._target),
            surface_rms_to_target=surface_distance(surface, self._target, SAMPLES).rms,
        )


def triangles_w(scene: Scene) -> dict[str, Triangles]:
    """Return the triangles of each object in world space, on the CPU in float64."""
    placed = {}
    for name, item in scene.objects.items():
        pose, scale = item.pose.detach().cpu().double(), item.scale.detach().cpu().double()
        vertices = item.mesh.vertices.detach().cpu().double()
        placed[name] = Triangles(vertices @ (scale * pose[:3, :3]).T + pose[:3, 3], item.mesh.faces.cpu())
    return placed


@torch.no_grad()
def inside_share(surface: Triangles, cameras: Cameras) -> float:
    """Return which share of what cameras see of a closed `surface` is its inside: the mean over some of them.

    It is seen where the surface passes through itself: a piece of its back sticks out, as a hole to the eye.
    """
    corners = surface.vertices[surface.faces]
    volume = float((corners[:, 0] * torch.linalg.cross(corners[:, 1], corners[:, 2])).sum())
    step = max(1, len(cameras) // VIEWS_OF_INSIDE)
    shares = []
    for view in range(0, len(cameras), step):
        camera = cameras.select([view])
        projected = camera.project(surface.vertices.to(camera.cam_from_world.dtype))
        seen = rasterize(projected, surface.faces, camera.height, camera.width, near=camera.near).face_id
        # Its sign is that of a triangle's area in the picture, also if it is partly behind the camera.
        a, b, c = projected[0, :, :3].double()[surface.faces].unbind(1)
        turn = (a * torch.linalg.cross(b, c)).sum(1)
        shown = turn[seen[seen >= 0]]
        if len(shown):
            shares.append(float((shown * volume > 0).double().mean()))
    return sum(shares) / len(shares) if shares else 0.0


def _join(scene: Scene, placed: dict[str, Triangles]) -> Triangles:
    """Return all objects as one mesh; parts of one surface have the vertices in common that coincide."""
    surfaces = [_concatenate([placed[name] for name in parts]) for parts in surfaces_of(scene)]
    is_joined = [len(parts) > 1 for parts in surfaces_of(scene)]
    return _concatenate([_weld(each) if joined else each for each, joined in zip(surfaces, is_joined, strict=True)])


def _concatenate(meshes: Sequence[Triangles]) -> Triangles:
    starts = [sum(len(mesh.vertices) for mesh in meshes[:index]) for index in range(len(meshes))]
    return Triangles(
        torch.cat([mesh.vertices for mesh in meshes]),
        torch.cat([mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)]),
    )


def _weld(mesh: Triangles) -> Triangles:
    return Triangles(mesh.vertices, first_equal_row(mesh.vertices)[mesh.faces])
