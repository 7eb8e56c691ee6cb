"""`RunStore` in Postgres: runs, their progress, and the waking of those who watch."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from time import monotonic
from typing import Any

import psycopg
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.domain.errors import Conflict, NotFound
from backend.domain.training import LIVE_STATUSES, Progress, RunStatus, TrainingRun
from backend.domain.types import RunId, Wallet
from backend.drivers.db.documents import from_document, to_document
from backend.drivers.db.engine import Database, database_errors
from backend.drivers.db.jobs import Jobs
from backend.drivers.db.tables_work import TrainingProgressRow, TrainingRunRow
from backend.drivers.db.wire import psycopg_connection

CHANNEL = "training_run"
HEARTBEAT_SECONDS = 15.0


class PgRunStore:
    """A run is enqueued by the transaction that stores it; each change is announced by its own."""

    def __init__(self, database: Database, jobs: Jobs) -> None:
        self._database = database
        self._jobs = jobs

    async def add(self, run: TrainingRun) -> bool:
        statement = insert(TrainingRunRow).values(_row(run).model_dump()).on_conflict_do_nothing()
        async with self._database.transaction("training runs") as session:
            if (await session.exec(statement.returning(col(TrainingRunRow.run_id)))).first() is None:
                return False
            await self._jobs.enqueue(run.run_id, await psycopg_connection(session))
            await _announce(session, run.run_id)
            return True

    async def get(self, run_id: RunId) -> TrainingRun | None:
        async with self._database.transaction("training runs") as session:
            row = await session.get(TrainingRunRow, run_id)
            return None if row is None else _run(row)

    async def runs_of(self, wallet: Wallet) -> list[TrainingRun]:
        """Newest first."""
        return await self._runs(col(TrainingRunRow.wallet) == wallet)

    async def finished_runs(self) -> list[TrainingRun]:
        return await self._runs(col(TrainingRunRow.status) == RunStatus.DONE.value)

    async def live_runs(self) -> list[TrainingRun]:
        live = [status.value for status in LIVE_STATUSES]
        return (await self._runs(col(TrainingRunRow.status).in_(live)))[::-1]

    async def update(self, run_id: RunId, **fields: Any) -> TrainingRun:
        """Raises: NotFound; Conflict for another status after a run has ended."""
        async with self._database.transaction("training runs") as session:
            row = await session.get(TrainingRunRow, run_id, with_for_update=True)
            if row is None:
                raise NotFound(f"training run {run_id}")
            before = _run(row)
            run = replace(before, **fields)
            if before.status not in LIVE_STATUSES and run.status is not before.status:
                raise Conflict(f"run {run_id} has ended already ({before.status})")
            row.status, row.run = run.status.value, to_document(run)
            await _announce(session, run_id)
            return run

    async def add_progress(self, run_id: RunId, progress: Progress) -> None:
        values = {"run_id": run_id, "step": progress.step, "progress": to_document(progress)}
        statement = insert(TrainingProgressRow).values(values)
        async with self._database.transaction("training progress") as session:
            if await session.get(TrainingRunRow, run_id) is None:
                raise NotFound(f"training run {run_id}")
            await session.exec(
                statement.on_conflict_do_update(
                    index_elements=["run_id", "step"], set_={"progress": statement.excluded.progress}
                )
            )
            await _announce(session, run_id)

    async def progress(self, run_id: RunId, after_step: int = 0) -> list[Progress]:
        statement = (
            select(TrainingProgressRow.progress)
            .where(col(TrainingProgressRow.run_id) == run_id, col(TrainingProgressRow.step) > after_step)
            .order_by(col(TrainingProgressRow.step))
        )
        async with self._database.transaction("training progress") as session:
            return [from_document(Progress, document) for document in await session.exec(statement)]

    @asynccontextmanager
    async def watch(self, run_id: RunId) -> AsyncIterator[AsyncIterator[None]]:
        """Changes from the moment of entering wake it, also those between two `anext`."""
        with database_errors("training runs"):
            async with await psycopg.AsyncConnection.connect(self._database.url, autocommit=True) as connection:
                await connection.execute(f"LISTEN {CHANNEL}")
                yield _changes(connection, run_id)

    async def _runs(self, which: Any) -> list[TrainingRun]:
        statement = select(TrainingRunRow).where(which)
        newest_first = statement.order_by(col(TrainingRunRow.created_at).desc(), col(TrainingRunRow.run_id).desc())
        async with self._database.transaction("training runs") as session:
            return [_run(row) for row in await session.exec(newest_first)]


async def _changes(connection: psycopg.AsyncConnection[Any], run_id: RunId) -> AsyncIterator[None]:
    """Wakes at once for each change, and after `HEARTBEAT_SECONDS` without one, however busy other runs are."""
    while True:
        woken, deadline = False, monotonic() + HEARTBEAT_SECONDS
        while not woken and (left := deadline - monotonic()) > 0:
            async for notice in connection.notifies(timeout=left, stop_after=1):
                woken = woken or notice.payload == run_id
        yield


async def _announce(session: AsyncSession, run_id: RunId) -> None:
    """Heard when the transaction commits."""
    await session.exec(select(func.pg_notify(CHANNEL, run_id)))


def _row(run: TrainingRun) -> TrainingRunRow:
    return TrainingRunRow(
        run_id=run.run_id, wallet=run.wallet, status=run.status.value, created_at=run.created_at, run=to_document(run)
    )


def _run(row: TrainingRunRow) -> TrainingRun:
    return from_document(TrainingRun, row.run)
