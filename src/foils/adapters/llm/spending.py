"""Tokens and money: what requests will take at most, what they took, and when to stop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from foils.adapters.llm.errors import BudgetError
from foils.adapters.llm.messages import Reply, Request
from foils.core.errors import SpecError

MILLION = 1_000_000


@dataclass(frozen=True)
class Price:
    """Money for a million tokens, in whatever currency the budget is in.

    Args:
        read: for tokens of requests.
        written: for tokens of replies.
    """

    read: float
    written: float

    def __post_init__(self) -> None:
        if not (0 <= self.read < float("inf") and 0 <= self.written < float("inf")):
            raise SpecError(f"price {self.read}, {self.written}: numbers of at least 0 are expected, for 10^6 tokens.")

    @classmethod
    def parse(cls, text: str) -> Price:
        """Read ``READ,WRITTEN``.

        Raises:
            SpecError: it is not two numbers of at least 0.

        >>> Price.parse("0.15,0.60")
        Price(read=0.15, written=0.6)
        """
        try:
            read, written = (float(part) for part in text.split(","))
        except ValueError:
            remedy = "Write what a million tokens read and written cost, such as 0.15,0.60."
            raise SpecError(f"price {text!r}: two numbers are expected. {remedy}") from None
        return cls(read, written)

    def of(self, tokens: tuple[int, int]) -> float:
        """Cost of (read, written) tokens."""
        return (self.read * tokens[0] + self.written * tokens[1]) / MILLION


@dataclass(frozen=True)
class Estimate:
    """What requests will take.

    Args:
        requests: distinct ones.
        kept: of them, those whose reply is on the disk.
        tokens: (read, written) tokens of the rest, as expected.
        most: the same if every reply is as long as it may be.
        cost: as expected, and at most; None without a price.
    """

    requests: int
    kept: int
    tokens: tuple[int, int]
    most: tuple[int, int]
    cost: tuple[float, float] | None

    def __str__(self) -> str:
        """In words: calls, tokens, cost."""
        money = "" if self.cost is None else f", cost {self.cost[0]:.4g}, at most {self.cost[1]:.4g}"
        kept = f" ({self.kept:,} replies are kept)" if self.kept else ""
        read, written = self.tokens
        return f"{self.requests - self.kept:,} calls{kept}, about {read:,} + {written:,} tokens{money}"

    def __add__(self, other: Estimate) -> Estimate:
        """Of both; the cost is known if both are."""
        known = self.cost is not None and other.cost is not None
        cost = (self.cost[0] + other.cost[0], self.cost[1] + other.cost[1]) if known else None  # type: ignore[index]
        tokens, most = _sum(self.tokens, other.tokens), _sum(self.most, other.most)
        return Estimate(self.requests + other.requests, self.kept + other.kept, tokens, most, cost)


def estimate(requests: Iterable[Request], kept: int, price: Price | None) -> Estimate:
    """Of requests that have to be asked, beside ``kept`` that have not."""
    rows = [(request.tokens, min(request.expected, request.max_tokens), request.max_tokens) for request in requests]
    read, expected, most = (sum(row[i] for row in rows) for i in range(3))
    cost = None if price is None else (price.of((read, expected)), price.of((read, most)))
    return Estimate(len(rows) + kept, kept, (read, expected), (read, most), cost)


class Spending:
    """Counts what replies took, and holds requests to a budget.

    A request may be asked if it fits with all before it at its longest reply. Requests are taken in their order, so
    that what is asked before money runs out does not depend on how many are asked at a time.

    Args:
        price: None if it is not known; then only tokens can be bounded.
        tokens: that may be read and written in all.
        cost: that may be spent in all.

    Raises:
        SpecError: a bound on money without a price, or bounds below 0.
    """

    def __init__(self, price: Price | None = None, tokens: int | None = None, cost: float | None = None) -> None:
        if cost is not None and price is None:
            raise SpecError(f"a budget of {cost:g} needs the price of a million tokens, read and written.")
        if (tokens is not None and tokens < 0) or (cost is not None and not cost >= 0):
            raise SpecError(f"budget: {tokens if tokens is not None else cost} is below 0.")
        self.price = price
        self.bounds = (tokens, cost)
        self.asked = self.kept = 0
        self.tokens = (0, 0)
        self._reserved = (0, 0)
        self._beside: Sequence[Spending] = ()

    def share(self, others: Sequence[Spending]) -> None:
        """What these spend counts within the bounds of this one, too: several models, one budget."""
        self._beside = others

    @property
    def cost(self) -> float | None:
        """Spent so far; None without a price."""
        return None if self.price is None else self.price.of(self.tokens)

    def reserve(self, request: Request) -> bool:
        """Whether the request fits; if so it counts, at its longest reply, until `spend`."""
        wanted = _sum(self._reserved, (request.tokens, request.max_tokens))
        if not self._fits(_sum(self.tokens, wanted)):
            return False
        self._reserved = wanted
        return True

    def release(self, request: Request) -> None:
        """Take back what `reserve` set aside."""
        self._reserved = (self._reserved[0] - request.tokens, self._reserved[1] - request.max_tokens)

    def spend(self, reply: Reply) -> None:
        """Count a reply."""
        self.asked += 1
        self.tokens = _sum(self.tokens, reply.tokens)

    def stop(self, left: int) -> BudgetError:
        """The error that says that ``left`` requests do not fit."""
        tokens, cost = self.bounds
        bound = f"{tokens:,} tokens" if cost is None else f"{cost:g}"
        all_of = (self, *self._beside)
        money, read = sum(one.cost or 0.0 for one in all_of), sum(sum(one.tokens) for one in all_of)
        spent = f"{read:,} tokens" if cost is None else f"{money:.4g}"
        return BudgetError(
            f"the budget of {bound} does not suffice for {left:,} more requests; {spent} are spent. What was answered "
            "is kept: raise the budget and run the same again, or ask for less."
        )

    def _fits(self, tokens: tuple[int, int]) -> bool:
        most, money = self.bounds
        if most is not None and sum(tokens) + sum(sum(other.tokens) for other in self._beside) > most:
            return False
        if money is None or self.price is None:
            return True
        return self.price.of(tokens) + sum(other.cost or 0.0 for other in self._beside) <= money * (1 + 1e-12)


def _sum(left: tuple[int, int], right: tuple[int, int]) -> tuple[int, int]:
    return left[0] + right[0], left[1] + right[1]
