"""Killing a sender at every call to the outside, one after the other. Between two calls it changes nothing: to die
after one is to die before the next.

    fuse = Fuse(blows_at=3, after=True)
    Sending(Fused(outbox, fuse), Fused(signer, fuse))   # the fourth call is made, and then the process is dead
"""

from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any, NoReturn

COMMITS = frozenset(("mark_signed", "broadcast", "mark_mined"))


class Killed(BaseException):
    """As a signal would: nothing catches it."""


@dataclass
class Fuse:
    blows_at: int  # which call, from 0, of all that pass
    after: bool  # whether that call still has its effect
    only: frozenset[str] = frozenset()  # methods that count; all, when it is empty
    passed: int = 0
    blown: bool = False

    def blow(self) -> NoReturn:
        raise Killed


class Fused:
    """Stands before a port."""

    def __init__(self, target: object, fuse: Fuse) -> None:
        self._target, self._fuse = target, fuse

    def __getattr__(self, name: str) -> Any:
        found, fuse = getattr(self._target, name), self._fuse
        if not iscoroutinefunction(found) or (fuse.only and name not in fuse.only):
            return found

        async def guarded(*args: Any, **kwargs: Any) -> Any:
            due = fuse.passed == fuse.blows_at and not fuse.blown
            fuse.passed += 1
            if not due:
                return await found(*args, **kwargs)
            fuse.blown = True
            if fuse.after:
                await found(*args, **kwargs)
            return fuse.blow()

        return guarded
