"""Count how often what is true lies in the intervals that fits by Levenberg-Marquardt's method give.

    python scripts/check_intervals.py scenes/pose_posterior.yaml
    python scripts/check_intervals.py scenes/pose_posterior.yaml --draws 200 --set targets.synthetic.noise=0.02

The scene has a program for its targets; its true parameters and its noise are drawn anew for each fit.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.drawn_scenes import REACH, errors_in_deviations  # pyright: ignore[reportMissingImports]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="key=value")
    options = parser.parse_args()
    errors, sizes = errors_in_deviations(options.scene, options.draws, options.overrides)
    for share, reach in REACH.items():
        inside = errors.abs() < reach
        each = ", ".join(f"{count}" for count in inside.sum(0).tolist())
        print(f"{share:.0%} intervals hold {inside.double().mean():.1%} of all numbers; of {options.draws}: {each}")
    bias, spread = errors.mean(0).tolist(), errors.square().mean(0).sqrt().tolist()
    print("errors in deviations: mean", ", ".join(f"{x:+.2f}" for x in bias))
    print("                      size", ", ".join(f"{x:.2f}" for x in spread))
    print(f"squared, all together: {sizes.mean():.2f} of {errors.shape[1]} expected")


if __name__ == "__main__":
    main()
