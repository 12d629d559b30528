"""The second process of `Alongside`: takes the newest complete checkpoint, mines, publishes, and begins again.

``foils mine --watch RUN``. What it needs to know lies in ``RUN/refresh.json``, which the trainer writes. The weights it
works with are linked into a folder of their own first, so that it goes on with them when the trainer has removed the
checkpoint, and when it was itself killed and started again.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foils.core.collection import Collection, find
from foils.core.errors import FoilsError, SpecError, StoreError
from foils.core.spec import full, parse
from foils.mine import Miner
from foils.staging import alone
from foils.train import checkpoints, generations
from foils.train.refresh.making import Maker
from foils.train.refresh.mining import Mining
from foils.train.run import GENERATIONS, RECORD, read_record

if TYPE_CHECKING:
    from foils.stages.context import Progress

log = logging.getLogger(__name__)
ORDER = "refresh.json"
_PARENT = "FOILS_WATCHED_BY"  # process number of the trainer that started this process
_LOOK = 1.0  # seconds between two looks for a newer checkpoint
_NOT_WEIGHTS = ("optimizer", "scheduler", "rng_state", "objective-", "scaler", checkpoints.MARKER)
_LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def write_order(maker: Maker) -> None:
    """Write into the run folder what a second process needs to know.

    Raises:
        SpecError: a model of the pipeline was given as an object, which another process cannot load.
    """
    mining, miner = maker.mining, maker.mining.miner
    for name, given in mining.given.items():
        if not isinstance(given, str | Path):
            raise SpecError(
                f"{maker.refresh!r}: a second process must load the model {name!r} itself. Give a name or folder "
                f"instead of {type(given).__name__}, or refresh with Every(…)."
            )
    content = {
        "collection": {"name": maker.data.name, "fingerprint": maker.data.fingerprint},
        "split": maker.split,
        "steps": maker.steps,
        "refresh": full(maker.refresh),
        "pipeline": full(mining.pipeline),
        "given": {name: str(given) for name, given in mining.given.items()},
        "seed": mining.seed,
        "precision": mining.precision,
        "first": None if mining.first is None else str(mining.first.resolve()),
        "miner": {
            "cache": None if miner.cache is None else str(miner.cache.resolve()),
            "block": miner.block,
            "without_positives": miner.without_positives,
            "leaks": miner.leaks,
        },
    }
    checkpoints.write_json(maker.run / ORDER, content)


def read_order(
    run: Path, data: Collection | None, models: Callable[[Any, Mapping[str, str], Any], Any], progress: Progress | None
) -> Maker:
    """What `write_order` wrote.

    Args:
        run: the run folder.
        data: the collection; found in the cache if None.
        models: loads models, of (pipeline, names given, precision).
        progress: called with (what, done, total).

    Raises:
        StoreError: the run mines nothing alongside, or another collection was given.
    """
    import foils.train  # noqa: F401 - declares what the texts may name

    path = run / ORDER
    if not path.exists():
        raise StoreError(
            f"{run}: nothing to mine alongside: no {ORDER}. Start foils train first, with a recipe that has refresh: "
            "Alongside(steps=…)."
        )
    order = json.loads(path.read_text(encoding="utf-8"))
    known = order["collection"]
    if data is not None and data.fingerprint != known["fingerprint"]:
        raise StoreError(f"{run}: trains on the collection {known['name']!r}, not on {data.name!r}. Give that one.")
    pipeline = parse(order["pipeline"])
    miner = {**order["miner"], "cache": None if order["miner"]["cache"] is None else Path(order["miner"]["cache"])}
    mining = Mining(
        pipeline,
        models(pipeline, order["given"], order["precision"]),
        order["given"],
        order["seed"],
        Miner(**miner, progress=progress),
        order["precision"],
        None if order["first"] is None else Path(order["first"]),
    )
    collection = data or find(known["fingerprint"], known["name"])
    return Maker(run, collection, order["split"], mining, parse(order["refresh"], "refresh"), order["steps"])


def once(maker: Maker) -> int | None:
    """Make the next generation, if there is a checkpoint that is newer than the last one's; its number, or None.

    What was made of weights that a rollback has put aside meanwhile is thrown away.
    """
    for number in generations.complete(maker.run):  # of a process that was killed before it could
        shutil.rmtree(generations.weights_of(maker.run, number), ignore_errors=True)
    found = _left(maker.run) or _linked(maker.run)
    if found is None:
        return None
    number, weights = found
    try:
        maker.make(number, _step_of(weights), weights)
    except (OSError, FoilsError) as error:
        if weights.exists():
            raise
        log.warning("%s: what was mined last is thrown away, its weights were put aside: %s", maker.run, error)
        maker.discard(number)
        return None
    shutil.rmtree(weights, ignore_errors=True)
    return number


def watch(maker: Maker) -> list[int]:
    """Mine until the run is finished, or the trainer that started this process is gone; the numbers made.

    Of several processes that watch one run, one works and the others say so and wait.
    """

    def waiting() -> None:
        log.warning("%s: another process mines for this run already; this one waits until that one ends", maker.run)

    made: list[int] = []
    parent = os.environ.get(_PARENT)
    with alone(maker.run / GENERATIONS / "watch", waiting):
        while not _over(maker.run) and (parent is None or os.getppid() == int(parent)):
            number = once(maker)
            if number is None:
                time.sleep(_LOOK)
            else:
                made.append(number)
        if _over(maker.run):
            generations.tidy(maker.run)
    return made


def start(run: Path) -> subprocess.Popen[bytes]:
    """Start the second process; what it says goes to ``RUN/generations/miner.log``."""
    environment = {name: value for name, value in os.environ.items() if name not in _LAUNCHER}
    environment[_PARENT] = str(os.getpid())
    (run / GENERATIONS).mkdir(parents=True, exist_ok=True)
    with (run / GENERATIONS / "miner.log").open("ab") as log:
        command = [sys.executable, "-m", "foils.cli", "mine", "--watch", str(run)]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)


def _over(run: Path) -> bool:
    record = read_record(run) if (run / RECORD).exists() else None
    return record is not None and record["status"] == "finished"


def _step_of(weights: Path) -> int:
    return int(json.loads((weights / generations.PIN).read_text(encoding="utf-8"))["step"])


def _next(run: Path) -> int:
    return max(generations.complete(run), default=0) + 1


def _left(run: Path) -> tuple[int, Path] | None:
    """Weights that a killed process was at work with."""
    folder = generations.weights_of(run, _next(run))
    return (_next(run), folder) if folder.exists() else None


def _linked(run: Path) -> tuple[int, Path] | None:
    """The weights of the newest checkpoint, if it is newer than the last generation's, in a folder of their own."""
    made, checkpoint = generations.complete(run), checkpoints.newest(run)
    before = generations.figures_of(run, made[-1])["step"] if made else 0
    if checkpoint is None or checkpoints.step_of(checkpoint) <= before:
        return None
    folder = generations.weights_of(run, _next(run))
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    # First: the trainer keeps a checkpoint that is named here, so that one can go back to it.
    checkpoints.write_json(partial / generations.PIN, {"step": checkpoints.step_of(checkpoint)})
    try:
        for path in [path for path in checkpoint.rglob("*") if path.is_file()]:
            place = partial / path.relative_to(checkpoint)
            if not path.name.startswith(_NOT_WEIGHTS):
                place.parent.mkdir(parents=True, exist_ok=True)
                _link(path, place)
    except FileNotFoundError:
        return None  # the trainer has just removed it; there is a newer one
    # The marker goes before anything else does: as long as it is there, nothing was missing.
    if not checkpoints.is_complete(checkpoint):
        return None
    partial.replace(folder)
    return _next(run), folder


def _link(path: Path, place: Path) -> None:
    try:
        place.hardlink_to(path)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copy2(path, place)  # a file system without links
