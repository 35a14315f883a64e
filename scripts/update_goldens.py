"""Render the images in tests/goldens again, and say which changed and by how much: python scripts/update_goldens.py

Look at the changes before they are committed, in a commit of their own.
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.golden_cases import GOLDENS  # pyright: ignore[reportMissingImports]
from support.goldens import update_goldens  # pyright: ignore[reportMissingImports]

if __name__ == "__main__":
    torch.set_num_threads(1)
    changes = update_goldens(GOLDENS)
    print("\n".join(changes) or f"all {len(GOLDENS)} are the same")
