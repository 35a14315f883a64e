from __future__ import annotations

from dataclasses import replace

import torch

from diffrender.geometry.mesh_checks import check_mesh
from diffrender.geometry.primitives import Triangles, icosphere, plane, torus
from diffrender.writers.report.mesh_text import describe_facts, describe_faults, describe_shape


def test_shapes_in_words() -> None:
    assert describe_shape(check_mesh(icosphere(3))) == "642 vertices, 1,280 faces; watertight, one part, no handles"
    assert describe_shape(check_mesh(torus(1, 0.3, 5, 5))).endswith("; watertight, one part, 1 handle")
    assert "; not watertight (4 open edges), one part" in describe_shape(check_mesh(plane()))
    sphere = icosphere(1)
    twice = Triangles(torch.cat([sphere.vertices, sphere.vertices + 5]), torch.cat([sphere.faces, sphere.faces + 42]))
    assert describe_shape(check_mesh(twice)).endswith("watertight, 2 parts, no handles")
    turned = Triangles(sphere.vertices, torch.cat([sphere.faces[:1].flip(1), sphere.faces[1:]]))
    assert "faces of opposite orientation" in describe_shape(check_mesh(turned))


def test_faults_in_words() -> None:
    sound = check_mesh(icosphere(1))
    assert describe_faults(sound) == "no self-intersections, no slivers, no folds"
    broken = replace(sound, self_intersections=1, slivers=2000, folded_faces=2, manifold=False)
    assert describe_faults(broken) == "1 self-intersection, 2,000 slivers, 2 folds, not manifold"


def test_facts_are_sentences_with_a_judgement() -> None:
    sound = check_mesh(icosphere(3))
    assert describe_facts(sound) == [
        (True, "642 vertices and 1,280 faces, 1 part, no handles."),
        (True, "Watertight; it encloses a volume of 4.153."),
        (True, "No self-intersections."),
        (True, "No folds."),
        (True, "No slivers."),
    ]
    broken = replace(sound, self_intersections=3, slivers=1, manifold=False, volume=-4.0, smallest_angle_deg=1.25)
    assert [text for good, text in describe_facts(broken) if not good] == [
        "Watertight; it encloses a volume of -4.",
        "Not manifold: some edge or vertex joins more than one sheet.",
        "3 self-intersections (pairs of faces that cross).",
        "1 sliver (the smallest angle is 1.2 degrees).",
    ]
    assert (False, "Not watertight: 4 open edges.") in describe_facts(check_mesh(plane()))
