"""Checks of the course of a fit, and of its scores."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable

import torch
from torch import Tensor

from diffrender.app.verdict.evidence import Course, masked_psnr
from diffrender.app.verdict.reason import Reason
from diffrender.config.options.edges import SoftOptions
from diffrender.fit.objective import Loss
from diffrender.setup.fit_setup import FitSetup
from diffrender.setup.parameters import fill_parameters

# Relative to the start: a fit that gains less has done nothing.
LEAST_GAIN = 0.01
# A start from which little can be gained.
GOOD_START_DB = 30.0
# A better score counts though the objective, with its regularisers, is not lower. dB, IoU.
BETTER_DB, BETTER_IOU = 1.0, 0.02
WORSE_DB, SAME_IOU = 0.5, 0.005
# IoU, and what is forgiven in small images: errors of the silhouette in pixels, over the radius in pixels.
DOUBTFUL_IOU, FAILED_IOU = 0.9, 0.75
DOUBTFUL_PX, FAILED_PX = 1.0, 2.0
# Inside the mask. Photographs with wrong exposure or gloss are above 15 dB.
DOUBTFUL_DB, FAILED_DB = 15.0, 10.0
# Held-out views of the shipped scenes are within 4 dB of fitted ones; above 30 dB a gap means nothing.
GAP_DB, FAILED_GAP_DB, GOOD_DB = 6.0, 12.0, 30.0
GAP_IOU, FAILED_GAP_IOU = 0.08, 0.25
# A view that is so much worse than the median belongs to another camera, or shows something else.
# Both by a given amount and by the usual scatter of views.
OUTLIER_IOU, OUTLIER_PX, OUTLIER_DB, FEW = 0.06, 0.75, 4.0, 1 / 3
OUTLIER_SCATTER = 6.0
# The last tenth of the steps should not gain as much as this, of all that was gained and of what is left.
STILL_FALLING, STILL_FALLING_OF_REST = 0.08, 0.25
FEWEST_STEPS = 10
# Rates above the default by this are named as a cause.
HIGH_RATE = 4.0
RISING = 1.1
# Pixels deep within what is uncovered (evaluate.views), and the least number and share of views. A chair without a bar:
# ten of fourteen views; photographs of a dinosaur, whose masks are rough: three; a bulldozer: none of fifty.
UNCOVERED_PIXELS, UNCOVERED_VIEWS, UNCOVERED_SHARE = 8, 3, 1 / 3
# Of Adam, for a shape: fewer are no fair trial; half of the usual ones, where minutes were given, not steps.
FEW_STEPS, FEW_STEPS_OF_MINUTES, USUAL_STEPS = 50, 200, 400
# Share of the start's data terms that is left, if a regulariser outweighs them.
LITTLE_FITTED = 0.5
# With such scores inside the masks, nothing is hardly fitted.
FITTED_DB, FITTED_IOU = 30.0, 0.97
MOST_NAMED = 4


def find_non_finite(course: Course) -> Reason | None:
    """A fit that ended in a value that is not finite."""
    if course.result.stop_reason not in ("non_finite", "diverged", "program"):
        return None
    return Reason(course.result.stop_reason, str(course.result.message), _blame_rate(course.case.setup), fails=True)


def find_failed_trial(course: Course) -> Reason | None:
    """A program that fails where the fit wants to go."""
    if course.result.stop_reason != "finished" or course.result.message is None:
        return None
    return Reason(
        "program_in_the_way",
        f"The fit ended where its program fails: {course.result.message}",
        "Give its parameters ranges in which it works (program.parameters.<name>.range), or mend it",
    )


def find_interrupted(course: Course) -> Reason | None:
    """A fit that was stopped by hand."""
    if course.result.stop_reason != "interrupted":
        return None
    done, steps = course.result.steps_done, course.case.setup.settings.steps
    return Reason(
        "interrupted",
        f"Stopped by Ctrl-C after {done:,} of {steps:,} steps",
        f"Continue it: diffrender fit --resume {shlex.quote(str(course.folder))}",
    )


def find_worse_than_start(course: Course) -> Reason | None:
    """A result that is no better than the start."""
    before, after = course.start.main, course.end.main
    gained_db, gained_iou = masked_psnr(after) - masked_psnr(before), after["mask_iou"] - before["mask_iou"]
    is_no_better = not course.returned_objective < (1 - LEAST_GAIN) * course.first_objective
    if is_no_better and (gained_db > BETTER_DB or gained_iou > BETTER_IOU):
        return None
    is_worse = course.case.compares_colors and gained_db < -WORSE_DB and not gained_iou > SAME_IOU
    if not (is_no_better or is_worse):
        return None
    found = f"objective {course.first_objective:.3g} before and {course.returned_objective:.3g} after"
    if course.case.compares_colors:
        found += f", PSNR {masked_psnr(before):.1f} and {masked_psnr(after):.1f} dB"
    if masked_psnr(before) >= GOOD_START_DB and not is_worse:
        return Reason(
            "no_gain",
            f"The start was good, and the fit found nothing better: {found}",
            "Learn other values, or more faces",
        )
    return Reason(
        "worse_than_start",
        f"The result is no better than the start: {found}",
        _blame_rate(course.case.setup) or "Check start, lights and cameras; see the other reasons",
        fails=True,
    )


def find_return(course: Course) -> Reason | None:
    """A fit that ended worse than it had been."""
    result = course.result
    if result.returned_step == result.steps_done:
        return None
    return Reason(
        "went_back",
        f"The fit went back to its state after {result.returned_step:,} of {result.steps_done:,} steps: the objective"
        f" was {course.returned_objective:.3g} there and {result.objectives[-1][1]:.3g} at the end;"
        " later pictures and curves are of what was given up",
        _blame_rate(course.case.setup)
        or "Lower the learning rates (optimize.<value>.lr), or let them decay (schedule)",
    )


def find_high_rate(course: Course) -> Reason | None:
    """A rate far above its default, and an objective that rises above its start or at the end, or a bad result."""
    values = [value for _, value in course.result.objectives]
    blame = _blame_rate(course.case.setup)
    rises = max(values[1:], default=0.0) > RISING * values[0] or course.result.returned_step < course.result.steps_done
    rises = rises or values[-1] > RISING * min(values) or course.result.stop_reason in ("non_finite", "diverged")
    is_bad = find_low_iou(course) or find_low_psnr(course) or find_heldout_gap(course)
    if not blame or not (rises or is_bad):
        return None
    course_of_values = ", ".join(f"{value:.3g}" for value in values)
    return Reason("learning_rate_too_high", f"A learning rate is too high; objectives: {course_of_values}", blame)


def find_unfinished_descent(course: Course) -> Reason | None:
    """A fit that ended while it was still getting better."""
    objectives, setup = course.result.objectives, course.case.setup
    if course.result.stop_reason != "finished" or len(objectives) < 3 or setup.optimizer.converged:
        return None
    before, last, steps = objectives[-2][1], objectives[-1][1], setup.settings.steps
    gain = objectives[0][1] - last
    is_falling = before - last > STILL_FALLING * gain > 0 and before - last > STILL_FALLING_OF_REST * last
    is_short = steps < FEWEST_STEPS and f"{last:.3g}" != f"{before:.3g}" and last < before
    if not (is_falling or is_short):
        return None
    return Reason(
        "too_few_steps",
        f"The objective was still falling at the end: {before:.3g}, then {last:.3g} at step {steps:,}",
        f"Set optimize.steps: {max(100, 3 * steps)}",
    )


def find_few_steps(course: Course) -> Reason | None:
    """A shape that had no time to become what the images show: the likely cause of all else that is found."""
    setup, steps = course.case.setup, course.case.setup.settings.steps
    is_of_minutes = "minutes" in setup.reasons.get("optimize.steps", "")
    is_few = steps < (FEW_STEPS_OF_MINUTES if is_of_minutes else FEW_STEPS) and not setup.optimizer.converged
    is_bad = find_low_iou(course) or find_low_psnr(course) or find_heldout_gap(course)
    if not (is_few and is_bad and course.case.shape_paths and course.result.stop_reason == "finished"):
        return None
    return Reason(
        "few_steps",
        f"{steps:,} steps are few for a shape that is learned: what else is said may come of that",
        f"Set optimize.{'minutes: more, or steps' if is_of_minutes else 'steps'}: {USUAL_STEPS}",
    )


def find_low_iou(course: Course) -> Reason | None:
    """Silhouettes that do not match the masks; the fit has failed if colours do not match either."""
    iou, radius = course.end.main["mask_iou"], course.case.mask_radius_px
    doubtful = min(DOUBTFUL_IOU, 1 - 2 * DOUBTFUL_PX / radius)
    if not course.case.fits_silhouettes or not iou < doubtful:
        return None
    what = "held-out" if "heldout" in course.end.evaluation.scores else "fitted"
    # Masks may be wrong; but what matches the fitted views in neither way was learned from other cameras' pictures.
    is_hopeless = course.case.compares_colors and masked_psnr(course.end.evaluation.scores["fit"]) < DOUBTFUL_DB
    return Reason(
        "low_iou",
        f"The silhouettes do not match the masks: IoU {iou:.2f} in {what} views",
        _nearer(course)
        or "Check that masks and cameras belong to the images, and that shape or pose is learned (optimize)",
        fails=iou < min(FAILED_IOU, 1 - 2 * FAILED_PX / radius) or is_hopeless,
    )


def find_missing_part(course: Course) -> Reason | None:
    """A part that masks show in many views and that the shape does not have; masks that are wrong are so in few."""
    uncovered = course.end.scores.uncovered
    bad = uncovered >= UNCOVERED_PIXELS
    if not course.case.shape_paths or not int(bad.sum()) >= max(UNCOVERED_VIEWS, UNCOVERED_SHARE * len(bad)):
        return None
    worst = int(uncovered.nan_to_num(-1).argmax())
    return Reason(
        "missing_part",
        f"A part that masks show is missing: {int(bad.sum())} of {len(bad)} fitted views have pixels that stay"
        f" uncovered, most of them {course.end.scores.names[worst]}",
        "Give larger images (targets.resolution), or a finer start, mesh: {init: visual_hull, resolution: 256}",
    )


def find_low_psnr(course: Course) -> Reason | None:
    """Colours that do not match the images."""
    psnr = masked_psnr(course.end.main)
    if not course.case.compares_colors or not psnr < DOUBTFUL_DB:
        return None
    return Reason(
        "low_psnr",
        f"The colours do not match the images: PSNR {psnr:.1f} dB on the object",
        (course.end.main.get("mask_iou", 1.0) < FITTED_IOU and _nearer(course))
        or "Check material and lights: what the images show must be learned (optimize) or given",
        fails=psnr < FAILED_DB,
    )


def _nearer(course: Course) -> str | None:
    """Return a remedy for places of known objects that are not found: images that are alike only nearby."""
    if not course.case.finds_place:
        return None
    is_wide = isinstance(course.case.setup.config.render.edges, SoftOptions)
    wide = "" if is_wide else ", or reach farther: render.edges: {type: soft, sigma: 6} with optimize.resolution: 1"
    return f"Start nearer (pose){wide}"


def find_heldout_gap(course: Course) -> Reason | None:
    """Views that were held out are matched far worse than those that were fitted."""
    scores = course.end.evaluation.scores
    if "heldout" not in scores:
        return None
    fitted, heldout = scores["fit"], scores["heldout"]
    gap_db, gap_iou = masked_psnr(fitted) - masked_psnr(heldout), fitted["mask_iou"] - heldout["mask_iou"]
    forgiven = max(GAP_IOU, DOUBTFUL_PX / course.case.mask_radius_px)
    is_darker = course.case.compares_colors and gap_db > GAP_DB and masked_psnr(heldout) < GOOD_DB
    if not (is_darker or gap_iou > forgiven):
        return None
    return Reason(
        "heldout_far_below",
        f"Held-out views are matched far worse than fitted ones: PSNR {masked_psnr(heldout):.1f} against"
        f" {masked_psnr(fitted):.1f} dB, IoU {heldout['mask_iou']:.2f} against {fitted['mask_iou']:.2f}",
        "The fit explains its views one by one: give more views, smooth more (loss.laplacian, loss.normal_consistency),"
        " learn less, or check the cameras",
        fails=gap_iou > FAILED_GAP_IOU or (is_darker and gap_db > FAILED_GAP_DB),
    )


def find_outlier_views(course: Course) -> Reason | None:
    """Few views that do not fit together with the others."""
    scores, radius = course.end.scores, course.case.mask_radius_px
    bad = _far_below(scores.iou, max(OUTLIER_IOU, OUTLIER_PX / radius))
    if course.case.compares_colors:
        bad |= _far_below(scores.psnr_db, OUTLIER_DB) & (scores.psnr_db < 2 * FAILED_DB)
    names = [name for name, is_bad in zip(scores.names, bad.tolist(), strict=True) if is_bad]
    if not 0 < len(names) <= FEW * len(scores.names):
        return None
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return Reason(
        "outlier_views",
        f"{len(names)} of {len(scores.names)} fitted views do not agree with the others:"
        f" {', '.join(names[:MOST_NAMED])}{more}",
        "Check image, mask and transform_matrix of these frames, or remove them",
    )


def _far_below(scores: Tensor, amount: float) -> Tensor:
    """Return which `scores` are below the median by `amount` and by far more than they scatter about it."""
    below = scores.median() - scores
    return below > max(amount, OUTLIER_SCATTER * float(below.abs().median()))


def find_dominant_regularizer(course: Course) -> Reason | None:
    """Regularisers that outweigh images and masks, which were hardly fitted."""
    if not course.rows:
        return None
    names = {term.name for term in course.case.setup.objective.terms if isinstance(term.measure, Loss)}
    data = [sum(value for name, value in row["terms"].items() if name in names) for row in course.rows]
    rest = {name: value for name, value in course.rows[-1]["terms"].items() if name not in names}
    tail = data[-max(1, len(data) // 10) :]
    mean = float(torch.tensor(tail).mean())
    if not rest or sum(rest.values()) < mean or mean < LITTLE_FITTED * data[0]:
        return None
    scores = course.end.main
    if scores["psnr_masked_db"] > FITTED_DB and scores["mask_iou"] > FITTED_IOU:
        return None
    name = max(rest, key=lambda each: rest[each])
    return Reason(
        "regularizer_dominates",
        f"The objective is mostly loss.{name} ({rest[name]:.2g}); images and masks ({mean:.2g}) were hardly fitted",
        f"Lower the weight of loss.{name}",
    )


def _blame_rate(setup: FitSetup) -> str:
    """Return a remedy that names the learning rate farthest above its default; "" if none is far above."""
    own = setup.config.optimize.parameters()
    plain = setup.config.optimize.with_parameters(
        {path: each.model_copy(update={"lr": None}) for path, each in own.items()}
    )
    config = setup.config.model_copy(update={"optimize": plain})
    usual = fill_parameters(config, setup.scene, setup.fit_views.cameras, setup.region.radius)
    ratios = {path: (each.lr or 0) / (usual[path].lr or math.inf) for path, each in own.items()}
    path = max(ratios, key=lambda each: ratios[each], default=None)
    if path is None or ratios[path] < HIGH_RATE:
        return ""
    lr = usual[path].lr
    return f"The learning rate of {path} is {ratios[path]:.3g} times its default: set optimize.{path}.lr: {lr:.2g}"


COURSE_CHECKS: tuple[Callable[[Course], Reason | None], ...] = (
    find_non_finite,
    find_failed_trial,
    find_interrupted,
    find_high_rate,
    find_dominant_regularizer,
    find_unfinished_descent,
    find_return,
    find_worse_than_start,
    find_low_iou,
    find_missing_part,
    find_low_psnr,
    find_outlier_views,
    find_heldout_gap,
)
