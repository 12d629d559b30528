"""From a run's tally to ``RUN/influence``; see `foils.influence.record` for the files."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from foils.core.packing import unpack
from foils.core.texts import Texts
from foils.influence.record import FOLDER, write
from foils.train.influence.tally import GROUP, Sums, Tally
from foils.train.processes import wait

if TYPE_CHECKING:
    from foils.train.job import Job, Place

TOP = 100  # documents and queries that are listed
_SHARE = 0.01  # of all: how much of the gradient do so many have

Floats = NDArray[np.float64]


def finish(job: Job, place: Place, tally: Tally) -> None:
    """Write what was counted; of several processes, all together.

    Args:
        job: the run.
        place: where this process runs.
        tally: its counts.
    """
    folder = job.out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".part-{place.rank}.pt"
    if place.processes > 1:
        torch.save(tally.get_extra_state(), part)
    wait()
    if place.rank == 0:
        for rank in range(1, place.processes):
            other = Tally()
            other.set_extra_state(torch.load(folder / f".part-{rank}.pt", map_location="cpu", weights_only=True))
            _join(tally, other)
        write(folder, *described(job, tally))
    wait()
    part.unlink(missing_ok=True)


def _join(tally: Tally, other: Tally) -> None:
    """Add the counts of another process."""
    assert other.names == tally.names, "all processes train on the same negatives"
    for mine, theirs in (
        (tally.pairs, other.pairs),
        (tally.documents, other.documents),
        (tally.queries, other.queries),
    ):
        theirs.settle()
        mine.add(theirs.keys, theirs.values, theirs.codes)
    for name, values in other.groups.items():
        tally.groups[name] = tally.groups.get(name, np.zeros(len(values))) + values
    tally.batches += other.batches


def described(job: Job, tally: Tally) -> tuple[dict[str, Any], pa.Table]:
    """What ``influence.json`` says, and the table of pairs."""
    for sums in (tally.pairs, tally.documents, tally.queries):
        sums.settle()
    data, spec = job.data, job.spec
    sources = _groups(tally, "source")
    mined = dict(zip(*_by_document(tally.pairs), strict=True))
    total = {name: _sum(source[name] for source in sources) for name in ("times", "mass", "gradient")}
    documents = _ranking(tally.documents, data.corpus, "doc_id", total)
    for entry, row in documents:
        entry["mined"] = _share(mined.get(row, 0.0), entry["gradient"])
    record = {
        "collection": data.name,
        "data": data.fingerprint,
        "split": spec.split,
        "model": job.student.fingerprint,
        "contrast": spec.contrast.full(),
        "loss": spec.loss.full(),
        "similarity": job.student.similarity,
        "side": tally.side,
        "temperature": tally.temperature,
        "steps": [max(tally.first, 0), tally.last],
        "batches": tally.batches,
        "total": {name: _finite(value) for name, value in total.items()},
        "sources": _shares(sources, total),
        "tiers": _shares(_groups(tally, "tier"), total),
        "pairs": len(tally.pairs.keys),
        "concentration": {
            name: {"number": len(sums.keys), "share": _SHARE, "gradient_share": _top(sums.values[:, 2])}
            for name, sums in (("pairs", tally.pairs), ("documents", tally.documents), ("queries", tally.queries))
        },
        "documents": [entry for entry, _ in documents],
        "queries": [entry for entry, _ in _ranking(tally.queries, data.queries, "query_id", total)],
    }
    return record, _table(job, tally)


def _groups(tally: Tally, kind: str) -> list[dict[str, Any]]:
    found = {name.removeprefix(f"{kind}/"): values for name, values in tally.groups.items()}
    return [
        {"name": name, **dict(zip(GROUP, values.tolist(), strict=True))}
        for name, values in found.items()
        if f"{kind}/{name}" in tally.groups
    ]


def _shares(groups: list[dict[str, Any]], total: dict[str, float]) -> list[dict[str, Any]]:
    return [
        {
            "name": group["name"],
            "times": int(group["times"]),
            "mass": group["mass"],
            "gradient": _finite(group["gradient"]),
            "times_share": _share(group["times"], total["times"]),
            "mass_share": _share(group["mass"], total["mass"]),
            "gradient_share": _share(group["gradient"], total["gradient"]),
            "mean_mass": group["mass"] / group["times"],
            "gap": group["gap"] / group["times"],
            "above": group["above"] / group["times"],
        }
        for group in sorted(groups, key=lambda group: (-group["mass"], group["name"]))
    ]


def _ranking(sums: Sums, texts: Texts, name: str, total: dict[str, float]) -> list[tuple[dict[str, Any], int]]:
    """The keys with the greatest gradient, most first, ties to the lower row."""
    order = np.lexsort((sums.keys, -sums.values[:, 1], -sums.values[:, 2]))[:TOP]
    rows = sums.keys[order]
    found = zip(texts.id_list(rows), sums.values[order].tolist(), rows.tolist(), strict=True)
    return [
        (
            {
                name: text,
                "times": int(times),
                "mass": mass,
                "gradient": gradient,
                "mass_share": _share(mass, total["mass"]),
                "gradient_share": _share(gradient, total["gradient"]),
            },
            row,
        )
        for text, (times, mass, gradient), row in found
    ]


def _by_document(pairs: Sums) -> tuple[list[int], list[float]]:
    distinct, at = np.unique(unpack(pairs.keys)[1], return_inverse=True)
    return distinct.tolist(), np.bincount(at, weights=pairs.values[:, 2], minlength=len(distinct)).tolist()


def _table(job: Job, tally: Tally) -> pa.Table:
    query, doc = unpack(tally.pairs.keys)
    values = tally.pairs.values.T if len(query) else np.zeros((7, 0))
    times, mass, gradient, gap, above, ranked, rank = values
    uses = np.maximum(times, 1)
    names = pa.array(["own", *tally.names], pa.string())
    with np.errstate(invalid="ignore"):
        mean_rank = np.where(ranked > 0, rank / np.maximum(ranked, 1), np.nan)
    return pa.table(
        {
            "query_id": _ids(job.data.queries, query),
            "doc_id": _ids(job.data.corpus, doc),
            "times": pa.array(times.astype(np.int64)),
            "mass": pa.array(mass),
            "gradient": pa.array(gradient),
            "gap": pa.array((gap / uses).astype(np.float32)),
            "above": pa.array((above / uses).astype(np.float32)),
            "source": pa.DictionaryArray.from_arrays(pa.array(tally.pairs.codes.astype(np.int32)), names),
            "rank": pa.array(mean_rank.astype(np.float32), from_pandas=True),
        }
    )


def _ids(texts: Texts, rows: NDArray[np.int32]) -> pa.Array:
    distinct, at = np.unique(rows, return_inverse=True)
    return pa.DictionaryArray.from_arrays(pa.array(at.astype(np.int32)), pa.array(texts.id_list(distinct), pa.string()))


def _top(values: Floats) -> float | None:
    """Share that the greatest hundredth has, one at least."""
    if not values.sum() > 0:
        return None
    count = max(1, math.ceil(_SHARE * len(values)))
    return float(np.sort(values)[::-1][:count].sum() / values.sum())


def _sum(values: Iterable[float]) -> float:
    return math.fsum(value for value in values if math.isfinite(value))


def _share(part: float, whole: float) -> float | None:
    return _finite(part / whole) if whole > 0 else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
