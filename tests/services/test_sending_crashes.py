"""The sender, killed before and after every call it makes to the outbox and the chain, in everything it can meet:
each call that was queued still happens once."""

from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from attribution.log import Tree
from backend.domain.consent import PLAIN_TERMS
from backend.ports import ContractCall
from backend.services.sending import Sending
from tests.faults import Fuse, Fused, Killed
from tests.services.world import SERVER, World
from tests.slow_chain_fixtures import create

ANCHOR = ContractCall("ReceiptLedger", "anchor", (SERVER, 1, Tree.of([b"one"]).root(), (), ()))
DEPTH = PATIENCE = 2
Run = Callable[[int], Awaitable[None]]  # so many steps of the sender
Play = Callable[[World, Run], Awaitable[None]]


async def plain(world: World, run: Run) -> None:
    await run(4)


async def dropped(world: World, run: Run) -> None:
    """The node restarts with what it took."""
    world.pool.mining = False
    await run(2)
    world.pool.forget()
    await run(2)


async def bumped(world: World, run: Run) -> None:
    world.pool.mining = False
    await run(2)
    for _ in range(2):
        world.pool.base_fee_wei *= 3
        for _ in range(PATIENCE):
            world.chain.mine()
        await run(2)


async def outbid_one_mined(world: World, run: Run) -> None:
    """The cheaper attempt, which a miner had all the while."""
    world.pool.mining = False
    await run(2)
    had = dict(world.pool.waiting)
    for _ in range(PATIENCE):
        world.chain.mine()
    await run(2)
    world.pool.waiting.update(had)
    world.pool.mine()
    await run(3)


async def nonce_taken(world: World, run: Run) -> None:
    world.pool.mining = False
    await run(2)
    world.pool.forget()
    world.chain.execute(SERVER, "DatanetRegistry", "createDatanet", "by hand", PLAIN_TERMS.struct(), "", 0)
    await run(2)
    for _ in range(DEPTH):
        world.chain.mine()
    await run(3)


async def nonce_taken_and_given_back(world: World, run: Run) -> None:
    """With the attempts of before, which some node still had."""
    world.pool.mining = False
    await run(2)
    had = dict(world.pool.waiting)
    world.pool.forget()
    world.chain.execute(SERVER, "DatanetRegistry", "createDatanet", "by hand", PLAIN_TERMS.struct(), "", 0)
    await run(2)
    world.chain.reorg(1)
    world.pool.waiting.update(had)
    world.pool.mine()
    await run(3)


async def reorganised(world: World, run: Run) -> None:
    await run(3)
    world.chain.reorg(2)
    await run(3)


async def reorganised_and_taken(world: World, run: Run) -> None:
    await run(3)
    world.chain.reorg(2)
    world.chain.execute(SERVER, "DatanetRegistry", "createDatanet", "by hand", PLAIN_TERMS.struct(), "", 0)
    await run(3)
    for _ in range(DEPTH):
        world.chain.mine()
    await run(3)


PLAYS: list[Play] = [
    plain, dropped, bumped, outbid_one_mined, nonce_taken, nonce_taken_and_given_back, reorganised,
    reorganised_and_taken,
]  # fmt: skip


async def play_killed(world: World, play: Play, fuse: Fuse) -> None:
    """Until it is settled. Raises: nothing, whatever the fuse does."""
    world.sending = Sending(Fused(world.outbox, fuse), Fused(world.signer, fuse), DEPTH, PATIENCE)

    async def run(steps: int) -> None:
        for _ in range(steps):
            try:
                await world.sending.step()
            except Killed:
                world.sending = Sending(world.outbox, world.signer, DEPTH, PATIENCE)

    await play(world, run)
    world.pool.mining = True
    for _ in range(20):
        await run(1)
        world.chain.mine()


def outcome(world: World) -> Counter[str]:
    return Counter(str(event["name"]) for event in world.events_named("DatanetCreated"))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("play", PLAYS)
async def test_killed_anywhere_each_call_happens_once(tmp_path: Path, play: Play, after: bool) -> None:
    for moment in range(10_000):
        world, fuse = World(tmp_path), Fuse(moment, after)
        for name in ("a", "b"):
            await world.outbox.add(name, create(name))
        await play_killed(world, play, fuse)
        happened = outcome(world)
        del happened["by hand"]
        assert happened == {"a": 1, "b": 1}, moment
        ended = [await world.outbox.get(name) for name in ("a", "b")]
        assert [row.status for row in ended if row] == ["final", "final"], moment
        if not fuse.blown:
            assert moment > 20
            return


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_anywhere_a_revert_fails_once_and_holds_up_nothing(tmp_path: Path, after: bool) -> None:
    async def reverted(world: World, run: Run) -> None:
        world.pool.mining = False
        await run(1)  # both are signed while both would go through
        world.pool.mine()
        await run(3)

    for moment in range(10_000):
        world, fuse = World(tmp_path), Fuse(moment, after)
        for name in ("first", "second"):
            await world.outbox.add(name, ANCHOR)
        await world.outbox.add("third", create("c"))
        await play_killed(world, reverted, fuse)
        first, second, third = [await world.outbox.get(name) for name in ("first", "second", "third")]
        assert first is not None
        assert second is not None
        assert third is not None
        assert (first.status, second.status, third.status) == ("final", "failed", "final"), moment
        assert "ReceiptLedgerNotGrowing" in (second.problem or "")
        assert len(world.events_named("CheckpointAnchored")) == 1
        assert outcome(world) == {"c": 1}
        if not fuse.blown:
            return
