from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from diffrender.errors import DataError
from diffrender.writers.run.run_folder import create_run_folder

NOW = datetime(2026, 11, 23, 6, 40, 5)


def test_path_is_root_scene_time(tmp_path):
    run = create_run_folder(tmp_path / "outputs", "quickstart", NOW)
    assert run.path == tmp_path / "outputs" / "quickstart" / "2026-11-23_06-40-05"
    assert list(run.path.iterdir()) == []
    assert run.progress_picture(25) == run.path / "progress" / "step_00025.png"
    assert run.mesh.is_dir() and run.cameras.is_dir() and run.lights.is_dir() and run.checkpoints.is_dir()


def test_a_taken_time_gets_a_suffix_and_latest_follows(tmp_path):
    first = create_run_folder(tmp_path, "scene", NOW)
    (first.path / "metrics.json").write_text("{}")
    second, third = (create_run_folder(tmp_path, "scene", NOW) for _ in range(2))
    assert [run.path.name for run in (second, third)] == ["2026-11-23_06-40-05_2", "2026-11-23_06-40-05_3"]
    assert (first.path / "metrics.json").exists()
    assert (tmp_path / "scene" / "latest").resolve() == third.path.resolve()
    assert {path.name for path in (tmp_path / "scene").iterdir()} == {
        "latest",
        *(run.path.name for run in (first, second, third)),
    }


def test_latest_survives_moving_the_outputs(tmp_path):
    create_run_folder(tmp_path / "here", "scene", NOW)
    (tmp_path / "here").rename(tmp_path / "there")
    assert (tmp_path / "there" / "scene" / "latest").is_dir()


def test_latest_is_a_text_file_where_links_fail(tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    run = create_run_folder(tmp_path, "scene", NOW)
    assert (tmp_path / "scene" / "latest").read_text() == run.path.name + "\n"


def test_a_real_folder_called_latest_is_left_alone(tmp_path):
    (tmp_path / "scene" / "latest").mkdir(parents=True)
    (tmp_path / "scene" / "latest" / "keep").write_text("mine")
    run = create_run_folder(tmp_path, "scene", NOW)
    assert run.path.is_dir()
    assert (tmp_path / "scene" / "latest" / "keep").read_text() == "mine"
    (note,) = run.notes
    assert "latest is still what it was (Is a directory) and not this run" in note
    assert len(list((tmp_path / "scene").iterdir())) == 2


def test_unwritable_root_names_folder_and_remedy(tmp_path):
    (tmp_path / "outputs").write_text("a file")
    with pytest.raises(DataError, match=r"cannot write .*outputs.*--out"):
        create_run_folder(tmp_path / "outputs", "scene", NOW)


@pytest.mark.parametrize("name", ["", "..", "a/b"])
def test_names_that_would_leave_the_root_are_refused(tmp_path, name):
    with pytest.raises(DataError, match="rename the scene file"):
        create_run_folder(tmp_path, name, NOW)
