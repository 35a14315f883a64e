from __future__ import annotations

from diffrender.app.evaluation import FlipStatistics, sum_flips


def row(vertices: int, damped: int, flipped: int) -> dict[str, object]:
    return {"step": 0, "geometry": {"vertices": vertices, "damped": damped, "flipped": flipped}}


def test_flips_are_summed_over_the_steps() -> None:
    assert sum_flips([row(42, 3, 1), row(50, 0, 0), row(60, 4, 2)]) == FlipStatistics(
        flipped_faces=3, damped_vertices=7
    )


def test_without_a_learned_mesh_there_is_nothing_to_guard() -> None:
    assert sum_flips([]) is None
    assert sum_flips([{"step": 0}, row(0, 0, 0)]) is None
