import math

import pytest
import torch

from diffrender.geometry.orientation import find_turned
from diffrender.geometry.primitives import box, icosphere, torus

SHAPES = {"ball": icosphere(2), "box": box(1.0), "ring": torus(0.5, 0.2, 12, 8)}


@pytest.mark.parametrize("name", SHAPES)
def test_the_fewer_faces_of_each_surface_are_turned(name: str) -> None:
    vertices, faces = SHAPES[name]
    order = torch.randperm(len(faces), generator=torch.Generator().manual_seed(0))
    is_turned = torch.zeros(len(faces), dtype=torch.bool)
    is_turned[order[: len(faces) // 3]] = True
    mixed = torch.where(is_turned[:, None], faces.flip(1), faces)
    assert torch.equal(find_turned(vertices, mixed), is_turned)
    assert torch.equal(find_turned(vertices, mixed.flip(1)), is_turned)  # which of the two is outside is not asked
    both = torch.cat([mixed, torch.where(is_turned[:, None], faces, faces.flip(1)) + len(vertices)])
    assert torch.equal(find_turned(vertices.repeat(2, 1), both), is_turned.repeat(2))


def test_as_many_either_way() -> None:
    vertices, faces = SHAPES["box"]
    is_turned = find_turned(vertices, torch.cat([faces[:6], faces[6:].flip(1)]))
    assert is_turned.tolist() in ([True] * 6 + [False] * 6, [False] * 6 + [True] * 6)


@pytest.mark.parametrize("name", SHAPES)
def test_faces_that_a_mesh_has_twice_are_left_as_they_are(name: str) -> None:
    vertices, faces = SHAPES[name]
    for some in (faces, faces[: len(faces) // 2]):
        for twice in (some, torch.cat([some, some]), torch.cat([some, some.flip(1)])):
            assert not find_turned(vertices, twice).any()


def test_a_surface_with_one_side_is_left_as_it_is() -> None:
    n = 20
    angle = torch.arange(n) * (2 * math.pi / n)
    rows = []
    for side in (-0.3, 0.3):
        radius = 1 + side * (angle / 2).cos()
        rows.append(torch.stack([radius * angle.cos(), radius * angle.sin(), side * (angle / 2).sin()], 1))
    p = torch.arange(n) * 2
    following = (p + 2) % (2 * n)
    far = torch.where(following == 0, 1, following)  # after one round, left is right
    faces = torch.cat([torch.stack([p, p + 1, far], 1), torch.stack([p + 1, far ^ 1, far], 1)])
    assert not find_turned(torch.stack(rows, 1).reshape(-1, 3), faces).any()
