"""Run what a study lacks: each training in a process of its own, one after the other."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from foils.core.errors import DataError, FoilsError, ModelError, PipelineError, SpecError, StoreError
from foils.stages.context import Progress
from foils.study.tasks import RESULT, Task
from foils.study.worker import ERROR

_KINDS = {kind.__name__: kind for kind in (DataError, ModelError, PipelineError, SpecError, StoreError)}
_LOG = "log.txt"


def finished(task: Task) -> dict[str, Any] | None:
    """The result of a task, if it is there and of the same identity."""
    found = read_result(task.place)
    return found if found is not None and found["identity"] == dict(task.identity) else None


def read_result(place: Path) -> dict[str, Any] | None:
    """What ``result.json`` in a folder says; None if there is none.

    Raises:
        StoreError: it is not JSON.
    """
    try:
        found: dict[str, Any] = json.loads((place / RESULT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StoreError(f"{place / RESULT}: not JSON ({error}). Remove the folder; it is then made again.") from None
    return found


def in_a_process(task: Task, cache: Path, tell: Progress) -> None:
    """Carry out a task in a process of its own, so that its memory is its own, and its end nobody else's.

    Args:
        task: what to do.
        cache: where the process keeps vectors, indexes and scores.
        tell: called with the process's progress.

    Raises:
        FoilsError: what the process raised on purpose; or that it was killed or failed, with the end of its log.
    """
    log = task.place.with_name(f"{task.place.name}.{_LOG}")
    log.parent.mkdir(parents=True, exist_ok=True)
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "FOILS_CACHE": str(cache), "PYTHONPATH": os.pathsep.join(paths)}
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "foils.study.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump(task, process.stdin)
            process.stdin.flush()  # and left open: its end is how the process learns of ours
            for line in process.stdout:
                tell(*json.loads(line))
            code = process.wait()
        except BrokenPipeError:
            code = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdout.close()
    if code:
        raise _failure(task, code, log)
    log.unlink(missing_ok=True)


def _failure(task: Task, code: int, log: Path) -> FoilsError:
    report = task.place / ERROR
    if code == 1 and report.exists():
        said = json.loads(report.read_text(encoding="utf-8"))
        return _KINDS.get(said["kind"], FoilsError)(said["message"])
    if code < 0:
        name = signal.Signals(-code).name
        hint = " Perhaps memory ran out: give a smaller batch_size." if name == "SIGKILL" else ""
        return FoilsError(f"its process was ended by {name}.{hint} Log: {log}")
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return FoilsError(f"its process failed: {lines[-1] if lines else 'it said nothing'}. Log: {log}")
