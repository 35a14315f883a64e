"""Every error that diffrender raises on purpose. Catch `DiffrenderError` to catch them all."""


class DiffrenderError(Exception):
    """Base of all deliberate errors; its message says what was found, what was wanted and the remedy."""


class ConfigError(DiffrenderError):
    """A scene file or a command-line override is wrong; the message has one entry per mistake."""


class DataError(DiffrenderError):
    """A file holds something else than was expected: an image, a mesh, a transforms.json."""


class ShapeError(DiffrenderError, ValueError):
    """A tensor argument has the wrong shape, dtype, device or value range."""


class MeshError(DiffrenderError, ValueError):
    """A mesh is not of the kind that is asked for: not manifold, degenerate, or out of proportion."""


class BackendError(DiffrenderError, RuntimeError):
    """The requested implementation cannot run here; the message names the remedy."""


class FitError(DiffrenderError, RuntimeError):
    """A fit cannot go on: a value became non-finite, or nothing can be optimised."""
