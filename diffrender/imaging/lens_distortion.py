"""Lens distortion: where a lens images what a pinhole would image at a point of the image plane."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import astuple, dataclass
from typing import ClassVar

import numpy as np
from numpy.polynomial import Polynomial

# A leading coefficient that is this small beside the largest is none.
NEGLIGIBLE = 1e-14


@dataclass(frozen=True)
class LensDistortion:
    """Base of lens models, whose fields are their coefficients; all 0 is the lens without an effect, if there is one.

    Points are those of the normalized image plane, (x, y) / z in camera coordinates: pixels are focal_px * xy +
    center_px before (pinhole) and after (photograph) the distortion.
    is_fisheye: whether its image grows about as the angle from the axis, also with coefficients of 0.
    keeps_focal: whether its middle is that of the pinhole, so that a field of view tells about its focal length.
    name: COLMAP's name of the model.
    """

    name: ClassVar[str]
    is_fisheye: ClassVar[bool] = False
    keeps_focal: ClassVar[bool] = True

    @abstractmethod
    def distort(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where the lens images the points (x, y), float64 arrays of one shape."""

    @abstractmethod
    def largest_radius(self) -> float:
        """Return the distance from the centre, before the distortion, up to which the image grows with it.

        Farther out the formula folds the image back over itself, and means nothing. inf if it never does.
        """

    def camera_model(self) -> str:
        """Return what files call a lens with these coefficients."""
        return self.name

    def is_identity(self) -> bool:
        """Return whether the lens has no effect."""
        return not self.is_fisheye and not any(astuple(self))


@dataclass(frozen=True)
class BrownConrady(LensDistortion):
    """Radial and tangential distortion, with OpenCV's names of coefficients.

        r^2 = x^2 + y^2,  c = (1 + k1 r^2 + k2 r^4 + k3 r^6) / (1 + k4 r^2 + k5 r^4 + k6 r^6)
        x' = c x + 2 p1 x y + p2 (r^2 + 2 x^2),  y' = c y + p1 (r^2 + 2 y^2) + 2 p2 x y

    Source: OpenCV's documentation of calib3d, "Detailed Description"; D. Brown, "Close-range camera calibration"
    (1971).
    """

    name: ClassVar[str] = "FULL_OPENCV"
    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    k3: float = 0.0
    k4: float = 0.0
    k5: float = 0.0
    k6: float = 0.0

    def distort(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return c (x, y) plus the tangential terms."""
        r2 = x * x + y * y
        radial = _polynomial(r2, self.k1, self.k2, self.k3)
        if self.k4 or self.k5 or self.k6:
            radial /= _polynomial(r2, self.k4, self.k5, self.k6)
        if not self.p1 and not self.p2:
            return x * radial, y * radial
        # x (c + 2 p1 y + 2 p2 x) + p2 r^2, and the same of y.
        radial += 2 * (self.p1 * y + self.p2 * x)
        return x * radial + self.p2 * r2, y * radial + self.p1 * r2

    def largest_radius(self) -> float:
        """Return the first root of the derivative of r c(r), or of the denominator of c."""
        top, bottom = Polynomial([1, self.k1, self.k2, self.k3]), Polynomial([1, self.k4, self.k5, self.k6])
        # With s = r^2 and c = top / bottom: d(r c)/dr bottom^2 = top bottom + 2 s (top' bottom - top bottom').
        with np.errstate(over="ignore", invalid="ignore"):  # of a damaged file
            slope = top * bottom + Polynomial([0, 2]) * (top.deriv() * bottom - top * bottom.deriv())
        return float(np.sqrt(min(_first_root(slope), _first_root(bottom))))

    def camera_model(self) -> str:
        """Return the model with the fewest coefficients that has these; transforms.json's OPENCV has k3."""
        return self.name if self.k4 or self.k5 or self.k6 else "OPENCV"


@dataclass(frozen=True)
class AnyFisheye(LensDistortion):
    """Base of fisheyes: the distance from the centre is t (1 + c0 t^2 + c1 t^4 + ...), but for what is added.

    t: the angle from the axis.
    """

    is_fisheye: ClassVar[bool] = True
    keeps_focal: ClassVar[bool] = False

    @abstractmethod
    def radial(self) -> tuple[float, ...]:
        """Return the coefficients c0, c1, ... of the polynomial."""

    def largest_radius(self) -> float:
        """Return the tangent of the first angle at which the polynomial falls, or inf if that is beyond 90 degrees."""
        slope = Polynomial([1.0, *((2 * index + 3) * value for index, value in enumerate(self.radial()))])
        angle = float(np.sqrt(_first_root(slope)))
        return float(np.tan(angle)) if angle < np.pi / 2 else np.inf


@dataclass(frozen=True)
class Fisheye(AnyFisheye):
    """A fisheye: the distance from the centre is a polynomial of the angle from the axis. All 0 is equidistant.

        t = atan r,  t' = t (1 + k1 t^2 + k2 t^4 + k3 t^6 + k4 t^8),  (x', y') = (x, y) t' / r

    Source: J. Kannala and S. Brandt, "A generic camera model and calibration method for conventional, wide-angle, and
    fish-eye lenses" (2006); OpenCV's documentation of the namespace fisheye.
    """

    name: ClassVar[str] = "OPENCV_FISHEYE"
    k1: float = 0.0
    k2: float = 0.0
    k3: float = 0.0
    k4: float = 0.0

    def distort(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (x, y) t' / r."""
        u, v, s = _equidistant(x, y)
        bent = _polynomial(s, *self.radial())
        return u * bent, v * bent

    def radial(self) -> tuple[float, ...]:
        """Return k1 to k4."""
        return self.k1, self.k2, self.k3, self.k4


@dataclass(frozen=True)
class ThinPrismFisheye(AnyFisheye):
    """A fisheye with the tangential distortion and the tilt of its lenses; coefficients by COLMAP's names.

        (u, v) = (x, y) t / r,  t = atan r,  s = t^2
        x' = u (1 + k1 s + k2 s^2 + k3 s^3 + k4 s^4) + 2 p1 u v + p2 (s + 2 u^2) + sx1 s
        y' = v (1 + k1 s + k2 s^2 + k3 s^3 + k4 s^4) + 2 p2 u v + p1 (s + 2 v^2) + sy1 s

    Source: J. Weng, P. Cohen, M. Herniou, "Camera calibration with distortion models and accuracy evaluation" (1992);
    COLMAP's documentation, "Camera Models".
    """

    name: ClassVar[str] = "THIN_PRISM_FISHEYE"
    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    k3: float = 0.0
    k4: float = 0.0
    sx1: float = 0.0
    sy1: float = 0.0

    def distort(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (u, v) by the polynomial, plus what tangential distortion and tilt add."""
        u, v, s = _equidistant(x, y)
        radial = _polynomial(s, *self.radial()) + 2 * (self.p1 * v + self.p2 * u)
        return u * radial + (self.p2 + self.sx1) * s, v * radial + (self.p1 + self.sy1) * s

    def radial(self) -> tuple[float, ...]:
        """Return k1 to k4."""
        return self.k1, self.k2, self.k3, self.k4


@dataclass(frozen=True)
class RadTanThinPrismFisheye(AnyFisheye):
    """The fisheye of Project Aria, also known as Fisheye624; coefficients by COLMAP's names.

        (u, v) = (x, y) t / r (1 + k0 t^2 + k1 t^4 + ... + k5 t^12),  t = atan r,  q = u^2 + v^2
        x' = u + 2 u (p0 u + p1 v) + p0 q + s0 q + s1 q^2,  y' = v + 2 v (p0 u + p1 v) + p1 q + s2 q + s3 q^2

    Source: Project Aria's documentation, "Camera Intrinsic Models"; COLMAP's, "Camera Models".
    """

    name: ClassVar[str] = "RAD_TAN_THIN_PRISM_FISHEYE"
    k0: float = 0.0
    k1: float = 0.0
    k2: float = 0.0
    k3: float = 0.0
    k4: float = 0.0
    k5: float = 0.0
    p0: float = 0.0
    p1: float = 0.0
    s0: float = 0.0
    s1: float = 0.0
    s2: float = 0.0
    s3: float = 0.0

    def distort(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (u, v) plus what tangential distortion and tilt add."""
        u, v, s = _equidistant(x, y)
        radial = _polynomial(s, *self.radial())
        u, v = u * radial, v * radial
        q, both = u * u + v * v, 1 + 2 * (self.p0 * u + self.p1 * v)
        return u * both + q * (self.p0 + self.s0 + self.s1 * q), v * both + q * (self.p1 + self.s2 + self.s3 * q)

    def radial(self) -> tuple[float, ...]:
        """Return k0 to k5."""
        return self.k0, self.k1, self.k2, self.k3, self.k4, self.k5


@dataclass(frozen=True)
class FieldOfView(LensDistortion):
    """A wide lens with one coefficient: r' = atan(2 r tan(omega / 2)) / omega; omega in radians, 0: none.

    Source: F. Devernay, O. Faugeras, "Straight lines have to be straight" (2001).
    """

    name: ClassVar[str] = "FOV"
    keeps_focal: ClassVar[bool] = False
    omega: float = 0.0

    def distort(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (x, y) r' / r."""
        if self.omega == 0:
            return x, y
        r, slope = np.hypot(x, y), 2 * np.tan(self.omega / 2)
        at_middle = np.full_like(r, slope / self.omega)
        scale = np.divide(np.arctan(r * slope), r * self.omega, out=at_middle, where=r > 1e-9)
        return x * scale, y * scale

    def largest_radius(self) -> float:
        """Return inf, as the arc tangent grows for ever; 0 for an omega that is no field of view."""
        return np.inf if abs(self.omega) < np.pi else 0.0


@dataclass(frozen=True)
class Division(LensDistortion):
    """A lens whose pinhole is (x, y) = (x', y') / (1 + k r'^2), here solved for (x', y').

    Source: A. Fitzgibbon, "Simultaneous linear estimation of multiple view geometry and lens distortion" (2001).
    """

    name: ClassVar[str] = "DIVISION"
    k: float = 0.0

    def distort(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (x, y) 2 / (1 + sqrt(1 - 4 k r^2))."""
        scale = 2 / (1 + np.sqrt(np.maximum(1 - 4 * self.k * (x * x + y * y), 0)))
        return x * scale, y * scale

    def largest_radius(self) -> float:
        """Return where the square root ends, if k is positive."""
        return float(0.5 / np.sqrt(self.k)) if self.k > 0 else np.inf


def _equidistant(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (u, v), the points (x, y) at the distance t = atan r from the middle, and t^2."""
    r = np.hypot(x, y)
    angle = np.arctan(r)
    scale = np.divide(angle, r, out=np.ones_like(r), where=r > 1e-12)
    return x * scale, y * scale, angle * angle


def _polynomial(s: np.ndarray, *coefficients: float) -> np.ndarray:
    """Return 1 + c0 s + c1 s^2 + ..."""
    result = np.zeros_like(s)
    for coefficient in reversed(np.trim_zeros(coefficients, "b")):
        result += coefficient
        result *= s
    result += 1
    return result


def _first_root(polynomial: Polynomial) -> float:
    """Return the smallest positive root, inf if there is none, 0 if the coefficients are beyond float64."""
    largest = np.abs(polynomial.coef).max()
    if not np.isfinite(largest):
        return 0.0
    # What is lost is nothing at any radius that an image has.
    roots = polynomial.trim(NEGLIGIBLE * largest).roots()
    real = roots.real[(np.abs(roots.imag) <= 1e-9 * np.abs(roots)) & (roots.real > 0)]
    return float(real.min()) if len(real) else np.inf
