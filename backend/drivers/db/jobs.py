"""The queue of training runs: procrastinate on the same Postgres, so that a run and its job are one commit."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg
from procrastinate import App, JobContext, PsycopgConnector, RetryStrategy
from procrastinate.exceptions import ConnectorException
from procrastinate.schema import SchemaManager

from backend.domain.types import RunId
from backend.drivers.db.engine import database_errors, libpq_url

QUEUE = "train"
RUN_LOCKS = 20931  # first of two numbers: run locks have an advisory space of their own
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

    async def run(self, handler: Callable[[RunId], Awaitable[None]]) -> None:
        """Work until cancelled. What is in hand then is put back and begins again at the next start.

        A handler that raises fails its own job only. A Postgres that goes away is waited for.
        """
        while True:
            try:
                await self._work(self._app(handler))
            except (ConnectorException, psycopg.Error) as err:
                log.warning("the job queue does not answer (%s); trying again", err)
            await asyncio.sleep(1)

    def _app(self, handler: Callable[[RunId], Awaitable[None]]) -> App:
        app = App(connector=PsycopgConnector(conninfo=self._url, min_size=1, max_size=4))
        # what a stopping worker cancelled; a handler that raised has had its say
        put_back: list[Any] = [asyncio.CancelledError]

        @app.task(
            name="train",
            queue=QUEUE,
            pass_context=True,
            retry=RetryStrategy(retry_exceptions=put_back),
        )
        async def train(context: JobContext, run_id: str) -> None:
            async with self._alone(RunId(run_id)):
                await handler(RunId(run_id))

        return app

    async def _work(self, app: App) -> None:
        async with app.open_async():
            rescuing = asyncio.create_task(self._rescue(app))
            try:
                await app.run_worker_async(
                    queues=[QUEUE],
                    concurrency=1,
                    install_signal_handlers=False,
                    fetch_job_polling_interval=_POLL_SECONDS,
                    update_heartbeat_interval=self._heartbeat_seconds,
                    stalled_worker_timeout=self._stalled_seconds,
                    shutdown_graceful_timeout=0,
                )
            finally:
                rescuing.cancel()
                with suppress(asyncio.CancelledError):
                    await rescuing

    async def _rescue(self, app: App) -> None:
        """Put back the jobs of dead workers; behind the others, in case it was the job that killed them."""
        while True:
            try:
                stalled = await app.job_manager.get_stalled_jobs(
                    queue=QUEUE, seconds_since_heartbeat=self._stalled_seconds
                )
                for job in stalled:
                    log.warning("job %s lost its worker; it begins again", job.id)
                    await app.job_manager.retry_job(job, priority=-1 - job.attempts)
            except ConnectorException as err:  # another worker was first, or Postgres is away: `run` sees to that
                log.info("rescue: %s", err)
            await asyncio.sleep(self._heartbeat_seconds)

    @asynccontextmanager
    async def _alone(self, run_id: RunId) -> AsyncIterator[None]:
        """One process at a time for a run: a worker that was only too busy for its heartbeat is still at it.

        Postgres frees the lock the moment the process that holds it is gone.
        """
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
            await connection.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", [RUN_LOCKS, run_id])
            yield
