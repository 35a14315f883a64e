"""Functions of PyTorch in JAX, and of JAX in PyTorch, with their derivatives; arrays are shared by DLPack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.programs.bridges.imported import imported
from diffrender.programs.bridges.jax_linear import Linear
from diffrender.programs.custom_gradient import custom_gradient


def to_jax(function: Callable[..., Any], result: Any) -> Callable[..., Any]:
    """Return a function of tensors as one of JAX arrays, which jax.grad, jvp, jacfwd, jacrev, vmap and jit may take.

        image = bridges.to_jax(lambda vertices: render(vertices).rgba, (1, 64, 64, 4))
        gradient = jax.grad(lambda vertices: image(vertices).mean())(vertices)

    function: of tensors, or dicts and tuples of them, which it must not change; it returns such. It runs on the CPU,
        as a callback: the same arguments must give the same result. Its derivatives are PyTorch's, of the first order;
        computing them runs it once more.
    result: what it returns: the shape of a single array, in the dtype of the first floating-point argument; or a
        jax.ShapeDtypeStruct, or a dict or tuple of those.

    Raises BackendError if JAX is not installed. JAX reports errors of the function, and ShapeError where it returns
    anything but `result`, as its own JaxRuntimeError with their text.
    """
    jax = imported("jax", "to_jax")

    @jax.custom_jvp
    def call(*arguments: Any) -> Any:
        leaves, tree = jax.tree.flatten(arguments)
        torched = _Torched(function, tree, *_declared(result, leaves))
        found = jax.pure_callback(torched.value, torched.image, *leaves, vmap_method="sequential")
        return jax.tree.unflatten(torched.image_tree, found)

    @call.defjvp
    def _(arguments: Any, tangents: Any) -> tuple[Any, Any]:
        leaves, tree = jax.tree.flatten(arguments)
        torched = _Torched(function, tree, *_declared(result, leaves))
        moves = [place for place, leaf in enumerate(leaves) if _is_real(leaf)]
        rows = jax.tree.leaves(tangents)
        linear = Linear(
            lambda *arrays: torched.tangents(arrays[: len(leaves)], moves, arrays[len(leaves) :]),
            lambda *arrays: torched.gradients(arrays[: len(leaves)], moves, arrays[len(leaves) :]),
            tuple(jax.ShapeDtypeStruct(leaves[place].shape, leaves[place].dtype) for place in moves),
            torched.image,
        )
        tangent = linear(leaves, [rows[place] for place in moves])
        return call(*arguments), jax.tree.unflatten(torched.image_tree, tangent)

    return lambda *arguments: call(*jax.tree.map(jax.numpy.asarray, arguments))


class _Torched:
    """A function of tensors as callbacks on the leaves of its arguments."""

    def __init__(self, function: Callable[..., Any], tree: Any, image: tuple[Any, ...], image_tree: Any) -> None:
        self._function, self._tree = function, tree
        self.image, self.image_tree = image, image_tree

    def value(self, *arrays: Any) -> list[Any]:
        with torch.no_grad():
            return [_array(each) for each in self._run([torch.from_dlpack(array) for array in arrays])]

    def tangents(self, arrays: Sequence[Any], moves: Sequence[int], tangents: Sequence[Any]) -> list[Any]:
        of_moving, moving = self._of_moving(arrays, moves)
        _, found = torch.func.jvp(of_moving, moving, tuple(map(torch.from_dlpack, tangents)))
        return [_array(each) for each in found]

    def gradients(self, arrays: Sequence[Any], moves: Sequence[int], grads: Sequence[Any]) -> list[Any]:
        of_moving, moving = self._of_moving(arrays, moves)
        moving = tuple(each.requires_grad_() for each in moving)
        with torch.enable_grad():
            found = of_moving(*moving)
        pairs = [(each, torch.from_dlpack(g)) for each, g in zip(found, grads, strict=True) if each.requires_grad]
        rows: Sequence[Tensor | None] = [None] * len(moving)
        if pairs:
            values, given = zip(*pairs, strict=True)
            rows = torch.autograd.grad(values, moving, given, allow_unused=True)
        filled = (torch.zeros_like(m) if row is None else row for row, m in zip(rows, moving, strict=True))
        return [_array(each) for each in filled]

    def _of_moving(self, arrays: Sequence[Any], moves: Sequence[int]) -> tuple[Any, tuple[Tensor, ...]]:
        """Return the function of the arguments at `moves` alone, and those."""
        tensors = [torch.from_dlpack(array) for array in arrays]

        def of_moving(*moving: Tensor) -> tuple[Tensor, ...]:
            given = dict(zip(moves, moving, strict=True))
            return tuple(self._run([given.get(place, tensor) for place, tensor in enumerate(tensors)]))

        return of_moving, tuple(tensors[place] for place in moves)

    def _run(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        tree_of = imported("jax", "to_jax").tree
        leaves, tree = tree_of.flatten(self._function(*tree_of.unflatten(self._tree, tensors)))
        if tree != self.image_tree:
            raise ShapeError(f"bridges.to_jax: `result` says {self.image_tree}, but the function returned {tree}")
        for leaf, wanted in zip(leaves, self.image, strict=True):
            if not isinstance(leaf, Tensor) or tuple(leaf.shape) != wanted.shape:
                got = list(leaf.shape) if isinstance(leaf, Tensor) else type(leaf).__name__
                raise ShapeError(
                    f"bridges.to_jax: `result` says shape {list(wanted.shape)}, but the function returned {got}"
                )
        return [leaf.to(_torch_dtype(wanted.dtype)) for leaf, wanted in zip(leaves, self.image, strict=True)]


def _declared(result: Any, leaves: Sequence[Any]) -> tuple[tuple[Any, ...], Any]:
    """Return the leaves of a declared result, as jax.ShapeDtypeStruct, and its tree."""
    jax = imported("jax", "to_jax")
    if isinstance(result, tuple) and all(isinstance(size, int) for size in result):
        dtype = next((leaf.dtype for leaf in leaves if _is_real(leaf)), jax.numpy.zeros(()).dtype)
        result = jax.ShapeDtypeStruct(result, dtype)
    declared, tree = jax.tree.flatten(result)
    for each in declared:
        if not isinstance(each, jax.ShapeDtypeStruct):
            raise ShapeError(
                "bridges.to_jax: result must be a shape, such as (64, 64, 4), or jax.ShapeDtypeStruct, alone or in"
                f" dicts and tuples, got {type(each).__name__}"
            )
    return tuple(declared), tree


def from_jax(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of JAX arrays as one of tensors, with JAX's derivatives, of any order and in both modes.

        energy = bridges.from_jax(lambda positions: jnp.sum(potential(positions)))
        energy(positions).backward()

    function: of arrays and numbers; it returns an array or a tuple of arrays. It is compiled by jax.jit, for each shape
        once. The returned function takes tensors in their place, on a CPU.

    Raises BackendError if JAX is not installed; the function raises ShapeError for float64, unless JAX computes in it.
    """
    jax = imported("jax", "from_jax")
    compiled = jax.jit(function)

    @cache
    def pulled(n_results: int, moves: tuple[int, ...]) -> Callable[..., Any]:
        def pull(*arrays: Any) -> Any:
            grads, arguments = arrays[:n_results], arrays[n_results:]
            of_moving, moving = _of_moving(function, arguments, moves)
            found, transpose = jax.vjp(of_moving, *moving)
            return transpose(grads if isinstance(found, tuple) else grads[0])

        return from_jax(pull)

    @cache
    def pushed(moves: tuple[int, ...]) -> Callable[..., Any]:
        def push(*arrays: Any) -> Any:
            tangents, arguments = arrays[: len(moves)], arrays[len(moves) :]
            of_moving, moving = _of_moving(function, arguments, moves)
            return jax.jvp(of_moving, moving, tangents)[1]

        return from_jax(push)

    def vjp(grads: Any, value: Any, *arguments: Any) -> tuple[Tensor | None, ...]:
        moves = tuple(place for place, each in enumerate(arguments) if _is_real(each))
        grads = grads if isinstance(grads, tuple) else (grads,)
        found = dict(zip(moves, pulled(len(grads), moves)(*grads, *arguments), strict=True))
        return tuple(found.get(place) for place in range(len(arguments)))

    def jvp(tangents: Sequence[Any], value: Any, *arguments: Any) -> Any:
        moves = tuple(place for place, each in enumerate(arguments) if _is_real(each))
        return pushed(moves)(*(tangents[place] for place in moves), *arguments)

    @custom_gradient(vjp=vjp, jvp=jvp)
    def call(*arguments: Any) -> Any:
        arrays = [_jax_array(each) if isinstance(each, Tensor) else each for each in arguments]
        found = compiled(*arrays)
        return tuple(map(torch.from_dlpack, found)) if isinstance(found, tuple) else torch.from_dlpack(found)

    return call


def _of_moving(function: Callable[..., Any], arguments: Sequence[Any], moves: Sequence[int]) -> tuple[Any, Any]:
    """Return a function as one of its arguments at `moves` alone, and those."""

    def of_moving(*moving: Any) -> Any:
        given = dict(zip(moves, moving, strict=True))
        return function(*(given.get(place, each) for place, each in enumerate(arguments)))

    return of_moving, tuple(arguments[place] for place in moves)


def _jax_array(tensor: Tensor) -> Any:
    jax = imported("jax", "from_jax")
    if tensor.dtype == torch.float64 and not jax.config.jax_enable_x64:
        raise ShapeError(
            "bridges.from_jax: JAX computes in float32, got float64; jax.config.update('jax_enable_x64', True) at the"
            " start of the program, or convert it with .float()"
        )
    return jax.dlpack.from_dlpack(tensor.detach().contiguous())


def _array(tensor: Tensor) -> Any:
    return tensor.detach().cpu().numpy()


def _is_real(leaf: Any) -> bool:
    """Return whether a tensor or an array may have a derivative."""
    return "float" in str(getattr(leaf, "dtype", ""))


def _torch_dtype(dtype: Any) -> torch.dtype:
    return getattr(torch, str(dtype))
