import pytest
import torch
from support.pictures import assert_images_agree
from support.shapes import flat_camera, placed, scene_of, square

from diffrender.errors import ShapeError
from diffrender.render.edge_models import Hard
from diffrender.render.render import render
from diffrender.scene.materials import Unlit
from diffrender.scene.textures.texture import Texture


def numbered(height, width, dtype=torch.float64):
    """Return a texture whose texel in row i, column j holds (i, j)."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows, columns], -1).to(dtype)


def at(texture, u, v):
    return texture.sample(torch.tensor([[u, v]], dtype=torch.float64))[0].tolist()


def test_worked_example():
    texture = Texture(numbered(2, 4))
    # Centres: texel (i, j) at ((j + .5) / 4, (i + .5) / 2); v goes down the rows.
    for i in range(2):
        for j in range(4):
            assert at(texture, (j + 0.5) / 4, (i + 0.5) / 2) == [i, j]
    assert at(texture, 0.25, 0.25) == [0.0, 0.5]  # halfway between columns 0 and 1
    assert at(texture, 0.125, 0.5) == [0.5, 0.0]  # halfway between the rows
    assert at(texture, 0.3125, 0.375) == [0.25, 0.75]
    assert at(texture, 0.0, 0.25) == [0.0, 1.5]  # the left border mixes with the last column: it repeats


def test_repeats_outside_of_zero_to_one():
    texture = Texture(torch.rand(5, 7, 3, dtype=torch.float64))
    uv = torch.rand(100, 2, dtype=torch.float64)
    for shift in ([1.0, 0.0], [0.0, -2.0], [-3.0, 5.0]):
        torch.testing.assert_close(texture.sample(uv + torch.tensor(shift)), texture.sample(uv))


def test_weights_sum_to_one_and_values_stay_in_range():
    uv = torch.rand(500, 2, generator=torch.Generator().manual_seed(0)) * 4 - 2
    torch.testing.assert_close(Texture(torch.full((3, 5, 2), 0.7)).sample(uv), torch.full((500, 2), 0.7))
    texels = torch.rand(3, 5, 2)
    values = Texture(texels).sample(uv)
    assert values.min() >= texels.min() and values.max() <= texels.max()


def test_one_texel_is_one_colour():
    assert torch.equal(
        Texture(torch.tensor([[[0.2, 0.4]]])).sample(torch.rand(9, 2)), torch.tensor([0.2, 0.4]).expand(9, 2)
    )


def test_gradients_match_finite_differences():
    generator = torch.Generator().manual_seed(1)
    texels = torch.rand(4, 3, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    uv = torch.rand(6, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda texels, uv: Texture(texels).sample(uv), (texels, uv))


def test_gradient_of_texels_is_the_same_for_any_number_of_threads():
    uv = torch.rand(60_000, 2, generator=torch.Generator().manual_seed(2))
    weights = torch.rand(60_000, 3, generator=torch.Generator().manual_seed(3))
    found = []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        texels = torch.full((8, 8, 3), 0.5, requires_grad=True)
        (Texture(texels).sample(uv) * weights).backward(torch.ones(60_000, 3))
        found.append(texels.grad)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_a_textured_square_shows_its_texels_in_place():
    """A square 8 pixels wide with 4 texels across: u goes right, v goes down."""
    texels = torch.rand(4, 4, 3)
    image = render(scene_of(placed(square(side=2.0), Unlit(Texture(texels)))), flat_camera(4, 4), Hard()).rgba
    assert_images_agree(image[0, ..., :3], texels, error_at_most=1e-5)


def test_a_clamped_texture_goes_on_with_its_border():
    texture = Texture(numbered(2, 4), "clamp")
    assert at(texture, 0.0, 0.25) == [0.0, 0.0] and at(texture, 7.0, -1.0) == [0.0, 3.0]


def test_a_footprint_takes_means():
    texels = torch.rand(8, 8, 3, dtype=torch.float64)
    uv = torch.tensor([[0.25, 0.5]], dtype=torch.float64)
    wide = Texture(texels).sample(uv, torch.tensor([8.0], dtype=torch.float64))
    torch.testing.assert_close(wide[0], texels.mean((0, 1)))
    four = Texture(texels).sample(uv, torch.tensor([4.0], dtype=torch.float64))
    torch.testing.assert_close(four[0], texels[:, :4].mean((0, 1)))  # halfway between the two left quarters


def test_errors():
    with pytest.raises(ShapeError, match=r"texels must have shape \[H, W, C\]"):
        Texture(torch.zeros(4, 4))
    with pytest.raises(ShapeError, match="float32 or float64"):
        Texture(torch.zeros(4, 4, 3, dtype=torch.uint8))
    with pytest.raises(ShapeError, match="wrap must be one of repeat, clamp, got 'mirror'"):
        Texture(torch.zeros(4, 4, 3), "mirror")
