"""Parity with the CPU, times of images and gradients, and whole fits, on a CUDA GPU.

    python scripts/bench_gpu.py --out outputs/gpu            everything, in a few minutes
    python scripts/bench_gpu.py --only parity,images

Writes gpu.json and gpu.md into the folder. ../tests/benchmarks/README.md says what was measured.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from benchmarks.gpu import main  # pyright: ignore[reportMissingImports]

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/gpu"), help="folder of gpu.json and gpu.md")
    parser.add_argument("--only", default="", help="parity, images, fits: some of them, with commas between")
    options = parser.parse_args()
    main(options.out, options.only)
