"""A linear function for JAX that a callback computes, and its transpose another: JAX has none that vmap maps over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

from diffrender.errors import BackendError
from diffrender.programs.bridges.imported import imported


class Linear(NamedTuple):
    """A linear map of arrays, at other arrays that it depends on; the latter have no derivative.

    apply, transpose: functions of (*points, *arrays) that return a list of NumPy arrays, the other's argument.
    domain, image: jax.ShapeDtypeStruct of what goes in and comes out.
    """

    apply: Callable[..., Sequence[Any]]
    transpose: Callable[..., Sequence[Any]]
    domain: tuple[Any, ...]
    image: tuple[Any, ...]

    def __call__(self, points: Sequence[Any], arrays: Sequence[Any]) -> list[Any]:
        """Return the image of `arrays`: JAX arrays, in JAX's transformations too."""
        return _primitive().bind(*points, *arrays, linear=self)

    def transposed(self) -> Linear:
        """Return the transpose."""
        return Linear(self.transpose, self.apply, self.image, self.domain)


@cache
def _primitive() -> Any:
    """Make the primitive, with what each of JAX's transformations does to it."""
    jax = imported("jax", "to_jax")
    core, ad, batching, mlir = (
        imported(f"jax.{name}", "to_jax")
        for name in ("extend.core", "interpreters.ad", "interpreters.batching", "interpreters.mlir")
    )
    primitive = core.Primitive("diffrender_linear")
    primitive.multiple_results = True

    def call(*arrays: Any, linear: Linear) -> list[Any]:
        return list(jax.pure_callback(linear.apply, linear.image, *arrays, vmap_method="sequential"))

    def jvp(arrays: Any, tangents: Any, linear: Linear) -> tuple[Any, Any]:
        split = len(arrays) - len(linear.domain)
        if any(type(each) is not ad.Zero for each in tangents[:split]):
            raise BackendError("bridges.to_jax: second derivatives are not possible; differentiate once")
        moved = [ad.instantiate_zeros(each) for each in tangents[split:]]
        return linear(arrays[:split], arrays[split:]), linear(arrays[:split], moved)

    def transpose(grads: Any, *arrays: Any, linear: Linear) -> list[Any]:
        split = len(arrays) - len(linear.domain)
        found = linear.transposed()(arrays[:split], [ad.instantiate_zeros(each) for each in grads])
        return [None] * split + found

    def batch(arrays: Any, dims: Any, linear: Linear) -> tuple[list[Any], list[int]]:
        moving = [dim is not None for dim in dims]
        rows = [jax.numpy.moveaxis(a, dim, 0) for a, dim in zip(arrays, dims, strict=True) if dim is not None]

        def of_row(row: Sequence[Any]) -> list[Any]:
            given = iter(row)
            whole = [next(given) if moves else a for a, moves in zip(arrays, moving, strict=True)]
            return primitive.bind(*whole, linear=linear)

        return jax.lax.map(of_row, rows), [0] * len(linear.image)

    primitive.def_impl(call)
    primitive.def_abstract_eval(
        lambda *arrays, linear: [jax.core.ShapedArray(each.shape, each.dtype) for each in linear.image]
    )
    mlir.register_lowering(primitive, mlir.lower_fun(call, multiple_results=True))
    ad.primitive_jvps[primitive] = jvp
    ad.primitive_transposes[primitive] = transpose
    batching.primitive_batchers[primitive] = batch
    return primitive
