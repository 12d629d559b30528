"""A finished study, as its folder holds it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foils.core.errors import StoreError
from foils.study.record import KIND, VERSION
from foils.study.tables import shown

if TYPE_CHECKING:
    from rich.console import RenderableType

RECORD = "study.json"


@dataclass(frozen=True)
class Study:
    """A finished comparison. Printed with Rich.

    Attributes:
        out: its folder: ``study.json``, ``table.csv``, ``table.tex``, ``runs/ARM-SEED.trec``, ``arms/ARM/SEED``.
        record: what ``study.json`` says.
    """

    out: Path
    record: Mapping[str, Any]

    @classmethod
    def open(cls, out: str | Path) -> Study:
        """A finished study from its folder.

        Raises:
            StoreError: there is none, or of another version.
        """
        path = Path(out) / RECORD
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise StoreError(f"{out}: no study here ({RECORD} is missing). foils compare makes one.") from None
        except ValueError as error:
            raise StoreError(f"{path}: not JSON ({error}). Give the command of the study again.") from None
        if record.get("kind") != KIND or record.get("version") != VERSION:
            raise StoreError(f"{path}: not a study of version {VERSION}. Give the command of the study again.")
        return cls(Path(out), record)

    @property
    def advice(self) -> list[str]:
        """What it says, in sentences."""
        return list(self.record["advice"])

    @property
    def failed(self) -> dict[str, str]:
        """Arms that could not be finished, and why."""
        return dict(self.record["failed"])

    @property
    def unjudged(self) -> dict[str, str]:
        """Arms whose false-negative rate was asked for and could not be estimated, and why."""
        return {arm["name"]: arm["rate"]["why"] for arm in self.record["arms"] if "why" in arm["rate"]}

    def __getitem__(self, arm: str) -> Mapping[str, Any]:
        """What the record says of an arm.

        Raises:
            KeyError: there is none of that name.
        """
        found: Mapping[str, Any] = {each["name"]: each for each in self.record["arms"]}[arm]
        return found

    def __repr__(self) -> str:
        names = ", ".join(arm["name"] for arm in self.record["arms"])
        return f"Study({str(self.out)!r}: {names})"

    def __rich__(self) -> RenderableType:
        return shown(self.record)
