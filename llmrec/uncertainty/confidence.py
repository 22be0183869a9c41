"""Confidence hides how a measure of certainty becomes a probability, and where that is kept.

``eval/uncertainty.py`` finds the measure and fits it on real conversations; ``confidence.json``
beside an adapter or model holds the result as plain numbers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.errors import InputError
from llmrec.folders import write_whole
from llmrec.metrics.calibration import Calibrator
from llmrec.models.files import find_file

__all__ = ["FILE", "Confidence", "Fit", "log_odds"]

FILE = "confidence.json"
VERSION = 1
_EDGE = 1e-3


def log_odds(certainty: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """What calibrators are fed with; certainties of 0 and 1 are taken as 0.001 off."""
    c = np.clip(np.asarray(certainty, dtype=np.float64), _EDGE, 1 - _EDGE)
    return np.log(c) - np.log1p(-c)


@dataclass(frozen=True)
class Fit:
    """A measure (a name of ``certainties``), and its calibrator for each length of list."""

    measure: str
    calibrators: Mapping[int, Calibrator]

    def __call__(self, certainties: Mapping[str, float], k: int) -> float:
        """The probability that one of the first ``k`` is wanted.

        Between two lengths that were fitted it is interpolated; beyond the longest it stays.
        """
        ks = sorted(self.calibrators)
        x = log_odds([certainties[self.measure]])
        known = [float(self.calibrators[at](x)[0]) for at in ks]
        # A longer list cannot be right less often, whatever the fits say.
        return float(np.interp(k, ks, np.maximum.accumulate(known)))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        calibrators = {str(k): c.to_dict() for k, c in sorted(self.calibrators.items())}
        return {"measure": self.measure, "calibrators": calibrators}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Fit:
        """What ``to_dict`` gave."""
        found = {int(k): Calibrator.from_dict(c) for k, c in data["calibrators"].items()}
        if not found:
            raise InputError(f"the measure {data['measure']!r} has no calibrator")
        return cls(str(data["measure"]), found)


@dataclass(frozen=True)
class Confidence:
    """What makes confidences probabilities.

    Attributes
    ----------
    reply: from what one answer says of itself.
    ensemble: from any measure of ``Recommender.uncertainty``; the same as ``reply`` where that
        was found to be no worse.
    of: what was measured, in plain JSON types: data set, catalogue, grounding, ranker, numbers.
    """

    reply: Fit
    ensemble: Fit
    of: Mapping[str, Any] = field(default_factory=dict)

    def misfit(self, used: Mapping[str, Any]) -> str:
        """In what the recommender that was measured differs from one used; empty if in nothing.

        Parameters
        ----------
        used: what decides the scores, as ``of`` has it: catalogue, grounding, strategy, ranker.
        """
        for name, value in used.items():
            if self.of.get(name) != value:
                return f"{name} was {self.of.get(name)!r} and is {value!r}"
        return ""

    def __call__(
        self, certainties: Mapping[str, float], k: int, variants: int | None = None
    ) -> float:
        """The probability that one of the first ``k`` is wanted.

        Parameters
        ----------
        variants: how many each source had; None, or another number than was measured: the plain
            answer alone decides.
        """
        same = variants is not None and variants == self.of.get("variants")
        whole = same and self.ensemble.measure in certainties
        return (self.ensemble if whole else self.reply)(certainties, k)

    def write(self, file: str | os.PathLike[str]) -> None:
        """Write the file whole or not at all."""
        data = {
            "version": VERSION,
            "reply": self.reply.to_dict(),
            "ensemble": self.ensemble.to_dict(),
            "of": dict(self.of),
        }
        write_whole(Path(file), json.dumps(data, ensure_ascii=False, indent=1))

    @classmethod
    def read(cls, file: str | os.PathLike[str]) -> Confidence:
        """What ``write`` wrote. Raises InputError if the file cannot be read."""
        try:
            data = json.loads(Path(file).read_text(encoding="utf-8"))
            if data["version"] > VERSION:
                raise InputError("it is of a newer llmrec")
            return cls(Fit.from_dict(data["reply"]), Fit.from_dict(data["ensemble"]), data["of"])
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as e:
            raise InputError(
                f"{file} is no confidence that can be read ({e}): make it with eval/uncertainty.py"
            ) from None

    @classmethod
    def beside(
        cls, *places: str | os.PathLike[str] | None, revision: str | None = None
    ) -> Confidence | None:
        """The one in the first of these folders or Hub repositories that has one.

        Parameters
        ----------
        revision: of the last place, on the Hub.

        Raises
        ------
        InputError: there is one, and it cannot be read.
        """
        for i, place in enumerate(places):
            if place is None:
                continue
            file = find_file(place, FILE, revision=revision if i == len(places) - 1 else None)
            if file is not None:
                return cls.read(file)
        return None
