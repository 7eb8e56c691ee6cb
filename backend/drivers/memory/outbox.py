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
        return [row for row in self._rows.values() if row.status in ("queued", "signed")]

    async def latest(self, prefix: str) -> OutgoingTransaction | None:
        found = [row for row in self._rows.values() if row.reference.startswith(prefix)]
        return found[-1] if found else None

    async def mark_signed(self, transaction: OutgoingTransaction, signed: SignedTransaction) -> None:
        now = self._existing(transaction.reference)
        if (now.status, now.tx_hash) != (transaction.status, transaction.tx_hash):
            raise Conflict(f"outgoing transaction {transaction.reference} has moved on")
        self._set(
            transaction.reference,
            status="signed",
            nonce=signed.nonce,
            raw=signed.raw,
            tx_hash=signed.hash,
            block_number=None,
        )

    async def mark_mined(self, reference: str, mined: MinedTransaction) -> None:
        self._set(reference, status="mined", tx_hash=mined.hash, block_number=mined.block.number)

    async def mark_failed(self, reference: str, problem: str) -> None:
        self._set(reference, status="failed", problem=storable(problem))

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[bool]:
        leading, self._led = not self._led, True
        try:
            yield leading
        finally:
            if leading:
                self._led = False

    def _existing(self, reference: str) -> OutgoingTransaction:
        """Raises: NotFound."""
        if reference not in self._rows:
            raise NotFound(f"outgoing transaction {reference}")
        return self._rows[reference]

    def _set(self, reference: str, **values: Any) -> None:
        self._rows[reference] = replace(self._existing(reference), **values)
