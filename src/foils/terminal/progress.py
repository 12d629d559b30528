"""How far work is: bars on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console


class Progress:
    """Bars with remaining time on a terminal; elsewhere a line on standard error every ``seconds``."""

    def __init__(self, seconds: float = 15.0) -> None:
        self.seconds = seconds
        self._live: Any = None
        self._tasks: dict[str, Any] = {}
        self._began: dict[str, float] = {}
        self._said: dict[str, float] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        """Tell that ``done`` of ``total`` units of ``what`` are done."""
        if self._live is not None:
            self._draw(what, done, total)
            return
        now = time.monotonic()
        began = self._began.setdefault(what, now)
        if now - self._said.setdefault(what, began) >= self.seconds and 0 < done < total:
            self._said[what] = now
            left = (now - began) * (total - done) / done
            sys.stderr.write(f"{what}: {done:,} of {total:,}, about {_duration(left)} left\n")

    def _draw(self, what: str, done: int, total: int) -> None:
        if what not in self._tasks:
            self._live.start()
            self._tasks[what] = self._live.add_task(what, total=total)
        self._live.update(self._tasks[what], completed=done, total=total)
        if self._live.finished:
            # Give the terminal back: what comes next, such as training, has a bar of its own.
            self._live.stop()

    def of(self, what: str) -> Callable[[int, int], None]:
        """The same for one thing only."""
        return lambda done, total: self(what, done, total)


@contextmanager
def progress() -> Iterator[Progress]:
    """Show progress on standard error while the block runs."""
    shown = Progress()
    if not sys.stderr.isatty():
        yield shown
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn())
    shown._live = Bars(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    try:
        yield shown
    finally:
        shown._live.stop()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
