"""A process that dies at a given moment, told inside one process."""

from __future__ import annotations

import pytest

from foils.train.objective import Objective


class Killed(BaseException):
    """What no code of ours catches."""


def die_at(patch, owner, name, number, *, after=False, only=lambda *args: True):
    """Die before (or after) the n-th call of a function.

    Args:
        patch: a ``MonkeyPatch``.
        owner: class or module that has the function.
        name: of the function.
        number: of the call, from 1.
        after: whether the call is carried out first.
        only: which calls count, of their positional arguments.
    """
    function, seen = getattr(owner, name), []

    def dying(*args, **kwargs):
        counts = only(*args)
        seen.extend([1] * counts)
        last = counts and len(seen) == number
        if last and not after:
            raise Killed
        result = function(*args, **kwargs)
        if last:
            raise Killed
        return result

    patch.setattr(owner, name, dying)


def cut_off(go, after=7):
    """Train until the step after so many, within which the process dies.

    Args:
        go: trains.
        after: forward passes that are carried out.
    """
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, Objective, "forward", after + 1)
        with pytest.raises(Killed):
            go()
