"""Many adders or one collector: the lock between adding blocks and collecting garbage."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ReadersWriter:
    """A waiting collector goes before new adders."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._adding = 0
        self._collecting = False
        self._waiting = 0

    @asynccontextmanager
    async def adding(self) -> AsyncIterator[None]:
        async with self._changed:
            await self._changed.wait_for(lambda: not self._collecting and not self._waiting)
            self._adding += 1
        try:
            yield
        finally:
            async with self._changed:
                self._adding -= 1
                self._changed.notify_all()

    @asynccontextmanager
    async def collecting(self) -> AsyncIterator[None]:
        async with self._changed:
            self._waiting += 1
            try:
                await self._changed.wait_for(lambda: not self._collecting and not self._adding)
            finally:
                self._waiting -= 1
                self._changed.notify_all()
            self._collecting = True
        try:
            yield
        finally:
            async with self._changed:
                self._collecting = False
                self._changed.notify_all()
