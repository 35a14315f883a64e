from __future__ import annotations

import json

import pytest
import torch

from diffrender.evaluate.geometry import VIEWS_OF_INSIDE, GeometryEvaluator, inside_share, triangles_w
from diffrender.geometry.distances import SurfaceQuery, vertex_distance
from diffrender.geometry.primitives import Triangles, icosphere, torus
from diffrender.geometry.rigid import make_rigid
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene


def placed(triangles: Triangles, x: float = 0.0, scale: float = 1.0) -> Object:
    pose = make_rigid(axis_angle_to_matrix(torch.tensor([0.0, 0.7, 0.0])), torch.tensor([x, 0.0, 0.0]))
    return Object(Mesh(*triangles), Unlit(torch.ones(3)), pose, torch.tensor(scale))


def test_one_object_is_reported_in_the_world() -> None:
    numbers = GeometryEvaluator(None).report(Scene({"ball": placed(icosphere(3), 5.0, 2.0)})).as_json()
    assert numbers["volume"] == pytest.approx(8 * 4.1527, rel=1e-4)
    assert (numbers["watertight"], numbers["components"], numbers["genus"]) == (True, 1, 0)
    assert "objects" not in numbers and "rms_to_target" not in numbers
    assert json.loads(json.dumps(numbers)) == numbers


def test_several_objects_are_reported_together_and_under_their_names() -> None:
    scene = Scene({"ball": placed(icosphere(2)), "ring": placed(torus(), 0.8)})
    report = GeometryEvaluator(None).report(scene)
    numbers = report.as_json()
    assert (numbers["components"], numbers["genus"], numbers["n_faces"]) == (2, 1, 320 + 2 * 48 * 24)
    # They intersect each other; neither intersects itself.
    assert numbers["self_intersections"] > 0
    assert [numbers["objects"][name]["self_intersections"] for name in ("ball", "ring")] == [0, 0]
    assert numbers["objects"]["ring"]["genus"] == 1


def test_the_distance_to_a_known_target_is_measured_in_the_world() -> None:
    target, scene = (Scene({"ball": placed(icosphere(4), 1.0, size)}) for size in (1.0, 1.1))
    evaluator = GeometryEvaluator(target)
    report = evaluator.report(scene)
    assert report.rms_to_target == pytest.approx(0.1, rel=0.01)
    assert report.surface_rms_to_target == pytest.approx(0.1, rel=0.01)
    surfaces = [SurfaceQuery(triangles_w(each)["ball"]) for each in (scene, target)]
    assert report.rms_to_target == vertex_distance(*surfaces)
    assert report.as_json()["surface_rms_to_target"] == report.surface_rms_to_target
    assert evaluator.report(target).rms_to_target == pytest.approx(0.0, abs=1e-12)


def test_a_scene_without_area_is_at_no_known_distance() -> None:
    target = Scene({"ball": placed(icosphere(1))})
    point = Scene({"ball": placed(Triangles(torch.zeros(3, 3), torch.tensor([[0, 1, 2]])))})
    assert GeometryEvaluator(target).report(point).rms_to_target is None


def test_world_triangles_are_those_of_the_object() -> None:
    item = placed(icosphere(1), -2.0, 0.3)
    assert torch.allclose(triangles_w(Scene({"a": item}))["a"].vertices.float(), item.vertices_w(), atol=1e-6)


@pytest.mark.parametrize("projection", ["perspective", "parallel"])
def test_the_inside_of_a_closed_surface_is_seen_where_it_passes_through_itself(projection: str) -> None:
    """A ball whose front is pushed out through its back: a cone's inside sticks out there, for cameras behind."""
    whole = icosphere(3)
    tip = int(whole.vertices[:, 2].argmax())
    pierced = Triangles(whole.vertices.clone(), whole.faces)
    pierced.vertices[tip] = torch.tensor([0.0, 0.0, -3.0])
    eyes = torch.tensor([[0.3, 0.2, -9.0], [9.0, 0.2, -0.3]])
    kind = {"fov_deg": 40} if projection == "perspective" else {"view_height": 8.0}
    cameras = getattr(Cameras, projection)(eyes, height=64, width=64, **kind)
    for turned in (False, True):  # a surface that is turned inside out is all outside
        shown, hole = (Triangles(m.vertices, m.faces.flip(1) if turned else m.faces) for m in (whole, pierced))
        assert inside_share(shown, cameras) == 0
        assert 0.005 < inside_share(hole, cameras) < 0.5
    # Of many cameras a few are asked, evenly: here every other one.
    many = cameras.select([0, 1] * VIEWS_OF_INSIDE)
    assert inside_share(pierced, many) == pytest.approx(inside_share(pierced, cameras.select([0])))
