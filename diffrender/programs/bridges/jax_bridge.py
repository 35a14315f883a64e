"""Functions of PyTorch in JAX, and of JAX in PyTorch, with their derivatives; arrays are shared by DLPack."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor

from diffrender.errors import ProgramError, ShapeError
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

    Raises BackendError if JAX is not installed; ShapeError for complex numbers, which have no derivative here. JAX
    reports errors of the function, and ShapeError where it returns another shape or dtype than `result`, as its own
    JaxRuntimeError with their text.
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
            if str(leaf.dtype).removeprefix("torch.") != str(wanted.dtype):
                raise ShapeError(
                    f"bridges.to_jax: `result` says {wanted.dtype}, but the function returned {leaf.dtype}; convert it"
                    f" there with .to(torch.{wanted.dtype}), or say so: jax.ShapeDtypeStruct(shape, dtype)"
                )
        return leaves


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
    for each in (*leaves, *declared):
        if "complex" in str(each.dtype):
            raise ShapeError(
                f"bridges.to_jax: complex numbers have no derivative here, got {each.dtype}; pass real and imaginary"
                " parts"
            )
    return tuple(declared), tree


def from_jax(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of JAX arrays as one of tensors, with JAX's derivatives, of any order and in both modes.

        energy = bridges.from_jax(lambda positions: jnp.sum(potential(positions)))
        energy(positions).backward()

    function: of arrays and numbers, or dicts, lists and tuples of them; it returns such. It is compiled by jax.jit, for
        each shape once. The returned function takes tensors in their place, on a CPU. Integers and bools have no
        derivative. Unless JAX computes in 64 bits, int64 becomes int32, and so do results.

    Raises BackendError if JAX is not installed; the function raises ShapeError for float64, unless JAX computes in it,
    for integers that JAX's do not hold, and for derivatives of complex numbers; ProgramError if it returns no array.
    """
    jax = imported("jax", "from_jax")
    compiled = jax.jit(function)

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        leaves, tree = jax.tree.flatten((arguments, named))
        found_tree = None

        def of_leaves(*leaves: Any) -> tuple[Tensor, ...]:
            nonlocal found_tree
            arrays = [_jax_array(each) if isinstance(each, Tensor) else each for each in leaves]
            given, by_name = jax.tree.unflatten(tree, arrays)
            found, found_tree = jax.tree.flatten(compiled(*given, **by_name))
            if not found:
                raise ProgramError(f"bridges.from_jax: {_name(function)} must return arrays, got {found_tree}")
            return tuple(map(torch.from_dlpack, found))

        of_leaves.__name__ = _name(function)
        pull, push = _derivatives(function, tree)
        found = custom_gradient(of_leaves, vjp=pull, jvp=push)(*leaves)
        return jax.tree.unflatten(found_tree, found)

    return call


@lru_cache(maxsize=256)
def _derivatives(function: Callable[..., Any], tree: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the vjp and the jvp, as of custom_gradient, of a function of JAX arrays on the leaves of its arguments."""
    jax = imported("jax", "from_jax")

    def of_moving(leaves: Sequence[Any], moves: Sequence[int]) -> tuple[Callable[..., Any], list[Any]]:
        """Return the results that may have a derivative as a function of the leaves at `moves`, and those leaves."""

        def run(*moving: Any) -> list[Any]:
            given = dict(zip(moves, moving, strict=True))
            arguments, named = jax.tree.unflatten(tree, [given.get(place, each) for place, each in enumerate(leaves)])
            found = jax.tree.leaves(function(*arguments, **named))
            return [each for each in map(jax.numpy.asarray, found) if _is_real(each)]

        return run, [leaves[place] for place in moves]

    @cache
    def pulled(moves: tuple[int, ...]) -> Callable[..., Any]:
        def pull(grads: list[Any], leaves: list[Any]) -> list[Any]:
            run, moving = of_moving(leaves, moves)
            return list(jax.vjp(run, *moving)[1](grads))

        return from_jax(pull)

    @cache
    def pushed(moves: tuple[int, ...]) -> Callable[..., Any]:
        def push(tangents: list[Any], leaves: list[Any]) -> list[Any]:
            run, moving = of_moving(leaves, moves)
            return jax.jvp(run, moving, tangents)[1]

        return from_jax(push)

    def vjp(grads: Any, value: Any, *leaves: Any) -> tuple[Tensor | None, ...]:
        moves, results = _reals(leaves), _reals(value)
        found = pulled(moves)([grads[k] for k in results], list(leaves)) if moves and results else ()
        return _at(moves, found, len(leaves))

    def jvp(tangents: Sequence[Any], value: Any, *leaves: Any) -> tuple[Tensor | None, ...]:
        moves, results = _reals(leaves), _reals(value)
        found = pushed(moves)([tangents[k] for k in moves], list(leaves)) if moves and results else ()
        return _at(results, found, len(value))

    return vjp, jvp


def _jax_array(tensor: Tensor) -> Any:
    """Return a tensor as an array that shares its memory; integers of 64 bits become JAX's, unless they do not fit."""
    jax = imported("jax", "from_jax")
    tensor = tensor.detach().contiguous()
    if tensor.element_size() >= 8 and not jax.config.jax_enable_x64:
        to_do = "jax.config.update('jax_enable_x64', True) at the start of the program"
        if tensor.dtype in (torch.float64, torch.complex128):
            raise ShapeError(
                f"bridges.from_jax: JAX computes in float32, got {tensor.dtype}; {to_do}, or convert it with"
                f" .{'float' if tensor.dtype == torch.float64 else 'cfloat'}()"
            )
        wide = tensor.numpy()
        narrow = f"{wide.dtype.name.removesuffix('64')}32"
        if wide.dtype.kind in "iu" and (wide != wide.astype(narrow)).any():
            raise ShapeError(
                f"bridges.from_jax: JAX computes in {narrow}, which does not hold all numbers of an argument of"
                f" {tensor.dtype}; {to_do}"
            )
    return jax.dlpack.from_dlpack(tensor)


def _array(tensor: Tensor) -> Any:
    return tensor.detach().cpu().numpy()


def _is_real(leaf: Any) -> bool:
    """Return whether a tensor or an array may have a derivative."""
    return "float" in str(getattr(leaf, "dtype", ""))


def _reals(leaves: Sequence[Any]) -> tuple[int, ...]:
    return tuple(place for place, each in enumerate(leaves) if _is_real(each))


def _at(places: Sequence[int], rows: Sequence[Any], count: int) -> tuple[Any, ...]:
    """Return `count` entries: the rows at their places, None elsewhere."""
    given = dict(zip(places, rows, strict=True)) if rows else {}
    return tuple(given.get(place) for place in range(count))


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)
