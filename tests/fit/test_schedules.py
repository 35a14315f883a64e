import itertools

import pytest

from diffrender.errors import ConfigError
from diffrender.fit.optimizer.fit_optimizer import ParamSettings
from diffrender.fit.optimizer.schedules import SCHEDULES, Constant, Cosine, Exponential


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_starts_at_one_and_never_rises(name):
    factors = [SCHEDULES[name]().factor(i / 100) for i in range(101)]
    assert factors[0] == 1
    assert all(later <= earlier for earlier, later in itertools.pairwise(factors))
    assert all(0 <= factor <= 1 for factor in factors)


def test_worked_examples():
    assert Constant().factor(0.7) == 1
    assert Cosine(final=0.2).factor(0.5) == pytest.approx(0.6)
    assert Cosine(final=0.2).factor(1.0) == pytest.approx(0.2)
    assert Exponential(final=0.01).factor(0.5) == pytest.approx(0.1)
    held = Exponential(final=0.01, hold=0.6)
    assert [held.factor(each) for each in (0, 0.6, 0.8, 1)] == pytest.approx([1, 1, 0.1, 0.01])


@pytest.mark.parametrize(("schedule", "final"), [(Cosine, -0.1), (Cosine, 1.1), (Exponential, 0.0), (Exponential, 2.0)])
def test_bad_ends_are_refused(schedule, final):
    with pytest.raises(ConfigError, match="final must be"):
        schedule(final=final)


@pytest.mark.parametrize("hold", [-0.1, 1.0])
def test_rates_are_not_held_to_the_end(hold):
    with pytest.raises(ConfigError, match="hold must be at least 0 and below 1"):
        Exponential(hold=hold)


def test_a_rate_acts_from_start_to_stop_only():
    rate = ParamSettings(lr=0.1, start=10, stop=20, schedule=Exponential(final=0.01))
    assert [rate.at(step, 100) for step in (0, 9, 20, 99)] == [0, 0, 0, 0]
    assert rate.at(10, 100) == 0.1
    assert rate.at(15, 100) == pytest.approx(0.01)
    assert rate.at(19, 100) > 0.001
    assert ParamSettings(lr=0.1, start=10).at(99, 100) == 0.1
    assert ParamSettings(lr=0.1, stop=500).at(99, 100) == 0.1


@pytest.mark.parametrize("lr", [0.0, -0.1, float("nan"), float("inf")])
def test_bad_learning_rates_are_refused(lr):
    with pytest.raises(ConfigError, match="lr must be a finite number above 0"):
        ParamSettings(lr=lr)


def test_bad_starts_and_stops_are_refused():
    with pytest.raises(ConfigError, match="start must be at least 0"):
        ParamSettings(lr=0.1, start=-1)
    with pytest.raises(ConfigError, match="stop must come after start"):
        ParamSettings(lr=0.1, start=5, stop=5)
