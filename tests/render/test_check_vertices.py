"""Faces that are missing for vertices that are not finite are told in every image, and others never."""

from __future__ import annotations

import warnings

import pytest
import torch
from support.shapes import bumpy, front_camera, placed, scene_of, square

from diffrender.errors import NotFiniteWarning
from diffrender.render.render import render
from diffrender.scene.mesh import Mesh


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_missing_faces_are_told_with_their_object(value: float) -> None:
    mesh = bumpy(1)
    vertices = mesh.vertices.clone()
    vertices[7, 1] = value
    first = int((mesh.faces == 7).any(1).nonzero()[0])
    count = int((mesh.faces == 7).any(1).sum())
    scene = scene_of(placed(square()), placed(mesh.with_vertices(vertices)))
    name = list(scene.objects)[1]
    message = rf"{count} of the {mesh.n_faces} faces of object '{name}' are not drawn: .* face {first};"
    for _ in range(2):  # a fit may come to it at any step
        with pytest.warns(NotFiniteWarning, match=message) as told:
            render(scene, front_camera(16))
        assert told[0].filename == __file__


def test_vertices_that_no_face_uses_count_nowhere() -> None:
    mesh = bumpy(1)
    unused = Mesh(torch.cat([mesh.vertices, torch.full((1, 3), float("nan"))]), mesh.faces)
    far = mesh.with_vertices(mesh.vertices * 3e38 / mesh.vertices.abs().max())  # their sum overflows
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotFiniteWarning)
        for each in (unused, far):
            render(scene_of(placed(each)), front_camera(16))
