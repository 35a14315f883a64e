from __future__ import annotations

import torch
from support.op_problems import gather_problem as problem
from support.triangle_soups import assert_same_bits, both_dtypes, every_backend

from diffrender.ops.gather_samples import Samples, gather_samples


@every_backend
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    # Two views of 1 x 3 pixels. In view 0 pixel 1 is refined: of its two samples the second sees face 7. In view 1 the
    # last pixel (5) is refined though its centre sees nothing.
    face_id = torch.tensor([[[3, 4, -1]], [[-1, 6, -1]]])
    sample_face_id = torch.tensor([[-1, 7], [8, 9]])
    offsets = torch.tensor([[0.25, 0.125], [0.75, 0.5]], dtype=dtype)
    share = torch.tensor([[0.25, 0.75], [0.5, 0.5]], dtype=dtype)
    samples = gather_samples(face_id, torch.tensor([1, 5]), sample_face_id, offsets, share, backend=backend)
    assert samples.pixel.tolist() == [0, 1, 4, 5, 5]
    assert samples.view.tolist() == [0, 0, 1, 1, 1]
    assert samples.face_id.tolist() == [3, 7, 6, 8, 9]
    assert samples.xy_px.tolist() == [[0.5, 0.5], [1.75, 0.5], [1.5, 0.5], [2.25, 0.125], [2.75, 0.5]]
    assert samples.weight.tolist() == [1, 0.75, 1, 0.5, 0.5]
    assert samples.xy_px.dtype == samples.weight.dtype == dtype


@every_backend
@both_dtypes
def test_samples_of_a_face_in_a_quarter_of_a_pixel_are_one_at_their_mean(backend: str, dtype: torch.dtype) -> None:
    # The last sample is in another quarter, the second sees another face, the third nothing.
    offsets = torch.tensor([[0.25, 0.125], [0.125, 0.25], [0.375, 0.375], [0.375, 0.25], [0.5, 0.25]], dtype=dtype)
    share = torch.tensor([[0.125, 0.25, 0.125, 0.375, 0.125]], dtype=dtype)
    found = gather_samples(
        torch.tensor([[[3]]]), torch.tensor([0]), torch.tensor([[9, 4, -1, 9, 9]]), offsets, share, backend=backend
    )
    assert found.face_id.tolist() == [4, 9, 9]
    assert found.xy_px.tolist() == [[0.125, 0.25], [0.3125, 0.1875], [0.5, 0.25]]
    assert found.weight.tolist() == [0.25, 0.5, 0.125]


@every_backend
def test_what_is_added_is_the_last_of_its_pixel(backend: str) -> None:
    face_id, offsets = torch.tensor([[[3, 4, -1]]]), torch.tensor([[0.25, 0.125], [0.75, 0.5]])
    pixel, zero = torch.tensor([1, 2]), torch.tensor([0, 0])
    added = Samples(
        pixel, zero, torch.tensor([1, 2]), torch.tensor([[1.125, 0.875], [2.5, 0.75]]), torch.tensor([0.25, 0.5])
    )
    seen, share = torch.tensor([[-1, 7], [-1, -1]]), torch.tensor([[0.5, 0.25], [0.25, 0.25]])
    found = gather_samples(face_id, pixel, seen, offsets, share, added, backend=backend)
    assert (found.pixel.tolist(), found.view.tolist()) == ([0, 1, 1, 2], [0] * 4)
    assert found.face_id.tolist() == [3, 7, 1, 2]
    assert found.xy_px.tolist() == [[0.5, 0.5], [1.75, 0.5], [1.125, 0.875], [2.5, 0.75]]
    assert found.weight.tolist() == [1, 0.25, 0.25, 0.5]


@every_backend
def test_what_samples_stand_for_is_there_once_and_pixels_stand_together(backend: str) -> None:
    face_id, refined, sample_face_id, offsets, share, added = problem(torch.float64)
    samples = gather_samples(face_id, refined, sample_face_id, offsets, share, added, backend=backend)
    assert bool((samples.pixel.diff() >= 0).all())
    assert bool((samples.face_id >= 0).all())
    coverage = torch.zeros(face_id.numel(), dtype=torch.float64).index_add(0, samples.pixel, samples.weight)
    expected = (face_id.reshape(-1) >= 0).double()
    expected[refined] = (share * (sample_face_id >= 0)).sum(1)
    expected[added.pixel] += added.weight
    torch.testing.assert_close(coverage, expected)
    pixel = samples.xy_px.floor().long()
    assert torch.equal((samples.view * 13 + pixel[:, 1]) * 21 + pixel[:, 0], samples.pixel)


@every_backend
def test_nothing_refined_nothing_covered_no_views(backend: str) -> None:
    face_id, refined, sample_face_id, offsets, share, _ = problem(torch.float32)
    plain = gather_samples(face_id, refined[:0], sample_face_id[:0], offsets, share[:0], backend=backend)
    assert torch.equal(plain.pixel, torch.nonzero(face_id.reshape(-1) >= 0)[:, 0])
    none = gather_samples(face_id * 0 - 1, refined, sample_face_id * 0 - 1, offsets, share, backend=backend)
    assert [tuple(part.shape) for part in none] == [(0,), (0,), (0,), (0, 2), (0,)]
    assert (
        len(gather_samples(face_id[:0], refined[:0], sample_face_id[:0], offsets, share[:0], backend=backend).pixel)
        == 0
    )


@every_backend
def test_views_together_are_the_views_one_by_one(backend: str) -> None:
    face_id, refined, sample_face_id, offsets, share, added = problem(torch.float32, (3, 13, 21))
    together = gather_samples(face_id, refined, sample_face_id, offsets, share, added, backend=backend)
    for n in range(3):
        mine, of_view = together.view == n, refined // (13 * 21) == n
        own = Samples._make(part[added.view == n] for part in added)
        own = own._replace(pixel=own.pixel - n * 13 * 21, view=0 * own.view)
        alone = gather_samples(
            face_id[n : n + 1], refined[of_view] - n * 13 * 21, sample_face_id[of_view], offsets, share[of_view], own,
            backend=backend,
        )  # fmt: skip
        assert_same_bits(together.pixel[mine] - n * 13 * 21, alone.pixel)
        assert_same_bits(tuple(part[mine] for part in together[2:]), alone[2:])
