"""The errors that diffrender raises deliberately, and its warnings. Catch `DiffrenderError` to catch all errors."""


class DiffrenderError(Exception):
    """Base class of all deliberate errors; the message says what was expected, what was found and how to fix it."""


class ConfigError(DiffrenderError):
    """A scene file or a command-line override is not valid; the message has one entry per mistake."""


class DataError(DiffrenderError):
    """The content of a file (an image, a mesh, a transforms.json) is not what was expected."""


class ShapeError(DiffrenderError, ValueError):
    """An argument of a function has the wrong type, shape, dtype, device or value range."""


class MeshError(DiffrenderError, ValueError):
    """A mesh does not meet the requirements of a function: not manifold, degenerate, or far too many faces."""


class BackendError(DiffrenderError, RuntimeError):
    """The requested implementation cannot run here; the message says how to fix it."""


class ProgramError(DiffrenderError, RuntimeError):
    """A program of a scene failed: it raised an error, or returned what the scene has no place for."""


class FitError(DiffrenderError, RuntimeError):
    """A fit cannot continue: a value became non-finite, or nothing can be optimised."""


class PrecisionWarning(UserWarning):
    """Values are so large that their dtype does not resolve what is computed with them."""


class NearPlaneWarning(UserWarning):
    """Most of a scene is nearer to its cameras than they draw, as one in a very small unit is."""


class OrientationWarning(UserWarning):
    """Some faces of a mesh face another way than most of their surface."""


class ProgramWarning(UserWarning):
    """A fit of a program's parameters ended before its last step, or starts where it hardly moves."""


class NotFiniteWarning(UserWarning):
    """Faces of a mesh have vertices that are not finite, so that they are not drawn."""
