"""`Outbox` in Postgres."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import Any

from sqlalchemy import func, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from backend.domain.errors import Conflict, DatabaseUnavailable, NotFound
from backend.domain.mirror import storable
from backend.domain.types import Digest
from backend.drivers.call_json import decode_args, encode_args
from backend.drivers.db.engine import OUTBOX_LOCK, Database, database_errors
from backend.drivers.db.tables_outbox import OutgoingRow
from backend.ports import ContractCall, MinedTransaction, OutgoingTransaction, SignedTransaction


class PgOutbox:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, reference: str, call: ContractCall) -> bool:
        statement = (
            insert(OutgoingRow)
            .values(
                reference=reference,
                contract=call.contract,
                function=call.function,
                args=encode_args(call.args),
                status="queued",
                attempts=[],
            )
            .on_conflict_do_nothing(index_elements=["reference"])
            .returning(col(OutgoingRow.reference))
        )
        async with self._database.transaction("outbox") as session:
            return (await session.exec(statement)).first() is not None

    async def get(self, reference: str) -> OutgoingTransaction | None:
        async with self._database.transaction("outbox") as session:
            row = await session.get(OutgoingRow, reference)
            return None if row is None else _outgoing(row)

    async def unfinished(self) -> list[OutgoingTransaction]:
        statement = (
            select(OutgoingRow)
            .where(col(OutgoingRow.status).not_in(("final", "failed")))
            .order_by(col(OutgoingRow.place))
        )
        async with self._database.transaction("outbox") as session:
            return [_outgoing(row) for row in await session.exec(statement)]

    async def latest(self, prefix: str) -> OutgoingTransaction | None:
        statement = (
            select(OutgoingRow)
            .where(col(OutgoingRow.reference).startswith(prefix, autoescape=True))
            .order_by(col(OutgoingRow.place).desc())
            .limit(1)
        )
        async with self._database.transaction("outbox") as session:
            row = (await session.exec(statement)).one_or_none()
            return None if row is None else _outgoing(row)

    async def mark_signed(self, seen: OutgoingTransaction, signed: SignedTransaction) -> None:
        known = any(attempt.hash == signed.hash for attempt in seen.attempts)
        attempts = seen.attempts if known else (*seen.attempts, signed)
        kept = {} if signed.cancels else {"problem": None}
        as_stored = [_stored(attempt) for attempt in attempts]
        await self._set(seen, status="signed", attempts=as_stored, tx_hash=None, block_number=None, **kept)

    async def mark_mined(self, seen: OutgoingTransaction, mined: MinedTransaction, *, final: bool) -> None:
        status = "final" if final else "mined"
        await self._set(seen, status=status, tx_hash=mined.hash, block_number=mined.block.number, problem=None)

    async def mark_failed(self, seen: OutgoingTransaction, problem: str) -> None:
        await self._set(seen, status="failed", problem=storable(problem))

    async def mark_waiting(self, seen: OutgoingTransaction, problem: str) -> None:
        await self._set(seen, problem=storable(problem))

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[bool]:
        """Hold it for one pass, not for ever: a lock dies with its connection, and only the next pass notices."""
        async with self._database.connection("outbox lead") as connection:
            leading = (await connection.execute(text("SELECT pg_try_advisory_lock(:k)"), {"k": OUTBOX_LOCK})).scalar()
            try:
                yield bool(leading)
            finally:
                if leading:
                    with suppress(DatabaseUnavailable), database_errors("outbox lead"):  # gone with its connection
                        await connection.execute(text("SELECT pg_advisory_unlock(:k)"), {"k": OUTBOX_LOCK})

    async def _set(self, seen: OutgoingTransaction, **values: Any) -> None:
        """Raises: NotFound; Conflict when it is there but not as `seen`."""
        status, attempts, tx_hash, block_number = seen.version
        statement = (
            update(OutgoingRow)
            .where(
                col(OutgoingRow.reference) == seen.reference,
                col(OutgoingRow.status) == status,
                func.jsonb_array_length(col(OutgoingRow.attempts)) == attempts,
                col(OutgoingRow.tx_hash).is_not_distinct_from(tx_hash),
                col(OutgoingRow.block_number).is_not_distinct_from(block_number),
            )
            .values(values)
            .returning(col(OutgoingRow.reference))
        )
        async with self._database.transaction("outbox") as session:
            if (await session.exec(statement)).first() is not None:
                return
            if await session.get(OutgoingRow, seen.reference) is None:
                raise NotFound(f"outgoing transaction {seen.reference}")
            raise Conflict(f"outgoing transaction {seen.reference} has moved on")


def _stored(signed: SignedTransaction) -> dict[str, Any]:
    return asdict(signed) | {"raw": signed.raw.hex()}


def _attempt(stored: dict[str, Any]) -> SignedTransaction:
    return SignedTransaction(**(stored | {"hash": Digest(stored["hash"]), "raw": bytes.fromhex(stored["raw"])}))


def _outgoing(row: OutgoingRow) -> OutgoingTransaction:
    return OutgoingTransaction(
        reference=row.reference,
        call=ContractCall(row.contract, row.function, decode_args(row.args)),
        status=row.status,
        attempts=tuple(_attempt(stored) for stored in row.attempts),
        tx_hash=None if row.tx_hash is None else Digest(row.tx_hash),
        block_number=row.block_number,
        problem=row.problem,
    )
