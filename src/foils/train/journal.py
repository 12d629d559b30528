"""The journal: what a run has logged since it began, a line at a time, for whoever watches it.

Checkpoints carry the log too, but there may be many minutes between two of them. The journal decides nothing: a run
goes on without it, and it is removed when ``run.json`` says the same. No PyTorch here.
"""

from __future__ import annotations

import json
import logging
import math
import time
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

JOURNAL = "journal.jsonl"
BEGUN = "begun"  # key of the line that a process begins with: the step it goes on from


def write_line(run: Path, entry: dict[str, Any]) -> None:
    """Add a line; numbers that are not finite are written as texts, which JSON can hold."""
    plain = {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in entry.items()
    }
    try:
        with (run / JOURNAL).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({**plain, "time": round(time.time(), 3)}) + "\n")
    except OSError as error:
        log.warning("%s: cannot be written to (%s); training goes on.", run / JOURNAL, error.strerror)


def read(run: Path) -> tuple[list[dict[str, Any]], int | None]:
    """The entries in order, and the steps that the run plans, if it says so.

    A run that was killed repeats the steps after its last checkpoint, and one that went back trains others in their
    place: what an earlier process logged of those is left out. A line that is not whole yet is left out, too.
    """
    entries: list[dict[str, Any]] = []
    steps = None
    try:
        text = (run / JOURNAL).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return [], None
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if not isinstance(entry, dict):
            continue
        if BEGUN in entry:
            entries = [known for known in entries if known.get("step", 0) <= entry[BEGUN]]
            steps = entry.get("steps", steps)
        else:
            entries.append(entry)
    return entries, steps


def remove(run: Path) -> None:
    """Remove it, if it is there."""
    (run / JOURNAL).unlink(missing_ok=True)
