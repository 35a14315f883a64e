import pytest
import torch

from diffrender.fit.deterministic_reduce import ROW, deterministic_mean, deterministic_sum, mean_per_view, sum_per_view


@pytest.mark.parametrize("size", [0, 1, 1000, 2047, 2048, 100_001])
def test_sum_and_mean(size):
    values = torch.rand(size, generator=torch.Generator().manual_seed(size), dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(deterministic_sum(values), values.sum())
    torch.testing.assert_close(
        deterministic_mean(values), values.mean() if size else torch.zeros((), dtype=torch.float64)
    )
    (gradient,) = torch.autograd.grad(deterministic_sum(values), values)
    assert torch.equal(gradient, torch.ones_like(values))


@pytest.mark.parametrize("shape", [(3, 5), (1, 7, 5), (4, 7, 5, 3)])
def test_per_view(shape):
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(sum_per_view(images), images.flatten(1).sum(1))
    torch.testing.assert_close(mean_per_view(images), images.flatten(1).mean(1))


def test_the_same_bits_on_any_number_of_threads():
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(1, 211, 307, 3, generator=generator)
    # So large that even the sums of rows are too many for one thread.
    values = torch.randn(40_000 * ROW + 7, generator=generator)
    threads = torch.get_num_threads()
    results = []
    for n in (1, 2):
        torch.set_num_threads(n)
        results.append(torch.cat([deterministic_sum(values)[None], mean_per_view(image)]))
    torch.set_num_threads(threads)
    assert torch.equal(*results)


def test_what_has_no_weight_may_be_anything():
    values, weights = torch.rand(2, 3, 4, 3), torch.rand(2, 3, 4)
    weights[:, 0, 0] = 0
    expected = mean_per_view(values, weights)
    values[0, 0, 0], values[1, 0, 0] = float("nan"), float("inf")
    assert torch.equal(mean_per_view(values, weights), expected)
