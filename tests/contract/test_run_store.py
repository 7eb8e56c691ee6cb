"""What every `RunStore` does."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from backend.domain.errors import Conflict, DatabaseUnavailable, NotFound
from backend.domain.training import Method, Progress, RunStatus, TrainingOrder, TrainingRun, TrainingSpec
from backend.domain.types import BlockRef, DatanetId, Digest, Permission, Purpose, RunId, Wallet
from backend.drivers.db import runs as pg_runs
from backend.drivers.db.engine import Database, open_database
from backend.drivers.db.jobs import Jobs
from backend.drivers.db.runs import PgRunStore
from backend.drivers.memory import runs as memory_runs
from backend.drivers.memory.runs import MemoryRunStore
from backend.ports import RunStore

ALICE = Wallet("0x70997970C51812dc3A010C7d01b50e0d17dc79C8")
BOB = Wallet("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC")
ONE = Digest("0x" + "1" * 64)
BEGAN = datetime(2026, 3, 1, 9, 30, 15, 123456, tzinfo=UTC)
NOBODY = RunId("no-such-run")


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.integration)])
def store(request: pytest.FixtureRequest) -> RunStore:
    if request.param == "memory":
        return MemoryRunStore()
    database: Database = request.getfixturevalue("database")
    return PgRunStore(database, Jobs(database.url))


def run(name: str = "r1", wallet: Wallet = ALICE, minutes: int = 0, **fields: Any) -> TrainingRun:
    spec = TrainingSpec("smollm2", (DatanetId(1), DatanetId(7)), Method.LORA, 2e-4, 4, 1, 16, 20, 512, 7)
    order = TrainingOrder(wallet, spec.datanets, (3, 1), 4, ONE, 2**255 + 1, 1_900_000_000)
    begun = BEGAN + timedelta(minutes=minutes)
    return replace(TrainingRun(RunId(name), wallet, spec, order, "0xabc", RunStatus.QUEUED, begun), **fields)


def step(number: int, loss: float = 2.5) -> Progress:
    return Progress(number, 20, number / 20, loss, 1e-4, 0.7, 912.5, 3.25, 1.5)


async def test_a_run_comes_back_exactly(store: RunStore) -> None:
    permission = Permission(ALICE, DatanetId(1), Purpose.TRAIN, True, BlockRef(12, ONE, 1_700_000_000))
    full = run(
        status=RunStatus.DONE,
        started_at=BEGAN,
        ended_at=BEGAN + timedelta(hours=1, microseconds=7),
        problem="a\0b “ünïcode”",
        permissions=(permission, replace(permission, datanet=DatanetId(7), purpose=Purpose.TRAIN | Purpose.RETRIEVE)),
        provenance={"z": 1, "a": [1.0, 0.1, None, True, {"nested": "x"}], "big": 2**70},
        provenance_digest=ONE,
        adapter_digest=ONE,
        adapter_cid="bafy",
        model_id=5,
        registration_tx=ONE,
        loss_first=4.25,
        loss_last=math.inf,
    )
    await store.add(full)
    got = await store.get(RunId("r1"))
    assert got == full
    assert got is not None
    assert list((got.provenance or {}).keys()) == ["z", "a", "big"]
    assert await store.get(NOBODY) is None


async def test_a_run_is_added_once(store: RunStore) -> None:
    assert await store.add(run()) is True
    assert await store.add(run(wallet=BOB, problem="another with its name")) is False
    assert await store.get(RunId("r1")) == run()


async def test_update_sets_the_named_fields_and_keeps_the_rest(store: RunStore) -> None:
    await store.add(run())
    after = await store.update(RunId("r1"), status=RunStatus.TRAINING, started_at=BEGAN, cancel_requested=True)
    assert after == run(status=RunStatus.TRAINING, started_at=BEGAN, cancel_requested=True)
    assert await store.get(RunId("r1")) == after


async def test_updating_no_run_is_not_found(store: RunStore) -> None:
    with pytest.raises(NotFound):
        await store.update(NOBODY, status=RunStatus.DONE)
    with pytest.raises(NotFound):
        await store.add_progress(NOBODY, step(1))


@pytest.mark.parametrize("ended", [RunStatus.DONE, RunStatus.CANCELLED, RunStatus.REFUSED, RunStatus.FAILED])
async def test_a_run_that_has_ended_stays_ended(store: RunStore, ended: RunStatus) -> None:
    await store.add(run(status=ended))
    for other in {RunStatus.QUEUED, RunStatus.TRAINING, RunStatus.DONE, RunStatus.FAILED} - {ended}:
        with pytest.raises(Conflict):
            await store.update(RunId("r1"), status=other, problem="late")
    assert await store.get(RunId("r1")) == run(status=ended)
    assert (await store.update(RunId("r1"), status=ended, model_id=3)).model_id == 3


async def test_of_two_who_end_a_run_one_wins(store: RunStore) -> None:
    await store.add(run())
    endings = (RunStatus.DONE, RunStatus.CANCELLED)
    results = await asyncio.gather(
        *(store.update(RunId("r1"), status=status) for status in endings), return_exceptions=True
    )
    assert sorted(isinstance(result, Conflict) for result in results) == [False, True]


async def test_concurrent_updates_of_different_fields_all_count(store: RunStore) -> None:
    await store.add(run())
    await asyncio.gather(
        store.update(RunId("r1"), cancel_requested=True),
        store.update(RunId("r1"), status=RunStatus.PREPARING),
        store.update(RunId("r1"), problem="waiting"),
    )
    expected = run(cancel_requested=True, status=RunStatus.PREPARING, problem="waiting")
    assert await store.get(RunId("r1")) == expected


async def test_lists_tell_whose_finished_and_live(store: RunStore) -> None:
    for each in (
        run("old", minutes=0, status=RunStatus.DONE),
        run("live", minutes=1, status=RunStatus.TRAINING),
        run("bobs", BOB, minutes=2),
        run("new", minutes=3, status=RunStatus.DONE),
        run("failed", minutes=4, status=RunStatus.FAILED),
    ):
        await store.add(each)
    assert [each.run_id for each in await store.runs_of(ALICE)] == ["failed", "new", "live", "old"]
    assert [each.run_id for each in await store.finished_runs()] == ["new", "old"]
    assert [each.run_id for each in await store.live_runs()] == ["live", "bobs"]
    await store.update(RunId("live"), status=RunStatus.DONE)
    assert [each.run_id for each in await store.finished_runs()] == ["new", "live", "old"]
    assert [each.run_id for each in await store.live_runs()] == ["bobs"]


async def test_progress_has_one_row_a_step_in_order(store: RunStore) -> None:
    await store.add(run())
    for each in (step(2), step(1), step(3), step(2, loss=1.5)):
        await store.add_progress(RunId("r1"), each)
    assert await store.progress(RunId("r1")) == [step(1), step(2, loss=1.5), step(3)]
    assert await store.progress(RunId("r1"), after_step=2) == [step(3)]
    assert await store.progress(NOBODY) == []


async def test_a_loss_that_is_no_number_is_kept(store: RunStore) -> None:
    await store.add(run())
    await store.add_progress(RunId("r1"), step(1, loss=math.nan))
    [kept] = await store.progress(RunId("r1"))
    assert math.isnan(kept.loss)


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.update(RunId("r1"), status=RunStatus.TRAINING),
        lambda store: store.add_progress(RunId("r1"), step(1)),
    ],
    ids=["update", "progress"],
)
async def test_a_watcher_wakes_at_each_change(store: RunStore, change: Callable[[RunStore], Any]) -> None:
    await store.add(run())
    async with store.watch(RunId("r1")) as changes:
        for _ in range(2):
            await change(store)  # before anyone waits: it is not lost
            await asyncio.wait_for(anext(changes), 10)


async def test_a_watcher_sleeps_through_other_runs(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.add(run("r1"))
    await store.add(run("r2"))
    async with store.watch(RunId("r1")) as changes:
        waiting = asyncio.ensure_future(anext(changes))
        for number in range(5):
            await store.add_progress(RunId("r2"), step(number))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await store.update(RunId("r1"), status=RunStatus.DONE)
        await asyncio.wait_for(waiting, 10)


async def test_a_watcher_wakes_now_and_then_without_a_change(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pg_runs, memory_runs):
        monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.05)
    async with store.watch(NOBODY) as changes:
        for _ in range(3):
            await asyncio.wait_for(anext(changes), 10)


async def listening(database: Database) -> list[int]:
    """The server's processes whose connections listen for changes."""
    async with await psycopg.AsyncConnection.connect(database.url) as connection:
        found = await connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        )
        return [pid for (pid,) in await found.fetchall()]


async def change_and_wake(store: RunStore, *watching: AsyncIterator[None]) -> None:
    await store.update(RunId("r1"), problem="news")
    async with asyncio.timeout(10):
        for changes in watching:
            await anext(changes)


@pytest.mark.integration
async def test_all_watchers_share_one_connection_and_the_last_one_closes_it(database: Database) -> None:
    store = PgRunStore(database, Jobs(database.url))
    await store.add(run())
    async with AsyncExitStack() as stack:
        watching = [await stack.enter_async_context(store.watch(RunId("r1"))) for _ in range(5)]
        assert len(await listening(database)) == 1
        await change_and_wake(store, *watching)
    async with asyncio.timeout(10):
        while await listening(database):  # the server notices in a moment
            await asyncio.sleep(0.05)
    async with store.watch(RunId("r1")) as changes:
        await change_and_wake(store, changes)


@pytest.mark.integration
async def test_a_watcher_that_leaves_takes_nothing_from_the_others(database: Database) -> None:
    store = PgRunStore(database, Jobs(database.url))
    await store.add(run())
    async with store.watch(RunId("r1")) as staying:
        async with store.watch(RunId("r1")):
            pass
        await change_and_wake(store, staying)


@pytest.mark.integration
async def test_a_broken_connection_wakes_all_watchers_and_is_opened_again(database: Database) -> None:
    """What changed meanwhile was not heard by anyone, so everyone has to look."""
    store = PgRunStore(database, Jobs(database.url))
    await store.add(run("r1"))
    await store.add(run("r2"))
    async with store.watch(RunId("r1")) as one, store.watch(RunId("r2")) as other, asyncio.timeout(30):
        waiting = asyncio.gather(anext(one), anext(other))
        [pid] = await listening(database)
        async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as connection:
            await connection.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
        await waiting
        await asyncio.gather(anext(one), anext(other))  # once more when it is open, for what came in between
        assert len(await listening(database)) == 1
        await change_and_wake(store, one)


@pytest.mark.integration
async def test_watching_while_the_database_is_away_says_so() -> None:
    away = open_database("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(DatabaseUnavailable):
        async with PgRunStore(away, Jobs(away.url)).watch(RunId("r1")):
            pass
    await away.close()


# --- the job ----------------------------------------------------------------------------------------


@pytest.mark.integration
async def test_a_run_and_its_job_are_one_commit(database: Database) -> None:
    store = PgRunStore(database, Jobs(database.url))
    await store.add(run("good"))
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no more jobs'; END $$;"
            "CREATE TRIGGER refuse BEFORE INSERT ON procrastinate_jobs EXECUTE FUNCTION refuse()"
        )
        try:
            with pytest.raises(psycopg.errors.RaiseException, match="no more jobs"):
                await store.add(run("unlucky"))
        finally:
            connection.execute("DROP FUNCTION refuse CASCADE")
        jobs = connection.execute("SELECT queue_name, status, args FROM procrastinate_jobs").fetchall()
    assert jobs == [("train", "todo", {"run_id": "good"})]
    assert await store.get(RunId("unlucky")) is None


def set_jobs(database: Database, status: str) -> None:
    with psycopg.connect(database.url) as connection:
        connection.execute("UPDATE procrastinate_jobs SET status = %s", [status])


def jobs_of(database: Database) -> list[tuple[str, str]]:
    with psycopg.connect(database.url) as connection:
        return connection.execute(
            "SELECT args ->> 'run_id', status::text FROM procrastinate_jobs ORDER BY id"
        ).fetchall()


@pytest.mark.integration
async def test_a_live_run_whose_job_failed_is_enqueued_again_once(database: Database) -> None:
    jobs = Jobs(database.url)
    store = PgRunStore(database, jobs)
    await store.add(run())

    async def defect(_: RunId) -> None:
        raise ZeroDivisionError("a defect")

    worker = asyncio.create_task(jobs.run(defect))
    async with asyncio.timeout(30):
        while jobs_of(database) != [("r1", "failed")]:
            await asyncio.sleep(0.1)
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)

    assert sum(await asyncio.gather(store.enqueue_lost(), store.enqueue_lost())) == 1
    assert jobs_of(database) == [("r1", "failed"), ("r1", "todo")]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("job", "fields"),
    [
        ("todo", {}),
        ("doing", {"status": RunStatus.TRAINING}),
        ("failed", {"status": RunStatus.DONE}),
        ("failed", {"status": RunStatus.CANCELLED}),
        ("succeeded", {"status": RunStatus.STORING, "adapter_cid": "bafy"}),  # what is left needs no job
    ],
)
async def test_a_run_that_needs_no_other_job_gets_none(database: Database, job: str, fields: dict[str, Any]) -> None:
    store = PgRunStore(database, Jobs(database.url))
    await store.add(run(**fields))
    set_jobs(database, job)
    assert await store.enqueue_lost() == 0
    assert jobs_of(database) == [("r1", job)]
