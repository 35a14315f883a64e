"""Writes diffrender/scene/materials/lobe_table.npy anew; takes about a minute."""

from __future__ import annotations

import numpy as np

from diffrender.scene.materials.lobe_fit import fit_table
from diffrender.scene.materials.lobe_table import FILE

if __name__ == "__main__":
    np.save(FILE, fit_table().numpy().astype("float16"))
    print(f"{FILE}: {FILE.stat().st_size} bytes")
