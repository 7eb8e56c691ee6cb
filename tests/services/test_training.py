"""Training: permission before data once more in the worker; each run ends once, with its why."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.domain.answers import ModelRef
from backend.domain.errors import (
    Conflict,
    NotFound,
)
from backend.domain.training import Progress, RunStatus, TrainingSpec
from backend.domain.types import DatanetId, Purpose, RunId, digest_of
from backend.drivers.content_crypto import StreamCipher
from backend.drivers.engine.archive import pack
from backend.drivers.memory.engine import MemoryCatalog, MemoryTrainer
from backend.drivers.memory.runs import MemoryRunStore
from backend.services.adapters import open_adapter
from backend.services.training import WAIT_TRIES
from tests.services.world import BUILDER, ROWS, STRANGER, World


async def test_a_run_goes_to_done_with_the_model_the_chain_registered(world: World, granted: DatanetId) -> None:
    run = await world.start(BUILDER, granted)
    await world.training.run(run.run_id)
    stored = await world.run_of(run.run_id)
    assert (stored.status, stored.model_id) == (RunStatus.STORING, None)
    await world.settle()
    done = await world.run_of(run.run_id)
    [event] = world.events_named("ModelRegistered")
    assert (done.status, done.model_id, done.problem) == (RunStatus.DONE, event["modelId"], None)
    assert (event["trainer"], event["adapterDigest"]) == (BUILDER, done.adapter_digest)
    assert (event["adapterCid"], event["provenanceDigest"]) == (done.adapter_cid, done.provenance_digest)
    assert [p.allowed for p in done.permissions] == [True]
    assert (done.loss_first, done.loss_last) == (3.0, 1.0)
    assert len(await world.runs.progress(run.run_id)) == 4
    assert [m.run_id for m in await world.runs.finished_runs()] == [run.run_id]


async def test_the_provenance_pinned_is_the_one_whose_digest_is_registered(world: World, granted: DatanetId) -> None:
    run = await world.train(BUILDER, granted)
    assert run.provenance_cid is not None
    pinned = world.content.objects[run.provenance_cid]
    assert digest_of(hashlib.sha256(pinned).digest()) == run.provenance_digest
    assert run.provenance is not None
    assert run.provenance["_type"] == "https://in-toto.io/Statement/v1"
    assert run.adapter_digest is not None
    assert run.provenance["subject"][0]["digest"] == {"sha256": run.adapter_digest[2:]}
    build = run.provenance["predicate"]["buildDefinition"]
    assert build["internalParameters"]["records"] == len(ROWS)
    base, datanet = build["resolvedDependencies"]
    assert run.base_revision is not None
    assert base["uri"].endswith(f"@{run.base_revision}")
    assert datanet["annotations"]["permission_block"] == run.permissions[0].block.number
    assert "signature" not in json.dumps(run.provenance)


async def test_the_adapter_pinned_is_ciphertext_and_opens_to_what_was_digested(
    world: World, granted: DatanetId
) -> None:
    run = await world.train(BUILDER, granted)
    assert run.adapter_cid is not None
    sealed = world.content.objects[run.adapter_cid]
    archive = open_adapter(world.cipher, sealed)
    assert digest_of(hashlib.sha256(archive).digest()) == run.adapter_digest
    assert archive not in sealed
    assert b"adapter_model.safetensors" not in sealed
    assert b"adapter_model.safetensors" in archive


async def test_revoked_while_queued_the_run_is_refused_before_anything_is_fetched(
    world: World, granted: DatanetId
) -> None:
    run = await world.start(BUILDER, granted)
    world.chain.revoke(granted, BUILDER, Purpose.TRAIN)
    await world.training.run(run.run_id)
    ended = await world.run_of(run.run_id)
    assert ended.status is RunStatus.REFUSED
    assert ended.problem is not None
    assert f"{BUILDER} may not train with datanet {granted}" in ended.problem
    assert ended.ended_at is not None
    assert world.nothing_was_trained()


async def test_nothing_of_one_datanet_is_fetched_while_another_says_no(world: World, granted: DatanetId) -> None:
    other = await world.publish("neuro", ROWS)
    world.chain.grant(other, BUILDER, Purpose.TRAIN)
    run = await world.start(BUILDER, granted, other)
    world.chain.revoke(other, BUILDER, Purpose.TRAIN)
    world.content.gets.clear()
    await world.training.run(run.run_id)
    assert (await world.run_of(run.run_id)).status is RunStatus.REFUSED
    assert world.nothing_was_trained()


@pytest.mark.parametrize("part", ["chain", "content"])
async def test_what_is_down_is_waited_for_and_the_run_goes_on(world: World, granted: DatanetId, part: str) -> None:
    run = await world.start(BUILDER, granted)
    down = getattr(world, part)
    said: list[str | None] = []

    def meanwhile() -> None:
        said.append(world.runs._runs[run.run_id].problem)
        down.down = len(said) < 3

    world.while_asleep = meanwhile
    down.down = True
    await world.training.run(run.run_id)
    assert len(said) == 3
    assert all(problem is not None and problem.startswith("waiting: ") for problem in said)
    down.down = False
    await world.settle()
    ended = await world.run_of(run.run_id)
    assert (ended.status, ended.problem) == (RunStatus.DONE, None)
    assert len(world.trainer.trained) == 1


async def test_ipfs_going_down_while_training_is_waited_for_with_the_adapter_in_hand(
    world: World, granted: DatanetId
) -> None:
    run = await world.start(BUILDER, granted)
    world.content.fail_after_puts = 0

    def meanwhile() -> None:
        world.content.fail_after_puts = None
        world.content.down = False

    world.while_asleep = meanwhile
    await world.training.run(run.run_id)
    await world.settle()
    assert (await world.run_of(run.run_id)).status is RunStatus.DONE
    assert len(world.trainer.trained) == 1


async def test_what_stays_down_fails_the_run_by_its_name(world: World, granted: DatanetId) -> None:
    run = await world.start(BUILDER, granted)
    world.content.down = True
    await world.training.run(run.run_id)
    ended = await world.run_of(run.run_id)
    assert ended.status is RunStatus.FAILED
    assert "IPFS does not deliver" in (ended.problem or "")
    assert len(world.slept) == WAIT_TRIES


async def test_a_corrupt_shard_fails_the_run_by_its_name(world: World, granted: DatanetId) -> None:
    [row] = await world.versions.versions_of(granted)
    run = await world.start(BUILDER, granted)
    world.content.corrupt.add(row.manifest.shards[1].cid)
    await world.training.run(run.run_id)
    ended = await world.run_of(run.run_id)
    assert ended.status is RunStatus.FAILED
    assert row.manifest.shards[1].cid in (ended.problem or "")
    assert world.trainer.trained == []


async def test_a_new_version_while_queued_fails_the_run_by_its_name(world: World, granted: DatanetId) -> None:
    run = await world.start(BUILDER, granted)
    await world.publish_version(granted, ROWS)
    await world.training.run(run.run_id)
    ended = await world.run_of(run.run_id)
    assert ended.status is RunStatus.FAILED
    assert "is at version 2 by now and the order names 1" in (ended.problem or "")
    assert world.trainer.trained == []


async def test_a_trainers_own_words_reach_the_builder(world: World, granted: DatanetId) -> None:
    world.trainer.fail_with = "the loss is NaN at step 1; try a lower learning rate"
    run = await world.start(BUILDER, granted)
    await world.training.run(run.run_id)
    ended = await world.run_of(run.run_id)
    assert (ended.status, ended.problem) == (RunStatus.FAILED, world.trainer.fail_with)
    assert await world.outbox.unfinished() == []


class HookedTrainer(MemoryTrainer):
    """Lets a test do something at the first step, or instead of training."""

    def __init__(self, hook: Callable[[], Awaitable[None]], *, at_end: bool = False) -> None:
        super().__init__()
        self.hook, self.at_end = hook, at_end

    async def train(self, spec: TrainingSpec, rows: Any, directory: Any, *, on_progress: Any, **more: Any) -> Any:
        async def progress(step: Progress) -> None:
            await on_progress(step)
            if step.step == (step.total_steps if self.at_end else 1):
                await self.hook()

        return await super().train(spec, rows, directory, on_progress=progress, **more)


async def test_a_defect_fails_the_run_and_shows_nobody_its_insides(world: World, granted: DatanetId) -> None:
    async def defect() -> None:
        raise ZeroDivisionError("secret detail")

    world.trainer = HookedTrainer(defect)
    world.restart()
    run = await world.start(BUILDER, granted)
    await world.training.run(run.run_id)
    ended = await world.run_of(run.run_id)
    assert ended.status is RunStatus.FAILED
    assert "secret" not in (ended.problem or "")


async def test_a_run_cancelled_while_queued_never_starts(world: World, granted: DatanetId) -> None:
    run = await world.start(BUILDER, granted)
    assert (await world.ordering.cancel(BUILDER, run.run_id)).status is RunStatus.CANCELLED
    await world.training.run(run.run_id)
    assert (await world.run_of(run.run_id)).status is RunStatus.CANCELLED
    assert world.nothing_was_trained()


@pytest.mark.parametrize("at_end", [False, True])
async def test_a_run_cancelled_while_training_ends_without_a_model(
    world: World, granted: DatanetId, at_end: bool
) -> None:
    async def cancel() -> None:
        await world.ordering.cancel(BUILDER, run.run_id)

    world.trainer = HookedTrainer(cancel, at_end=at_end)
    world.restart()
    run = await world.start(BUILDER, granted)
    await world.training.run(run.run_id)
    await world.settle()
    ended = await world.run_of(run.run_id)
    assert (ended.status, ended.adapter_digest, ended.problem) == (RunStatus.CANCELLED, None, None)
    assert world.events_named("ModelRegistered") == []


async def test_a_run_cancelled_while_it_waits_ends(world: World, granted: DatanetId) -> None:
    run = await world.start(BUILDER, granted)

    def meanwhile() -> None:
        now = world.runs._runs[run.run_id]
        world.runs._runs[run.run_id] = replace(now, cancel_requested=True)

    world.while_asleep = meanwhile
    world.content.down = True
    await world.training.run(run.run_id)
    assert (await world.run_of(run.run_id)).status is RunStatus.CANCELLED
    assert len(world.slept) == 1


class LateStore(MemoryRunStore):
    """Cancels a run right after the worker has read it as queued."""

    cancelled = False

    async def get(self, run_id: RunId) -> Any:
        run = await super().get(run_id)
        if run is not None and not self.cancelled:
            self.cancelled = True
            self._runs[run_id] = replace(run, status=RunStatus.CANCELLED)
        return run


async def test_a_run_cancelled_the_moment_it_is_taken_up_stays_cancelled(world: World, granted: DatanetId) -> None:
    run = await world.start(BUILDER, granted)
    world.runs = LateStore()
    await world.runs.add(run)
    world.restart()
    await world.training.run(run.run_id)
    assert (await world.run_of(run.run_id)).status is RunStatus.CANCELLED
    assert world.trainer.trained == []


async def test_only_its_builder_sees_or_cancels_a_run_and_only_while_it_lives(world: World, granted: DatanetId) -> None:
    run = await world.train(BUILDER, granted)
    for wallet, run_id in ((STRANGER, run.run_id), (BUILDER, RunId("nothing"))):
        with pytest.raises(NotFound):
            await world.ordering.cancel(wallet, run_id)
    with pytest.raises(Conflict, match="has ended already"):
        await world.ordering.cancel(BUILDER, run.run_id)


async def test_a_run_being_stored_can_no_longer_be_cancelled(world: World, granted: DatanetId) -> None:
    run = await world.start(BUILDER, granted)
    await world.training.run(run.run_id)
    with pytest.raises(Conflict, match="being registered"):
        await world.ordering.cancel(BUILDER, run.run_id)


class OffLoop(MemoryCatalog):
    """Resolving hashes gigabytes and the methods import torch: neither may hold up the event loop."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def _note(self, what: str) -> None:
        self.asked.append(what)
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()

    def resolve(self, name: str) -> ModelRef:
        self._note("resolve")
        return super().resolve(name)

    def methods(self) -> dict[str, str | None]:
        self._note("methods")
        return super().methods()


async def test_nothing_slow_runs_on_the_event_loop(world: World, granted: DatanetId) -> None:
    world.catalog = catalog = OffLoop()

    def off_loop_pack(directory: Path) -> bytes:
        catalog._note("pack")
        return pack(directory)

    class OffLoopCipher(StreamCipher):
        def encrypt(self, key: bytes, plain: bytes, *, header: bytes) -> bytes:
            catalog._note("encrypt")
            return super().encrypt(key, plain, header=header)

    world.restart()
    run = await world.start(BUILDER, granted)
    training = replace(world.training, pack=off_loop_pack, cipher=OffLoopCipher(b"k" * 32))
    await training.run(run.run_id)
    await world.settle()
    assert (await world.run_of(run.run_id)).status is RunStatus.DONE
    await world.ask(BUILDER, "What thins blood?")
    await world.ask(BUILDER, "What thins blood?", run_id=run.run_id)
    assert set(catalog.asked) == {"resolve", "methods", "pack", "encrypt"}
