"""Meshes of mixed winding are told where they are rendered, and others never."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch
from support.shapes import bumpy, front_camera, placed, scene_of

from diffrender.errors import OrientationWarning
from diffrender.geometry.normals import vertex_normals
from diffrender.render.edge_models import Hard
from diffrender.render.render import render
from diffrender.scene.lights import Directional
from diffrender.scene.materials import Lambert, Unlit
from diffrender.scene.mesh import Mesh

SUN = {"sun": Directional(torch.tensor([0.0, 0.0, -1.0]), torch.ones(3))}


def picture(mesh: Mesh, *edges: Hard) -> torch.Tensor:
    return render(scene_of(placed(mesh, Lambert(torch.ones(3))), lights=SUN), front_camera(24), *edges).rgba


def mixed(mesh: Mesh) -> Mesh:
    """Turn every fifth face."""
    turned = torch.arange(mesh.n_faces)[:, None] % 5 == 0
    return replace(mesh, faces=torch.where(turned, mesh.faces.flip(1), mesh.faces), topology=None)


@pytest.mark.parametrize("edges", [(), (Hard(),)])
def test_turned_faces_are_told_once_and_oriented_ones_look_as_they_should(edges: tuple[Hard, ...]) -> None:
    mesh = bumpy(2)
    wrong = mixed(mesh)
    with pytest.warns(OrientationWarning, match=r"64 of the 320 faces of object '.*'.*`mesh.oriented\(\)`") as told:
        shown = picture(wrong, *edges)
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(picture(wrong, *edges), shown)  # once per mesh
        right = picture(mesh, *edges)
        assert torch.equal(picture(wrong.oriented(), *edges), right)
    assert not torch.allclose(shown, right, atol=0.1)


def test_where_no_normals_mix_nothing_is_told() -> None:
    mesh = bumpy(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flat = mixed(mesh).with_crease(0)
        torch.testing.assert_close(picture(flat), picture(mesh.with_crease(0)), rtol=0, atol=1e-3)
        unlit = scene_of(placed(mixed(mesh), Unlit(torch.ones(3))))
        render(unlit, front_camera(24))
    with pytest.warns(OrientationWarning):
        render(unlit, front_camera(24), aovs=("normal",))


def test_given_normals_say_what_is_in_front() -> None:
    mesh = bumpy(2)
    normals = vertex_normals(mesh.vertices, mesh.faces)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture(replace(mixed(mesh), normals=normals, normal_faces=mesh.faces))


def test_a_surface_of_one_side_is_not_told() -> None:
    angle = torch.arange(12) * (2 * torch.pi / 12)
    middle = torch.stack([angle.cos(), angle.sin(), 0 * angle], 1)
    across = 0.3 * torch.stack([(angle / 2).cos() * angle.cos(), (angle / 2).cos() * angle.sin(), (angle / 2).sin()], 1)
    vertices = torch.cat([middle + across, middle - across])
    i, j = torch.arange(12), (torch.arange(12) + 1) % 12
    ends = torch.stack([j, j + 12], 1)
    ends[-1] = ends[-1].flip(0)  # half a turn later the sides are swapped
    faces = torch.cat([torch.stack([i, ends[:, 0], i + 12], 1), torch.stack([i + 12, ends[:, 0], ends[:, 1]], 1)])
    mesh = Mesh(vertices, faces)
    assert mesh.topology.is_turned is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture(mesh)
