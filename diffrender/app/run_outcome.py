"""The outcome of a run: the content of metrics.json, the report and the closing message."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from diffrender.app.camera_errors import camera_errors
from diffrender.app.evaluation import Evaluation, FlipStatistics, learned_of_heldout
from diffrender.app.parameter_changes import learned_values
from diffrender.app.program_results import program_json
from diffrender.app.uncertainty import Deviations
from diffrender.app.verdict.reason import Verdict
from diffrender.fit.loop import FitResult
from diffrender.setup.fit_setup import FitSetup
from diffrender.writers.run.run_folder import RunFolder


@dataclass(frozen=True)
class RunOutcome:
    """A finished run.

    name: of the scene. folder: where the run is written.
    initial, final: the scene before and after the fit.
    flips: what the flip guard did, or None if no mesh is learned.
    export_db: PSNR of the exported GLB against the fit, or None if none was exported.
    deviations: how certain learned values are, by path, if the method of the fit tells. covariance: of all of them.
    notes: what readers changed or did not read, and which extras could not be written.
    started: when this process began the run. seconds: of the whole run, including earlier processes.
    """

    name: str
    folder: RunFolder
    setup: FitSetup
    initial: Evaluation
    final: Evaluation
    flips: FlipStatistics | None
    export_db: float | None
    result: FitResult
    started: datetime
    seconds: float
    verdict: Verdict
    deviations: Deviations
    covariance: dict[str, Any]
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the content of metrics.json."""
        result = self.result
        return {
            **self.verdict.as_json(),
            **self.final.scores,
            **program_json(self.setup, result),
            **_material_json(self.final),
            **(learned_of_heldout(self.setup) if "heldout" in self.final.scores else {}),
            "geometry": self.final.geometry.as_json() | ({} if self.flips is None else asdict(self.flips)),
            "initial": {
                **self.initial.scores,
                **_material_json(self.initial),
                "geometry": self.initial.geometry.as_json(),
            },
            **({} if self.export_db is None else {"export": {"glb_psnr_db": round(self.export_db, 3)}}),
            "views": {kind: [asdict(view) for view in views] for kind, views in self.final.views.items()},
            **({"learned": values} if (values := learned_values(self.setup, result)) else {}),
            **({"deviations": self.deviations} if self.deviations else {}),
            **({"covariance": self.covariance} if self.covariance else {}),
            **({"camera_errors": errors} if (errors := camera_errors(self.setup, result)) else {}),
            "wall_s": round(self.seconds, 3),
            "fit_s": round(result.seconds, 3),
            "phase_s": {phase: round(seconds, 3) for phase, seconds in result.phase_seconds.items()},
            "steps": result.steps_done,
            "steps_per_s": round(result.steps_done / max(result.seconds, 1e-9), 3),
            **({"replayed_steps": result.replayed_steps} if result.replayed_steps else {}),
            **({"not_recorded": result.not_recorded} if result.not_recorded else {}),
            "stop_reason": result.stop_reason,
            "returned_step": result.returned_step,
            "objectives": [{"step": step, "objective": value} for step, value in result.objectives],
        }


def _material_json(evaluation: Evaluation) -> dict[str, Any]:
    return {} if evaluation.material is None else evaluation.material.as_json()
