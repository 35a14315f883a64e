from __future__ import annotations

from dataclasses import replace

import torch

from diffrender.geometry.mesh_checks import check_mesh
from diffrender.geometry.primitives import Triangles, icosphere, plane, torus
from diffrender.writers.mesh_words import faults_in_words, is_sound, shape_in_words


def test_shapes_in_words() -> None:
    assert shape_in_words(check_mesh(icosphere(3))) == "642 vertices, 1,280 faces; watertight, one part, no handles"
    assert shape_in_words(check_mesh(torus(1, 0.3, 5, 5))).endswith("; watertight, one part, 1 handle")
    assert "; not watertight (4 open edges), one part" in shape_in_words(check_mesh(plane()))
    sphere = icosphere(1)
    twice = Triangles(torch.cat([sphere.vertices, sphere.vertices + 5]), torch.cat([sphere.faces, sphere.faces + 42]))
    assert shape_in_words(check_mesh(twice)).endswith("watertight, 2 parts, no handles")
    turned = Triangles(sphere.vertices, torch.cat([sphere.faces[:1].flip(1), sphere.faces[1:]]))
    assert "faces that are turned round" in shape_in_words(check_mesh(turned))


def test_faults_in_words() -> None:
    sound = check_mesh(icosphere(1))
    assert faults_in_words(sound) == "no self-intersections, no slivers, no folds"
    broken = replace(sound, self_intersections=1, slivers=2000, folded_faces=2, manifold=False)
    assert faults_in_words(broken) == "1 self-intersection, 2,000 slivers, 2 folds, not manifold"


def test_what_is_sound() -> None:
    sound = check_mesh(icosphere(1))
    assert is_sound(sound) and is_sound(replace(sound, slivers=3))
    for change in ({"watertight": False}, {"manifold": False}, {"self_intersections": 1}, {"folded_faces": 1}):
        assert not is_sound(replace(sound, **change))
