"""The command line of scripts/bench_ops.py."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from benchmarks.curve import print_curves
from benchmarks.ops_bench import Settings, print_table, works
from benchmarks.peers import require_deodr
from benchmarks.pictures import save_comparison
from benchmarks.plain import print_plain, print_quickstart
from benchmarks.remeshing import print_passes
from benchmarks.smoothers import SHAPES, draw, race, table
from benchmarks.works import Work

from diffrender.errors import BackendError


def main(description: str) -> None:
    """Parse the command line and print what it asks for."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer rows, less time a row")
    add("--threads", type=_counts, default=(1, 2), help="numbers of kernel threads to try, for example 1,2,4")
    add("--only", default="", help="only rows whose name contains this: image, probe...")
    add("--best", action="store_true", help="the quickest run instead of the median (on a busy machine)")
    add("--processor-time", action="store_true", help="processor time instead of the wall's (on a busy machine)")
    add("--peers", action="store_true", help="race deodr on the whole images, in turns")
    add("--pictures", type=Path, metavar="PNG", help="save our picture, deodr's and the difference")
    add("--curve", action="store_true", help="growth with faces, pixels and distance instead of the table")
    add("--curve-picture", type=Path, metavar="PNG", help="draw the curves as well")
    add("--remesh", action="store_true", help="a pass of remeshing at several sizes instead of the table")
    add("--plain", action="store_true", help="a plain loop against the best setting, and the quickstart's fit, instead")
    add("--smoothers", nargs="*", metavar="SHAPE", help="large_steps against Adam: bumpy, box or mesh files")
    add("--seconds", type=float, default=20.0, help="of --smoothers, for each contestant")
    options = parser.parse_args()
    if options.peers or (options.pictures and options.smoothers is None):
        try:
            require_deodr()
        except BackendError as error:
            parser.error(str(error))
    # torch's own operations run on one thread inside our contestants; outside of them too, to leave none spinning.
    torch.set_num_threads(1)
    settings = Settings(
        options.threads, 0.8 if options.quick else 3.0, options.best, options.processor_time, options.peers
    )
    if options.pictures and options.smoothers is None:
        save_comparison(options.pictures, Work("antialias", 6_000, 512))
    if options.smoothers is not None:
        outcomes = [each for shape in options.smoothers or SHAPES for each in race(shape, options.seconds, 128, 4)]
        print(table(outcomes))
        if options.pictures:
            draw(outcomes, options.pictures)
    elif options.remesh:
        print_passes(settings, options.quick)
    elif options.plain:
        print_plain(settings)
        print_quickstart(settings)
    elif options.curve or options.curve_picture:
        print_curves(settings, options.curve_picture)
    else:
        print_table([work for work in works(options.quick) if options.only in work.name], settings)


def _counts(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"wanted positive numbers with commas between, as in 1,2,4; got {text!r}")
    return tuple(int(part) for part in parts)
