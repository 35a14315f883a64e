from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from benchmarks.ops_bench import COLUMNS, Settings, print_table
from benchmarks.plain import LOSSES, measure_plain, print_plain
from benchmarks.remeshing import measure_passes
from benchmarks.replay import recorded_calls
from benchmarks.works import LIGHTINGS, Work, image_task, knobbly_sphere, ops_of, task_of, upstream_gradient

SMALL = Work("antialias", 320, 32)


def test_a_row_fills_every_column(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([SMALL], Settings(threads=(1, 2), seconds=0.0, memory=False))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    heading, one, two = cells
    assert heading == list(COLUMNS)
    assert one[:5] == ["image, antialias", "32", "320", "diffrender", "1"]
    assert two[:5] == ["image, antialias", "32", "320", "diffrender", "2"]
    for row in (one, two):
        forward_ms, total_ms, forward_floors, total_floors = (float(row[i].replace(",", "")) for i in (5, 6, 8, 9))
        assert 0 < forward_ms < total_ms
        assert forward_floors > 1 and total_floors > 1
        assert row[7] == "-"


def test_an_op_is_measured_on_the_calls_of_the_image() -> None:
    image = image_task(SMALL)
    with recorded_calls() as calls:
        output = image.forward()
    task = task_of(Work("antialias", 320, 32, "rasterize"))
    assert task.backward is None
    [raster] = task.forward()
    assert torch.equal(raster.face_id[..., 0], output.face_id)
    assert [call.op for call in calls].count("rasterize") == 1
    with recorded_calls() as after:
        pass
    image.forward()
    assert after == []  # nothing is noted outside


def test_a_textured_image_takes_ops_of_its_own() -> None:
    assert {"mip_pyramid", "screen_uvs", "sample_texture"} <= set(ops_of("antialias", 64)) - set(ops_of("antialias"))
    task = task_of(Work("antialias", 320, 32, "sample_texture", texture=64))
    assert task.backward is not None
    task.backward(task.forward())


def test_an_image_in_forward_mode_moves_as_its_gradients_say() -> None:
    image, tangents = task_of(replace(SMALL, tangents=6)).forward()
    plain = image_task(SMALL)
    output = plain.forward()
    assert plain.backward is not None and torch.equal(image, output.rgba)
    to_vertices, _ = plain.backward(output)
    assert float((tangents[0] * upstream_gradient(32)).sum()) == pytest.approx(float(to_vertices[:, 0].sum()), rel=1e-3)
    assert tangents.shape == (6, 1, 32, 32, 4)


@pytest.mark.parametrize("lighting", LIGHTINGS)
def test_an_image_in_light_has_gradients_to_all_it_is_made_of(lighting: str) -> None:
    task = task_of(Work("antialias", 320, 32, texture=64, lighting=lighting))
    assert task.backward is not None
    gradients = task.backward(task.forward())
    assert isinstance(gradients, tuple) and len(gradients) == 4 + len(LIGHTINGS[lighting].values)
    assert all(bool(gradient.any()) for gradient in gradients)


def test_a_row_may_be_of_several_views_and_of_unshared_vertices() -> None:
    work = Work("antialias", 320, 32, views=3, unshared=True)
    assert work.name == "image, antialias, 3 views, unshared vertices"
    task, shared = task_of(work), task_of(replace(work, unshared=False))
    apart, together = task.forward().rgba, shared.forward().rgba
    assert apart.shape == (3, 32, 32, 4) and not torch.equal(apart[0], apart[1])
    torch.testing.assert_close(apart, together, rtol=0, atol=1e-5)
    assert task.backward is not None
    assert task.backward(task.forward())[0].shape == (3 * 320, 3)


def test_the_mesh_is_closed_and_has_the_wanted_number_of_faces() -> None:
    mesh = knobbly_sphere(1000)
    assert mesh.n_faces == 980 and mesh.n_vertices == 492
    assert mesh.topology.is_closed
    assert mesh.vertices.norm(dim=1).max().item() == pytest.approx(1)


def test_passes_of_remeshing_are_measured() -> None:
    rows = {row.what: row for row in measure_passes(500, Settings(seconds=0.0))}
    assert set(rows) == {"uneven", "good", "good, alone", "good, texture"}
    assert all(row.milliseconds > 0 for row in rows.values())
    assert rows["uneven"].edits > 5 * rows["good"].edits


def test_a_plain_loop_is_raced_beside_a_busy_program_for_each_loss(capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(threads=(1, 2), seconds=0.0)
    found = measure_plain(SMALL, "compare_colors", settings, beside=True)
    assert list(found) == ["plain", "1 threads", "2 threads"] and min(found.values()) > 0
    print_plain(settings, [SMALL])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 2 * len(LOSSES) and all(line.count("|") == 6 for line in lines)
