"""`AnswerLog` in Postgres: an answer and its receipt are one commit, at the next free place of the log."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from psycopg.errors import UniqueViolation
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.domain.answers import Answer, Credit, LoggedReceipt, Unfinished
from backend.domain.errors import Conflict
from backend.domain.types import Digest, Wallet
from backend.drivers.db.documents import from_document, to_document
from backend.drivers.db.engine import Database
from backend.drivers.db.tables_work import AnswerRow, CreditRow, ReceiptRow, UnfinishedRow

ANSWER_LOG_LOCK = 20931_04  # beside those in engine.py


class PgAnswerLog:
    """Writers take turns for the length of a commit, so the index has no gap, not even from a rolled-back append
    (a sequence would leave one), and a reader who sees index n sees all before it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, unfinished: Unfinished) -> None:
        row = UnfinishedRow(
            answer_id=unfinished.answer_id, begun_at=unfinished.begun_at, unfinished=to_document(unfinished)
        )
        async with self._database.transaction("answer log") as session:
            session.add(row)

    async def unfinished(self) -> list[Unfinished]:
        statement = select(UnfinishedRow.unfinished).order_by(col(UnfinishedRow.begun_at))
        async with self._database.transaction("answer log") as session:
            return [from_document(Unfinished, document) for document in await session.exec(statement)]

    async def abandon(self, answer_id: str) -> None:
        async with self._database.transaction("answer log") as session:
            await _forget(session, answer_id)

    async def append(self, answer: Answer, document: dict[str, Any], credits: Sequence[Credit]) -> LoggedReceipt:
        """Raises: Conflict when that answer or that receipt is in the log already; nothing was changed."""
        digest = answer.receipt_digest
        try:
            async with self._database.transaction("answer log") as session:
                await session.exec(select(func.pg_advisory_xact_lock(ANSWER_LOG_LOCK)))
                index = await _size(session)
                receipt = LoggedReceipt(index, digest, document, answer.asker, tuple(credits), datetime.now(UTC))
                session.add(
                    ReceiptRow(
                        index=index, digest=digest, asker=answer.asker, document=document,
                        appended_at=receipt.appended_at,
                    )
                )  # fmt: skip
                await session.flush()
                session.add(
                    AnswerRow(
                        answer_id=answer.answer_id, receipt_index=index, asker=answer.asker, answer=to_document(answer)
                    )
                )
                for place, credit in enumerate(credits):
                    session.add(
                        CreditRow(
                            receipt_index=index, place=place, contributor=credit.contributor, datanet=credit.datanet,
                            share_bps=credit.share_bps,
                        )
                    )  # fmt: skip
                await _forget(session, answer.answer_id)
                await session.flush()
                return receipt
        except IntegrityError as err:
            if not isinstance(err.orig, UniqueViolation):
                raise
            raise Conflict(f"answer {answer.answer_id} or receipt {digest} is in the log already") from err

    async def receipt(self, digest: Digest) -> LoggedReceipt | None:
        found = await self._receipts(col(ReceiptRow.digest) == digest, limit=1)
        return found[0] if found else None

    async def answers_of(self, wallet: Wallet, limit: int = 100) -> list[Answer]:
        """Newest first."""
        statement = (
            select(AnswerRow.answer)
            .where(col(AnswerRow.asker) == wallet)
            .order_by(col(AnswerRow.receipt_index).desc())
            .limit(limit)
        )
        async with self._database.transaction("answer log") as session:
            return [from_document(Answer, document) for document in await session.exec(statement)]

    async def receipts_crediting(self, wallet: Wallet, limit: int = 100) -> list[LoggedReceipt]:
        """Newest first."""
        theirs = select(CreditRow.receipt_index).where(col(CreditRow.contributor) == wallet)
        return await self._receipts(col(ReceiptRow.index).in_(theirs), limit=limit)

    async def size(self) -> int:
        async with self._database.transaction("answer log") as session:
            return await _size(session)

    async def digests(self, size: int) -> list[Digest]:
        statement = select(ReceiptRow.digest).where(col(ReceiptRow.index) < size).order_by(col(ReceiptRow.index))
        async with self._database.transaction("answer log") as session:
            return [Digest(digest) for digest in await session.exec(statement)]

    async def credits(self, first: int, end: int) -> list[Credit]:
        async with self._database.transaction("answer log") as session:
            within = (col(CreditRow.receipt_index) >= first, col(CreditRow.receipt_index) < end)
            by_receipt = await _credits(session, *within)
            return [credit for index in sorted(by_receipt) for credit in by_receipt[index]]

    async def _receipts(self, which: Any, *, limit: int) -> list[LoggedReceipt]:
        statement = select(ReceiptRow).where(which).order_by(col(ReceiptRow.index).desc()).limit(limit)
        async with self._database.transaction("answer log") as session:
            rows = list(await session.exec(statement))
            credits = await _credits(session, col(CreditRow.receipt_index).in_([row.index for row in rows]))
            return [
                LoggedReceipt(
                    row.index, Digest(row.digest), row.document, Wallet(row.asker),
                    tuple(credits.get(row.index, ())), row.appended_at.astimezone(UTC),
                )
                for row in rows
            ]  # fmt: skip


async def _forget(session: AsyncSession, answer_id: str) -> None:
    await session.exec(delete(UnfinishedRow).where(col(UnfinishedRow.answer_id) == answer_id))


async def _size(session: AsyncSession) -> int:
    last = (await session.exec(select(func.max(ReceiptRow.index)))).one()
    return 0 if last is None else int(last) + 1


async def _credits(session: AsyncSession, *which: Any) -> dict[int, list[Credit]]:
    """By receipt index, each in its order."""
    statement = (
        select(CreditRow, ReceiptRow.digest)
        .join(ReceiptRow, col(ReceiptRow.index) == col(CreditRow.receipt_index))
        .where(*which)
        .order_by(col(CreditRow.receipt_index), col(CreditRow.place))
    )
    found: dict[int, list[Credit]] = {}
    for row, digest in await session.exec(statement):
        found.setdefault(row.receipt_index, []).append(
            Credit(Wallet(row.contributor), row.datanet, Digest(digest), row.share_bps)
        )
    return found
