"""What a run came to: all that metrics.json, the report and the closing words tell."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from diffrender.app.evaluation import AT_ITS_BEST, Evaluation, FlipStatistics
from diffrender.fit.loop import FitResult
from diffrender.setup.fit_setup import FitSetup
from diffrender.writers.run.run_folder import RunFolder


@dataclass(frozen=True)
class RunOutcome:
    """A finished run.

    name: of the scene. folder: where the run is written.
    initial, final: the scene before and after the fit.
    flips: what the guards of learned meshes did, or None.
    export_db: how much the exported GLB looks like the fit, or None where none was exported.
    started: when this process began the run. seconds: of the whole run so far, earlier processes included.
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

    def as_json(self) -> dict[str, Any]:
        """The content of metrics.json."""
        result, gains = self.result, self.setup.learned_gains()
        return {
            **self.final.scores,
            **_material_json(self.final),
            **({"heldout_gains": AT_ITS_BEST[gains[-1]]} if gains and "heldout" in self.final.scores else {}),
            "geometry": self.final.geometry.as_json() | ({} if self.flips is None else asdict(self.flips)),
            "initial": {
                **self.initial.scores,
                **_material_json(self.initial),
                "geometry": self.initial.geometry.as_json(),
            },
            **({} if self.export_db is None else {"export": {"glb_psnr_db": round(self.export_db, 3)}}),
            "wall_s": round(self.seconds, 3),
            "fit_s": round(result.seconds, 3),
            "phase_s": {phase: round(each, 3) for phase, each in result.phase_seconds.items()},
            "steps": result.steps_done,
            "steps_per_s": round(result.steps_done / max(result.seconds, 1e-9), 3),
            "stop_reason": result.stop_reason,
        }


def _material_json(judged: Evaluation) -> dict[str, Any]:
    return {} if judged.material is None else judged.material.as_json()
