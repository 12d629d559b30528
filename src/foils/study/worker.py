"""A process of a study: ``python -m foils.study.worker`` reads a task from its standard input and carries it out.

It tells its progress as lines of JSON on standard output, and ends with whoever began it: what is left of a study that
was killed does not go on behind the back of the one that is given next.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import sys
import threading
from typing import Any, NoReturn

from foils.core.errors import FoilsError
from foils.study.tasks import Task, carry_out

ERROR = "error.json"


def main() -> NoReturn:
    """Read the task, do it, and end with 0; 1 with ``error.json`` in its folder for errors raised on purpose."""
    said = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is for the log
    task: Task = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    root = logging.getLogger("foils")
    root.setLevel(logging.INFO)
    root.handlers = [logging.StreamHandler(sys.stderr)]

    def tell(what: str, done: int, total: int) -> None:
        said.write(json.dumps([what, int(done), int(total)]) + "\n")
        said.flush()

    try:
        carry_out(task, tell)
    except FoilsError as error:
        task.place.mkdir(parents=True, exist_ok=True)
        report = {"kind": type(error).__name__, "message": str(error)}
        (task.place / ERROR).write_text(json.dumps(report, ensure_ascii=False), encoding="utf-8")
        _end(1)
    _end(0)


def _end(code: int) -> NoReturn:
    sys.stderr.flush()
    os._exit(code)  # threads of libraries have nothing left to do, and may take seconds to notice


def _end_with_parent() -> None:
    rest: Any = sys.stdin.buffer.read(1)
    if not rest:
        os._exit(3)


if __name__ == "__main__":
    main()
