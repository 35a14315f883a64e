"""Functions of PyTorch on arrays, and functions of NumPy on tensors, with the rules that they are given."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.small_image import ball_image
from torch import Tensor
from torch.autograd import gradcheck

from diffrender.errors import BackendError, ProgramError, ShapeError
from diffrender.programs.bridges import from_numpy, to_numpy

COLOR = torch.tensor([0.9, 0.5, 0.2])


def test_an_image_of_arrays_is_an_array() -> None:
    image = to_numpy(lambda where, *, color: {"image": ball_image(where["ball"], color), "name": "ball"})
    position = np.array([0.2, 0.1, 0.0], np.float32)
    found = image({"ball": position}, color=COLOR.numpy())
    assert found["name"] == "ball" and isinstance(found["image"], np.ndarray)
    assert np.array_equal(found["image"], ball_image(torch.from_numpy(position), COLOR).numpy())


def test_arrays_of_any_layout_keep_dtype_and_values() -> None:
    same = to_numpy(lambda x: x)
    whole = np.arange(12.0).reshape(3, 4)
    fixed = whole.copy()
    fixed.flags.writeable = False
    for array in (whole, whole[::-1, ::2], whole.T, fixed, np.float32(2.5) * np.ones(()), whole > 3, whole.astype(int)):
        found = same(array)
        assert found.dtype == array.dtype and np.array_equal(found, array)
    assert np.shares_memory(same(whole), whole) and not np.shares_memory(same(fixed), fixed)


def waves(x: np.ndarray, factor: float, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.sin(x) * factor * z, x - z**2


def pull(grads, value, x, factor, z):
    a, b = grads
    assert all(isinstance(each, np.ndarray) for each in (a, b, *value, x, z))
    return a * np.cos(x) * factor * z + b, None, a * np.sin(x) * factor - 2 * b * z


def push(tangents, value, x, factor, z):
    u, _, w = tangents
    return np.cos(x) * u * factor * z + np.sin(x) * factor * w, u - 2 * z * w


def draw(seed: int) -> Tensor:
    return torch.rand(3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.3


@pytest.mark.parametrize("seed", range(3))
def test_rules_in_numpy_serve_both_modes(seed: int) -> None:
    function = from_numpy(waves, vjp=pull, jvp=push)
    inputs = draw(seed).requires_grad_(), draw(seed + 5).requires_grad_()
    assert gradcheck(lambda x, z: function(x, 2.0, z), inputs, check_forward_ad=True)
    x, z = (each.detach() for each in inputs)

    def known(x: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * x.sin() * z, x - z**2

    for jacobian in (torch.func.jacrev, torch.func.jacfwd):
        torch.testing.assert_close(jacobian(lambda x: function(x, 2.0, z))(x), jacobian(known)(x))


def test_float32_stays_float32() -> None:
    function = from_numpy(np.sqrt, vjp=lambda grad, value, x: np.float64(grad) / (2 * value))
    x = torch.tensor([4.0, 9.0], requires_grad=True)
    value = function(x)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert value.dtype == gradient.dtype == torch.float32 and gradient.tolist() == pytest.approx([1 / 4, 1 / 6])


def test_missing_derivatives_are_told() -> None:
    x = draw(0).requires_grad_()
    with pytest.raises(BackendError, match=r"sqrt has no derivative; give the function a rule, vjp="):
        from_numpy(np.sqrt)(x).sum().backward()
    half = from_numpy(np.sqrt, vjp=lambda grad, value, x: grad / (2 * value))
    with pytest.raises(ProgramError, match=r"sqrt has no jvp, and it cannot be found from its vjp"):
        torch.func.jvp(half, (x.detach(),), (x.detach(),))
    (first,) = torch.autograd.grad(half(x).sum(), x, create_graph=True)
    with pytest.raises(BackendError, match="the vjp of sqrt has no derivative"):
        first.sum().backward()
    few = from_numpy(waves, vjp=lambda grads, value, x, factor, z: grads[0])
    with pytest.raises(ShapeError, match="the vjp of waves must return one gradient per argument, 3, got 1"):
        few(x, 2.0, x)[0].sum().backward()
