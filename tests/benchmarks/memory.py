"""Peak extra memory of a forward and backward, whoever allocates it: torch, NumPy, Numba inside a kernel, or a peer.

Counted is what the operating system sees: the highest resident set of a fresh process during the work, less that just
before it (parameters, compiled kernels and the incoming gradient are there by then), after two rounds of warming up.
The process runs with glibc's mmap threshold fixed at 64 KB and trimming on, so that every sizeable block is taken from
the system when asked for and given back when freed: nothing hides in a heap or in `diffrender.memory`. Pages
that are asked for and never touched do not count. Only Linux can reset and tell the peak.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median

from benchmarks.peers import PEERS
from benchmarks.timing import WARM_UPS
from benchmarks.works import Task, Work, task_of

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MEASUREMENTS = 3
OURS = "diffrender"


def can_measure() -> bool:
    """Whether this system tells the peak."""
    return sys.platform == "linux" and os.access(CLEAR_REFS, os.W_OK)


def bytes_per_pixel(works: list[Work], by: str, n_threads: int) -> list[float]:
    """For each work, peak extra bytes divided by the pixels of its image.

    by: OURS, or a name in PEERS.
    """
    given = {"works": [asdict(work) for work in works], "by": by, "n_threads": n_threads}
    tests = Path(__file__).parents[1]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)]),
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "MALLOC_TRIM_THRESHOLD_": "65536",
        "MALLOC_MMAP_MAX_": "1000000",
    }
    command = [sys.executable, "-m", "benchmarks.memory"]
    child = subprocess.run(command, input=json.dumps(given), env=environment, capture_output=True, text=True)
    if child.returncode != 0:
        raise RuntimeError(f"measuring memory failed:\n{child.stderr}")
    return json.loads(child.stdout)


def _peak_extra_bytes(task: Task) -> float:
    libc = ctypes.CDLL(None)
    measured = []
    for turn in range(-WARM_UPS, MEASUREMENTS):
        gc.collect()
        libc.malloc_trim(0)
        CLEAR_REFS.write_text("5")  # the highest resident set starts again from the present one
        before = _resident_bytes("VmRSS:")
        result = task.forward()
        if task.backward is not None:
            task.backward(result)
        result = None
        if turn >= 0:
            measured.append(_resident_bytes("VmHWM:") - before)
    return median(measured)


def _resident_bytes(field: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])


def _main() -> None:
    from diffrender import memory
    from diffrender.threads import threads_to_kernels

    memory.MOST_BYTES = 0  # what a result leaves behind is returned to the system as well
    given = json.load(sys.stdin)
    make_task = task_of if given["by"] == OURS else PEERS[given["by"]]
    results: list[float] = []
    with threads_to_kernels(given["n_threads"]):
        for fields in given["works"]:
            work = Work(**fields)
            results.append(_peak_extra_bytes(make_task(work)) / (work.views * work.size**2))
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    _main()
