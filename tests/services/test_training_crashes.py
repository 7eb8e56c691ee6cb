"""Training, killed anywhere: a run neither trains nor registers twice, and ends as it says it ended."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from backend.domain.consent import PLAIN_TERMS
from backend.domain.errors import DatabaseUnavailable
from backend.domain.training import Progress, RunStatus
from backend.domain.types import DatanetId, Purpose, RunId
from backend.drivers.memory.engine import MemoryTrainer
from backend.drivers.memory.runs import MemoryRunStore
from tests.services.world import BUILDER, SERVER, World


async def test_a_run_taken_up_again_after_storing_neither_trains_nor_registers_twice(
    world: World, granted: DatanetId
) -> None:
    run = await world.start(BUILDER, granted)
    await world.training.run(run.run_id)
    world.restart()
    await world.training.run(run.run_id)
    await world.settle()
    await world.training.run(run.run_id)
    await world.settle()
    assert len(world.trainer.trained) == 1
    assert len(world.events_named("ModelRegistered")) == 1
    assert (await world.run_of(run.run_id)).status is RunStatus.DONE


class Killed(BaseException):
    pass


class Dying:
    """Kills the process before or after one call of `method` whose arguments `chosen` picks."""

    def __init__(self, target: object, method: str, chosen: Callable[..., bool], *, after: bool) -> None:
        self._target, self._method, self._chosen, self._after = target, method, chosen, after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if name != self._method:
            return found

        async def dying(*args: Any, **fields: Any) -> Any:
            if not self._chosen(*args, **fields):
                return await found(*args, **fields)
            if self._after:
                await found(*args, **fields)
            raise Killed

        return dying


async def train_and_register(world: World, run_id: RunId, **instead: Any) -> None:
    """What a worker does for a run, with some of its parts replaced."""

    def with_parts(service: Any) -> Any:
        return replace(service, **{part: value for part, value in instead.items() if hasattr(service, part)})

    await with_parts(world.training).run(run_id)
    await with_parts(world.registering).step()


MOMENTS: list[tuple[str, str, Callable[..., bool]]] = [
    ("runs", "update", lambda *_, **f: f.get("status") is RunStatus.PREPARING),
    ("runs", "update", lambda *_, **f: f.get("status") is RunStatus.TRAINING),
    ("runs", "add_progress", lambda *_, **__: True),
    ("runs", "update", lambda *_, **f: f.get("status") is RunStatus.STORING),
    ("content", "put", lambda *_, **__: True),
    ("runs", "update", lambda *_, **f: "adapter_cid" in f),
    ("outbox", "add", lambda *_, **__: True),
]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("moment", range(len(MOMENTS)))
async def test_killed_anywhere_a_run_registers_once_what_it_says_it_stored(
    world: World, granted: DatanetId, moment: int, after: bool
) -> None:
    run = await world.start(BUILDER, granted)
    part, method, chosen = MOMENTS[moment]
    dying = Dying(getattr(world, part), method, chosen, after=after)
    with pytest.raises(Killed):
        await train_and_register(world, run.run_id, **{part: dying})
    world.restart()
    await world.training.run(run.run_id)
    await world.settle()
    done = await world.run_of(run.run_id)
    assert done.status is RunStatus.DONE
    [event] = world.events_named("ModelRegistered")
    assert (event["adapterDigest"], event["adapterCid"]) == (done.adapter_digest, done.adapter_cid)


async def test_a_registration_lost_by_a_crash_is_found_missing_without_the_job(
    world: World, granted: DatanetId
) -> None:
    run = await world.start(BUILDER, granted)
    dying = Dying(world.outbox, "add", lambda *_: True, after=False)
    with pytest.raises(Killed):
        await train_and_register(world, run.run_id, outbox=dying)
    world.restart()
    await world.settle()
    assert (await world.run_of(run.run_id)).status is RunStatus.DONE
    assert len(world.trainer.trained) == 1


async def test_a_registration_the_chain_refuses_leaves_no_tuned_model(world: World, granted: DatanetId) -> None:
    run = await world.start(BUILDER, granted)
    await world.training.run(run.run_id)
    world.chain.revoke(granted, BUILDER, Purpose.TRAIN)
    await world.settle()
    ended = await world.run_of(run.run_id)
    assert ended.status is RunStatus.REFUSED
    assert "ModelRegistryTrainingNotPermitted" in (ended.problem or "")
    assert ended.model_id is None
    assert await world.runs.finished_runs() == []


async def test_a_registration_is_not_done_before_the_chain_says_so(world: World, granted: DatanetId) -> None:
    run = await world.start(BUILDER, granted)
    await world.training.run(run.run_id)
    assert await world.registering.step() == 0
    await world.sending.step()
    await world.sending.step()
    assert await world.registering.step() == 0  # mined; the indexer is a step behind
    assert (await world.run_of(run.run_id)).status is RunStatus.STORING
    await world.chain_indexing.step()
    assert await world.registering.step() == 1


async def test_a_registration_lost_to_a_reorganisation_goes_out_again(world: World, granted: DatanetId) -> None:
    run = await world.start(BUILDER, granted)
    await train_and_register(world, run.run_id)
    await world.sending.step()
    await world.sending.step()
    mined = await world.outbox.get(f"register:{run.run_id}")
    assert mined is not None
    assert mined.status == "mined"
    world.chain.reorg(1)
    assert await world.registering.step() == 0
    await world.settle()
    sent = await world.outbox.get(f"register:{run.run_id}")
    assert sent is not None
    assert (sent.attempts, sent.tx_hash) == (mined.attempts, mined.tx_hash)  # so it cannot be there twice
    assert len(world.events_named("ModelRegistered")) == 1
    assert (await world.run_of(run.run_id)).status is RunStatus.DONE


async def test_a_registration_whose_nonce_was_taken_after_a_reorganisation_gets_another(
    world: World, granted: DatanetId
) -> None:
    run = await world.start(BUILDER, granted)
    await train_and_register(world, run.run_id)
    await world.sending.step()
    await world.sending.step()
    world.chain.reorg(1)
    world.chain.execute(SERVER, "DatanetRegistry", "createDatanet", "by hand", PLAIN_TERMS.struct(), "", 0)
    await world.settle()
    assert world.events_named("ModelRegistered") == []  # the other one may yet be reorganised away
    world.bury()
    await world.settle()
    assert len(world.events_named("ModelRegistered")) == 1
    assert (await world.run_of(run.run_id)).status is RunStatus.DONE


async def test_what_a_killed_worker_left_in_scratch_is_removed_and_nothing_else(
    world: World, granted: DatanetId
) -> None:
    """Until it is sealed an adapter is there in the clear."""
    scratch = world.home / "scratch"
    (scratch / "run-killed-x1" / "adapter").mkdir(parents=True)
    (scratch / "run-killed-x1" / "adapter" / "adapter_model.safetensors").write_bytes(b"weights")
    (scratch / "other").mkdir()
    world.training.clear_scratch()
    assert [left.name for left in scratch.iterdir()] == ["other"]
    run = await world.train(BUILDER, granted)
    assert run.status is RunStatus.DONE


async def test_a_home_without_scratch_has_nothing_to_clear(world: World) -> None:
    world.training.clear_scratch()


class RestartingStore(MemoryRunStore):
    """A database that goes away at one of its calls, and stays away for some more."""

    calls = away_from = 0
    away_until = 0

    def _answer(self) -> None:
        self.calls += 1
        if self.away_from <= self.calls < self.away_until:
            raise DatabaseUnavailable("run")

    async def get(self, run_id: RunId) -> Any:
        self._answer()
        return await super().get(run_id)

    async def update(self, run_id: RunId, **fields: Any) -> Any:
        self._answer()
        return await super().update(run_id, **fields)

    async def add_progress(self, run_id: RunId, progress: Progress) -> None:
        self._answer()
        await super().add_progress(run_id, progress)


async def test_a_database_that_goes_away_at_any_moment_costs_no_run(world: World, granted: DatanetId) -> None:
    calls = moment = 0
    while moment <= calls:
        run = await world.start(BUILDER, granted)
        store = RestartingStore()
        await store.add(run)
        store.away_from, store.away_until = moment, moment + 3
        world.runs = store
        world.restart()
        await world.training.run(run.run_id)
        calls, store.away_until = store.calls, 0
        await world.settle()
        ended = await world.run_of(run.run_id)
        assert (ended.status, ended.problem) == (RunStatus.DONE, None), moment
        moment += 1
    assert moment > 8  # each call of the run was once the one that failed
    assert len(world.events_named("ModelRegistered")) == moment


async def test_a_database_away_while_it_trains_costs_points_of_the_curve_and_no_step(
    world: World, granted: DatanetId
) -> None:
    run = await world.start(BUILDER, granted)
    store = RestartingStore()
    await store.add(run)

    class Trainer(MemoryTrainer):
        async def train(self, *given: Any, **more: Any) -> Any:
            store.away_from, store.away_until = store.calls + 1, store.calls + 4
            return await super().train(*given, **more)

    world.runs, world.trainer = store, Trainer()
    world.restart()
    await world.training.run(run.run_id)
    await world.settle()
    assert (await world.run_of(run.run_id)).status is RunStatus.DONE
    assert len(world.trainer.trained) == 1
    assert world.slept == []


async def test_a_database_that_stays_away_leaves_the_run_to_be_taken_up_again(world: World, granted: DatanetId) -> None:
    run = await world.start(BUILDER, granted)
    store = RestartingStore()
    await store.add(run)
    store.away_until = 10**6
    world.runs = store
    world.restart()
    with pytest.raises(DatabaseUnavailable):
        await world.training.run(run.run_id)
    store.away_until = 0
    assert (await world.run_of(run.run_id)).status is RunStatus.QUEUED
    await world.training.run(run.run_id)
    await world.settle()
    assert (await world.run_of(run.run_id)).status is RunStatus.DONE
