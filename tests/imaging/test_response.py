import pytest
import torch

from diffrender.imaging.color import linear_from_srgb, srgb_from_linear
from diffrender.imaging.response import INTERVALS, respond, straight_response, undo_response


def curves(n, seed=0):
    steps = torch.rand(n, INTERVALS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.2
    return (steps / steps.sum(1, keepdim=True)).cumsum(1)[:, :-1]


def images(n):
    return torch.rand(n, 6, 5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 1.2


def test_the_straight_curve_changes_nothing():
    straight = straight_response().double().expand(2, -1)
    torch.testing.assert_close(respond(images(2), straight), images(2))


def test_encoded_values_are_interpolated_between_the_knots_and_0_and_1_stay():
    response = curves(1)
    encoded = (
        torch.tensor([0.0, 1 / 8, 1.5 / 8, 7 / 8, 1.0], dtype=torch.float64).reshape(1, 1, 5, 1).expand(1, 1, 5, 3)
    )
    found = srgb_from_linear(respond(linear_from_srgb(encoded), response))[0, 0, :, 0]
    wanted = torch.stack(
        [response.new_zeros(()), response[0, 0], response[0, :2].mean(), response[0, 6], response.new_ones(())]
    )
    torch.testing.assert_close(found, wanted)


def test_each_view_has_its_own_curve_and_more_light_is_never_darker():
    light = torch.linspace(-0.01, 2, 500, dtype=torch.float64).reshape(1, 1, -1, 1).expand(3, 1, 500, 1)
    response = curves(3)
    found = respond(light, response)
    assert bool((found.diff(dim=2) > 0).all())
    torch.testing.assert_close(found[1:2], respond(light[1:2], response[1:2]))


def test_undone_responses_give_the_light_back_also_beyond_1():
    response = curves(2)
    torch.testing.assert_close(undo_response(respond(images(2), response), response), images(2))


def test_gradients():
    leaves = (images(2)[:, :2].requires_grad_(), curves(2).requires_grad_())
    assert torch.autograd.gradcheck(respond, leaves)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_gradient_of_a_curve_has_the_same_bits_on_any_number_of_threads(threads):
    before = torch.get_num_threads()
    light = torch.rand(1, 300, 200, 3, generator=torch.Generator().manual_seed(2))

    def gradient():
        response = straight_response()[None].clone().requires_grad_()
        return torch.autograd.grad(respond(light, response).square().sum((2, 3)).sum(1).sum(), response)[0]

    torch.set_num_threads(threads)
    try:
        found = gradient()
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found, gradient())
