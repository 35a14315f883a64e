"""Relaxed choices: at temperature 0 they are the choices, and their derivatives are right in both modes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from diffrender.errors import BackendError, ConfigError, ShapeError
from diffrender.programs import relaxed

N = 5


def halving(x: Tensor, temperature: float, mode: str) -> Tensor:
    """As long as each number is above one, halve it and count."""
    state = {"x": x, "count": torch.zeros_like(x)}
    body = lambda s: {"x": s["x"] / 2, "count": s["count"] + s["x"]}  # noqa: E731
    ended = relaxed.while_loop(lambda s: s["x"] - 1, body, state, 4, temperature=temperature, mode=mode)
    return torch.stack([ended["x"], ended["count"]])


def halving_all(x: Tensor, temperature: float, mode: str) -> Tensor:
    """The same with one condition for all rows."""
    return relaxed.while_loop(
        lambda s: s.square().sum() - 3, lambda s: s / 2, x, 40, temperature=temperature, mode=mode
    )


def branch_by_row(x: Tensor, temperature: float, mode: str) -> Tensor:
    rows = torch.stack([x, x**2], 1)
    both = relaxed.branch(
        x, lambda r: (r.sin(), r[:, 0]), lambda r: (r**2, -r[:, 0]), rows, temperature=temperature, mode=mode
    )
    return torch.cat([both[0], both[1][:, None]], 1)


# Each as a function of [N] numbers, temperature and mode.
RELAXED: dict[str, Callable[..., Tensor]] = {
    "step": relaxed.step,
    "sign": relaxed.sign,
    "round": relaxed.round,
    "clamp": lambda x, t, mode: relaxed.clamp(x, -0.5, x.new_tensor(1.0), t, mode),
    "clamp_low": lambda x, t, mode: relaxed.clamp(x, -0.5, None, t, mode),
    "where": lambda x, t, mode: relaxed.where(x.flip(0), x**2, 3 * x, t, mode),
    "argmax": relaxed.argmax,
    "sort": lambda x, t, mode: relaxed.sort(x, t, mode).values,
    "permutation": lambda x, t, mode: relaxed.sort(x, t, mode, descending=True).permutation,
    "branch": lambda x, t, mode: relaxed.branch(x.mean(), torch.sin, torch.square, x, temperature=t, mode=mode),
    "branch_by_row": branch_by_row,
    "while_loop": halving,
    "while_loop_of_all": halving_all,
}
each = pytest.mark.parametrize("name", RELAXED)


def test_all_choices_are_tested() -> None:
    of_others = {"Anneal", "score_function", "Sorted"}  # no relaxations: a schedule, an estimator, what sort returns
    assert of_others < set(relaxed.__all__)
    assert set(relaxed.__all__) - of_others == {name for name in relaxed.__all__ if name in RELAXED}
    assert all(any(name.startswith(choice) for choice in relaxed.__all__) for name in set(RELAXED) - {"permutation"})


def numbers(seed: int) -> Tensor:
    """Random numbers, none near a jump of a choice above: there the limit is another than the choice."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        x = 6 * torch.rand(N, dtype=torch.float64, generator=generator) - 3
        jumps = [x, x + 0.5, x.sort().values.diff(), x.mean()[None]]
        jumps += [x / 2**k - 1 for k in range(4)] + [(x.square().sum() / 4**k - 3)[None] for k in range(4)]
        if torch.cat(jumps).abs().min() > 0.03 and ((x - 0.5) % 1 - 0.5).abs().max() < 0.47:
            return x


@each
@pytest.mark.parametrize("seed", range(3))
def test_the_limit_at_temperature_0_is_the_choice(name: str, seed: int) -> None:
    x = numbers(seed)
    hard = RELAXED[name](x, 1.0, "hard")
    errors = [float((RELAXED[name](x, t, "smooth") - hard).abs().max()) for t in (1.0, 0.03, 1e-4)]
    assert errors[0] > 0.01 and errors[0] > errors[1] >= errors[2] and errors[2] < 2e-4


@each
@pytest.mark.parametrize("seed", range(3))
def test_derivatives_agree_with_differences(name: str, seed: int) -> None:
    inputs = (numbers(seed).requires_grad_(), torch.tensor(0.4, dtype=torch.float64, requires_grad=True))
    function = partial(RELAXED[name], mode="smooth")
    assert gradcheck(function, inputs, check_forward_ad=True)
    assert gradgradcheck(function, inputs, check_fwd_over_rev=True)


@each
def test_straight_through_is_the_choice_with_the_smooth_derivatives(name: str) -> None:
    x = numbers(3)
    through, smooth = (lambda x, mode=mode: RELAXED[name](x, 0.4, mode) for mode in ("straight_through", "smooth"))
    assert torch.equal(through(x), RELAXED[name](x, 0.4, "hard"))
    assert not torch.equal(through(x), smooth(x))
    weight = torch.rand(smooth(x).shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for transform in (torch.func.grad, torch.func.hessian):
        expected = transform(lambda y: (weight * smooth(y)).sum())(x)
        assert expected.abs().max() > 1e-3
        torch.testing.assert_close(transform(lambda y: (weight * through(y)).sum())(x), expected)
    value, tangent = torch.func.jvp(through, (x,), (x.cos(),))
    assert torch.equal(value, through(x))
    torch.testing.assert_close(tangent, torch.func.jvp(smooth, (x,), (x.cos(),))[1])


def test_smooth_values_are_means_under_noise_on_the_margin() -> None:
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(400_000, 1, dtype=torch.float64, generator=generator)
    x, t = torch.tensor([-0.7, 0.1, 0.6], dtype=torch.float64), 0.3
    noisy = x + t * (uniform.log() - (1 - uniform).log())
    gumbel = x - t * (-torch.rand(400_000, 3, dtype=torch.float64, generator=generator).log()).log()
    for mean, smooth in (
        ((noisy > 0).double(), relaxed.step(x, t)),
        (noisy.sign(), relaxed.sign(x, t)),
        (noisy.clamp(0, 0.5), relaxed.clamp(x, 0.0, 0.5, t)),
        (torch.where(noisy > 0, 3.0, -1.0), relaxed.where(x, torch.tensor(3.0), torch.tensor(-1.0), t)),
        (torch.nn.functional.one_hot(gumbel.argmax(1), 3).double(), relaxed.argmax(x, t)),
    ):
        assert ((mean.mean(0) - smooth).abs() < 4 * mean.std(0) / 400_000**0.5).all()


def test_a_smooth_loop_is_the_mean_of_loops_that_end_by_chance() -> None:
    x, t = torch.tensor([2.5, 1.1], dtype=torch.float64), 0.5
    go = [torch.sigmoid((x / 2**k - 1) / t) for k in range(4)]
    ends = [1 - go[0], go[0] * (1 - go[1]), go[0] * go[1] * (1 - go[2]), go[0] * go[1] * go[2] * (1 - go[3])]
    ends.append(go[0] * go[1] * go[2] * go[3])
    count = sum(chance * x * (2 - 2 / 2**k) for k, chance in enumerate(ends))
    torch.testing.assert_close(halving(x, t, "smooth")[1], count)


def test_a_loop_stops_once_nothing_is_left_of_it_and_a_hard_branch_runs_alone() -> None:
    runs = []

    def body(x: Tensor) -> Tensor:
        runs.append(1)
        return x - 1

    for mode in ("hard", "straight_through", "smooth"):
        runs.clear()
        ended = relaxed.while_loop(lambda x: x, body, torch.tensor(3.5), 1000, temperature=0.1, mode=mode)
        assert float(ended) == pytest.approx(-0.5, abs=0.01)
        assert len(runs) == 4 if mode == "hard" else 4 <= len(runs) < 10
    taken = relaxed.branch(torch.tensor(1.0), lambda: "yes", lambda: 1 / 0, temperature=1.0, mode="hard")
    assert taken == "yes"


def test_what_has_ended_stays_ended_although_its_condition_holds_again() -> None:
    # The first row's condition fails at 1 and holds again at 2, while the second row's still does.
    fails_at = torch.tensor([1.0, 3.0])
    for mode in ("hard", "straight_through"):
        ended = relaxed.while_loop(
            lambda x: (x - fails_at).abs() - 0.5, lambda x: x + 1, torch.zeros(2), 9, temperature=0.1, mode=mode
        )
        assert ended.tolist() == [1, 3]


def test_numbers_in_states_are_tensors_of_the_same_kind() -> None:
    def count(x: Tensor, zero: Tensor | int, scale: Tensor | float, mode: str) -> dict[str, Tensor]:
        state = {"x": x, "n": zero, "scale": scale}
        body = lambda s: {"x": s["x"] * s["scale"], "n": s["n"] + 1, "scale": 0.5}  # noqa: E731
        return relaxed.while_loop(lambda s: s["x"] - 1, body, state, 9, temperature=0.1, mode=mode)

    for dtype in (torch.float32, torch.float64):
        x = torch.tensor(5.0, dtype=dtype)
        for mode in ("smooth", "straight_through", "hard"):
            found, wanted = count(x, 0, 0.5, mode), count(x, torch.tensor(0), x.new_tensor(0.5), mode)
            for name, value in found.items():
                assert value.dtype == wanted[name].dtype and torch.equal(value, wanted[name])
        slope = torch.func.grad(lambda x: count(x, 0, 0.5, "smooth")["n"])(x)
        assert slope > 0.1
    assert float(relaxed.while_loop(lambda x: x - 1, lambda x: x / 2, 5.0, 9, temperature=0.1, mode="hard")) == 0.625
    assert int(relaxed.while_loop(lambda n: 1, lambda n: n + 1, 0, 3, temperature=0.1, mode="hard")) == 3
    # Of 0 to 3 steps, by a margin of whole numbers: each test goes on by a chance of sigmoid(margin).
    chances = torch.sigmoid(torch.tensor([2.0, 1.0, 0.0])).cumprod(0)
    counted = relaxed.while_loop(lambda n: 2 - n, lambda n: n + 1, 0, 3, temperature=1.0)
    torch.testing.assert_close(counted, chances.sum())


def test_branches_may_return_numbers() -> None:
    margin = torch.tensor([-0.2, 0.3], dtype=torch.float64)
    for mode in ("smooth", "straight_through", "hard"):
        found = relaxed.branch(margin, lambda: (1.0, 2), lambda: (margin, -2), temperature=0.1, mode=mode)
        one, two = relaxed.where(margin, margin.new_ones(()), margin, 0.1, mode), torch.tensor(2.0).double()
        assert torch.equal(found[0], one)
        torch.testing.assert_close(found[1].double(), relaxed.where(margin, two, -two, 0.1, mode))
    whole = relaxed.branch(1, torch.sin, torch.cos, margin, temperature=1.0)
    torch.testing.assert_close(whole, relaxed.branch(1.0, torch.sin, torch.cos, margin, temperature=1.0))
    assert relaxed.branch(1.0, torch.sin, torch.cos, margin, temperature=1.0, mode="hard").equal(margin.sin())


def test_torch_vmap_is_told_what_to_do_in_its_place() -> None:
    x = torch.tensor([3.0, 5.0])
    for mode in ("smooth", "straight_through", "hard"):
        loop = partial(relaxed.while_loop, lambda s: s - 1, lambda s: s / 2, max_steps=9, temperature=0.1, mode=mode)
        words = (
            r"while_loop: torch\.vmap over margins is not possible, .*; give tensors \[B, \.\.\.\] and a margin per row"
        )
        for mapped in (torch.func.vmap(loop), torch.func.vmap(torch.func.grad(loop))):
            with pytest.raises(BackendError, match=words):
                mapped(x)
        # Rows do what vmap would.
        torch.testing.assert_close(loop(x), torch.stack([loop(each) for each in x]))
    with pytest.raises(BackendError, match=r"branch: torch\.vmap over margins is not possible"):
        torch.func.vmap(lambda x: relaxed.branch(x, torch.sin, torch.cos, x, temperature=1.0, mode="hard"))(x)
    both = torch.func.vmap(lambda x: relaxed.branch(x, torch.sin, torch.cos, x, temperature=1.0))(x)
    torch.testing.assert_close(both, relaxed.branch(x, torch.sin, torch.cos, x, temperature=1.0))
    with pytest.raises(BackendError, match=r"step: torch\.vmap over temperatures is not possible, .*; call it once"):
        torch.func.vmap(lambda t: relaxed.step(x, t))(x)


def test_round_meets_the_integers_and_becomes_the_identity() -> None:
    whole = torch.arange(-2.0, 3.0, dtype=torch.float64)
    torch.testing.assert_close(relaxed.round(whole, 0.2), whole)
    torch.testing.assert_close(relaxed.round(whole - 1e-9, 0.2), whole)
    x = torch.linspace(-1, 1, 50, dtype=torch.float64)
    torch.testing.assert_close(relaxed.round(x, 1e3), x, atol=1e-6, rtol=0)


def test_large_margins_overflow_nowhere() -> None:
    far = torch.tensor([-1e6, 1e6], requires_grad=True)
    for name in ("step", "sign", "clamp", "argmax", "permutation"):
        value = RELAXED[name](far, 1e-3, "smooth")
        torch.testing.assert_close(value, RELAXED[name](far, 1.0, "hard"))
        assert torch.isfinite(torch.autograd.grad(value.square().sum(), far)[0]).all()


def test_a_permutation_sorts_other_values_along() -> None:
    x, y = torch.tensor([0.3, 0.1, 0.2]), torch.tensor([3.0, 1.0, 2.0])
    for mode in ("smooth", "straight_through", "hard"):
        found = relaxed.sort(x, 1e-3, mode)
        torch.testing.assert_close(found.permutation @ y, torch.tensor([1.0, 2.0, 3.0]))
        torch.testing.assert_close(found.permutation @ x, found.values)


def test_what_cannot_be_is_refused() -> None:
    x = torch.ones(2)
    for temperature in (0.0, -1.0, float("nan"), float("inf"), torch.tensor(0.0)):
        with pytest.raises(ShapeError, match=r"step: temperature must be above 0 and finite.*mode='hard'"):
            relaxed.step(x, temperature)
    with pytest.raises(ShapeError, match=r"where: mode must be one of smooth, straight_through, hard, got 'soft'"):
        relaxed.where(x, x, x, 1.0, "soft")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"while_loop: max_steps must be at least 1, got 0"):
        relaxed.while_loop(lambda x: x, lambda x: x, x, 0, temperature=1.0)
    with pytest.raises(ShapeError, match=r"while_loop: states must be tensors or numbers, .* got str"):
        relaxed.while_loop(lambda s: s["x"], lambda s: s, {"x": x, "name": "it"}, 3, temperature=1.0)
    with pytest.raises(ShapeError, match=r"branch: results must be tensors or numbers, .* got NoneType"):
        relaxed.branch(x, lambda: None, lambda: 1.0, temperature=1.0)
    with pytest.raises(ShapeError, match=r"argmax: x must have a last dimension.*got shape \[\]"):
        relaxed.argmax(torch.tensor(1.0), 1.0)
    whole = torch.tensor([1, 2])
    for choice in (relaxed.step, relaxed.sign, relaxed.round, relaxed.argmax, relaxed.sort):
        with pytest.raises(ShapeError, match=f"{choice.__name__}: x must be float32 or float64"):
            choice(whole, 1.0)
    with pytest.raises(ShapeError, match="clamp: x must be float32 or float64"):
        relaxed.clamp(whole, 0.0, 1.0, 1.0)
    with pytest.raises(ShapeError, match=r"while_loop: margin must say how far.* x - y in place of x > y"):
        relaxed.while_loop(lambda s: s < 3, lambda s: s + 1, torch.tensor(0.0), 5, temperature=0.1)
    with pytest.raises(ShapeError, match=r"branch: margin must say how far"):
        relaxed.branch(torch.tensor(True), torch.neg, torch.abs, torch.ones(2), temperature=0.1)
    with pytest.raises(ShapeError, match=r"argmax: x must be a tensor, got list"):
        relaxed.argmax([1.0, 2.0], 0.1)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ShapeError, match=r"where: margin must say how far.* got torch\.bool.* x - y in place of x > y"):
        relaxed.where(torch.ones(2) > 0, torch.ones(2), torch.zeros(2), 0.1)
    with pytest.raises(ShapeError, match=r"step: x must be a tensor, got float"):
        relaxed.step(0.3, 0.1)
    for low, high in ((1.0, 0.0), (torch.tensor([0.0, 2.0]), 1.0), (0.5, torch.zeros(()))):
        with pytest.raises(ShapeError, match="clamp: low must be at most high"):
            relaxed.clamp(torch.ones(2), low, high, 0.1)
    with pytest.raises(ShapeError, match=r"branch: .* the same shapes, got \[2\] and \[3\]"):
        relaxed.branch(torch.ones(()), lambda: torch.zeros(2), lambda: torch.zeros(3), temperature=0.1)
    with pytest.raises(ShapeError, match=r"branch: .* the same nest .* got \{'a': \[\]\} and \[\[\]\]"):
        relaxed.branch(torch.ones(()), lambda: {"a": 1.0}, lambda: [1.0], temperature=0.1)
    with pytest.raises(ShapeError, match=r"while_loop: body must return .* got \[2\] for \[1\]"):
        relaxed.while_loop(lambda s: 3 - s.sum(), lambda s: torch.cat([s, s]), torch.ones(1), 9, temperature=0.1)
    with pytest.raises(ShapeError, match="where: margin must be float32 or float64"):
        relaxed.where(whole, x, x, 1.0)


def test_a_number_is_annealed_by_the_same_factor_and_stays() -> None:
    anneal = relaxed.Anneal(8.0, 0.5, 4)
    assert [anneal.at(step) for step in range(6)] == pytest.approx([8, 4, 2, 1, 0.5, 0.5])
    assert anneal.at(None) == 0.5
    with pytest.raises(ConfigError, match="must be above 0, got 1 and 0"):
        relaxed.Anneal(1.0, 0.0, 4)
    with pytest.raises(ConfigError, match="until must be at least step 1, got 0"):
        relaxed.Anneal(1.0, 0.1, 0)
