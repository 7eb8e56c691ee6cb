"""The queue of training runs, with workers that die."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg
import pytest
from procrastinate.exceptions import ConnectorException
from procrastinate.manager import JobManager
from procrastinate.worker import Worker
from psycopg import sql
from sqlalchemy import make_url

from backend.domain.errors import DatabaseUnavailable
from backend.domain.types import RunId
from backend.drivers.db.engine import Database
from backend.drivers.db.jobs import RUN_LOCKS, Jobs
from backend.embedded.postgres import EmbeddedPostgres

pytestmark = pytest.mark.integration

# a worker in a process of its own: says what it begins, then works on it for ever
WORKER = """
import asyncio, sys
from backend.drivers.db.jobs import Jobs

async def handle(run_id):
    print(run_id, flush=True)
    await asyncio.sleep(3600)

asyncio.run(Jobs(sys.stdin.readline().strip(), heartbeat_seconds=0.3, stalled_seconds=1.5).run(handle))
"""


class Handler:
    """Notes what begins and what ends. A run named slow… goes on until cancelled, a bad… one raises."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.stopped: list[str] = []
        self.ended: list[str] = []
        self.changed = asyncio.Event()

    async def __call__(self, run_id: RunId) -> None:
        self.begun.append(run_id)
        self.changed.set()
        if run_id.startswith("slow"):
            try:
                await asyncio.sleep(3600)
            finally:
                self.stopped.append(run_id)
                self.changed.set()
        if run_id.startswith("bad"):
            raise RuntimeError("bad data")
        self.ended.append(run_id)
        self.changed.set()

    async def until(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
def jobs(database: Database, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    monkeypatch.setattr("backend.drivers.db.jobs.AGAIN_SECONDS", 0)
    return Jobs(database.url, heartbeat_seconds=0.3, stalled_seconds=1.5)


async def enqueue(jobs: Jobs, url: str, *runs: str) -> None:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        for run in runs:
            await jobs.enqueue(RunId(run), connection)


@asynccontextmanager
async def working(jobs: Jobs, handler: Any) -> AsyncIterator[None]:
    worker = asyncio.create_task(jobs.run(handler))
    try:
        yield
    finally:
        worker.cancel()
        with suppress(asyncio.CancelledError):
            await worker


def states(url: str) -> dict[str, str]:
    with psycopg.connect(url) as connection:
        return dict(connection.execute("SELECT args ->> 'run_id', status::text FROM procrastinate_jobs").fetchall())


async def until_states(url: str, expected: dict[str, str]) -> None:
    async with asyncio.timeout(30):
        while states(url) != expected:
            await asyncio.sleep(0.1)


async def test_runs_are_done_one_at_a_time_in_order(jobs: Jobs, database: Database) -> None:
    handler = Handler()
    async with working(jobs, handler):
        await enqueue(jobs, database.url, "r1", "r2", "r3")
        await handler.until(lambda: len(handler.ended) == 3)
        assert handler.ended == ["r1", "r2", "r3"]
        await until_states(database.url, {"r1": "succeeded", "r2": "succeeded", "r3": "succeeded"})


async def test_what_is_not_committed_is_not_done(jobs: Jobs, database: Database) -> None:
    async with await psycopg.AsyncConnection.connect(database.url) as connection:
        await jobs.enqueue(RunId("undone"), connection)
        await connection.rollback()
    assert states(database.url) == {}


async def test_a_handler_that_raises_ends_its_own_job_only(jobs: Jobs, database: Database) -> None:
    handler = Handler()
    async with working(jobs, handler):
        await enqueue(jobs, database.url, "bad1", "good")
        await handler.until(lambda: "good" in handler.ended)
        await until_states(database.url, {"bad1": "failed", "good": "succeeded"})
    assert handler.begun == ["bad1", "good"]


@pytest.mark.parametrize("away", [psycopg.OperationalError("gone"), DatabaseUnavailable("training runs")])
async def test_a_job_that_the_database_stopped_is_put_back(jobs: Jobs, database: Database, away: Exception) -> None:
    begun: list[str] = []

    async def handle(run_id: RunId) -> None:
        begun.append(run_id)
        if begun == ["r1"]:
            raise away

    async with working(jobs, handle):
        await enqueue(jobs, database.url, "r1")
        await until_states(database.url, {"r1": "succeeded"})
    assert begun == ["r1", "r1"]


async def test_a_run_that_lost_its_lock_stops_before_it_begins_again(jobs: Jobs, database: Database) -> None:
    """Postgres gives the lock to the next one the moment the connection that holds it is gone."""
    handler = Handler()
    async with working(jobs, handler):
        await enqueue(jobs, database.url, "slow")
        await handler.until(lambda: handler.begun == ["slow"])
        with psycopg.connect(database.url) as connection:
            lost = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s",
                [RUN_LOCKS],
            )
            assert lost.fetchall() == [(True,)]
        await handler.until(lambda: handler.begun == ["slow", "slow"])
        assert handler.stopped == ["slow"]


async def test_a_heartbeat_that_failed_beats_again_while_a_run_goes_on(
    jobs: Jobs, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the run would be taken for a dead worker's."""
    handler, failed, beat = Handler(), asyncio.Event(), JobManager.update_heartbeat

    async def failing_once(manager: JobManager, worker_id: int) -> None:
        if not failed.is_set():
            failed.set()
            raise ConnectorException("Postgres restarts")
        await beat(manager, worker_id)

    def last_beat() -> Any:
        with psycopg.connect(database.url) as connection:
            return connection.execute("SELECT max(last_heartbeat) FROM procrastinate_workers").fetchone()

    async with working(jobs, handler):
        await enqueue(jobs, database.url, "slow")
        await handler.until(lambda: handler.begun == ["slow"])
        monkeypatch.setattr(JobManager, "update_heartbeat", failing_once)
        async with asyncio.timeout(30):
            await failed.wait()
            last = last_beat()
            while last_beat() == last:
                await asyncio.sleep(0.1)
        assert (handler.begun, handler.stopped) == (["slow"], [])


async def test_a_job_that_could_not_be_put_back_is_found_all_the_same(
    jobs: Jobs, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would stay "doing" for as long as its worker lives."""
    put_back, failures = JobManager.retry_job, [ConnectorException("Postgres restarts")]
    begun: list[str] = []

    async def failing_once(manager: JobManager, *given: Any, **more: Any) -> None:
        if failures:
            raise failures.pop()
        await put_back(manager, *given, **more)

    async def handle(run_id: RunId) -> None:
        begun.append(run_id)
        if begun == ["r1"]:
            raise DatabaseUnavailable("training runs")

    monkeypatch.setattr(JobManager, "retry_job", failing_once)
    async with working(jobs, handle):
        await enqueue(jobs, database.url, "r1")
        await until_states(database.url, {"r1": "succeeded"})
    assert (begun, failures) == (["r1", "r1"], [])


async def test_whatever_ends_the_worker_it_works_again(
    jobs: Jobs, database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run, failures = Worker.run, [ZeroDivisionError("a defect")]

    async def failing_once(worker: Worker) -> None:
        if failures:
            raise failures.pop()
        await run(worker)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(Worker, "run", failing_once)
    handler = Handler()
    async with working(jobs, handler):
        await enqueue(jobs, database.url, "r1")
        await handler.until(lambda: handler.ended == ["r1"])
    assert "a defect" in caplog.text


async def test_what_a_stopping_worker_had_in_hand_begins_again(jobs: Jobs, database: Database) -> None:
    handler = Handler()
    await enqueue(jobs, database.url, "slow")
    async with working(jobs, handler):
        await handler.until(lambda: handler.begun == ["slow"])
    assert states(database.url) == {"slow": "todo"}
    async with working(jobs, handler):
        await handler.until(lambda: handler.begun == ["slow", "slow"])


async def test_a_killed_workers_job_is_taken_up_by_the_next(jobs: Jobs, database: Database) -> None:
    await enqueue(jobs, database.url, "r1")
    victim = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert victim.stdin is not None
    assert victim.stdout is not None
    victim.stdin.write(f"{database.url}\n".encode())
    async with asyncio.timeout(60):
        assert await victim.stdout.readline() == b"r1\n"
    assert states(database.url) == {"r1": "doing"}
    victim.send_signal(signal.SIGKILL)
    await victim.communicate()
    handler = Handler()
    async with working(jobs, handler):
        await handler.until(lambda: handler.ended == ["r1"])
        await until_states(database.url, {"r1": "succeeded"})


async def test_a_run_is_never_in_two_hands(jobs: Jobs, database: Database) -> None:
    """The first worker is alive but, as far as its heartbeat tells, dead; the second must wait for it."""
    first, second = Handler(), Handler()
    await enqueue(jobs, database.url, "slow")
    async with working(jobs, first):
        await first.until(lambda: first.begun == ["slow"])
        with psycopg.connect(database.url) as connection:
            connection.execute("UPDATE procrastinate_jobs SET status = 'todo'")  # as a rescue does
        async with working(jobs, second):
            await until_states(database.url, {"slow": "doing"})
            await asyncio.sleep(0.5)
            assert second.begun == []


async def test_a_lost_database_connection_is_waited_out(jobs: Jobs, database: Database) -> None:
    handler = Handler()
    async with working(jobs, handler):
        await enqueue(jobs, database.url, "r1")
        await handler.until(lambda: handler.ended == ["r1"])
        with psycopg.connect(database.url) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        await enqueue(jobs, database.url, "r2")
        await handler.until(lambda: handler.ended == ["r1", "r2"])


async def test_the_schema_is_applied_once_however_often_asked(postgres: EmbeddedPostgres) -> None:
    url = make_url(postgres.url).set(database="jobs_only").render_as_string(hide_password=False)
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE jobs_only"))
    try:
        jobs = Jobs(url)
        await asyncio.gather(jobs.apply_schema(), jobs.apply_schema())
        await jobs.apply_schema()
        await enqueue(jobs, url, "r1")
        assert states(url) == {"r1": "todo"}
    finally:
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE jobs_only WITH (FORCE)"))
