"""Reason and Verdict: what is wrong with a fit, in words and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Word = Literal["good", "doubtful", "failed"]


@dataclass(frozen=True)
class Reason:
    """A reason to doubt a fit.

    key: its name in metrics.json. text: what was found. remedy: the likely cause, and the line to change.
    fails: whether the result is of no use; otherwise it is doubtful.
    """

    key: str
    text: str
    remedy: str
    fails: bool = False

    def __str__(self) -> str:
        return f"{self.text}. {self.remedy}" if self.remedy else self.text


@dataclass(frozen=True)
class Verdict:
    """The verdict on a fit: a word, and its reasons, causes before their effects; a good fit has none."""

    word: Word
    reasons: tuple[Reason, ...] = ()

    @classmethod
    def of(cls, reasons: Sequence[Reason]) -> Verdict:
        """Return the verdict that follows from `reasons`; of several with one key the first counts."""
        unique = {reason.key: reason for reason in reversed(reasons)}
        ordered = list(dict.fromkeys(unique[reason.key] for reason in reasons))
        fails = any(reason.fails for reason in reasons)
        word: Word = "failed" if fails else "doubtful" if ordered else "good"
        return cls(word, tuple(ordered))

    def as_json(self) -> dict[str, Any]:
        """Return the entries of metrics.json."""
        entries = [asdict(reason) for reason in self.reasons]
        return {
            "verdict": self.word,
            "reasons": [{name: each[name] for name in ("key", "text", "remedy")} for each in entries],
        }
