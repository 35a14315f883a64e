"""Compare what two checkouts compute: python scripts/compare_checkouts.py OLD NEW scenes/pose.yaml ... [-- options]

Fits each scene with the code of OLD and of NEW, and prints every number of metrics.json that differs, times left out.
What follows `--` are options of `fit_scene.py`, as --steps 20. Exits with 1 if any number differs.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TIMES = ("wall_s", "fit_s", "phase_s", "steps_per_s")


def fitted_numbers(checkout: Path, scene: Path, options: list[str]) -> dict:
    with tempfile.TemporaryDirectory() as out:
        script = checkout / "scripts" / "fit_scene.py"
        command = [sys.executable, str(script), str(scene), "--out", out, "--device", "cpu", *options]
        subprocess.run(command, env=os.environ | {"PYTHONPATH": str(checkout)}, stdout=subprocess.DEVNULL, check=True)
        return flatten(json.loads((Path(out) / scene.stem / "latest" / "metrics.json").read_text(encoding="utf-8")))


def flatten(value: object, key: str = "") -> dict:
    if not isinstance(value, dict):
        return {key: value}
    found = {}
    for name, below in value.items():
        if name not in TIMES:
            found |= flatten(below, f"{key}.{name}".lstrip("."))
    return found


def main() -> int:
    arguments = sys.argv[1:]
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    old, new, *scenes = (Path(text).resolve() for text in arguments[:cut])
    has_difference = False
    for scene in scenes:
        before, after = (fitted_numbers(checkout, scene, arguments[cut + 1 :]) for checkout in (old, new))
        keys = [key for key in before | after if before.get(key, "absent") != after.get(key, "absent")]
        print(f"{scene.name}: {len(after)} numbers, {len(keys)} differ", flush=True)
        for key in keys:
            print(f"  {key}: {before.get(key, 'absent')} -> {after.get(key, 'absent')}")
        has_difference |= bool(keys)
    return int(has_difference)


if __name__ == "__main__":
    sys.exit(main())
