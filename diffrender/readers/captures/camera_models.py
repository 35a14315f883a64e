"""The table of camera models that files name: those of COLMAP, which transforms.json has as well."""

from __future__ import annotations

from dataclasses import dataclass

from diffrender.imaging.lens_distortion import (
    BrownConrady,
    Division,
    FieldOfView,
    Fisheye,
    LensDistortion,
    RadTanThinPrismFisheye,
    ThinPrismFisheye,
)


@dataclass(frozen=True)
class CameraModel:
    """A camera model.

    number: COLMAP's.
    parameters: the names of its numbers in COLMAP's order; "f" is both focal lengths, and what is neither focal length
        nor principal point is a coefficient of the lens.
    lens: the kind of distortion, or None for a pinhole.
    """

    number: int
    parameters: tuple[str, ...]
    lens: type[LensDistortion] | None

    def coefficients(self) -> tuple[str, ...]:
        """Return the names of the lens's coefficients."""
        return tuple(name for name in self.parameters if name not in ("f", "fx", "fy", "cx", "cy"))


_ONE, _TWO = ("f", "cx", "cy"), ("fx", "fy", "cx", "cy")

# Source: COLMAP's documentation, "Camera Models", and colmap/sensor/models.h for the order of the numbers.
CAMERA_MODELS: dict[str, CameraModel] = {
    "SIMPLE_PINHOLE": CameraModel(0, _ONE, None),
    "PINHOLE": CameraModel(1, _TWO, None),
    "SIMPLE_RADIAL": CameraModel(2, (*_ONE, "k1"), BrownConrady),
    "RADIAL": CameraModel(3, (*_ONE, "k1", "k2"), BrownConrady),
    "OPENCV": CameraModel(4, (*_TWO, "k1", "k2", "p1", "p2"), BrownConrady),
    "OPENCV_FISHEYE": CameraModel(5, (*_TWO, "k1", "k2", "k3", "k4"), Fisheye),
    "FULL_OPENCV": CameraModel(6, (*_TWO, "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"), BrownConrady),
    "FOV": CameraModel(7, (*_TWO, "omega"), FieldOfView),
    "SIMPLE_RADIAL_FISHEYE": CameraModel(8, (*_ONE, "k1"), Fisheye),
    "RADIAL_FISHEYE": CameraModel(9, (*_ONE, "k1", "k2"), Fisheye),
    "THIN_PRISM_FISHEYE": CameraModel(10, (*_TWO, "k1", "k2", "p1", "p2", "k3", "k4", "sx1", "sy1"), ThinPrismFisheye),
    "RAD_TAN_THIN_PRISM_FISHEYE": CameraModel(
        11, (*_TWO, "k0", "k1", "k2", "k3", "k4", "k5", "p0", "p1", "s0", "s1", "s2", "s3"), RadTanThinPrismFisheye
    ),
    "SIMPLE_DIVISION": CameraModel(12, (*_ONE, "k"), Division),
    "DIVISION": CameraModel(13, (*_TWO, "k"), Division),
    "SIMPLE_FISHEYE": CameraModel(14, _ONE, Fisheye),
    "FISHEYE": CameraModel(15, _TWO, Fisheye),
}

# COLMAP's other models: the number, and how many numbers a camera has. They are refused by name.
UNKNOWN_LENSES: dict[str, tuple[int, int]] = {
    "EUCM": (16, 6),
    "EQUIRECTANGULAR": (17, 2),
}
