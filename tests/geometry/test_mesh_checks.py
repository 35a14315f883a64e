from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch
from support.surfaces import joined

from diffrender.errors import ShapeError
from diffrender.geometry.mesh_checks import check_mesh
from diffrender.geometry.primitives import Triangles, box, icosphere, plane, torus


def moved(part: Triangles, *by: float) -> Triangles:
    return Triangles(part.vertices + torch.tensor(by), part.faces)


def test_a_box() -> None:
    report = check_mesh(box((1, 2, 3)))
    assert dataclasses.asdict(report) == pytest.approx(
        {
            "n_vertices": 8, "n_faces": 12, "watertight": True, "manifold": True, "components": 1, "euler": 2,
            "genus": 0, "boundary_edges": 0, "self_intersections": 0, "slivers": 0, "folded_faces": 0,
            "smallest_angle_deg": math.degrees(math.atan(1 / 3)), "volume": 6.0, "area": 22.0,
        }
    )  # fmt: skip
    # Plain numbers, which JSON files need.
    assert json.loads(json.dumps(dataclasses.asdict(report)))["watertight"] is True


def test_a_sphere_and_a_torus_far_from_the_origin() -> None:
    sphere = check_mesh(moved(icosphere(5), 100.0, 0.0, -50.0))
    assert sphere.volume == pytest.approx(4 / 3 * math.pi, rel=2e-3)
    assert sphere.area == pytest.approx(4 * math.pi, rel=2e-3)
    ring = check_mesh(torus(1.0, 0.4, 200, 100))
    assert (ring.watertight, ring.manifold, ring.components, ring.euler, ring.genus) == (True, True, 1, 0, 1)
    assert ring.volume == pytest.approx(2 * math.pi**2 * 0.4**2, rel=1e-3)
    assert ring.area == pytest.approx(4 * math.pi**2 * 0.4, rel=1e-3)
    assert sphere.smallest_angle_deg > 50


def test_handles_add_up_over_the_components() -> None:
    report = check_mesh(joined(icosphere(1), moved(torus(), 5, 0, 0), moved(torus(), 10, 0, 0)))
    assert (report.components, report.euler, report.genus, report.watertight) == (3, 2, 2, True)


def double_torus() -> Triangles:
    """Return a slab of 5 x 3 cubes with two holes, as a triangle mesh."""
    cells = {(x, y) for x in range(5) for y in range(3)} - {(1, 1), (3, 1)}
    corners: dict[tuple[int, int, int], int] = {}
    faces = []
    steps = {(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)}
    for x, y in sorted(cells):
        for step in sorted(steps):
            if step[2] == 0 and (x + step[0], y + step[1]) in cells:
                continue
            axis = [abs(s) for s in step].index(1)
            u, v = (axis + 1) % 3, (axis + 2) % 3
            quad = []
            for du, dv in ((0, 0), (1, 0), (1, 1), (0, 1)):
                corner = [x, y, 0]
                corner[axis] += step[axis] > 0
                corner[u] += du
                corner[v] += dv
                quad.append(corners.setdefault((corner[0], corner[1], corner[2]), len(corners)))
            quad = quad if step[axis] > 0 else quad[::-1]
            faces += [quad[:3], [quad[0], quad[2], quad[3]]]
    return Triangles(torch.tensor(list(corners), dtype=torch.float32), torch.tensor(faces))


def test_two_holes_are_genus_2() -> None:
    report = check_mesh(double_torus())
    assert (report.watertight, report.manifold, report.euler, report.genus) == (True, True, -2, 2)
    assert report.volume == pytest.approx(13.0)
    assert report.self_intersections == report.folded_faces == report.slivers == 0


def test_an_open_mesh() -> None:
    report = check_mesh(plane(2, 3, 4, 5))
    assert (report.watertight, report.manifold, report.euler, report.genus) == (False, True, 1, 0)
    assert report.boundary_edges == 18
    assert report.area == pytest.approx(6.0)
    # An open component next to a closed one: the handle of the closed one counts.
    both = check_mesh(joined(torus(), moved(plane(), 5, 5, 5)))
    assert (both.watertight, both.manifold, both.components, both.genus) == (False, True, 2, 1)


def test_spheres_that_share_a_vertex_are_watertight_but_not_manifold() -> None:
    sphere = icosphere(1)
    apart = moved(sphere, 2, 0, 0)
    faces = apart.faces + len(sphere.vertices)
    faces = torch.where(faces == len(sphere.vertices), 0, faces)
    report = check_mesh(Triangles(torch.cat([sphere.vertices, apart.vertices]), torch.cat([sphere.faces, faces])))
    assert (report.watertight, report.manifold, report.components, report.genus) == (True, False, 1, 0)


def test_three_faces_at_an_edge_and_a_reversed_face_are_not_manifold() -> None:
    sphere = icosphere(1)
    turned = sphere.faces.clone()
    turned[3] = turned[3].flip(0)
    fin = torch.cat([sphere.faces, torch.tensor([[int(sphere.faces[0, 1]), int(sphere.faces[0, 0]), 42]])])
    point = torch.tensor([[3.0, 3.0, 3.0]])
    for faces in (turned, fin):
        report = check_mesh(Triangles(torch.cat([sphere.vertices, point]), faces))
        assert not report.watertight and not report.manifold
    assert check_mesh(Triangles(sphere.vertices, sphere.faces[1:])).manifold


def test_inside_out_has_a_negative_volume() -> None:
    sphere = icosphere(2)
    assert check_mesh(Triangles(sphere.vertices, sphere.faces.flip(1))).volume < -3.5


def strip(height: float) -> Triangles:
    """Return a triangle of length 1 and `height`."""
    return Triangles(torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.5, height, 0.0]]), torch.tensor([[0, 1, 2]]))


def test_slivers_are_needles_and_caps_and_faces_without_area() -> None:
    below, above = (0.5 * math.tan(math.radians(angle)) for angle in (4.9, 5.1))
    assert check_mesh(strip(below)).slivers == 1
    assert check_mesh(strip(above)).slivers == 0
    assert check_mesh(strip(30.0)).slivers == 1  # a needle
    assert check_mesh(strip(below)).smallest_angle_deg == pytest.approx(4.9, rel=1e-4)
    for flat in (strip(0.0), Triangles(strip(1.0).vertices, torch.tensor([[0, 1, 1]]))):
        report = check_mesh(flat)
        assert (report.slivers, report.smallest_angle_deg, report.folded_faces) == (1, 0.0, 0)


def test_folded_neighbours() -> None:
    """Two triangles that share an edge, at several angles."""
    for opened_deg, folded in ((180, 0), (90, 0), (31, 0), (29, 1), (0, 1)):
        angle = math.radians(opened_deg)
        tip = [0.5, math.cos(angle), math.sin(angle)]
        vertices = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.5, 1.0, 0.0], tip])
        report = check_mesh(Triangles(vertices, torch.tensor([[0, 1, 2], [1, 0, 3]])))
        assert report.folded_faces == folded
        assert report.self_intersections == (1 if opened_deg == 0 else 0)


def test_unused_vertices_do_not_count() -> None:
    sphere = icosphere(1)
    stray = Triangles(torch.cat([sphere.vertices, torch.tensor([[50.0, 0.0, 0.0]])]), sphere.faces)
    assert check_mesh(stray) == check_mesh(sphere)


def test_an_empty_mesh_and_invalid_ones() -> None:
    report = check_mesh(Triangles(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64)))
    assert (report.n_faces, report.watertight, report.components, report.genus, report.volume) == (0, False, 0, 0, 0.0)
    with pytest.raises(ShapeError, match="check_mesh: vertices must be finite"):
        check_mesh(Triangles(torch.full((3, 3), torch.nan), torch.tensor([[0, 1, 2]])))
    with pytest.raises(ShapeError, match="check_mesh: faces must be in"):
        check_mesh(Triangles(torch.zeros(3, 3), torch.tensor([[0, 1, 5]])))


def test_random_faces_are_reported_without_errors() -> None:
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        faces = torch.randint(9, (30, 3), generator=generator)
        report = check_mesh(Triangles(torch.randn((9, 3), generator=generator), faces))
        assert not report.watertight and not report.manifold
        assert report.slivers >= int((faces == faces.roll(1, 1)).any(1).sum())
