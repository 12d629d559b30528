"""The Pareto front of effect against cost: the arms that no other beats in both."""

from __future__ import annotations

from collections.abc import Mapping


def front(costs: Mapping[str, float], effects: Mapping[str, float]) -> list[str]:
    """Arms of which none is at least as good for at most the cost, and better in one; the cheapest first.

    By point values: an arm may stand on the front by luck, which its intervals tell. Of arms equal in both, the first
    named stands for all.

    >>> front({"a": 1, "b": 2, "c": 3}, {"a": 0.5, "b": 0.4, "c": 0.6})
    ['a', 'c']
    """
    found: list[str] = []
    best = float("-inf")
    for name in sorted(costs, key=lambda each: (costs[each], -effects[each])):
        if effects[name] > best:
            found.append(name)
            best = effects[name]
    return found
