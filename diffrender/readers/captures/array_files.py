"""NumPy's files: .npy and .npz."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffrender.errors import DataError


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read a .npz file as arrays by name, or a .npy file as one array whose name is "". Raises DataError."""
    try:
        with path.open("rb") as file:  # which NumPy would leave open if it is damaged
            content = np.load(file, allow_pickle=False)
            return {"": content} if isinstance(content, np.ndarray) else dict(content)
    except Exception as error:  # NumPy and zipfile raise a dozen kinds on damaged files
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(f"{path}: cannot be read as NumPy's arrays ({reason}); save the file again") from error
