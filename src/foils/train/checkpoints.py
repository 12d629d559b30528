"""Checkpoints that are known to be complete.

The Hugging Face Trainer writes a checkpoint file by file (weights, optimiser, scheduler, random states, state) under
its final name. A process killed meanwhile leaves a folder that looks like any other, and older ones may be gone
already. So a marker with the sizes of all files is written last, by one rename; a folder without it does not count; and
older checkpoints are removed only after that, marker first.
"""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from foils.core.atomic import replacing
from foils.core.errors import StoreError

if TYPE_CHECKING:
    from foils.train.objective import Objective

MARKER = "complete.json"
STATE = "trainer_state.json"
_PREFIX = "checkpoint-"
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES}
# What safetensors and PyTorch say when a file cannot be written.
_SAID = ("Error while serializing: I/O error", "PytorchStreamWriter failed", "inline_container.cc", "iostream error")


def write_json(path: Path, content: Any) -> None:
    """Write JSON by one rename, so that nobody ever reads half of it."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def mark(folder: Path) -> None:
    """Declare that everything in the folder has been written."""
    write_json(folder / MARKER, {name: size for name, size in _files(folder).items() if name != MARKER})


def _files(folder: Path) -> dict[str, int]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in found}


def is_complete(folder: Path) -> bool:
    """Whether the marker is there and all files have the sizes that it says."""
    try:
        expected = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    there = _files(folder)
    return isinstance(expected, dict) and all(there.get(name) == size for name, size in expected.items())


def step_of(folder: Path) -> int:
    """The optimiser step of a checkpoint folder."""
    return int(folder.name.removeprefix(_PREFIX))


def folder_of(out: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return out / f"{_PREFIX}{step}"


def _all(out: Path) -> list[Path]:
    found = [path for path in out.glob(f"{_PREFIX}*") if path.name.removeprefix(_PREFIX).isdecimal()]
    return sorted(found, key=step_of)


def newest(out: Path, until: int | None = None) -> Path | None:
    """The newest complete checkpoint of a run folder, none after a step if one is given; or None."""
    found = (path for path in reversed(_all(out)) if until is None or step_of(path) <= until)
    return next((path for path in found if is_complete(path)), None)


def newer(out: Path, step: int) -> list[Path]:
    """All checkpoints after a step, complete or not, ascending."""
    return [path for path in _all(out) if step_of(path) > step]


def prune(out: Path, keep: Iterable[int]) -> None:
    """Remove all checkpoints, complete or not, but those of the given steps."""
    kept = set(keep)
    for path in _all(out):
        if step_of(path) not in kept:
            (path / MARKER).unlink(missing_ok=True)
            shutil.rmtree(path)


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Turn a full disk, and what else keeps a file from being written, into an error that says how to go on.

    Raises:
        StoreError: with the newest complete checkpoint.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        _tell(out, error)
        raise
    except Exception as error:
        if type(error).__name__ == "SafetensorError":  # a plain exception; its package is imported by whoever saves
            _tell(out, error)
        raise


def _tell(out: Path, error: Exception) -> None:
    if getattr(error, "errno", None) not in _DISK and not any(part in str(error) for part in _SAID):
        return
    last = newest(out)
    where = "the beginning" if last is None else f"the checkpoint of step {step_of(last):,}"
    free = shutil.disk_usage(out).free / 1e6
    raise StoreError(
        f"{out}: cannot be written to ({error}); {free:,.0f} MB are free. Nothing before {where} is lost: make room, "
        "then give the same command again."
    ) from error


class Remembering(Protocol):
    """What has a memory besides a model's weights."""

    def memory(self) -> dict[str, Any]:
        """What to keep; empty for nothing."""


def keep_memory(folder: Path, objective: Remembering, rank: int) -> None:
    """Write what an objective remembers besides the model's weights, if anything, for one process."""
    import torch

    memory = objective.memory()
    if memory:
        torch.save(memory, folder / f"objective-{rank}.pt")


def recall(folder: Path, objective: Objective, rank: int) -> None:
    """Read what `keep_memory` wrote.

    Raises:
        StoreError: the objective remembers something, and the checkpoint does not have it.
    """
    import torch

    path = folder / f"objective-{rank}.pt"
    if path.exists():
        objective.remember(torch.load(path, map_location="cpu", weights_only=True))
    elif any(not name.startswith("tally.") for name in objective.memory()):  # a tally may begin late
        raise StoreError(
            f"{path}: missing, so what the objective remembered at step {step_of(folder):,} is lost. Remove "
            f"{folder.name} to go on from an earlier checkpoint."
        )


def history(folder: Path) -> list[dict[str, Any]]:
    """What the Trainer had logged when it wrote this checkpoint."""
    state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    logged: list[dict[str, Any]] = state["log_history"]
    return logged
