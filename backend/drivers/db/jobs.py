"""The queue of training runs: procrastinate on the same Postgres, so that a run and its job are one commit."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from procrastinate import App, JobContext, PsycopgConnector, RetryStrategy
from procrastinate.exceptions import ConnectorException
from procrastinate.schema import SchemaManager
from procrastinate.worker import Worker

from backend.domain.errors import DatabaseUnavailable
from backend.domain.types import RunId
from backend.drivers.db.engine import database_errors, libpq_url

QUEUE = "train"
RUN_LOCKS = 20931  # first of two numbers: run locks have an advisory space of their own
AGAIN_SECONDS = 5  # until what was put back may begin again
_HEARTBEAT_SECONDS = 2.0
_STALLED_SECONDS = 8.0
_POLL_SECONDS = 2.0

log = logging.getLogger(__name__)


def jobs_schema() -> str:
    """procrastinate's tables and functions, as SQL for an empty schema."""
    return SchemaManager.get_schema()


class Jobs:
    """Enqueue runs, and work on them one at a time.

    A job is done at least once. Its worker may die at any moment, even by `kill -9`: the next worker
    notices the missing heartbeat and takes the job up again, in about `stalled_seconds` and a few more.
    """

    def __init__(
        self, url: str, *, heartbeat_seconds: float = _HEARTBEAT_SECONDS, stalled_seconds: float = _STALLED_SECONDS
    ) -> None:
        """Raises: InvalidValue for a URL that is not Postgres'."""
        self._url = libpq_url(url)
        self._heartbeat_seconds = heartbeat_seconds
        self._stalled_seconds = stalled_seconds
        self._database_failed = asyncio.Event()
        self._queue = App(connector=PsycopgConnector())  # never opened: it only writes on others' connections

    async def apply_schema(self) -> None:
        """What the migration does too; for a queue on a database of its own. Idempotent. Raises: DatabaseUnavailable"""
        with database_errors("job queue"):
            async with await psycopg.AsyncConnection.connect(self._url) as connection:
                await connection.execute("SELECT pg_advisory_xact_lock(%s, 0)", [RUN_LOCKS])
                found = await (await connection.execute("SELECT to_regclass('procrastinate_jobs')")).fetchone()
                if found == (None,):
                    await connection.execute(jobs_schema().encode())

    async def enqueue(self, run_id: RunId, connection: psycopg.AsyncConnection) -> None:
        """Part of the transaction that `connection` is in: no commit, no job. Raises what psycopg says."""
        job = self._queue.configure_task(name="train", queue=QUEUE, connection=connection)
        try:
            await job.defer_async(run_id=run_id)
        except ConnectorException as err:
            raise err.__cause__ or err from None  # whose transaction it is knows how to name it

    async def queued(self, connection: psycopg.AsyncConnection) -> set[RunId]:
        """The runs that a job waits for or works on. Raises what psycopg says."""
        found = await connection.execute(
            "SELECT args ->> 'run_id' FROM procrastinate_jobs WHERE queue_name = %s AND status IN ('todo', 'doing')",
            [QUEUE],
        )
        return {RunId(run_id) for (run_id,) in await found.fetchall()}

    async def run(self, handler: Callable[[RunId], Awaitable[None]]) -> None:
        """Work until cancelled. What is in hand then is put back and begins again at the next start.

        A handler that raises fails its own job only, unless it was the database that did not answer: that job is
        put back. A Postgres that goes away is waited for.
        """
        while True:
            try:
                await self._work(self._app(handler))
            except (ConnectorException, psycopg.Error) as err:
                log.warning("the job queue does not answer (%s); trying again", err)
            except Exception:  # no run is worked on without this loop, so nothing but a cancellation may end it
                log.exception("the job queue's worker ended; starting it again")
            await asyncio.sleep(1)

    def _app(self, handler: Callable[[RunId], Awaitable[None]]) -> App:
        app = App(connector=PsycopgConnector(conninfo=self._url, min_size=1, max_size=4))
        # What a stopping worker cancelled, and what a silent database stopped, says nothing of the run; a handler
        # that raises anything else has had its say.
        put_back: list[Any] = [asyncio.CancelledError, psycopg.Error, DatabaseUnavailable]

        @app.task(
            name="train",
            queue=QUEUE,
            pass_context=True,
            retry=RetryStrategy(wait=AGAIN_SECONDS, retry_exceptions=put_back),
        )
        async def train(context: JobContext, run_id: str) -> None:
            try:
                async with self._alone(RunId(run_id)) as lock:
                    await _until_one_ends(handler(RunId(run_id)), _until_lost(lock, self._heartbeat_seconds))
            except (psycopg.Error, DatabaseUnavailable):
                self._database_failed.set()
                raise

        return app

    async def _work(self, app: App) -> None:
        async with app.open_async():
            worker = Worker(
                app,
                queues=[QUEUE],
                concurrency=1,
                install_signal_handlers=False,
                fetch_job_polling_interval=_POLL_SECONDS,
                stalled_worker_timeout=self._stalled_seconds,
                shutdown_graceful_timeout=0,
            )
            self._database_failed.clear()
            # A job that the database stopped could perhaps not be put back either. So this worker ends, and the next
            # one finds it without a worker.
            work = worker.run()  # type: ignore[no-untyped-call]
            await _until_one_ends(work, self._look_after(worker), self._database_failed.wait())

    async def _look_after(self, worker: Worker) -> None:
        """Beat for this worker, which procrastinate ceases to do at the first beat that fails; and put back the jobs of
        dead workers, behind the others, in case it was the job that killed them."""
        manager = worker.app.job_manager
        while True:
            try:
                if worker.worker_id is not None:
                    await manager.update_heartbeat(worker.worker_id)
                stalled = await manager.get_stalled_jobs(queue=QUEUE, seconds_since_heartbeat=self._stalled_seconds)
                for job in stalled:
                    log.warning("job %s lost its worker; it begins again", job.id)
                    await manager.retry_job(job, priority=-1 - job.attempts)
            except ConnectorException as err:  # another worker was first, or Postgres is away: `run` sees to that
                log.info("looking after the queue: %s", err)
            await asyncio.sleep(self._heartbeat_seconds)

    @asynccontextmanager
    async def _alone(self, run_id: RunId) -> AsyncIterator[psycopg.AsyncConnection]:
        """One process at a time for a run: a worker that was only too busy for its heartbeat is still at it.

        Postgres frees the lock the moment the process that holds it is gone, and at its own end.
        """
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
            await connection.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", [RUN_LOCKS, run_id])
            yield connection


async def _until_lost(lock: psycopg.AsyncConnection, look_seconds: float) -> None:
    """Raises: psycopg.Error the moment the connection ends, and the lock with it."""
    while True:
        async for _ in lock.notifies(timeout=look_seconds):  # of nothing; but the end of the connection is noticed
            pass
        await lock.execute("SELECT 1")  # and that of a server that went without a word


async def _until_one_ends(*works: Awaitable[object]) -> None:
    """All at once; when one ends the others are cancelled. Raises what it raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
