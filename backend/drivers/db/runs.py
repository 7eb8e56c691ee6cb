"""`RunStore` in Postgres: runs, their progress, and the waking of those who watch."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
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

log = logging.getLogger(__name__)


class PgRunStore:
    """A run is enqueued by the transaction that stores it; each change is announced by its own. All who watch hear
    through one connection, open from the first of them to the last."""

    def __init__(self, database: Database, jobs: Jobs) -> None:
        self._database = database
        self._jobs = jobs
        self._watchers: dict[asyncio.Event, RunId] = {}
        self._hearing: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()

    async def add(self, run: TrainingRun) -> bool:
        statement = insert(TrainingRunRow).values(_row(run).model_dump()).on_conflict_do_nothing()
        async with self._database.transaction("training runs") as session:
            if (await session.exec(statement.returning(col(TrainingRunRow.run_id)))).first() is None:
                return False
            await self._jobs.enqueue(run.run_id, await psycopg_connection(session))
            await _announce(session, run.run_id)
            return True

    async def enqueue_lost(self) -> int:
        """Enqueue again each run that goes on and that no job will take up: its job failed, or was removed. Returns how
        many. Safe to repeat: a run is locked while we look, so that it neither ends nor is enqueued twice."""
        going_on = select(TrainingRunRow).where(_is_live()).order_by(col(TrainingRunRow.run_id)).with_for_update()
        async with self._database.transaction("training runs") as session:
            runs = [_run(row) for row in await session.exec(going_on)]
            connection = await psycopg_connection(session)
            queued = await self._jobs.queued(connection)
            lost = [run.run_id for run in runs if run.run_id not in queued and not _is_stored(run)]
            for run_id in lost:
                log.warning("run %s had lost its job; it is enqueued again", run_id)
                await self._jobs.enqueue(run_id, connection)
            return len(lost)

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
        return (await self._runs(_is_live()))[::-1]

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
        changed = asyncio.Event()
        self._watchers[changed] = run_id
        try:
            await self._listen()
            changed.clear()
            yield self._changes(changed)
        finally:
            del self._watchers[changed]
            if not self._watchers and self._hearing is not None:
                hearing, self._hearing = self._hearing, None
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)

    async def _changes(self, changed: asyncio.Event) -> AsyncIterator[None]:
        """Wakes at once for each change, and after `HEARTBEAT_SECONDS` without one."""
        while True:
            await self._listen()
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), HEARTBEAT_SECONDS)
            changed.clear()
            yield

    async def _listen(self) -> None:
        """Open the connection unless it is open. All wake then: what changed before was not heard."""
        async with self._opening:
            if self._hearing is not None and not self._hearing.done():
                return
            with database_errors("training runs"):
                connection = await psycopg.AsyncConnection.connect(self._database.url, autocommit=True)
                try:
                    await connection.execute(f"LISTEN {CHANNEL}")
                except BaseException:
                    await connection.close()
                    raise
            self._hearing = asyncio.create_task(self._hear(connection))
            self._wake_all()

    async def _hear(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Until it breaks, which all who watch have to know: the next to ask for a change opens it again."""
        try:
            async with connection:
                async for notice in connection.notifies():
                    for changed, run_id in self._watchers.items():
                        if run_id == notice.payload:
                            changed.set()
        except psycopg.Error as err:
            log.warning("no changes of training runs are heard (%s)", err)
        finally:
            self._wake_all()

    def _wake_all(self) -> None:
        for changed in self._watchers:
            changed.set()

    async def _runs(self, which: Any) -> list[TrainingRun]:
        statement = select(TrainingRunRow).where(which)
        newest_first = statement.order_by(col(TrainingRunRow.created_at).desc(), col(TrainingRunRow.run_id).desc())
        async with self._database.transaction("training runs") as session:
            return [_run(row) for row in await session.exec(newest_first)]


async def _announce(session: AsyncSession, run_id: RunId) -> None:
    """Heard when the transaction commits."""
    await session.exec(select(func.pg_notify(CHANNEL, run_id)))


def _is_live() -> Any:
    return col(TrainingRunRow.status).in_([status.value for status in LIVE_STATUSES])


def _is_stored(run: TrainingRun) -> bool:
    """What is left to do is to register it, and `Registering` needs no job for that."""
    return run.status is RunStatus.STORING and run.adapter_cid is not None


def _row(run: TrainingRun) -> TrainingRunRow:
    return TrainingRunRow(
        run_id=run.run_id, wallet=run.wallet, status=run.status.value, created_at=run.created_at, run=to_document(run)
    )


def _run(row: TrainingRunRow) -> TrainingRun:
    return from_document(TrainingRun, row.run)
