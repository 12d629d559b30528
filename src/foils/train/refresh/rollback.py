"""Go back to an earlier generation and the checkpoint it was mined with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foils.core.errors import StoreError
from foils.train import checkpoints, generations
from foils.train.run import GENERATIONS, MODEL, RECORD, read_record

ROLLBACKS = "rollbacks"
ASIDE = "aside"


def rollback(run: Path, to: int) -> dict[str, Any]:
    """Let a run go on from a generation and its checkpoint; what is newer is put aside, nothing is deleted.

    The same training command then continues from there. Generations that were put aside are not mined again at the
    steps where they were mined: the negatives of generation ``to`` serve until the next step that is due after those.

    Args:
        run: the run folder; nobody may be training in it.
        to: the generation, 0 for the beginning.

    Returns:
        What is written into ``run.json`` under ``rollbacks``: generation, step, where newer things are, and steps at
        which nothing is mined.

    Raises:
        StoreError: no such run or generation, or its checkpoint is gone; or a phase that later ones were made of.
    """
    record = read_record(run) if run.exists() else None
    if record is None:
        raise StoreError(f"{run}: there is no training run here (no {RECORD}).")
    _check_whole(run)
    settle(run)
    listed = {int(row["number"]): row for row in generations.listing(run)}
    possible = [number for number, row in listed.items() if row["checkpoint"]]
    if to not in possible:
        why = "its checkpoint is gone" if to in listed else "there is no such generation"
        have = ", ".join(map(str, possible)) or "none"
        raise StoreError(
            f"{run}: generation {to}: {why}. One can go back to: {have}. A larger keep=… in refresh: keeps more."
        )
    return put_aside(run, record, to, int(listed[to]["step"]))


def _check_whole(run: Path) -> None:
    """Refuse a phase whose model others were made of already: they would not notice."""
    phases = run.resolve().parent
    whole = read_record(phases.parent) if phases.name == "phases" and (phases.parent / RECORD).exists() else None
    if whole is None:
        return
    later = [path.name for path in phases.iterdir() if path.is_dir() and _number(path.name) > _number(run.name)]
    if whole["status"] == "finished" or later:
        by = f"phase {min(later)!r} has begun" if later else f"{phases.parent} is finished"
        raise StoreError(
            f"{run}: {by} with the model of this phase, so going back in it would change nothing there. Train into "
            "another folder, or go back while the phase is trained."
        )


def _number(name: str) -> int:
    first = name.partition("-")[0]
    return int(first) if first.isdecimal() else 0


def put_aside(run: Path, record: dict[str, Any], to: int, step: int) -> dict[str, Any]:
    """Write a rollback into a record and carry it out; a process killed meanwhile finds what is left by `settle`.

    Args:
        run: the run folder.
        record: what ``run.json`` is to say otherwise.
        to: the newest generation that stays.
        step: of the newest checkpoint that stays; 0 for none.
    """
    newer = [row for row in generations.listing(run) if int(row["number"]) > to]
    done = record.get(ROLLBACKS, [])
    entry = {
        "to": to,
        "step": step,
        "aside": f"{ASIDE}/{len(done) + 1}",
        "skipped": sorted({int(row["step"]) for row in newer}),
        "settled": False,
    }
    record |= {"status": "running", ROLLBACKS: [*done, entry]}
    if GENERATIONS in record:
        record[GENERATIONS] = [known for known in record[GENERATIONS] if known["number"] <= to]
    checkpoints.write_json(run / RECORD, record)
    settle(run)
    return {**entry, "settled": True}


def settle(run: Path) -> None:
    """Put aside what a rollback that was interrupted has not."""
    record = read_record(run) if (run / RECORD).exists() else None
    if record is None or not record.get(ROLLBACKS) or record[ROLLBACKS][-1]["settled"]:
        return
    entry = record[ROLLBACKS][-1]
    aside = run / entry["aside"]
    (aside / GENERATIONS).mkdir(parents=True, exist_ok=True)
    with generations.publishing(run):
        # With the weights that a second process works with, which then throws away what it made of them.
        generations.tidy(run)
        for path in [*checkpoints.newer(run, entry["step"]), run / MODEL]:
            if path.exists():
                path.replace(aside / path.name)
        for number in [number for number in generations.complete(run) if number > entry["to"]]:
            generations.folder_of(run, number).replace(aside / GENERATIONS / str(number))
    entry["settled"] = True
    checkpoints.write_json(run / RECORD, record)


def skipped(run: Path) -> set[int]:
    """Steps at which nothing is mined, because what was mined there was put aside."""
    record = read_record(run) if (run / RECORD).exists() else None
    entries = [] if record is None else record.get(ROLLBACKS, [])
    return {step for entry in entries for step in entry["skipped"]}
