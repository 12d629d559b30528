"""A process that dies at a given moment, told inside one process."""

from __future__ import annotations


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
