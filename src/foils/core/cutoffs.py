"""`Cutoffs`: thresholds that were found on a labelled sample, as a file that a pipeline names."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.core.atomic import replacing
from foils.core.errors import DataError

KIND, VERSION = "foils thresholds", 1


@dataclass(frozen=True)
class Group:
    """Queries of one difficulty and the threshold that holds for them.

    Attributes:
        hardest: largest difficulty of the group; infinite for the last one.
        threshold: candidates closer than this are dropped; infinite to keep all, minus infinite to keep none.
        report: what was found on the sample, as JSON values.
    """

    hardest: float
    threshold: float
    report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cutoffs:
    """What `foils.calibrate` found.

    Attributes:
        settings: fields of the stage that the thresholds were found for, besides the path.
        origin: what made the scores, as far as it is known.
        groups: by rising difficulty.
        odds: (scale, shift) of ``P(relevant) = σ(scale · closeness + shift)`` among the candidates that come to the
            stage, or None where it could not be fitted.
        report: what else is to be known of it, as JSON values.
    """

    settings: dict[str, Any]
    origin: str
    groups: tuple[Group, ...]
    odds: tuple[float, float] | None = None
    report: dict[str, Any] = field(default_factory=dict)

    def group_of(self, difficulty: NDArray[np.floating]) -> NDArray[np.int64]:
        """The place of the group of each difficulty, int64 (n,)."""
        return np.searchsorted([group.hardest for group in self.groups], difficulty)

    def content(self) -> dict[str, Any]:
        """As JSON values; infinite numbers are null (no bound) and "none" (nothing is kept)."""
        return {
            "kind": KIND,
            "version": VERSION,
            "settings": self.settings,
            "origin": self.origin,
            "groups": [
                {**asdict(group), "hardest": _said(group.hardest), "threshold": _said(group.threshold)}
                for group in self.groups
            ],
            "odds": self.odds,
            "report": self.report,
        }

    def write(self, path: Path) -> None:
        """Save as JSON; see `content`."""
        text = json.dumps(self.content(), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        with replacing(path) as partial:
            partial.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> Cutoffs:
        """Those of a file.

        Raises:
            DataError: there is no such file, or it is none of these.
        """
        again = "Make it with: foils calibrate NEG PIPELINE --labels FILE"
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError("no thresholds here yet.", file=path, remedy=again) from None
        except (ValueError, OSError) as error:
            raise DataError(f"cannot be read as JSON ({error}).", file=path, remedy=again) from None
        if not isinstance(content, dict) or (content.get("kind"), content.get("version")) != (KIND, VERSION):
            found = content.get("kind") if isinstance(content, dict) else type(content).__name__
            raise DataError(f"holds {found!r}, not {KIND!r} of version {VERSION}.", file=path, remedy=again)
        try:
            read = (
                (_number(group["hardest"]), _number(group["threshold"]), group["report"]) for group in content["groups"]
            )
            groups = tuple(Group(*values) for values in read)
            odds = None if content["odds"] is None else (float(content["odds"][0]), float(content["odds"][1]))
            return cls(content["settings"], content["origin"], groups, odds, content["report"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"is not what foils calibrate writes ({error!r}).", file=path, remedy=again) from None


def _said(number: float) -> float | str | None:
    return None if number == math.inf else "none" if number == -math.inf else number


def _number(said: float | str | None) -> float:
    return math.inf if said is None else -math.inf if said == "none" else float(said)
