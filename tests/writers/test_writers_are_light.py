from __future__ import annotations

import pkgutil
import subprocess
import sys

import diffrender.writers


def test_importing_the_writers_loads_nothing_heavy():
    modules = [module.name for module in pkgutil.walk_packages(diffrender.writers.__path__, "diffrender.writers.")]
    assert len(modules) > 10
    heavy = {"matplotlib", "imageio", "imageio_ffmpeg", "trimesh", "numba", "scipy"}
    program = f"import sys, {', '.join(modules)}; print(*({heavy!r} & sys.modules.keys()))"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.split() == []
