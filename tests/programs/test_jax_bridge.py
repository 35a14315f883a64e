"""Functions of PyTorch in JAX, our images among them, and of JAX in PyTorch: values and derivatives are the same."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.small_image import BALL, SIZE, ball_image
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from diffrender.errors import BackendError, ProgramError, ShapeError
from diffrender.fit.fit_program import fit_program
from diffrender.fit.program import Parameter, Program, with_parameters
from diffrender.programs.bridges import from_jax, to_jax
from diffrender.readers.captures.synthetic import synthetic_views
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials.unlit import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene

jax: Any = pytest.importorskip("jax", reason="JAX is not installed: pip install 'diffrender[jax]'")
jnp = jax.numpy


def loop(x: Any) -> Any:
    """The loop whose derivative is 10."""
    y = 0.0
    for _ in range(10):
        y = y + x
    return y


def pull_left(scale: Tensor) -> Tensor:
    """An image that the number decides the size and the place of a ball in."""
    side = torch.stack([0.2 * scale, 0 * scale, 0 * scale])
    return ball_image(side, torch.tensor([0.9, 0.5, 0.2]), scale)


def brightness(image: Any) -> Any:
    return (image[..., :3] ** 2).mean() + image[:, : SIZE // 2].mean()


def test_a_loop_in_jax_has_its_derivative_through_our_image() -> None:
    assert float(jax.grad(loop)(0.1)) == 10
    image = to_jax(pull_left, (SIZE, SIZE, 4))
    y = torch.tensor(1.0, requires_grad=True)
    expected = brightness(pull_left(y))
    (slope,) = torch.autograd.grad(expected, y)
    assert abs(slope) > 0.05

    def whole(x: Any) -> Any:
        return brightness(image(loop(x)))

    for function in (whole, jax.jit(whole)):
        value, gradient = jax.value_and_grad(function)(jnp.float32(0.1))
        assert float(value) == pytest.approx(float(expected.detach()), rel=1e-5)
        assert float(gradient) == pytest.approx(10 * float(slope), rel=1e-4)
        _, tangent = jax.jvp(function, (jnp.float32(0.1),), (jnp.float32(2.0),))
        assert float(tangent) == pytest.approx(20 * float(slope), rel=1e-4)


def test_an_image_may_be_in_the_loop() -> None:
    image = to_jax(pull_left, (SIZE, SIZE, 4))

    def step(x: Any, picture: Any) -> Any:
        return x + 0.3 * brightness(picture)

    def in_jax(x: Any) -> Any:
        return jax.lax.scan(lambda y, _: (step(y, image(y)), None), x, length=4)[0]

    y = x = torch.tensor(0.5, requires_grad=True)
    for _ in range(4):
        y = step(y, pull_left(y))
    (slope,) = torch.autograd.grad(y, x)
    value, gradient = jax.value_and_grad(jax.jit(in_jax))(jnp.float32(0.5))
    assert float(value) == pytest.approx(float(y.detach()), rel=1e-5)
    assert float(gradient) == pytest.approx(float(slope), rel=1e-4) and abs(slope - 1) > 0.05


def pair(x: Tensor, index: Tensor, more: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"wave": x.sin() * more["w"][index].sum(), "sum": (x.sum() * more["w"])[:2]}


def pair_in_jax(x: Any, index: Any, more: dict[str, Any]) -> dict[str, Any]:
    return {"wave": jnp.sin(x) * more["w"][index].sum(), "sum": (x.sum() * more["w"])[:2]}


X, INDEX, MORE = np.array([0.3, -0.5, 1.2], np.float32), np.array([0, 2, 2]), {"w": np.arange(1, 5, dtype=np.float32)}


def of_rows(f: Any, axis: int) -> Any:
    """The gradient for each of some rows of x, which are along `axis`."""
    return lambda x, k, d: jax.vmap(jax.grad(squares(f)), (axis, None, None))(jnp.stack([x, 2 * x], axis), k, d)


def squares(function: Any) -> Any:
    return lambda *arguments: sum(jnp.sum(each**2) for each in function(*arguments).values())


TRANSFORMS = {
    "value": lambda f: f,
    "grad": lambda f: jax.grad(squares(f), (0, 2)),
    "grad of one result": lambda f: jax.grad(lambda x, k, d: f(x, k, d)["wave"].sum(), (0, 2)),
    "jacrev": lambda f: jax.jacrev(f, (0, 2)),
    "jacfwd": lambda f: jax.jacfwd(f, (0, 2)),
    "jvp": lambda f: lambda x, k, d: jax.jvp(lambda x, d: f(x, k, d), (x, d), (2 * x, d)),
    "vmap": lambda f: lambda x, k, d: jax.vmap(f, (0, None, None))(jnp.stack([x, 2 * x]), k, d),
    "vmap of grad by columns": lambda f: of_rows(f, 1),
    "vmap of grad": lambda f: (
        lambda x, k, d: jax.vmap(jax.grad(squares(f)), (None, 0, None))(x, jnp.stack([k, 0 * k]), d)
    ),
}


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("compiled", [False, True])
def test_jax_transforms_functions_of_tensors_as_its_own(name: str, compiled: bool) -> None:
    result = {"wave": jax.ShapeDtypeStruct((3,), np.float32), "sum": jax.ShapeDtypeStruct((2,), np.float32)}
    arguments = jax.tree.map(jnp.asarray, (X, INDEX, MORE))
    found, expected = (TRANSFORMS[name](f) for f in (to_jax(pair, result), pair_in_jax))
    found = (jax.jit(found) if compiled else found)(*arguments)
    leaves, tree = jax.tree.flatten(found)
    wanted, same_tree = jax.tree.flatten(expected(*arguments))
    assert tree == same_tree
    for leaf, want in zip(leaves, wanted, strict=True):
        np.testing.assert_allclose(leaf, want, rtol=1e-5, atol=1e-6)


def test_what_does_not_depend_has_gradient_0_and_second_derivatives_are_refused() -> None:
    constant = to_jax(lambda x: torch.ones(2), (2,))
    assert jax.grad(lambda x: constant(x).sum())(jnp.ones(3)).tolist() == [0, 0, 0]
    first = to_jax(lambda x, y: 2 * x, (3,))
    found = jax.grad(lambda x, y: first(x, y).sum(), (0, 1))(jnp.ones(3), jnp.ones(2))
    assert [each.tolist() for each in found] == [[2, 2, 2], [0, 0]]
    sine = to_jax(torch.sin, (3,))
    with pytest.raises(BackendError, match="second derivatives are not possible"):
        jax.hessian(lambda x: sine(x).sum())(jnp.ones(3))


def test_a_tangent_has_a_gradient_by_the_direction_that_it_is_along() -> None:
    product = to_jax(lambda x, y: x * y, (3,))
    x, y = jnp.arange(1.0, 4.0), jnp.arange(4.0, 7.0)

    def along(direction: Any) -> Any:
        return jax.jvp(product, (x, y), (direction, jnp.ones(3)))[1].sum()

    assert jax.grad(along)(x).tolist() == [4, 5, 6]
    assert jax.jvp(along, (x,), (x,))[1] == 4 + 2 * 5 + 3 * 6


def test_results_that_are_not_as_declared_are_told() -> None:
    with pytest.raises(Exception, match=r"`result` says shape \[2\], but the function returned \[3\]"):
        to_jax(torch.sin, (2,))(jnp.ones(3)).block_until_ready()
    with pytest.raises(ShapeError, match=r"result must be a shape, such as \(64, 64, 4\).* got str"):
        to_jax(torch.sin, "image")(jnp.ones(3))
    with pytest.raises(Exception, match=r"`result` says PyTreeDef\(\(\*, \*\)\), but the function returned PyTreeDef"):
        shape = jax.ShapeDtypeStruct((3,), np.float32)
        to_jax(torch.sin, (shape, shape))(jnp.ones(3))


@pytest.mark.parametrize(
    ("function", "dtype", "words"),
    [
        (lambda x: x.double(), np.float32, r"`result` says float32, but the function returned torch\.float64; convert"),
        (lambda x: x + 0.7, np.int32, r"says int32, but the function returned torch\.float32"),
        (lambda x: x > 0, np.float32, r"says float32, but the function returned torch\.bool"),
    ],
)
def test_results_are_not_cast(function: Any, dtype: Any, words: str) -> None:
    with pytest.raises(Exception, match=words):
        to_jax(function, jax.ShapeDtypeStruct((3,), dtype))(jnp.ones(3)).block_until_ready()


def test_indices_are_results_of_their_own_dtype() -> None:
    result = (jax.ShapeDtypeStruct((), np.float32), jax.ShapeDtypeStruct((), np.int32))
    largest = to_jax(lambda x: (x.max(), x.argmax().int()), result)
    value, index = largest(jnp.array([1.0, 4.0, 2.0]))
    assert (float(value), int(index)) == (4, 1)


def test_complex_numbers_are_refused_by_name() -> None:
    z = jnp.ones(2, np.complex64)
    for transform in (lambda f: f, lambda f: jax.grad(lambda z: f(z).sum())):
        with pytest.raises(
            ShapeError, match=r"bridges\.to_jax: complex numbers have no derivative here, got complex64"
        ):
            transform(to_jax(torch.abs, jax.ShapeDtypeStruct((2,), np.float32)))(z)
    with pytest.raises(ShapeError, match=r"bridges\.to_jax: complex numbers"):
        to_jax(lambda x: x * 1j, jax.ShapeDtypeStruct((2,), np.complex64))(jnp.ones(2))
    tensor = torch.ones(2, dtype=torch.complex64)
    assert from_jax(jnp.abs)(tensor).tolist() == [1, 1]
    with pytest.raises(ShapeError, match="has no derivative of complex numbers"):
        from_jax(jnp.abs)(tensor.requires_grad_()).sum().backward()
    with pytest.raises(ShapeError, match="has no derivative of complex numbers"):
        torch.func.jvp(from_jax(lambda x: x * 1j), (torch.ones(2),), (torch.ones(2),))
    with pytest.raises(ShapeError, match=r"JAX computes in float32, got torch\.complex128; .* \.cfloat\(\)"):
        from_jax(jnp.abs)(torch.ones(2, dtype=torch.complex128))


def wave(x: Any, index: Any, factor: Any) -> tuple[Any, Any]:
    return jnp.sin(x) * factor, x[index] ** 2


@pytest.fixture
def in_float64() -> Iterator[None]:
    """JAX computes in float64 meanwhile."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def test_functions_of_jax_have_derivatives_of_any_order_in_pytorch(in_float64: None) -> None:
    index = torch.tensor([0, 2])
    x = torch.tensor([0.3, -0.5, 1.2], dtype=torch.float64, requires_grad=True)
    function = from_jax(wave)
    assert all(map(torch.equal, function(x, index, 2.0), (2 * x.sin(), x[index] ** 2)))
    assert gradcheck(lambda x: function(x, index, 2.0), (x,), check_forward_ad=True)
    assert gradgradcheck(lambda x: function(x, index, 2.0), (x,), check_fwd_over_rev=True)
    plain = x.detach()
    for jacobian in (torch.func.jacrev, torch.func.jacfwd):
        found = jacobian(lambda x: function(x, index, 2.0)[0])(plain)
        torch.testing.assert_close(found, torch.diag(2 * plain.cos()))
    hessian = torch.func.hessian(lambda x: function(x, index, 2.0)[0].sum())(plain)
    torch.testing.assert_close(hessian, torch.diag(-2 * plain.sin()))


def test_nests_of_arrays_are_taken_and_returned(in_float64: None) -> None:
    def moments(balls: dict[str, Any], order: list[Any], scale: float) -> dict[str, Any]:
        x = balls["x"] * scale
        return {"all": [x**2, (jnp.sin(x[order[0]]),)], "first": jnp.argmin(x), "near": x < 0.5}

    function, order = from_jax(moments), [torch.tensor([2, 0])]
    x = torch.tensor([0.3, -0.5, 1.2], dtype=torch.float64, requires_grad=True)
    found = function({"x": x}, order, 2.0)
    assert torch.equal(found["all"][0], 4 * x**2) and isinstance(found["all"][1], tuple)
    assert found["first"].dtype == torch.int64 and int(found["first"]) == 1
    assert found["near"].tolist() == [False, True, False] and not found["near"].requires_grad

    def reals(x: Tensor) -> tuple[Tensor, Tensor]:
        nest = function({"x": x}, order, scale=2.0)["all"]
        return nest[0], nest[1][0]

    assert gradcheck(reals, (x,), check_forward_ad=True)
    assert gradgradcheck(reals, (x,), check_fwd_over_rev=True)


def test_integers_of_jax_have_no_derivative_in_either_mode() -> None:
    largest = from_jax(lambda x: (3 * jnp.max(x), jnp.argmax(x)))
    x = torch.tensor([1.0, 5.0, 2.0])
    (value, index), (tangent, of_index) = torch.func.jvp(largest, (x,), (torch.tensor([1.0, 2.0, 4.0]),))
    assert (float(value), int(index), float(tangent)) == (15, 1, 6) and not of_index.any()
    for jacobian in (torch.func.jacrev, torch.func.jacfwd):
        assert jacobian(lambda x: largest(x)[0])(x).tolist() == [0, 3, 0]
    alone, none = torch.func.jvp(from_jax(jnp.argmax), (x,), (x,))
    assert alone == 1 and none == 0


def test_integers_that_jax_does_not_hold_are_refused() -> None:
    same = from_jax(lambda k: k)
    assert same(torch.tensor([-(2**31), 2**31 - 1])).tolist() == [-(2**31), 2**31 - 1]
    for number in (2**31, 2**40 + 3, -(2**31) - 1):
        with pytest.raises(ShapeError, match=r"JAX computes in int32, which does not hold all numbers .*int64; jax\."):
            same(torch.tensor([1, number]))
    jax.config.update("jax_enable_x64", True)
    try:
        assert same(torch.tensor(2**40 + 3)) == 2**40 + 3
    finally:
        jax.config.update("jax_enable_x64", False)


def test_a_function_that_returns_nothing_is_told() -> None:
    with pytest.raises(ProgramError, match=r"bridges\.from_jax: nothing must return arrays, got PyTreeDef\(None\)"):
        from_jax(nothing)(torch.ones(1))


def nothing(x: Any) -> None:
    """Return nothing."""


def test_functions_of_tensors_compute_in_float64_where_jax_does(in_float64: None) -> None:
    x = jnp.linspace(0.0, 1.0, 3)
    value, gradient = jax.value_and_grad(lambda x: to_jax(torch.sin, (3,))(x).sum())(x)
    assert value.dtype == gradient.dtype == np.float64
    np.testing.assert_allclose(gradient, np.cos(x), rtol=1e-14)


def test_a_function_of_jax_moves_a_ball_in_our_image() -> None:
    place = from_jax(lambda t: jnp.stack([jnp.sin(t), 0.2 * t, 0 * t]))

    def loss(t: Tensor, place: Any) -> Tensor:
        return brightness(ball_image(place(t), torch.tensor([0.2, 0.7, 0.4])))

    t = torch.tensor(0.2)
    expected = torch.func.grad(lambda t: loss(t, lambda t: torch.stack([t.sin(), 0.2 * t, 0 * t])))(t)
    assert abs(float(expected)) > 0.01
    torch.testing.assert_close(torch.func.grad(lambda t: loss(t, place))(t), expected)
    torch.testing.assert_close(torch.func.jvp(lambda t: loss(t, place), (t,), (torch.ones(()),))[1], expected)


def test_an_argument_that_is_returned_does_not_share_its_memory() -> None:
    x = torch.ones(3)
    same = from_jax(lambda x: x)(x)
    same.add_(1)
    assert x.tolist() == [1, 1, 1] and same.tolist() == [2, 2, 2]


def test_a_program_in_jax_is_learned_from_views() -> None:
    fall = from_jax(lambda speed, time: jnp.stack([0 * time, speed * time - 0.5 * time**2, 0 * time], 1))

    def throw(speed: Tensor, time: Tensor) -> dict[str, Tensor]:
        return {"objects.ball.position": fall(speed.float(), time.float())}

    times = torch.linspace(0.2, 1.4, 4, dtype=torch.float64)
    cameras = Cameras.perspective(torch.tensor([[0.0, 0.3, 4.0]]).expand(4, 3), height=32, width=32)
    still = Scene({"ball": Object(Mesh(0.4 * BALL.vertices.float(), BALL.faces), Unlit(torch.ones(3)))})
    moving = Program(throw, times)(with_parameters(still, {"speed": Parameter(0.9)}))
    views = synthetic_views(moving, replace(cameras, time=times), 6)
    found = fit_program(throw, views, {"speed": Parameter(0.6, range=(0, 2))}, still, steps=40, lr=0.1)
    assert float(found.parameters["speed"]) == pytest.approx(0.9, rel=0.01)


def test_float64_needs_jax_to_compute_in_it() -> None:
    with pytest.raises(ShapeError, match=r"JAX computes in float32, got torch.float64; jax\.config\.update"):
        from_jax(jnp.sin)(torch.ones(2, dtype=torch.float64))


def test_what_to_install_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    for function, name in ((lambda: to_jax(torch.sin, (3,)), "to_jax"), (lambda: from_jax(torch.sin), "from_jax")):
        with pytest.raises(BackendError, match=rf"bridges\.{name} needs jax, .*: pip install 'diffrender\[jax\]'"):
            function()
