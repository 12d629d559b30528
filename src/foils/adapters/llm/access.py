"""How language models are reached, what they may cost, and what they took: the same for whatever they are asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foils.adapters.llm.client import LLM, Model
from foils.adapters.llm.endpoint import Endpoint, address
from foils.adapters.llm.function import Absent, Function
from foils.adapters.llm.messages import Request
from foils.adapters.llm.spending import Price, Spending
from foils.core.errors import SpecError

_LOG = logging.getLogger(__name__)

AnyModel = str | Model | LLM | Callable[..., Any]


@dataclass(frozen=True)
class Access:
    """How to reach language models, and what they may cost.

    Attributes:
        url: of the endpoint; ``FOILS_LLM_URL`` or ``OPENAI_BASE_URL`` by default.
        prices: of each model, in their order; of one for all, or none.
        budget: that may be spent in all: money where prices are known, else tokens.
        offline: only kept replies may be used.
        concurrency: questions asked at a time.

    Raises:
        SpecError: a number out of its bounds.
    """

    url: str | None = None
    prices: tuple[Price, ...] = ()
    budget: float | None = None
    offline: bool = False
    concurrency: int = 8

    def __post_init__(self) -> None:
        if self.budget is not None and not self.budget >= 0:
            raise SpecError(f"budget {self.budget}: it must be at least 0.")
        if self.concurrency < 1:
            raise SpecError(f"concurrency {self.concurrency}: at least one question is asked at a time.")


def opened(models: Sequence[AnyModel], access: Access, cache: Path | None = None) -> list[LLM]:
    """A client for each model, all within one budget.

    Args:
        models: names at the endpoint, models, functions from messages to text, or clients, which stay what they are.
        access: how they are reached.
        cache: folder for replies; ``llm`` in foils' cache by default.

    Raises:
        SpecError: prices that do not go with the models.
        LLMError: a name without an address.
    """
    return [
        one
        if isinstance(one, LLM)
        else LLM(_model(one, access), spending, cache, offline=access.offline, concurrency=access.concurrency)
        for one, spending in zip(models, _spending(len(models), access), strict=True)
    ]


def announce(llm: LLM, requests: Sequence[Request]) -> None:
    """Log what requests will cost, before they do."""
    found = llm.estimate(requests)
    if found.requests > found.kept and not llm.offline:
        _LOG.info("asking %s: %s", llm.model.name, found)


def spent(llms: Sequence[LLM]) -> Mapping[str, Any]:
    """What models took so far, as plain JSON values: calls, kept replies, tokens read and written, cost if known."""
    counts = [llm.spending for llm in llms]
    cost = [one.cost for one in counts]
    told: dict[str, Any] = {
        "calls": sum(one.asked for one in counts),
        "kept": sum(one.kept for one in counts),
        "tokens": [sum(one.tokens[i] for one in counts) for i in range(2)],
    }
    if all(one is not None for one in cost):
        told["cost"] = float(sum(one for one in cost if one is not None))
    return told


def _model(given: str | Model | Callable[..., Any], access: Access) -> Model:
    if isinstance(given, str):
        nobody = access.offline and address(access.url) is None
        return Absent(given.strip()) if nobody else Endpoint(given.strip(), access.url)
    if hasattr(given, "reply"):
        return given  # type: ignore[return-value]
    return Function(given)


def _spending(models: int, access: Access) -> list[Spending]:
    """A count for each model, within one budget."""
    prices = access.prices * models if len(access.prices) == 1 else access.prices
    if len(prices) not in (0, models):
        raise SpecError(f"{len(prices)} prices for {models} models: give one for all, or one for each in their order.")
    if not prices:
        tokens = None if access.budget is None else int(access.budget)
        made = [Spending(tokens=tokens) for _ in range(models)]
    else:
        made = [Spending(price, cost=access.budget) for price in prices]
    for one in made:
        one.share([other for other in made if other is not one])
    return made
