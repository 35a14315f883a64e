import torch

from diffrender.geometry.primitives import Triangles, box, torus
from diffrender.geometry.winding import winding_numbers


def test_points_inside_outside_and_of_a_surface_turned_inside_out() -> None:
    cube = box((2.0, 2.0, 2.0))
    points = torch.tensor([[0.0, 0, 0], [0.9, -0.9, 0.3], [1.5, 0, 0], [50, 50, 50]])
    assert torch.allclose(winding_numbers(points, cube), torch.tensor([1.0, 1, 0, 0]), atol=1e-5)
    turned = Triangles(cube.vertices, cube.faces.flip(1))
    assert torch.allclose(winding_numbers(points, turned), torch.tensor([-1.0, -1, 0, 0]), atol=1e-5)


def test_the_hole_of_a_torus_is_outside() -> None:
    ring = torus(1.0, 0.3)
    on_tube = ring.vertices[ring.vertices[:, 0].argmax()] * 0.8
    assert torch.allclose(
        winding_numbers(torch.stack([torch.zeros(3), on_tube]), ring), torch.tensor([0.0, 1]), atol=1e-4
    )


def test_a_square_covers_a_share_of_the_sphere_of_directions() -> None:
    # Seen from the middle of a cube, each of its six sides is a sixth of all directions.
    vertices = torch.tensor([[-1.0, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]])
    square = Triangles(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]]))
    assert torch.allclose(winding_numbers(torch.zeros(1, 3), square), torch.tensor([1 / 6]), atol=1e-6)
    assert winding_numbers(torch.zeros(0, 3), square).shape == (0,)
