import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffrender.errors import ConfigError
from diffrender.fit.batches import Batches


@settings(max_examples=40, deadline=None)
@given(n_views=st.integers(2, 9), size=st.integers(1, 8), seed=st.integers(0, 2**31))
def test_every_epoch_holds_each_view_once(n_views, size, seed):
    batches = Batches(n_views, min(size, n_views - 1), seed)
    stream = torch.cat([batches.at(step) for step in range(3 * n_views)])
    for epoch in stream[: len(stream) // n_views * n_views].reshape(-1, n_views):
        assert epoch.sort().values.tolist() == list(range(n_views))


def test_a_batch_depends_on_seed_and_step_only():
    forward = [Batches(7, 3, 5).at(step).tolist() for step in range(20)]
    batches = Batches(7, 3, 5)
    assert [batches.at(step).tolist() for step in reversed(range(20))] == forward[::-1]
    assert [Batches(7, 3, 6).at(step).tolist() for step in range(20)] != forward


def test_epochs_differ():
    batches = Batches(20, 10, 0)
    assert batches.at(0).tolist() + batches.at(1).tolist() != batches.at(2).tolist() + batches.at(3).tolist()


@pytest.mark.parametrize("size", [None, 4, 100])
def test_all_views_need_no_choice(size):
    assert Batches(4, size, 0).at(3) is None


def test_bad_size_is_refused():
    with pytest.raises(ConfigError, match="batch_size must be at least 1, got 0"):
        Batches(4, 0, 0)
