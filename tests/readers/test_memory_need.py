import pytest
from support.transforms_captures import capture, fails, flat, read, save

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


def test_the_largest_image_counts(tmp_path, monkeypatch):
    """All are in canvases of one size."""
    folder = capture(
        tmp_path, {1: {"w": 40, "h": 30, "cx": 20.0, "cy": 15.0, "mask_path": None}, 0: {"mask_path": None}}
    )
    save(folder / "images" / "1.png", flat(9, 40, 30))
    monkeypatch.setattr(memory_need, "physical_memory", lambda: 2 * 40 * 30 * memory_need.BYTES_PER_PIXEL - 1)
    fails(folder, "its 2 images of 40 x 30 (width x height) need")


@pytest.mark.parametrize(("text", "is_limit"), [("1000000\n", True), ("max\n", False)])
def test_a_container_has_less(tmp_path, monkeypatch, text, is_limit):
    (tmp_path / "memory.max").write_text(text)
    monkeypatch.setattr(memory_need, "LIMITS", (tmp_path / "memory.max", tmp_path / "none"))
    assert (memory_need.physical_memory() == 1_000_000) == is_limit


def test_the_machine_tells_its_memory_or_nothing():
    memory = memory_need.physical_memory()
    assert memory is None or memory > 1 << 28
