from __future__ import annotations

import pytest
import torch
from support.shapes import placed, square

from diffrender.scene.cameras import Cameras
from diffrender.setup.remeshing import pixel_width_w


@pytest.mark.parametrize("distance", [2.0, 50.0])
def test_a_pixel_is_as_wide_as_cameras_see_it_at_the_middle_of_the_object(distance: float) -> None:
    eye = torch.tensor([[0.0, 0.0, distance]])
    pinhole = Cameras.perspective(eye, fov_deg=90, height=60, width=60)
    assert pixel_width_w(placed(square()), pinhole) == pytest.approx(distance / 30)
    flat = Cameras.parallel(eye, view_height=3.0, height=60, width=60)
    assert pixel_width_w(placed(square()), flat) == pytest.approx(3 / 60)
