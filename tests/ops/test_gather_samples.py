from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from support.triangle_soups import assert_same_bits, assert_same_for_any_threads, both_backends, both_dtypes, strided
from torch import Tensor

from diffrender.errors import BackendError, ShapeError
from diffrender.ops.gather_samples import gather_samples

Work = tuple[Tensor, Tensor, Tensor, Tensor]


def problem(dtype: torch.dtype, size: tuple[int, int, int] = (2, 13, 21), n_samples: int = 4) -> Work:
    """What the centres see, a tenth of the pixels refined, what their samples see, where the samples are."""
    generator = torch.Generator().manual_seed(n_samples)
    face_id = torch.randint(-2, 5, size, generator=generator).clamp_min(-1)
    refined = torch.nonzero(torch.rand(face_id.numel(), generator=generator) < 0.1)[:, 0]
    sample_face_id = torch.randint(-2, 5, (len(refined), n_samples), generator=generator).clamp_min(-1)
    return face_id, refined, sample_face_id, torch.rand(n_samples, 2, generator=generator, dtype=dtype)


@both_backends
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    # Two views of 1 x 3 pixels. In view 0 pixel 1 is refined: of its two samples the second sees face 7. In view 1 the
    # last pixel (5) is refined though its centre sees nothing.
    face_id = torch.tensor([[[3, 4, -1]], [[-1, 6, -1]]])
    sample_face_id = torch.tensor([[-1, 7], [8, 9]])
    offsets = torch.tensor([[0.25, 0.125], [0.75, 0.5]], dtype=dtype)
    samples = gather_samples(face_id, torch.tensor([1, 5]), sample_face_id, offsets, backend=backend)
    assert samples.pixel.tolist() == [0, 1, 4, 5, 5]
    assert samples.view.tolist() == [0, 0, 1, 1, 1]
    assert samples.face_id.tolist() == [3, 7, 6, 8, 9]
    assert samples.xy_px.tolist() == [[0.5, 0.5], [1.75, 0.5], [1.5, 0.5], [2.25, 0.125], [2.75, 0.5]]
    assert samples.weight.tolist() == [1, 0.5, 1, 0.5, 0.5]
    assert samples.xy_px.dtype == samples.weight.dtype == dtype


@both_dtypes
@pytest.mark.parametrize("n_samples", [1, 3, 16])
def test_matches_the_reference(dtype: torch.dtype, n_samples: int) -> None:
    work = problem(dtype, n_samples=n_samples)
    assert_same_bits(gather_samples(*work, backend="numba"), gather_samples(*work, backend="reference"))


@both_backends
def test_every_covered_sample_is_there_once_and_pixels_stand_together(backend: str) -> None:
    face_id, refined, sample_face_id, offsets = problem(torch.float64)
    samples = gather_samples(face_id, refined, sample_face_id, offsets, backend=backend)
    assert bool((samples.pixel.diff() >= 0).all())
    assert bool((samples.face_id >= 0).all())
    coverage = torch.zeros(face_id.numel(), dtype=torch.float64).index_add(0, samples.pixel, samples.weight)
    expected = (face_id.reshape(-1) >= 0).double()
    expected[refined] = (sample_face_id >= 0).double().mean(1)
    torch.testing.assert_close(coverage, expected)
    pixel = samples.xy_px.floor().long()
    assert torch.equal((samples.view * 13 + pixel[:, 1]) * 21 + pixel[:, 0], samples.pixel)


@both_backends
def test_nothing_refined_nothing_covered_no_views(backend: str) -> None:
    face_id, refined, sample_face_id, offsets = problem(torch.float32)
    plain = gather_samples(face_id, refined[:0], sample_face_id[:0], offsets, backend=backend)
    assert torch.equal(plain.pixel, torch.nonzero(face_id.reshape(-1) >= 0)[:, 0])
    none = gather_samples(face_id * 0 - 1, refined, sample_face_id * 0 - 1, offsets, backend=backend)
    assert [tuple(part.shape) for part in none] == [(0,), (0,), (0,), (0, 2), (0,)]
    assert len(gather_samples(face_id[:0], refined[:0], sample_face_id[:0], offsets, backend=backend).pixel) == 0


@both_backends
def test_views_together_are_the_views_one_by_one(backend: str) -> None:
    face_id, refined, sample_face_id, offsets = problem(torch.float32, (3, 13, 21))
    together = gather_samples(face_id, refined, sample_face_id, offsets, backend=backend)
    for n in range(3):
        mine, of_view = together.view == n, refined // (13 * 21) == n
        alone = gather_samples(
            face_id[n : n + 1], refined[of_view] - n * 13 * 21, sample_face_id[of_view], offsets, backend=backend
        )
        assert_same_bits(together.pixel[mine] - n * 13 * 21, alone.pixel)
        assert_same_bits(tuple(part[mine] for part in together[2:]), alone[2:])


def test_same_bits_for_any_number_of_threads() -> None:
    work = problem(torch.float32, (2, 300, 400))
    assert_same_for_any_threads(lambda: gather_samples(*work, backend="numba"))


@both_backends
@both_dtypes
def test_result_does_not_depend_on_what_memory_held(
    backend: str, dtype: torch.dtype, poisoned_memory: Callable[[], AbstractContextManager[None]]
) -> None:
    work = problem(dtype)
    expected = gather_samples(*work, backend=backend)
    with poisoned_memory():
        found = gather_samples(*work, backend=backend)
    assert_same_bits(found, expected)


@both_backends
def test_input_need_not_be_contiguous(backend: str) -> None:
    work = problem(torch.float32)
    assert_same_bits(
        gather_samples(*(strided(part) for part in work), backend=backend), gather_samples(*work, backend=backend)
    )


@both_backends
def test_mistakes_are_named(backend: str) -> None:
    face_id, refined, sample_face_id, offsets = problem(torch.float32)
    cases = {
        r"face_id must have shape \[N, H, W\]": (face_id[0], refined, sample_face_id, offsets),
        r"face_id must be int64": (face_id.int(), refined, sample_face_id, offsets),
        r"refined must have shape \[R\]": (face_id, refined[None], sample_face_id, offsets),
        r"refined must be int64": (face_id, refined.int(), sample_face_id, offsets),
        r"sample_face_id must have shape": (face_id, refined, sample_face_id[:, :3], offsets),
        r"sample_face_id must be int64": (face_id, refined, sample_face_id.int(), offsets),
        r"offsets must have shape \[S, 2\]": (face_id, refined, sample_face_id, offsets[:, :1]),
        r"offsets must be float32 or float64": (face_id, refined, sample_face_id, offsets.long()),
        r"one device": (face_id, refined.to("meta"), sample_face_id, offsets),
    }
    for message, arguments in cases.items():
        with pytest.raises(ShapeError, match=f"gather_samples: .*{message}"):
            gather_samples(*arguments, backend=backend)
    with pytest.raises(BackendError, match="'numba' runs on the CPU"):
        gather_samples(*(part.to("meta") for part in (face_id, refined, sample_face_id, offsets)), backend="numba")
