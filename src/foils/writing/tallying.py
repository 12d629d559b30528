"""What became of drafts, counted: per check, per kind, with examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

SHOWN = 400  # characters of a text in an example
_BEFORE = 80  # of them before its first edit


def tallied(tables: Iterable[pa.Table]) -> dict[str, Any]:
    """Counts and examples of drafts, for the record.

    Args:
        tables: the columns of ``drafts.parquet``.

    Returns:
        ``drafts``, ``accepted``; ``rejected`` by check; ``kinds``: of each kind its role, drafts, accepted and rejected
        by check; ``examples``: the first accepted draft, and the first that each check rejected.
    """
    kinds: dict[tuple[str, str], Counter[str]] = {}
    examples: dict[str, dict[str, Any]] = {}
    for table in tables:
        columns = (table[name].to_pylist() for name in ("role", "kind", "accepted", "reason"))
        for place, (role, kind, accepted, reason) in enumerate(zip(*columns, strict=True)):
            fate = "" if accepted else str(reason).split(":", 1)[0]
            kinds.setdefault((role, kind), Counter())[fate] += 1
            if fate not in examples:
                examples[fate] = _example(table.slice(place, 1).to_pylist()[0])
    rejected: Counter[str] = Counter()
    for counts in kinds.values():
        rejected.update({fate: count for fate, count in counts.items() if fate})
    drafts = sum(counts.total() for counts in kinds.values())
    accepted = sum(counts[""] for counts in kinds.values())
    return {
        "drafts": drafts,
        "accepted": accepted,
        "rejected": dict(sorted(rejected.items(), key=lambda one: (-one[1], one[0]))),
        "kinds": [
            {
                "role": role,
                "kind": kind,
                "drafts": counts.total(),
                "accepted": counts[""],
                "rejected": {fate: count for fate, count in sorted(counts.items()) if fate},
            }
            for (role, kind), counts in sorted(kinds.items())
        ],
        "examples": [examples[fate] for fate in sorted(examples)],
    }


def _example(row: dict[str, Any]) -> dict[str, Any]:
    names = ("accepted", "reason", "role", "kind", "query_id", "doc_id", "title", "edits")
    # Of an edited text the part that was edited: places in the source are about those in the draft.
    start = row["edits"][0]["start"] - _BEFORE if row["edits"] else 0
    text = row["text"] if start <= 0 else f"… {row['text'][start:].partition(' ')[2]}"
    return {**{name: row[name] for name in names}, "text": text[:SHOWN]}
