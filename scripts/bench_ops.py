"""What an image and its gradients cost, in one table.

    python scripts/bench_ops.py                    every row, on 1 and 2 threads
    python scripts/bench_ops.py --quick --peers    fewer rows, raced against deodr (pip install deodr==0.2.3)
    python scripts/bench_ops.py --curve            how the cost grows with faces, pixels and distance
    python scripts/bench_ops.py --plain            a plain loop against the best setting, and the quickstart's fit
    python scripts/bench_ops.py --remesh           a pass of remeshing at several sizes
    python scripts/bench_ops.py --smoothers spot.obj --pictures spot.png     Large Steps against Adam in equal time

Only numbers of one run compare: all contestants of a row take turns.
"""

import os
import sys
from pathlib import Path

# Before NumPy is loaded: the peer's matrix products would leave spinning threads behind that slow down ours.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from benchmarks.command import main  # pyright: ignore[reportMissingImports]

if __name__ == "__main__":
    main(__doc__)
