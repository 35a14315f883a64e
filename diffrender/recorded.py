"""Functions recorded once as CUDA graphs and replayed: no Python, no launches, no waiting between kernels."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from diffrender.errors import BackendError, ShapeError
from diffrender.list_sizes import ListSizes, SizesError

# Each longer than what the last found: what is seen must change much to outgrow it so often at one and the same input.
MOST_TAPES = 8


class Recorded:
    """A function of tensors on a CUDA device, recorded at its first call and replayed at all others.

        draw = dr.Recorded(lambda vertices, colors: dr.render_scene(scene_of(vertices, colors), cameras).rgba)
        for step in range(1000):
            loss = (draw(vertices, colors) - target).square().mean()
            loss.backward()

    function: takes tensors and returns a tensor, or a tuple of them; differentiable in reverse mode, once, in the
        inputs that require gradients. All that changes from call to call must be among its inputs, with the same shapes
        and dtypes; it must do the same each time: no randomness of Python's, no branch on values of tensors, nothing
        that waits for the device (`float(tensor)`, `print`, a mesh made anew from texture coordinates: take
        `mesh.with_vertices`). Rendering does not, but of scenes whose parts may pass through one another, of those that
        move, and of shadow maps, normal maps and meshes with creases.
    after: an earlier recording of much the same, which is not called any more: its memory and kernels are taken over.

    What is recorded holds its memory: that of one call. It makes lists, of silhouettes for instance, half as long again
    as any call has needed so far; if what is seen outgrows them, the call is recorded again. Gradients must be taken
    before the next call, once, and have no derivatives themselves. On a CPU the function is just called.

    Raises ShapeError for inputs of other shapes, dtypes or devices than at first, BackendError for gradients of an
    earlier call or taken again, and whatever the function raises. What cannot be recorded is a RuntimeError of PyTorch,
    or a SizesError, and leaves the function as it was.
    """

    def __init__(self, function: Callable[..., Tensor | tuple[Tensor, ...]], after: Recorded | None = None) -> None:
        self._function = function
        self._sizes = ListSizes()
        self._tape: Any = None
        self._former = None if after is None else after._tape or after._former
        self._kinds: list[tuple[Any, ...]] = []
        self._is_single = False
        self.calls = self.tapes = self._pulled = 0

    @property
    def tape_s(self) -> float:
        """What the last recording has taken in seconds, without the compilation of kernels."""
        return self._tape.seconds

    def noted(self, *inputs: Tensor) -> Any:
        """Return the function of the inputs, not recorded; how long its lists are counts for what is recorded later."""
        with self._sizes.found():
            return self._function(*inputs)

    def __call__(self, *inputs: Tensor) -> Any:
        """Return the function of the inputs."""
        if not inputs or (not inputs[0].is_cuda and tape_on is _CudaTape):
            return self._function(*inputs)
        kinds = [(each.shape, each.dtype, each.device, each.requires_grad) for each in inputs]
        if self._tape is None:
            self._kinds = kinds
        elif kinds != self._kinds:
            raise ShapeError("Recorded: inputs must be as at the first call in shape, dtype, device and requires_grad")
        outputs = _Replay.apply(self, *inputs)
        return outputs[0] if self._is_single else outputs

    def _run(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the outputs of the last tape, a new one if there is none that is long enough."""
        self.calls += 1
        for _ in range(MOST_TAPES):
            if self._tape is None:
                if not self._sizes.are_known:
                    self._note(inputs)
                self._tape = self._new_tape(inputs)
                self.tapes += 1
            outputs, overflow = self._tape.replay(inputs)
            if overflow is None or not bool(overflow):
                return outputs
            self._tape, self._former = None, self._tape
            self._note(inputs)
        raise BackendError("Recorded: what is seen outgrows every list, as where there is nothing to be seen at all")

    @torch.enable_grad()
    def _note(self, inputs: Sequence[Tensor]) -> None:
        """Find out how long lists must be at least, as where gradients are wanted."""
        self.noted(*inputs)

    def _new_tape(self, inputs: Sequence[Tensor]) -> Any:
        former, self._former = self._former, None
        if former is not None:
            try:
                return tape_on(self._as_tuple, inputs, self._sizes, former)
            except RuntimeError:  # as when a kernel of a gradient is not compiled yet
                pass
        return tape_on(self._as_tuple, inputs, self._sizes, None)

    def _as_tuple(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = self._function(*inputs)
        self._is_single = isinstance(outputs, Tensor)
        return (outputs,) if isinstance(outputs, Tensor) else outputs


class _Replay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, recorded: Recorded, *inputs: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        outputs = recorded._run(inputs)
        ctx.recorded, ctx.call = recorded, recorded.calls
        copies = copies_of(outputs)
        ctx.mark_non_differentiable(*(own for own, each in zip(copies, outputs, strict=True) if not each.requires_grad))
        ctx.set_materialize_grads(False)
        return tuple(copies)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        recorded = ctx.recorded
        if ctx.call != recorded.calls:
            raise BackendError("Recorded: take gradients before the next call, which replaces what they are made of")
        if recorded._pulled == ctx.call:
            raise BackendError("Recorded: gradients can be taken once per call, and use up what they are made of")
        recorded._pulled = ctx.call
        return None, *recorded._tape.pull(grads)


def copies_of(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return copies, by one launch if all are of real numbers."""
    plain = [each.detach() for each in tensors]
    if plain and all(each.is_floating_point() for each in plain):
        return list(torch._foreach_mul(plain, 1))
    return [each.clone() for each in plain]


class Unwaiting(TorchDispatchMode):
    """Raises SizesError for what makes the host wait for a device, of which recording would be the end."""

    WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "_unique", "unique_", "repeat_interleave.T", "equal")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, if it does not wait."""
        name, kwargs = func.name().removeprefix("aten::"), kwargs or {}
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        waits = name.startswith(self.WAITS) or _waits(name, args, kwargs)
        if waits and any(self.is_watched(each) for each in tensors):
            raise SizesError(f"what is computed waits for the device, by {name}")
        return func(*args, **kwargs)

    def is_watched(self, tensor: Tensor) -> bool:
        """Return whether to ask something of the tensor is to wait."""
        return tensor.is_cuda


def _waits(name: str, args: Any, kwargs: Any) -> bool:
    """Return whether an operation looks for what a mask selects, or copies from one device to another."""
    if name.startswith("index"):
        is_filled = name.startswith("index_put") and args[2].numel() == 1
        return not is_filled and any(isinstance(i, Tensor) and i.dtype == torch.bool for i in tree_leaves(args[1:2]))
    if name.startswith("_to_copy"):
        return torch.device(kwargs.get("device") or args[0].device).type != args[0].device.type
    return name.startswith("copy_") and args[0].device.type != args[1].device.type


class _CudaTape:
    """CUDA graphs of one function and of its gradients, for lists of certain sizes.

    former: a tape that is replayed no more, or None: its memory is taken over, and its kernels are there already.
    seconds: what recording has taken.
    """

    def __init__(
        self,
        function: Callable[..., tuple[Tensor, ...]],
        inputs: Sequence[Tensor],
        sizes: ListSizes,
        former: _CudaTape | None,
    ) -> None:
        self._inputs = [each.detach().clone().requires_grad_(each.requires_grad) for each in inputs]
        current = torch.cuda.current_stream(inputs[0].device)
        # PyTorch gives memory back to the stream that it was taken on.
        self._stream = torch.cuda.Stream(inputs[0].device) if former is None else former._stream
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream), torch.enable_grad():
            # Compiles what lists of these lengths lead to, and fills caches, which cannot be done while recording; nor
            # can what waits, after which PyTorch's memory is not in order.
            with sizes.kept(), Unwaiting():
                self._outputs = function(*self._inputs)
            if former is None:
                self._upstream = [torch.zeros_like(each) if each.requires_grad else None for each in self._outputs]
                self._gradients()
                self._pool = torch.cuda.graph_pool_handle()
            else:
                self._pool = former.release()
            self._stream.synchronize()
            began = time.perf_counter()
            self._graph, self._back = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
            with _recording(self._graph, self._pool):
                with sizes.kept():
                    self._outputs = function(*self._inputs)
                self._overflow, self._held = sizes.overflow, sizes.held
                self._upstream = [torch.zeros_like(each) if each.requires_grad else None for each in self._outputs]
            with _recording(self._back, self._pool):
                self._grads = self._gradients()
            self.seconds = time.perf_counter() - began
        current.wait_stream(self._stream)
        self._outputs = tuple(each.detach().requires_grad_(each.requires_grad) for each in self._outputs)

    def release(self) -> Any:
        """Let go of what was recorded, but for the graphs, which keep its memory from being given back."""
        del self._inputs, self._outputs, self._upstream, self._grads, self._overflow, self._held
        return self._pool

    def _gradients(self) -> list[Tensor | None]:
        return gradients_of(self._outputs, self._inputs, self._upstream)

    def replay(self, inputs: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """Return the outputs, at places that stay, and whether they are wrong."""
        for is_float in (True, False):
            pairs = [pair for pair in zip(self._inputs, inputs, strict=True) if pair[1].is_floating_point() == is_float]
            if pairs:
                own, given = zip(*((place.detach(), each.detach()) for place, each in pairs), strict=True)
                torch._foreach_copy_(own, given)
        self._graph.replay()
        return self._outputs, self._overflow

    def pull(self, grads: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Return the gradients with respect to the inputs, given those with respect to the outputs."""
        for upstream, grad in zip(self._upstream, grads, strict=True):
            if upstream is not None:
                upstream.zero_() if grad is None else upstream.copy_(grad)
        self._back.replay()
        copies = iter(copies_of([each for each in self._grads if each is not None]))
        return [None if each is None else next(copies) for each in self._grads]


class _recording:  # noqa: N801
    """Record what the current stream is given; torch.cuda.graph also collects garbage, which takes longer."""

    def __init__(self, graph: torch.cuda.CUDAGraph, pool: Any) -> None:
        self._graph, self._pool = graph, pool

    def __enter__(self) -> None:
        # Other threads, which draw progress, may go on.
        self._graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._graph.capture_end()
        except RuntimeError:
            if kind is None:
                raise


def gradients_of(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], upstream: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Return the gradients of outputs with respect to the inputs that require them, None for others."""
    wanted = [each for each in inputs if each.requires_grad]
    given = [(each, grad) for each, grad in zip(outputs, upstream, strict=True) if grad is not None]
    if not wanted or not given:
        return [None] * len(inputs)
    differentiable, grads = zip(*given, strict=True)
    found = iter(torch.autograd.grad(differentiable, wanted, grads, allow_unused=True))
    return [next(found) if each.requires_grad else None for each in inputs]


# The tests replace it to run without a GPU.
tape_on: Any = _CudaTape
