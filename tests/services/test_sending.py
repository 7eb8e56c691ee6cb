"""Sending: each transaction once, whenever the process is killed."""

import pytest

from attribution.log import Tree
from backend.domain.consent import PLAIN_TERMS
from backend.domain.errors import ChainUnavailable, Conflict, InvalidValue, TransactionReverted
from backend.drivers.memory.chain_sending import MemorySigner
from backend.ports import ContractCall, OutgoingTransaction, SignedTransaction
from backend.services.sending import Sending
from tests.services.world import SERVER, World


def create(name: str) -> ContractCall:
    """A call that always goes through, and whose doubling would show: each makes another datanet."""
    return ContractCall("DatanetRegistry", "createDatanet", (name, PLAIN_TERMS.struct(), "", 0))


ANCHOR = ContractCall("ReceiptLedger", "anchor", (SERVER, 1, Tree.of([b"one"]).root(), (), ()))


async def send_all(world: World, steps: int = 8) -> None:
    for _ in range(steps):
        await world.sending.step()


def created(world: World) -> list[str]:
    return [str(event["name"]) for event in world.events_named("DatanetCreated")]


async def rows(world: World, *references: str) -> list[OutgoingTransaction]:
    return [row for row in [await world.outbox.get(reference) for reference in references] if row is not None]


class LosingSigner(MemorySigner):
    """A node that says it took a transaction and forgets the first `losses` of them."""

    def __init__(self, world: World, losses: int) -> None:
        super().__init__(world.pool, SERVER)
        self.losses = losses
        self.offered: list[bytes] = []

    async def broadcast(self, raw: bytes) -> None:
        self.offered.append(raw)
        if len(self.offered) > self.losses:
            await super().broadcast(raw)


async def test_a_lost_broadcast_is_sent_again_with_the_same_bytes(world: World) -> None:
    world.signer = LosingSigner(world, 2)
    world.restart()
    await world.outbox.add("a", create("a"))
    await send_all(world)
    assert len(world.signer.offered) == 3
    assert len(set(world.signer.offered)) == 1
    assert created(world) == ["a"]


async def test_what_is_queued_behind_a_lost_transaction_takes_the_next_nonce_and_waits(world: World) -> None:
    world.signer = LosingSigner(world, 2)  # the first broadcast of each
    world.restart()
    for name in ("a", "b"):
        await world.outbox.add(name, create(name))
    await world.sending.step()
    assert [row.nonce for row in await rows(world, "a", "b")] == [0, 1]
    assert created(world) == []
    await send_all(world)
    assert created(world) == ["a", "b"]


async def test_with_two_senders_only_the_leader_sends(world: World) -> None:
    await world.outbox.add("a", create("a"))
    async with world.outbox.lead() as leading:
        assert leading
        await world.sending.step()
        assert [row.status for row in await rows(world, "a")] == ["queued"]
    await send_all(world)
    assert created(world) == ["a"]


async def test_a_leader_that_lost_its_lock_does_not_send_again_what_the_next_one_sent(world: World) -> None:
    """The lock goes with its connection, and who held it only notices at the next step."""

    class Late(MemorySigner):
        async def next_nonce(self, confirmations: int = 0) -> int:
            world.outbox._led = False
            await Sending(world.outbox, MemorySigner(world.pool, SERVER)).step()
            return await super().next_nonce(confirmations)

    await world.outbox.add("a", create("a"))
    with pytest.raises(Conflict):
        await Sending(world.outbox, Late(world.pool, SERVER)).step()
    await send_all(world)
    assert created(world) == ["a"]
    assert [row.nonce for row in await rows(world, "a")] == [0]


async def test_a_call_that_would_revert_fails_and_the_next_one_still_goes_out(world: World) -> None:
    await world.outbox.add("bad", create(""))
    await world.outbox.add("good", create("good"))
    await send_all(world)
    bad, good = await rows(world, "bad", "good")
    assert (bad.status, bad.nonce) == ("failed", None)
    assert bad.problem is not None
    assert "DatanetRegistryInvalidName" in bad.problem
    assert (good.status, good.nonce) == ("mined", 0)


async def test_a_call_that_reverts_when_mined_is_failed_and_uses_up_its_nonce(world: World) -> None:
    for name in ("first", "second"):  # both would go through now; not one after the other
        await world.outbox.add(name, ANCHOR)
    world.signer = LosingSigner(world, 2)  # so that both are signed before either is mined
    world.restart()
    await send_all(world)
    await world.outbox.add("third", create("c"))
    await send_all(world)
    assert [row.status for row in await rows(world, "second")] == ["signed"]  # a reorganisation could still mend it
    world.bury()
    await send_all(world)
    first, second, third = await rows(world, "first", "second", "third")
    assert second.problem is not None
    assert "ReceiptLedgerNotGrowing" in second.problem
    assert (first.status, second.status, third.status) == ("final", "failed", "final")
    assert (first.nonce, second.nonce, third.nonce) == (0, 1, 2)


async def test_the_chain_being_down_loses_nothing(world: World) -> None:
    await world.outbox.add("a", create("a"))
    world.chain.down = True
    with pytest.raises(ChainUnavailable):
        await world.sending.step()
    world.chain.down = False
    await send_all(world)
    assert created(world) == ["a"]


class PickySigner(MemorySigner):
    """A node that will never take one call."""

    async def broadcast(self, raw: bytes) -> None:
        if self._pool.offers[raw].call == create("never"):
            raise TransactionReverted("RejectedByNode", "exceeds block gas limit")
        await super().broadcast(raw)


async def test_what_the_node_will_never_take_fails_and_holds_up_nothing(world: World) -> None:
    world.signer = PickySigner(world.pool, SERVER)
    world.restart()
    for name in ("never", "good"):
        await world.outbox.add(name, create(name))
    await send_all(world)
    assert created(world) == ["good"]
    world.bury()
    await send_all(world)
    never, good = await rows(world, "never", "good")
    assert (never.status, never.nonce, good.status, good.nonce) == ("failed", 0, "final", 1)
    assert "exceeds block gas limit" in (never.problem or "")


async def test_what_one_node_took_before_another_refused_it_happens_and_has_not_failed(world: World) -> None:
    await world.outbox.add("never", create("never"))
    world.pool.mining = False
    await world.sending.step()
    world.signer = PickySigner(world.pool, SERVER)
    world.restart()
    world.chain.run(SERVER, create("never"), (await rows(world, "never"))[0].attempts[0].hash)
    await send_all(world)
    assert [row.status for row in await rows(world, "never")] == ["mined"]


async def test_arguments_that_fit_no_abi_fail_and_hold_up_nothing(world: World) -> None:
    class Strict(MemorySigner):
        async def sign(self, call: ContractCall | None, nonce: int) -> SignedTransaction:
            if call == create("odd"):
                raise InvalidValue("args", "they do not fit createDatanet")
            return await super().sign(call, nonce)

    world.signer = Strict(world.pool, SERVER)
    world.restart()
    for name in ("odd", "good"):
        await world.outbox.add(name, create(name))
    await send_all(world)
    assert [row.status for row in await rows(world, "odd", "good")] == ["failed", "mined"]


# --- stuck ----------------------------------------------------------------------------------------


def mine_blocks(world: World, count: int) -> None:
    for _ in range(count):
        world.chain.mine()


async def test_what_stays_unmined_is_outbid_under_the_same_nonce(world: World) -> None:
    await world.outbox.add("a", create("a"))
    world.pool.mining = False
    await send_all(world)
    mine_blocks(world, world.sending.patience_blocks - 1)
    await send_all(world)
    [row] = await rows(world, "a")
    assert len(row.attempts) == 1
    mine_blocks(world, 1)
    await send_all(world)
    [row] = await rows(world, "a")
    first, second = row.attempts
    assert second.nonce == first.nonce
    assert 8 * second.max_fee_wei >= 9 * first.max_fee_wei
    assert 8 * second.tip_wei >= 9 * first.tip_wei
    world.pool.mining = True
    await send_all(world)
    [row] = await rows(world, "a")
    assert (row.status, row.tx_hash) == ("mined", second.hash)
    assert created(world) == ["a"]


async def test_the_attempt_that_was_outbid_may_be_the_one_mined(world: World) -> None:
    await world.outbox.add("a", create("a"))
    world.pool.mining = False
    await send_all(world)
    mine_blocks(world, world.sending.patience_blocks)
    await send_all(world)
    [row] = await rows(world, "a")
    world.chain.run(SERVER, row.call, row.attempts[0].hash)
    world.bury()
    await send_all(world)
    [row] = await rows(world, "a")
    assert (row.status, row.tx_hash) == ("final", row.attempts[0].hash)
    assert created(world) == ["a"]


async def test_a_fee_the_market_has_left_behind_is_raised_to_a_current_one(world: World) -> None:
    await world.outbox.add("a", create("a"))
    world.pool.mining = False
    await send_all(world)
    world.pool.base_fee_wei *= 100
    world.pool.mining = True
    await send_all(world)
    assert created(world) == []
    mine_blocks(world, world.sending.patience_blocks)
    await send_all(world)
    assert created(world) == ["a"]


async def test_only_the_one_next_in_line_is_outbid(world: World) -> None:
    for name in ("a", "b"):
        await world.outbox.add(name, create(name))
    world.pool.mining = False
    await send_all(world)
    mine_blocks(world, world.sending.patience_blocks)
    await send_all(world)
    assert [len(row.attempts) for row in await rows(world, "a", "b")] == [2, 1]


async def test_a_node_that_calls_it_underpriced_gets_more_until_it_takes_it(world: World) -> None:
    """Somebody else's transaction of this key waits there with the same nonce."""
    foreign = await world.signer.sign(create("foreign"), 0)
    for _ in range(4):
        foreign = await world.signer.outbid(foreign)
    world.pool.mining = False
    await world.signer.broadcast(foreign.raw)
    await world.outbox.add("a", create("a"))
    await send_all(world)
    [row] = await rows(world, "a")
    assert len(row.attempts) > 2
    assert row.attempts[-1].max_fee_wei >= 1.1 * foreign.max_fee_wei
    world.pool.mine()
    await send_all(world)
    assert created(world) == ["a"]


async def test_over_the_fee_ceiling_it_waits_and_says_so(world: World) -> None:
    world.signer = MemorySigner(world.pool, SERVER, max_fee_wei=20 * 10**9)
    world.restart()
    world.pool.base_fee_wei = 30 * 10**9
    await world.outbox.add("a", create("a"))
    await send_all(world)
    [row] = await rows(world, "a")
    assert (row.status, row.problem) == (
        "queued",
        "sending it takes a fee of 31 gwei a gas and MAX_FEE_GWEI allows 20; "
        "it waits until the chain asks for less or MAX_FEE_GWEI is raised",
    )
    world.pool.base_fee_wei = 10 * 10**9
    world.pool.mining = False
    await send_all(world)
    world.pool.base_fee_wei = 30 * 10**9
    mine_blocks(world, world.sending.patience_blocks)
    await send_all(world)
    [row] = await rows(world, "a")
    assert (row.status, len(row.attempts)) == ("signed", 1)
    assert "MAX_FEE_GWEI allows 20" in (row.problem or "")
    world.pool.base_fee_wei, world.pool.mining = 10 * 10**9, True
    await send_all(world)
    [row] = await rows(world, "a")
    assert (row.status, row.problem, created(world)) == ("mined", None, ["a"])


# --- nonces ---------------------------------------------------------------------------------------


def by_hand(world: World) -> None:
    world.chain.execute(SERVER, "DatanetRegistry", "createDatanet", "by hand", PLAIN_TERMS.struct(), "", 0)


async def test_a_nonce_that_somebody_else_used_is_replaced_once_it_cannot_come_back(world: World) -> None:
    world.signer = LosingSigner(world, 1)
    world.restart()
    await world.outbox.add("a", create("a"))
    await world.sending.step()
    by_hand(world)
    await send_all(world)
    assert created(world) == ["by hand"]
    assert [row.nonce for row in await rows(world, "a")] == [0]
    world.bury()
    await send_all(world)
    [row] = await rows(world, "a")
    assert (row.status, row.nonce, len(row.attempts)) == ("mined", 1, 2)
    assert created(world) == ["by hand", "a"]


async def test_a_nonce_that_comes_back_is_used_after_all(world: World) -> None:
    world.signer = LosingSigner(world, 1)
    world.restart()
    await world.outbox.add("a", create("a"))
    await world.sending.step()
    by_hand(world)
    await send_all(world)
    world.chain.reorg(1)
    await send_all(world)
    world.bury()
    await send_all(world)
    [row] = await rows(world, "a")
    assert (row.status, row.nonce, created(world)) == ("final", 0, ["a"])


async def test_a_reorganisation_brings_back_what_it_took(world: World) -> None:
    for name in ("a", "b"):
        await world.outbox.add(name, create(name))
    await send_all(world)
    world.chain.reorg(2)
    assert created(world) == []
    await send_all(world)
    assert created(world) == ["a", "b"]
    world.bury()
    await send_all(world)
    assert [(row.status, row.nonce) for row in await rows(world, "a", "b")] == [("final", 0), ("final", 1)]


async def test_after_a_reorganisation_no_nonce_is_given_twice(world: World) -> None:
    await world.outbox.add("a", create("a"))
    await send_all(world)
    world.chain.reorg(1)
    await world.outbox.add("b", create("b"))
    await send_all(world)
    assert [row.nonce for row in await rows(world, "a", "b")] == [0, 1]
    assert sorted(created(world)) == ["a", "b"]


async def test_a_gap_that_nothing_holds_is_filled(world: World) -> None:
    """What held it was reorganised away after it had counted for good."""
    await world.outbox.add("a", create("a"))
    await send_all(world)
    world.bury()
    await send_all(world)
    world.pool.mining = False
    await world.outbox.add("b", create("b"))
    await send_all(world)
    world.chain.reorg(world.sending.confirmations + 1)
    world.pool.mining = True
    assert world.chain.nonce_of(SERVER) == 0
    await send_all(world)
    assert created(world) == ["b"]
    assert world.chain.nonce_of(SERVER) == 2


async def test_two_calls_that_got_one_nonce_do_not_outbid_each_other(world: World) -> None:
    world.pool.mining = False
    for name in ("a", "b"):  # as of two processes that both believed to lead
        await world.outbox.add(name, create(name))
        [row] = await rows(world, name)
        await world.outbox.mark_signed(row, await world.signer.sign(row.call, 0))
    await send_all(world)
    assert [len(row.attempts) for row in await rows(world, "a", "b")] == [1, 1]
    world.pool.mining = True
    await send_all(world)
    world.bury()
    await send_all(world)
    assert created(world) == ["a", "b"]
