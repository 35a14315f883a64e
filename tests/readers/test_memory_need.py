import pytest
from support.transforms_captures import capture, fails, read

from diffrender.readers.captures import memory_need


@pytest.mark.parametrize("resolution", [None, 4])
def test_a_capture_that_does_not_fit_into_memory_is_refused_before_it_is_read(tmp_path, monkeypatch, resolution):
    folder = capture(tmp_path)
    needed = 2 * (8 * 6 if resolution is None else 4 * 3) * memory_need.BYTES_PER_PIXEL
    monkeypatch.setattr(memory_need, "physical_memory", lambda: needed - 1)
    size = "8 x 6" if resolution is None else "4 x 3"
    fails(folder, f"its 2 images of {size} (width x height) need", "targets.resolution: 800", resolution=resolution)
    for enough in (needed, None):
        monkeypatch.setattr(memory_need, "physical_memory", lambda enough=enough: enough)
        assert len(read(folder, resolution=resolution)) == 2


def test_the_machine_tells_its_memory_or_nothing():
    memory = memory_need.physical_memory()
    assert memory is None or memory > 1 << 28
