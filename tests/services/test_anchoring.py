"""Anchoring: each receipt in exactly one checkpoint, and each credit on chain exactly once."""

import hashlib
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from attribution.log import Tree
from backend.domain.answers import Answer, Credit, LoggedReceipt, ModelRef
from backend.domain.errors import ChainUnavailable, Conflict
from backend.domain.types import Digest, Wallet, digest_bytes, digest_of
from backend.drivers.memory.answers import MemoryAnswerLog
from backend.services import anchoring
from backend.services.anchoring import Anchoring
from tests.services.content_fixtures import ALICE, BOB, OWNER
from tests.services.world import SERVER, World


def digest(number: int) -> Digest:
    return digest_of(hashlib.sha256(f"receipt {number}".encode()).digest())


async def log_receipts(world: World, count: int, contributors: tuple[Wallet, ...] = (BOB,)) -> None:
    first = await world.answer_log.size()
    for number in range(first, first + count):
        receipt = digest(number)
        moment = datetime(2026, 3, 1, tzinfo=UTC)
        answer = Answer(f"answer {number}", OWNER, "?", "!", ModelRef("tiny", "1"), (), {}, receipt, moment)
        credits = [Credit(wallet, 1, receipt, 60) for wallet in contributors]
        await world.answer_log.append(answer, {}, credits)


async def carry(world: World, rounds: int = 6) -> None:
    for _ in range(rounds):
        await world.anchoring.step()
        await world.sending.step()


def checkpoints(world: World) -> list[int]:
    return [int(event["size"]) for event in world.events_named("CheckpointAnchored")]


def credited(world: World) -> Counter[tuple[str, str]]:
    return Counter((str(e["receipt"]), str(e["contributor"])) for e in world.events_named("Credited"))


async def expected_root(world: World, size: int) -> Digest:
    return digest_of(Tree.of([digest_bytes(d) for d in await world.answer_log.digests(size)]).root())


async def test_with_nothing_pending_nothing_is_queued(world: World) -> None:
    assert await world.anchoring.step() == 0
    assert await world.outbox.unfinished() == []
    await log_receipts(world, 2)
    await carry(world)
    assert await world.anchoring.step() == 0
    assert checkpoints(world) == [2]


async def test_pending_receipts_become_one_checkpoint_with_their_credits(world: World) -> None:
    await log_receipts(world, 3, (BOB, ALICE))
    assert await world.anchoring.step() == 3
    await carry(world)
    checkpoint = await world.ledger.checkpoint()
    assert (checkpoint.size, checkpoint.root) == (3, await expected_root(world, 3))
    assert credited(world) == {(digest(n), wallet): 1 for n in range(3) for wallet in (BOB, ALICE)}


async def test_what_is_appended_while_a_checkpoint_is_on_its_way_goes_with_the_next(world: World) -> None:
    await log_receipts(world, 2)
    await world.anchoring.step()
    await log_receipts(world, 3)
    assert await world.anchoring.step() == 0
    assert len(await world.outbox.unfinished()) == 1
    await carry(world)
    assert checkpoints(world) == [2, 5]
    assert (await world.ledger.checkpoint()).root == await expected_root(world, 5)
    assert credited(world) == {(digest(n), BOB): 1 for n in range(5)}


class Killed(BaseException):
    pass


class DyingOutbox:
    """Kills the process before or after the checkpoint is queued."""

    def __init__(self, world: World, *, after: bool) -> None:
        self._outbox, self._after = world.outbox, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outbox, name)

    async def add(self, *args: Any) -> bool:
        if self._after:
            await self._outbox.add(*args)
        raise Killed


@pytest.mark.parametrize("after", [False, True])
async def test_killed_while_queueing_each_receipt_is_in_one_checkpoint(world: World, after: bool) -> None:
    await log_receipts(world, 3)
    dying = Anchoring(world.answer_log, world.ledger, DyingOutbox(world, after=after), SERVER)
    with pytest.raises(Killed):
        await dying.step()
    await log_receipts(world, 1)
    world.restart()
    await carry(world)
    assert (await world.ledger.checkpoint()).size == 4
    assert credited(world) == {(digest(n), BOB): 1 for n in range(4)}


async def test_two_workers_queue_one_checkpoint(world: World) -> None:
    await log_receipts(world, 3)

    class Late:
        """A worker that had looked before the other queued."""

        def __getattr__(self, name: str) -> Any:
            return getattr(world.outbox, name)

        async def latest(self, prefix: str) -> None:
            return None

    await world.anchoring.step()
    await Anchoring(world.answer_log, world.ledger, Late(), SERVER).step()
    assert len(await world.outbox.unfinished()) == 1
    await carry(world)
    assert credited(world) == {(digest(n), BOB): 1 for n in range(3)}


async def test_a_database_older_than_the_chain_is_a_conflict(world: World) -> None:
    await log_receipts(world, 3)
    await carry(world)
    world.answer_log = MemoryAnswerLog()
    world.restart()
    await log_receipts(world, 2)
    with pytest.raises(Conflict, match="older than the chain"):
        await world.anchoring.step()
    assert checkpoints(world) == [3]


async def test_a_changed_log_is_a_conflict(world: World) -> None:
    await log_receipts(world, 3)
    await carry(world)
    await log_receipts(world, 1)
    old = world.answer_log._receipts[1]
    changed = LoggedReceipt(1, digest(99), old.document, old.asker, old.credits, old.appended_at)
    world.answer_log._receipts[1] = changed
    with pytest.raises(Conflict, match="the log was changed"):
        await world.anchoring.step()
    assert [row.reference for row in await world.outbox.unfinished()] == ["anchor:3:0"]


async def test_the_chain_being_down_is_not_a_conflict(world: World) -> None:
    await log_receipts(world, 1)
    world.chain.down = True
    with pytest.raises(ChainUnavailable):
        await world.anchoring.step()


async def test_a_reorganisation_that_drops_the_anchor_leads_to_a_new_one(world: World) -> None:
    await log_receipts(world, 2)
    await carry(world)
    world.chain.reorg(1)
    assert checkpoints(world) == []
    await carry(world)
    assert checkpoints(world) == [2]
    assert credited(world) == {(digest(n), BOB): 1 for n in range(2)}
    world.chain.reorg(1)
    await carry(world)
    assert checkpoints(world) == [2]


async def test_a_reorganisation_over_several_anchors_leads_to_all_of_them_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Split by their credits, the first of them ends where one ended before, with others in between."""
    monkeypatch.setattr(anchoring, "CREDITS_PER_ANCHOR", 400)
    many = tuple(Wallet(f"0x{n:040x}") for n in range(1, 151))
    await log_receipts(world, 4, many)
    await carry(world, 12)
    assert checkpoints(world) == [2, 4]
    world.chain.reorg(2)
    await carry(world, 12)
    assert checkpoints(world) == [2, 4]
    assert (await world.ledger.checkpoint()).root == await expected_root(world, 4)
    assert credited(world) == {(digest(n), wallet): 1 for n in range(4) for wallet in many}


async def test_more_credits_than_a_transaction_carries_are_split(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anchoring, "CREDITS_PER_ANCHOR", 400)
    many = tuple(Wallet(f"0x{n:040x}") for n in range(1, 151))
    await log_receipts(world, 7, many)
    await carry(world, 20)
    credits_of = [
        sum(e.name == "Credited" for e in block.events)
        for block in world.chain.blocks
        if any(e.name == "CheckpointAnchored" for e in block.events)
    ]
    assert max(credits_of) <= anchoring.CREDITS_PER_ANCHOR
    assert len(credits_of) > 1
    assert credited(world) == {(digest(n), wallet): 1 for n in range(7) for wallet in many}
    assert (await world.ledger.checkpoint()).size == 7


async def test_a_checkpoint_that_failed_is_tried_again(world: World) -> None:
    await log_receipts(world, 1)
    await world.anchoring.step()
    queued = await world.outbox.get("anchor:1:0")
    assert queued is not None
    await world.outbox.mark_failed(queued, "reverted in block 3")
    await carry(world)
    assert checkpoints(world) == [1]


async def test_a_checkpoint_covers_only_so_many_receipts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anchoring, "RECEIPTS_PER_ANCHOR", 2)
    await log_receipts(world, 5)
    await carry(world, 10)
    assert checkpoints(world) == [2, 4, 5]
    assert world.events_named("CheckpointAnchored")[0]["publisher"] == SERVER
