"""Check the targets of a scene file, or a capture, before a fit: a table, two pictures and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.text import Text
from torch import Tensor

from diffrender.app.check.half_pixel import UNTOLD, measure_common_shift
from diffrender.app.check.picture_diagnosis import diagnose_pictures
from diffrender.app.check.view_rows import ODD, ViewRow, view_rows, view_table, worst_first
from diffrender.app.evaluation import Evaluator
from diffrender.app.verdict.diagnosis import diagnose
from diffrender.app.verdict.judge import judge_start
from diffrender.app.verdict.reason import Reason, Verdict
from diffrender.config.scene_dependent_defaults import EVERY
from diffrender.config.schema import FitConfig
from diffrender.errors import ConfigError, DataError
from diffrender.scene.target_views import Views, concatenate_views
from diffrender.setup.camera_poses import doubt_poses
from diffrender.setup.fit_setup import FitSetup, build_fit
from diffrender.setup.picture_agreement import PictureAgreement
from diffrender.setup.region import Region, region_of_views, sight_of_views
from diffrender.setup.targets import build_targets
from diffrender.threads import kernel_threads, threads_to_kernels
from diffrender.writers.report.camera_picture import write_camera_picture
from diffrender.writers.report.outline_picture import write_outlines
from diffrender.writers.report.terminal import VERDICT_STYLES
from diffrender.writers.run.metrics import write_json
from diffrender.writers.run.run_folder import RunFolder

# The long side that images are read at, in pixels.
SIDE = 256
MOST_PICTURES = 12
# An object is seen from a direction if a camera is within this angle of it.
NEARBY_DEG = 30.0
NO_MASKS = "none: silhouettes and cameras cannot be compared; a fit starts from a sphere, and is much harder"
SURFACE = "none: a fit starts from the surface that depths of the pictures show"


@dataclass(frozen=True)
class _Checked:
    """What was read. setup: None if a fit would refuse to begin, which `refusal` then explains."""

    views: Views
    heldout: list[int]
    origin: tuple[float, float, float]
    doubt: str | None
    notes: Sequence[str]
    box: tuple[Sequence[float], Sequence[float]] | None
    has_found_masks: bool
    pictures: PictureAgreement | None
    setup: FitSetup | None
    refusal: str | None

    @property
    def surface(self) -> Region | None:
        """Where the surface is that the views show, or None if that is an object."""
        return self.setup.region if self.setup is not None and self.setup.config.targets.find_surface else None

    @property
    def region(self) -> Region:
        """Where that is which the views show."""
        return self.surface or region_of_views(self.views)


@torch.no_grad()
def check_capture(config: FitConfig, name: str, folder: Path, console: Console, json_file: Path | None) -> Verdict:
    """Check what `config` would be fitted to, and write check.png and cameras.png into `folder`; return the verdict.

    name: for the first line. json_file: where all numbers are written; None: nowhere.
    Raises ConfigError or DataError if it cannot be read, or the folder not be written.
    """
    with threads_to_kernels(kernel_threads()):
        checked = _read(config)
        views, setup = checked.views, checked.setup
        diagnosis = diagnose(views, checked.origin)
        iou, reasons = {}, []
        if setup is not None:
            initial = Evaluator(setup).evaluate(setup.scene, setup.fit_views.cameras)
            iou = {row.name: row.mask_iou for kind in initial.views.values() for row in kind}
            reasons = judge_start(setup, initial)
        pictures = diagnose_pictures(views, checked.pictures, checked.origin)
        found, told = [] if pictures is None else pictures.reasons(), []
        of_masks = None if found or diagnosis is None else diagnosis.reason(checked.pictures is not None)
        # Cameras that share an error of half a pixel are not exact, either.
        if not found and (of_masks is None or of_masks.key == "inexact_cameras"):
            shift = measure_common_shift(views)
            of_masks = (None if shift is None else shift.reason()) or of_masks
            told = [("shift", UNTOLD if shift is None else shift.fact())] if views.masks is not None else []
        found += [] if of_masks is None else [of_masks]
        verdict = Verdict.of([*found, *_of_poses(checked, found), *reasons])
        rows = view_rows(views, checked.heldout, checked.region, iou, diagnosis, pictures)
        out = RunFolder(folder).folder("")
        files = _draw(checked, rows, out)
    if json_file is not None:
        facts = {
            "views": [row.as_json() for row in rows],
            "directions_seen": _directions_seen(checked),
            "silhouettes": None if diagnosis is None else diagnosis.as_json(),
            "pictures": None if pictures is None else pictures.as_json(),
            "notes": checked.notes,
        }
        write_json(json_file, {**verdict.as_json(), **facts})
    facts = [*(fact for each in (diagnosis, pictures) if each is not None for fact in each.facts()), *told]
    _print(console, name, checked, rows, facts, verdict, files)
    return verdict


def _read(config: FitConfig) -> _Checked:
    """Read the targets in a small size, and build the start."""
    side = min(config.targets.resolution or SIDE, SIDE)
    optimize = config.optimize.model_copy(update={"minutes": None})  # nothing is learned: how long does not matter
    if "cameras.pose" not in optimize.written():  # what is checked are the cameras as they are
        optimize = optimize.model_copy(update={"cameras.pose": None})
    targets_options = config.targets.model_copy(update={"resolution": side})
    config = config.model_copy(update={"targets": targets_options, "optimize": optimize})
    setup, refusal = None, None
    try:
        setup = build_fit(config)
        fit, heldout, origin, notes = setup.fit_views, setup.heldout_views, setup.origin, list(setup.notes)
        box, has_found, pictures = setup.box, setup.has_found_masks, setup.pictures
    except (ConfigError, DataError) as error:
        refusal = str(error)
        targets = build_targets(config)  # raises the same error if it is theirs
        fit, heldout, origin, notes = targets.fit, targets.heldout, targets.place.origin, list(targets.notes)
        box, has_found, pictures = targets.place.box, targets.has_found_masks, targets.pictures
    fit = fit.to("cpu")
    doubt, notes = _split_doubt(notes, fit, origin)
    every = config.targets.test_every
    is_given = isinstance(every, int)
    views, index = _in_order(fit, None if heldout is None else heldout.to("cpu"), every if is_given else EVERY)
    return _Checked(views, index, origin, doubt, notes, box, has_found, pictures, setup, refusal)


def _split_doubt(notes: list[str], views: Views, origin: tuple[float, float, float]) -> tuple[str | None, list[str]]:
    """Return the note that doubts the poses, or None, and the others. It is not there if a stated box settles it."""
    doubt = doubt_poses(views, origin)
    told = [] if doubt is None else [note for note in notes if note.endswith(doubt)]
    return next(iter(told), None), [note for note in notes if note not in told]


def _in_order(fit: Views, heldout: Views | None, test_every: int) -> tuple[Views, list[int]]:
    """Return all views in the order of the capture, as far as that is known, and which of them are held out.

    Held-out views of another size, or without masks if the fitted ones have some, are left out.
    """
    if heldout is None or heldout.images.shape[1:] != fit.images.shape[1:]:
        return fit, []
    if (heldout.masks is None) != (fit.masks is None):
        return fit, []
    n_fit, total = len(fit), len(fit) + len(heldout)
    views = concatenate_views(fit, heldout)
    every = list(range(0, total, test_every))
    if len(every) != len(heldout):
        return views, list(range(n_fit, total))
    order = [
        n_fit + view // test_every if view % test_every == 0 else view - view // test_every - 1 for view in range(total)
    ]
    return views.select(order), every


def _of_poses(checked: _Checked, found: Sequence[Reason]) -> list[Reason]:
    """Return reasons from the cameras alone, and from what a fit refuses."""
    reasons = []
    if checked.doubt is not None and all(each.key != "likely_mistake" for each in found):
        what, _, remedy = checked.doubt.rpartition("; ")
        reasons.append(Reason("doubtful_poses", what, remedy[:1].upper() + remedy[1:]))
    if checked.refusal is not None:
        reasons.append(Reason("no_start", f"A fit would not begin: {checked.refusal}", "", fails=True))
    return reasons


def _directions_seen(checked: _Checked) -> float | None:
    """Return the share of all directions, seen from the object, that a camera is near; None if none look at one."""
    views = checked.views
    if checked.surface is not None or not sight_of_views(views).is_met:
        return None
    away = views.cameras.positions_w() - torch.tensor(checked.region.center)
    away = torch.nn.functional.normalize(away, dim=1)
    # A spiral of even density (Fibonacci's).
    z = (torch.arange(2000) + 0.5) / 1000 - 1
    turn = torch.arange(2000) * (torch.pi * (3 - 5**0.5))
    sphere = torch.stack([(1 - z**2).sqrt() * turn.cos(), (1 - z**2).sqrt() * turn.sin(), z], 1)
    nearest = (sphere @ away.T).amax(1)
    return float((nearest > torch.cos(torch.deg2rad(torch.tensor(NEARBY_DEG)))).float().mean())


def _draw(checked: _Checked, rows: Sequence[ViewRow], out: Path) -> list[Path]:
    views, setup = checked.views, checked.setup
    shown = worst_first(rows)[:MOST_PICTURES]
    some = views.select(shown)
    coverage = None if setup is None else _coverage(setup, some)
    captions = [rows[view].name + _score(rows[view]) for view in shown]
    remark = f"worst first, {len(shown)} of {len(views)} views" if len(shown) < len(views) else "worst first"
    files = [out / "check.png", out / "cameras.png"]
    write_outlines(files[0], some.images, some.masks, coverage, captions, remark)
    odd = [view for view, row in enumerate(rows) if ODD in row.notes]
    points = torch.tensor([checked.region.center])
    if setup is not None:
        points = torch.cat([item.vertices_w().detach().cpu() for item in setup.scene.objects.values()])
    write_camera_picture(
        files[1], views.cameras, views.names, points, odd, checked.heldout, checked.box, checked.origin
    )
    return files


def _coverage(setup: FitSetup, views: Views) -> Tensor:
    parts = [
        setup.render_views(setup.scene, views.cameras.select([view]).to(setup.device)).rgba[..., 3].cpu()
        for view in range(len(views))
    ]
    return torch.cat(parts)


def _score(row: ViewRow) -> str:
    notes = [note for note in row.notes if note != "held out"]
    return "".join([f"  IoU {row.start_iou:.3f}" if row.start_iou is not None else "", *(f", {n}" for n in notes)])


def _print(
    console: Console,
    name: str,
    checked: _Checked,
    rows: Sequence[ViewRow],
    told: Sequence[tuple[str, str]],
    verdict: Verdict,
    files: Sequence[Path],
) -> None:
    """Print verdict, facts and the table. told: facts of the diagnoses."""
    views = checked.views
    console.print(Text.assemble("\n  ", ("diffrender check ", "dim"), (name, "bold"), "\n"))
    console.print(view_table(rows))
    seen = _directions_seen(checked)
    masks = "found in the pictures, see the note" if checked.has_found_masks else ""
    if views.masks is None:
        masks = NO_MASKS if checked.surface is None else SURFACE
    facts = [("read at", f"{max(views.cameras.height, views.cameras.width)} pixels of the long side")]
    facts += [("masks", masks)] if masks else []
    if seen is not None:
        facts.append(("seen from", f"{seen:.0%} of all directions, within {NEARBY_DEG:.0f} degrees"))
    facts += told
    facts += [("note", note) for note in checked.notes]
    facts += [("picture", str(file)) for file in files]
    console.print()
    for what, text in facts:
        console.print(Text.assemble("  ", (f"{what:10}", "dim"), text), soft_wrap=True, highlight=False)
    style = VERDICT_STYLES[verdict.word]
    console.print(Text.assemble("\n  ", (verdict.word, f"bold {style}"), f"  {len(views)} views checked"))
    for reason in verdict.reasons:
        console.print(Text(f"  {reason.text}", style=style), soft_wrap=True, highlight=False)
        if reason.remedy:
            console.print(Text(f"    {reason.remedy}"), soft_wrap=True, highlight=False)
    console.print()
