"""Lens distortion: where a lens images what a pinhole would image at a point of the image plane."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import astuple, dataclass

import numpy as np
from numpy.polynomial import Polynomial

# A leading coefficient that is this small beside the largest is none.
NEGLIGIBLE = 1e-14


@dataclass(frozen=True)
class LensDistortion:
    """Base of lens models, whose fields are their coefficients; all 0 is the lens without an effect, if there is one.

    Points are those of the normalized image plane, (x, y) / z in camera coordinates: pixels are focal_px * xy +
    center_px before (pinhole) and after (photograph) the distortion.
    """

    @abstractmethod
    def distort(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where the lens images the points (x, y), float64 arrays of one shape."""

    @abstractmethod
    def largest_radius(self) -> float:
        """Return the distance from the centre, before the distortion, up to which the image grows with it.

        Farther out the formula folds the image back over itself, and means nothing. inf if it never does.
        """

    def is_identity(self) -> bool:
        """Return whether the lens has no effect."""
        return not any(astuple(self))


@dataclass(frozen=True)
class BrownConrady(LensDistortion):
    """Radial and tangential distortion, with OpenCV's names of coefficients.

        r^2 = x^2 + y^2,  c = (1 + k1 r^2 + k2 r^4 + k3 r^6) / (1 + k4 r^2 + k5 r^4 + k6 r^6)
        x' = c x + 2 p1 x y + p2 (r^2 + 2 x^2),  y' = c y + p1 (r^2 + 2 y^2) + 2 p2 x y

    Source: OpenCV's documentation of calib3d, "Detailed Description"; D. Brown, "Close-range camera calibration"
    (1971).
    """

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


@dataclass(frozen=True)
class Fisheye(LensDistortion):
    """A fisheye: the distance from the centre is a polynomial of the angle from the axis. All 0 is equidistant.

        t = atan r,  t' = t (1 + k1 t^2 + k2 t^4 + k3 t^6 + k4 t^8),  (x', y') = (x, y) t' / r

    Source: J. Kannala and S. Brandt, "A generic camera model and calibration method for conventional, wide-angle, and
    fish-eye lenses" (2006); OpenCV's documentation of the namespace fisheye.
    """

    k1: float = 0.0
    k2: float = 0.0
    k3: float = 0.0
    k4: float = 0.0

    def distort(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (x, y) t' / r."""
        r = np.hypot(x, y)
        angle = np.arctan(r)
        t2 = angle * angle
        bent = angle * _polynomial(t2, self.k1, self.k2, self.k3, self.k4)
        scale = np.divide(bent, r, out=np.ones_like(r), where=r > 1e-12)
        return x * scale, y * scale

    def largest_radius(self) -> float:
        """Return the tangent of the first angle at which the derivative of t' is 0, or inf if that is beyond 90."""
        slope = Polynomial([1.0, 3 * self.k1, 5 * self.k2, 7 * self.k3, 9 * self.k4])
        angle = float(np.sqrt(_first_root(slope)))
        return float(np.tan(angle)) if angle < np.pi / 2 else np.inf

    def is_identity(self) -> bool:
        """Return False: no fisheye is a pinhole."""
        return False


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
