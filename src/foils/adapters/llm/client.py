"""Many questions to a language model: several at a time, each once, within a budget, remembered."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

from foils.adapters.llm.errors import OfflineError
from foils.adapters.llm.kept import Kept
from foils.adapters.llm.messages import Reply, Request
from foils.adapters.llm.spending import Estimate, Spending, estimate
from foils.adapters.protocols import UNCACHED
from foils.core.cache import cache_root
from foils.core.errors import SpecError

CONCURRENCY = 8
Progress = Callable[[int, int], None]
Tasks = SimpleQueue[tuple[str, Request] | None]
Done = SimpleQueue[tuple[str, Reply | BaseException]]


class Model(Protocol):
    """Something that answers: `foils.adapters.llm.Endpoint`, `foils.adapters.llm.Function`, or the like."""

    @property
    def name(self) -> str:
        """How messages call it."""

    @property
    def fingerprint(self) -> str:
        """What its replies are kept under; ``UNCACHED`` and something new if they are not to be kept."""

    def reply(self, request: Request) -> Reply:
        """Answer; called from several threads."""

    def stop(self) -> None:
        """Let waits end."""


class LLM:
    """Asks a model many things.

    Every reply is kept on the disk as it arrives, by model, prompt and input: a killed or failed run goes on where it
    was, and what was asked once costs nothing again. The result is the same whatever the concurrency.

    Args:
        model: an endpoint or a function.
        spending: price and budget; shared between clients that share a budget.
        cache: folder for replies; ``llm`` in foils' cache by default.
        offline: only what is kept may be used.
        concurrency: questions asked at a time, at least 1.

    Raises:
        SpecError: a concurrency below 1.
    """

    def __init__(
        self,
        model: Model,
        spending: Spending | None = None,
        cache: str | Path | None = None,
        *,
        offline: bool = False,
        concurrency: int = CONCURRENCY,
    ) -> None:
        if concurrency < 1:
            raise SpecError(f"concurrency {concurrency}: at least 1 is needed.")
        self.model, self.offline, self.concurrency = model, offline, concurrency
        self.spending = spending or Spending()
        self._name = model.fingerprint
        folder = cache_root() / "llm" if cache is None else Path(cache)
        self._kept = None if self._name.startswith(UNCACHED) else Kept(folder, self._name)

    def estimate(self, requests: Sequence[Request]) -> Estimate:
        """What `replies` would ask for and cost; asks for nothing."""
        missing, found = self._missing(requests)
        return estimate(missing.values(), len(found), self.spending.price)

    def kept(self, requests: Sequence[Request]) -> list[Reply | None]:
        """The reply to each request where it is on the disk; asks for nothing."""
        _, found = self._missing(requests)
        return [found.get(request.key(self._name)) for request in requests]

    def replies(self, requests: Sequence[Request], progress: Progress | None = None) -> list[Reply]:
        """A reply to each request, in their order; equal requests are asked once.

        Args:
            requests: to answer.
            progress: called with (replies got, replies to get) after each.

        Raises:
            OfflineError: a reply is not kept, and only those may be used.
            BudgetError: the budget does not suffice; replies so far are kept.
            LLMError: the model refuses or does not answer; replies so far are kept.
        """
        missing, found = self._missing(requests)
        if missing and self.offline:
            where = "" if self._kept is None else f" in {self._kept.path}"
            raise OfflineError(
                f"{len(missing):,} of {len(missing) + len(found):,} replies of {self.model.name!r} are not kept{where} "
                "and nothing may be asked offline. Run it once online, with the same model, prompt and inputs."
            )
        self.spending.kept += len(found)
        if missing:
            found.update(self._ask(missing, progress))
        return [found[request.key(self._name)] for request in requests]

    def _missing(self, requests: Sequence[Request]) -> tuple[dict[str, Request], dict[str, Reply]]:
        """Distinct requests without a kept reply, and kept replies, by key."""
        keyed = {request.key(self._name): request for request in requests}
        found = {} if self._kept is None else self._kept.find(list(keyed))
        return {key: request for key, request in keyed.items() if key not in found}, found

    def _ask(self, missing: dict[str, Request], progress: Progress | None) -> dict[str, Reply]:
        waiting = deque(missing.items())
        running: dict[str, Request] = {}
        made: dict[str, Reply] = {}
        failures: dict[str, BaseException] = {}
        tasks: Tasks = SimpleQueue()
        done: Done = SimpleQueue()
        threads = min(self.concurrency, len(missing))
        for _ in range(threads):
            # Daemons: whoever interrupts a run does not want to wait for the slowest reply.
            threading.Thread(target=self._work, args=(tasks, done), name="foils-llm", daemon=True).start()
        try:
            while running or (waiting and not failures):
                while waiting and not failures and len(running) < threads:
                    key, request = waiting[0]
                    if not self.spending.reserve(request):
                        break
                    waiting.popleft()
                    running[key] = request
                    tasks.put((key, request))
                if not running:
                    raise self.spending.stop(len(waiting))
                key, found = done.get()
                self.spending.release(running.pop(key))
                if isinstance(found, Reply):
                    made[key] = found
                    self.spending.spend(found)
                else:
                    failures[key] = found
                if progress is not None:
                    progress(len(made), len(missing))
        except (KeyboardInterrupt, SystemExit):
            self.model.stop()
            for request in running.values():
                self.spending.release(request)
            raise
        finally:
            for _ in range(threads):
                tasks.put(None)
        if failures:
            raise next(failures[key] for key in missing if key in failures)
        return made

    def _work(self, tasks: Tasks, done: Done) -> None:
        """What a thread does until it is told to end."""
        while (task := tasks.get()) is not None:
            key, request = task
            try:
                done.put((key, self._one(key, request)))
            except BaseException as error:  # whoever asked raises it
                done.put((key, error))

    def _one(self, key: str, request: Request) -> Reply:
        reply = self.model.reply(request)
        # A request that is too long for this server may not be for the next one: nothing was said, nothing is kept.
        if self._kept is not None and reply.finish != "refused":
            self._kept.add(key, request.prompt, reply)
        return reply
