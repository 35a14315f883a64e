"""Writes diffrender/scene/materials/lobe_table.npy again; takes about a minute."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from diffrender.scene.materials.highlight_lobes import FILE

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.lobe_fit import fit_table  # pyright: ignore[reportMissingImports]

if __name__ == "__main__":
    np.save(FILE, fit_table().numpy().astype("float16"))
    print(f"{FILE}: {FILE.stat().st_size} bytes")
