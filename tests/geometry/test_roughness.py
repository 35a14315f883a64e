import pytest
import torch

from diffrender.geometry.primitives import Triangles, box, bumpy_sphere, icosphere, torus
from diffrender.geometry.roughness import roughness_deg


def ruffled(amount: float) -> Triangles:
    """A fine sphere whose vertices are in or out of it by a share of the edge length."""
    vertices, faces = icosphere(4)
    edge = (vertices[faces[:, 0]] - vertices[faces[:, 1]]).norm(dim=1).mean()
    noise = torch.randn(len(vertices), 1, generator=torch.Generator().manual_seed(0))
    return Triangles(vertices * (1 + amount * edge * noise), faces)


@pytest.mark.parametrize("surface", [icosphere(3), box((1, 2, 3)), torus(1, 0.3), bumpy_sphere(5), icosphere(0)])
def test_smooth_flat_and_sharp_shapes_are_not_rough(surface: Triangles) -> None:
    assert roughness_deg(surface) < 1.5


def test_noise_is_rough() -> None:
    degrees = [roughness_deg(ruffled(amount)) for amount in (0.05, 0.1, 0.3)]
    assert degrees == sorted(degrees) and degrees[-1] > 9


def test_a_single_face_has_no_edges_to_measure() -> None:
    assert roughness_deg(Triangles(torch.eye(3), torch.tensor([[0, 1, 2]]))) == 0
