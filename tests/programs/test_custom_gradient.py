"""custom_gradient: rules are used in both modes, the missing one is found, and what does not fit is refused."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad, gradcheck, gradgradcheck

from diffrender.errors import ConfigError, ProgramError, ShapeError
from diffrender.programs.custom_gradient import custom_gradient


def vjp(grads, value, x, power, z):
    a, b = grads
    return a * power * x ** (power - 1) * z + b, None, a * x**power - 2 * b * z


def jvp(tangents, value, x, power, z):
    u, none, w = tangents
    assert none is None
    return power * x ** (power - 1) * z * u + x**power * w, u - 2 * z * w


RULES = {"vjp": {"vjp": vjp}, "jvp": {"jvp": jvp}, "both": {"vjp": vjp, "jvp": jvp}}


def powers(rules: str):
    """In NumPy, which has no derivatives: x^power z and x - z^2."""

    @custom_gradient(**RULES[rules])
    def function(x: Tensor, power: int, z: Tensor) -> tuple[Tensor, Tensor]:
        a, b = x.numpy(), z.numpy()
        return torch.as_tensor(np.power(a, power) * b), torch.as_tensor(a - b * b)

    return function


def draw(seed: int, *shape: int) -> Tensor:
    return 0.5 + torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("seed", range(3))
def test_both_modes_agree_with_differences(rules: str, seed: int) -> None:
    inputs = draw(seed, 3).requires_grad_(), draw(seed + 10, 3).requires_grad_()
    function = powers(rules)
    assert gradcheck(lambda x, z: function(x, z=z, power=3), inputs, check_forward_ad=True)
    assert gradgradcheck(lambda x, z: function(x, 3, z)[0], inputs, check_fwd_over_rev=True)


@pytest.mark.parametrize("rules", RULES)
def test_torch_func_uses_the_rules(rules: str) -> None:
    function, x, z = powers(rules), draw(0, 4), draw(1, 4)

    def known(x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return x**3 * z, x - z * z

    def own(x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return function(x, 3, z)

    for transform in (torch.func.jacrev, torch.func.jacfwd):
        torch.testing.assert_close(transform(own, (0, 1))(x, z), transform(known, (0, 1))(x, z))
    torch.testing.assert_close(torch.func.vmap(own)(x, z), known(x, z))
    for derived in (torch.func.grad, torch.func.hessian):
        sums = [derived(lambda x, f=f: (f(x, x)[0] + f(x, z)[1]).sum())(x) for f in (own, known)]
        torch.testing.assert_close(*sums)
    by_row = [torch.func.vmap(torch.func.grad(lambda x, z, f=f: f(x, z)[0]))(x, z) for f in (own, known)]
    torch.testing.assert_close(*by_row)


def test_the_rule_counts_and_not_the_function() -> None:
    @custom_gradient(vjp=lambda grad, value, x: -grad)
    def reverse(x: Tensor) -> Tensor:
        return x

    @custom_gradient(vjp=lambda grad, value, x: torch.cat([7 * grad, grad[:1]]))
    def first(x: Tensor) -> Tensor:
        return x[:-1]

    x = draw(0, 3).requires_grad_()
    assert torch.equal(reverse(x), x) and torch.equal(first(x), x[:-1])
    assert torch.autograd.grad(reverse(x).sum(), x)[0].tolist() == [-1, -1, -1]
    assert torch.autograd.grad(first(x).sum(), x)[0].tolist() == [7, 7, 1]
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x.detach(), torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
        assert forward_ad.unpack_dual(reverse(dual)).tangent.tolist() == [-1, -2, -3]
        assert forward_ad.unpack_dual(first(dual)).tangent.tolist() == [7 + 3, 14]


LARGEST = {
    "vjp": {"vjp": lambda grads, value, x: torch.zeros_like(x).scatter(0, value[1][None], 3 * grads[0][None])},
    "jvp": {"jvp": lambda tangents, value, x: (3 * tangents[0][value[1]], None)},
}


@pytest.mark.parametrize("rules", LARGEST)
def test_an_index_among_the_results_has_no_derivative_in_either_mode(rules: str) -> None:
    @custom_gradient(**LARGEST[rules])
    def largest(x: Tensor) -> tuple[Tensor, Tensor]:
        return 3 * x.max(), x.argmax()

    x, slope = torch.tensor([1.0, 5.0, 2.0], dtype=torch.float64), [0, 3, 0]
    (value, index), (tangent, of_index) = torch.func.jvp(largest, (x,), (torch.tensor([1.0, 2.0, 4.0]).double(),))
    assert (float(value), int(index), float(tangent)) == (15, 1, 6) and not of_index.any()
    for jacobian in (torch.func.jacrev, torch.func.jacfwd):
        assert jacobian(lambda x: largest(x)[0])(x).tolist() == slope
    leaf = x.clone().requires_grad_()
    value, index = largest(leaf)
    assert not index.requires_grad and torch.autograd.grad(value, leaf)[0].tolist() == slope
    with forward_ad.dual_level():
        value, index = largest(forward_ad.make_dual(x, torch.ones_like(x)))
        assert float(forward_ad.unpack_dual(value).tangent) == 3 and forward_ad.unpack_dual(index).tangent is None


def test_a_function_that_returns_an_index_alone_has_no_derivative() -> None:
    where = custom_gradient(lambda x: x.argmax(), vjp=lambda grad, value, x: None)
    x = draw(0, 3)
    value, tangent = torch.func.jvp(where, (x,), (x,))
    assert value == x.argmax() and tangent == 0
    assert not where(x.requires_grad_()).requires_grad


@pytest.mark.parametrize("rules", [{"vjp": lambda g, v, x, f: (g * f, None)}, {"jvp": lambda t, v, x, f: t[0] * f}])
def test_derivatives_of_complex_numbers_are_refused(rules) -> None:
    @custom_gradient(**rules)
    def times(x: Tensor, factor: Tensor) -> Tensor:
        return x * factor

    z, x = torch.ones(2, dtype=torch.complex64), torch.ones(2)
    assert torch.equal(times(z, z), z)
    for argument, factor in ((z, x), (x, z)):  # its argument, or its result
        with pytest.raises(ShapeError, match=r"times has no derivative of complex numbers, got torch\.complex64;"):
            times(argument.clone().requires_grad_(), factor).abs().sum().backward()
        with pytest.raises(ShapeError, match="times has no derivative of complex numbers"):
            torch.func.jvp(lambda a, factor=factor: times(a, factor), (argument,), (argument,))
    # A complex constant does not stand in the way of what is real.
    real = custom_gradient(lambda x, z: x * z.abs(), vjp=lambda g, v, x, z: (g * z.abs(), None))
    leaf = x.clone().requires_grad_()
    real(leaf, 2 * z).sum().backward()
    assert leaf.grad is not None and leaf.grad.tolist() == [2, 2]
    assert torch.func.jvp(lambda x: real(x, 2 * z), (x,), (x,))[1].tolist() == [2, 2]


def test_a_tensor_that_the_function_keeps_is_no_part_of_the_graph() -> None:
    kept = draw(1, 3)

    @custom_gradient(vjp=lambda grad, value, x: grad)
    def constant(x: Tensor) -> Tensor:
        return kept

    assert constant(draw(0, 3).requires_grad_()).requires_grad
    assert not kept.requires_grad and kept.grad_fn is None


def test_only_some_arguments_and_results_need_a_derivative() -> None:
    function, x, z = powers("both"), draw(0, 3).requires_grad_(), draw(1, 3)
    value, other = function(x, 2, z)
    assert torch.equal(torch.autograd.grad(other.sum(), x)[0], torch.ones(3, dtype=torch.float64))
    assert not function(x.detach(), 2, z)[0].requires_grad
    _, tangents = torch.func.jvp(lambda z: function(x.detach(), 2, z), (z,), (torch.ones_like(z),))
    torch.testing.assert_close(tangents, (x.detach() ** 2, -2 * z))
    assert value.requires_grad


def test_derivatives_have_the_dtype_of_what_they_are_of() -> None:
    @custom_gradient(vjp=lambda g, v, x: 2 * g.double(), jvp=lambda t, v, x: 2 * t[0].double())
    def twice(x: Tensor) -> Tensor:
        return 2 * x

    x = torch.ones(3, requires_grad=True)
    (gradient,) = torch.autograd.grad(twice(x).sum(), x)
    _, tangent = torch.func.jvp(twice, (x.detach(),), (x.detach(),))
    assert gradient.dtype == tangent.dtype == torch.float32
    with forward_ad.dual_level():
        assert (
            forward_ad.unpack_dual(twice(forward_ad.make_dual(x.detach(), x.detach()))).tangent.dtype == torch.float32
        )


def returning(**rules):
    @custom_gradient(**rules)
    def twice(x: Tensor, y: Tensor) -> Tensor:
        return 2 * x

    return twice


@pytest.mark.parametrize(
    ("gradients", "words"),
    [
        (lambda g, v, x, y: g, "the vjp of twice must return one gradient per argument, 2, got 1"),
        (
            lambda g, v, x, y: (g[:1], None),
            r"gradient 0 of the vjp of twice must be a tensor of shape \[3\], got shape",
        ),
        (lambda g, v, x, y: (g, g.sum()), r"gradient 1 of the vjp of twice .* \[3\], got shape \[\]"),
        (lambda g, v, x, y: (g, 0.0), r"gradient 1 of the vjp of twice .* \[3\], got float"),
    ],
)
def test_gradients_that_do_not_fit_are_refused(gradients, words: str) -> None:
    x = draw(0, 3).requires_grad_()
    with pytest.raises(ShapeError, match=words):
        returning(vjp=gradients)(x, x).sum().backward()
    with pytest.raises(ShapeError, match=words):
        torch.func.grad(lambda x: returning(vjp=gradients)(x, x).sum())(x.detach())


def test_tangents_that_do_not_fit_are_refused() -> None:
    x = draw(0, 3)
    for tangent, words in (
        (lambda t, v, x, y: t, "the jvp of twice must return one tangent per result, 1, got 2"),
        (lambda t, v, x, y: t[0][:2], r"tangent 0 of the jvp of twice .* \[3\], got shape \[2\]"),
    ):
        twice = returning(jvp=tangent)
        with pytest.raises(ShapeError, match=words):
            torch.func.jvp(lambda x, twice=twice: twice(x, x), (x,), (x,))


def test_what_is_missing_is_told() -> None:
    with pytest.raises(ConfigError, match=r"give a rule, @custom_gradient\(vjp=\.\.\.\)"):
        custom_gradient(torch.sin)
    of_arrays = custom_gradient(vjp=lambda g, out, x: g)(lambda x: x.detach().numpy())
    with pytest.raises(ProgramError, match=r"tuple of tensors, got ndarray; programs\.bridges\.from_numpy takes"):
        of_arrays(torch.ones(2, requires_grad=True))
    with pytest.raises(ProgramError, match=r"<lambda> must return a tensor or a tuple of tensors, got float$"):
        custom_gradient(lambda x: 1.0, vjp=lambda g, v, x: g)(draw(0, 1))

    def by_name(x: Tensor, *, scale: float) -> Tensor:
        return x * scale

    with pytest.raises(ConfigError, match="by_name has arguments that can be given by name alone"):
        custom_gradient(by_name, vjp=lambda g, v, x: g)(draw(0, 1), scale=2.0)
    in_numpy = returning(vjp=lambda g, v, x, y: (torch.from_numpy(2 * g.numpy()), None))
    x = draw(0, 3).requires_grad_()
    in_numpy(x, x).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [2, 2, 2]
    with pytest.raises(ProgramError, match=r"twice has no jvp, and it cannot be found from its vjp.*give jvp="):
        torch.func.jvp(lambda x: in_numpy(x, x), (x.detach(),), (x.detach(),))


@dataclass
class Holder:
    inner: object


class Slotted:
    __slots__ = ("inner",)

    def __init__(self, inner: object) -> None:
        self.inner = inner


class Derived(Slotted):
    __slots__ = ("more",)


@pytest.mark.parametrize("kind", [
    Holder,
    Slotted,
    lambda x: Holder(Holder([x])),
    lambda x: Holder(Holder(Holder(Holder(Holder(Holder(x)))))),
    Derived,  # the slot is of its base
    lambda x: Holder(MappingProxyType({"a": x})),
    lambda x: Holder({x}),
    lambda x: Holder(partial(print, x)),
    lambda x: Holder(Holder(x).__eq__),
])  # fmt: skip
def test_tensors_within_objects_are_refused_if_their_derivative_is_needed(kind) -> None:
    first = custom_gradient(lambda x, holder: x * 1, vjp=lambda g, v, x, holder: (g, None))
    x, other = draw(0, 3), draw(1, 3)
    with pytest.raises(ShapeError, match=r"argument 2 of <lambda> is a (Holder|Slotted|Derived) that holds a tensor"):
        first(x, kind(other.clone().requires_grad_()))
    torch.testing.assert_close(first(x, kind(other)), x)
    looped = Holder(None)
    looped.inner = looped
    first(x, looped)


def test_tensors_that_a_function_closes_over_are_refused_if_their_derivative_is_needed() -> None:
    def made(weight: Tensor):
        return custom_gradient(lambda x: x * weight, vjp=lambda g, v, x: g * weight)

    x, weight = draw(0, 3), draw(1, 3)
    with pytest.raises(ShapeError, match="<lambda> closes over a tensor whose"):
        torch.func.grad(lambda w: made(w)(x).sum())(weight)
    torch.testing.assert_close(made(weight)(x), x * weight)


def test_functions_that_hold_tensors_are_refused_if_their_derivative_is_needed() -> None:
    weight, x = torch.tensor(2.0, requires_grad=True), torch.ones(3, requires_grad=True)
    for function in (partial(torch.mul, weight), torch.nn.Linear(3, 3)):
        held = custom_gradient(function, vjp=lambda grad, value, x: grad)
        with pytest.raises(ShapeError, match="that holds a tensor whose derivative is needed"):
            held(x)
    free = custom_gradient(partial(torch.mul, weight.detach()), vjp=lambda grad, value, x: 2 * grad)
    assert torch.autograd.grad(free(x).sum(), x)[0].tolist() == [2.0] * 3


GLOBAL = torch.tensor(2.0)


def test_tensors_of_its_module_that_a_function_uses_are_refused_if_their_derivative_is_needed(monkeypatch) -> None:
    twice = custom_gradient(lambda x: x * GLOBAL, vjp=lambda grad, value, x: grad * GLOBAL)
    x = torch.ones(3, requires_grad=True)
    assert torch.autograd.grad(twice(x).sum(), x)[0].tolist() == [2.0] * 3
    monkeypatch.setitem(globals(), "GLOBAL", torch.tensor(2.0, requires_grad=True))
    with pytest.raises(ShapeError, match="uses of its module a tensor whose derivative is needed"):
        twice(x)


@pytest.mark.parametrize(
    ("rules", "of"),
    [
        ({"vjp": lambda grad, value, x: 1 / (2 * value)}, "`grad`"),
        ({"vjp": lambda grad, value, x: grad**2 / (2 * value)}, "`grad`"),
        ({"jvp": lambda tangents, value, x: 1 / (2 * value)}, "`tangents`"),
    ],
)
@pytest.mark.parametrize("way", ["backward", "jacfwd", "jacrev"])
def test_a_rule_that_is_not_linear_is_refused(rules, of: str, way: str) -> None:
    root = custom_gradient(torch.sqrt, **rules)
    x = torch.tensor([1.0, 4.0])
    root(x)  # no derivative: rules do not matter
    derivative = {
        "backward": lambda: root(x.clone().requires_grad_()).sum().backward(),
        "jacfwd": lambda: torch.func.jacfwd(root)(x),
        "jacrev": lambda: torch.func.jacrev(root)(x),
    }[way]
    with pytest.raises(ProgramError, match=f"of sqrt is not linear in {of}, its first argument"):
        derivative()


def test_rules_that_draw_random_numbers_or_clip_gradients_are_taken() -> None:
    x = torch.ones(4, requires_grad=True)
    for rule in (lambda grad, value, x: grad + torch.randn(4), lambda grad, value, x: grad.clamp(-0.1, 0.1)):
        same = custom_gradient(torch.sqrt, vjp=rule)
        assert torch.autograd.grad(same(x).sum(), x)[0].shape == (4,)


@pytest.mark.parametrize("way", ["backward", "jacfwd"])
def test_a_rule_that_fails_is_told_with_its_line(way: str) -> None:
    def failing(*arguments):
        raise ValueError("no solution")

    root = custom_gradient(torch.sqrt, vjp=failing, jvp=failing)
    x = torch.ones(2)
    with pytest.raises(ProgramError, match=r"test_custom_gradient.py, line \d+: .* of sqrt failed: ValueError: no sol"):
        root(x.clone().requires_grad_()).sum().backward() if way == "backward" else torch.func.jacfwd(root)(x)


def test_modules_that_a_function_closes_over_or_is_bound_to_are_refused_if_their_derivative_is_needed() -> None:
    class Scaled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = torch.tensor(2.0, dtype=torch.float64)  # neither a parameter nor a buffer

        def forward(self, x: Tensor) -> Tensor:
            return x * self.factor

    x, module = draw(0, 3), Scaled()
    bound = custom_gradient(module.forward, vjp=lambda g, v, x: g * module.factor)
    closing = custom_gradient(lambda x: module(x), vjp=lambda g, v, x: g * module.factor)
    for call in (bound, closing):
        torch.testing.assert_close(call(x), 2 * x)
    module.factor.requires_grad_()
    with pytest.raises(ShapeError, match="forward is bound to a Scaled that holds a tensor"):
        bound(x)
    with pytest.raises(ShapeError, match="<lambda> closes over a Scaled that holds a tensor"):
        closing(x)


def test_tensors_within_arguments_are_refused_if_their_derivative_is_needed() -> None:
    """Autograd sees the arguments alone: of what is in a list, all would be silently zero."""
    add = custom_gradient(lambda x, others: x + sum(others), vjp=lambda g, v, x, others: (g, None))
    x, other = draw(0, 3), draw(1, 3)
    leaf = other.clone().requires_grad_()
    for nest in ([leaf], (1, {"a": 2 * leaf})):
        with pytest.raises(ShapeError, match=r"argument 2 of <lambda> is a (list|tuple) that holds a tensor"):
            add(x, nest)
    with pytest.raises(ShapeError, match="holds a tensor"):
        torch.func.jvp(lambda y: add(x, [y]), (other,), (other,))
    network = custom_gradient(lambda x, layer: layer(x), vjp=lambda g, v, x, layer: (g, None))
    layer = torch.nn.Linear(3, 3, dtype=torch.float64)
    for nest in (layer, [layer]):
        with pytest.raises(ShapeError, match=r"is a (Linear|list) that holds.*requires_grad_\(False\)` of a module"):
            network(x, nest)
    with pytest.raises(ShapeError, match=r"under torch\.vmap takes tensors, not nests"):
        torch.vmap(lambda y: add(x, [y]))(torch.stack([other, other]))
    x.requires_grad_()
    torch.testing.assert_close(add(x, [other, leaf.detach()]), x + 2 * other)
    network(x, layer.requires_grad_(False)).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [1, 1, 1]
    with torch.no_grad():
        add(x, [leaf])
