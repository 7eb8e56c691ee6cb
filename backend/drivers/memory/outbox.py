"""`Outbox` in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from backend.domain.errors import Conflict, NotFound
from backend.domain.mirror import storable
from backend.drivers.call_json import settled
from backend.ports import ContractCall, MinedTransaction, OutgoingTransaction, SignedTransaction


class MemoryOutbox:
    def __init__(self) -> None:
        self._rows: dict[str, OutgoingTransaction] = {}  # in the order they were added
        self._led = False

    async def add(self, reference: str, call: ContractCall) -> bool:
        if reference in self._rows:
            return False
        self._rows[reference] = OutgoingTransaction(reference, settled(call), "queued")
        return True

    async def get(self, reference: str) -> OutgoingTransaction | None:
        return self._rows.get(reference)

    async def unfinished(self) -> list[OutgoingTransaction]:
        return [row for row in self._rows.values() if row.status not in ("final", "failed")]

    async def latest(self, prefix: str) -> OutgoingTransaction | None:
        found = [row for row in self._rows.values() if row.reference.startswith(prefix)]
        return found[-1] if found else None

    async def mark_signed(self, seen: OutgoingTransaction, signed: SignedTransaction) -> None:
        known = any(attempt.hash == signed.hash for attempt in seen.attempts)
        attempts = seen.attempts if known else (*seen.attempts, signed)
        problem = self._as_seen(seen).problem if signed.cancels else None
        self._set(seen, status="signed", attempts=attempts, tx_hash=None, block_number=None, problem=problem)

    async def mark_mined(self, seen: OutgoingTransaction, mined: MinedTransaction, *, final: bool) -> None:
        status = "final" if final else "mined"
        self._set(seen, status=status, tx_hash=mined.hash, block_number=mined.block.number, problem=None)

    async def mark_failed(self, seen: OutgoingTransaction, problem: str) -> None:
        self._set(seen, status="failed", problem=storable(problem))

    async def mark_waiting(self, seen: OutgoingTransaction, problem: str) -> None:
        self._set(seen, problem=storable(problem))

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[bool]:
        leading, self._led = not self._led, True
        try:
            yield leading
        finally:
            if leading:
                self._led = False

    def _as_seen(self, seen: OutgoingTransaction) -> OutgoingTransaction:
        """Raises: NotFound, Conflict."""
        if seen.reference not in self._rows:
            raise NotFound(f"outgoing transaction {seen.reference}")
        row = self._rows[seen.reference]
        if row.version != seen.version:
            raise Conflict(f"outgoing transaction {seen.reference} has moved on")
        return row

    def _set(self, seen: OutgoingTransaction, **values: Any) -> None:
        self._rows[seen.reference] = replace(self._as_seen(seen), **values)
