"""Sending: each transaction once, whenever the process is killed."""

from typing import Any

import pytest

from attribution.log import Tree
from backend.domain.consent import PLAIN_TERMS
from backend.domain.errors import ChainUnavailable, Conflict, TransactionReverted
from backend.domain.types import Digest
from backend.drivers.memory.chain_signing import MemorySigner
from backend.ports import ContractCall, OutgoingTransaction, SignedTransaction
from backend.services.sending import Sending
from tests.services.world import SERVER, World


def create(name: str) -> ContractCall:
    """A call that always goes through, and whose doubling would show: each makes another datanet."""
    return ContractCall("DatanetRegistry", "createDatanet", (name, PLAIN_TERMS.struct(), "", 0))


ANCHOR = ContractCall("ReceiptLedger", "anchor", (SERVER, 1, Tree.of([b"one"]).root(), (), ()))


class Killed(BaseException):
    """As a signal would: nothing catches it."""


class Mortal:
    """Stands before an outbox or a signer and kills the process right before, or right after, one call."""

    def __init__(self, target: object, method: str, *, after: bool) -> None:
        self._target, self._method, self._after = target, method, after
        self.killed = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if name != self._method or self.killed:
            return found

        async def dying(*args: Any) -> Any:
            self.killed = True
            if self._after:
                await found(*args)
            raise Killed

        return dying


async def send_all(world: World, steps: int = 8) -> None:
    for _ in range(steps):
        await world.sending.step()


def created(world: World) -> list[str]:
    return [str(event["name"]) for event in world.events_named("DatanetCreated")]


async def rows(world: World, *references: str) -> list[OutgoingTransaction]:
    return [row for row in [await world.outbox.get(reference) for reference in references] if row is not None]


KILLED_AT = [
    *(("outbox", method) for method in ("unfinished", "mark_signed", "mark_mined")),
    *(("signer", method) for method in ("next_nonce", "sign", "broadcast", "mined")),
]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("part", "method"), KILLED_AT)
async def test_killed_anywhere_each_transaction_happens_once(world: World, part: str, method: str, after: bool) -> None:
    for name in ("a", "b", "c"):
        await world.outbox.add(name, create(name))
    mortal = Mortal(getattr(world, part), method, after=after)
    parts: dict[str, Any] = {"outbox": world.outbox, "signer": world.signer, part: mortal}
    world.sending = Sending(parts["outbox"], parts["signer"])
    with pytest.raises(Killed):
        await send_all(world)
    assert mortal.killed
    world.restart()
    await send_all(world)
    assert created(world) == ["a", "b", "c"]
    sent = await rows(world, "a", "b", "c")
    assert [row.status for row in sent] == ["mined"] * 3
    assert sorted(row.nonce for row in sent if row.nonce is not None) == [0, 1, 2]
    assert world.chain.nonce_of(SERVER) == 3


class LosingSigner(MemorySigner):
    """A node that says it took a transaction and forgets the first `losses` of them."""

    def __init__(self, world: World, losses: int) -> None:
        super().__init__(world.chain, SERVER)
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
        assert await world.sending.step() == 0
        assert [row.status for row in await rows(world, "a")] == ["queued"]
    await send_all(world)
    assert created(world) == ["a"]


async def test_a_leader_that_lost_its_lock_does_not_send_again_what_the_next_one_sent(world: World) -> None:
    """The lock goes with its connection, and who held it only notices at the next step."""

    class Late(MemorySigner):
        async def next_nonce(self) -> int:
            world.outbox._led = False
            await Sending(world.outbox, MemorySigner(world.chain, SERVER)).step()
            return await super().next_nonce()

    await world.outbox.add("a", create("a"))
    with pytest.raises(Conflict):
        await Sending(world.outbox, Late(world.chain, SERVER)).step()
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
    first, second, third = await rows(world, "first", "second", "third")
    assert (first.status, second.status, third.status) == ("mined", "failed", "mined")
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
    """A node that will never take one transaction."""

    refused: Digest | None = None

    async def sign(self, call: ContractCall, nonce: int) -> SignedTransaction:
        signed = await super().sign(call, nonce)
        if call == create("never"):
            self.refused = Digest(signed.raw.decode())
        return signed

    async def broadcast(self, raw: bytes) -> None:
        if raw.decode() == self.refused:
            raise TransactionReverted("RejectedByNode", "exceeds block gas limit")
        await super().broadcast(raw)


async def test_what_the_node_will_never_take_fails_and_leaves_no_gap(world: World) -> None:
    world.signer = PickySigner(world.chain, SERVER)
    world.restart()
    await world.outbox.add("never", create("never"))
    await send_all(world, 2)
    await world.outbox.add("good", create("good"))
    await send_all(world)
    never, good = await rows(world, "never", "good")
    assert (never.status, good.status, good.nonce) == ("failed", "mined", 0)


async def test_a_nonce_that_somebody_else_used_is_replaced(world: World) -> None:
    world.signer = LosingSigner(world, 1)
    world.restart()
    await world.outbox.add("a", create("a"))
    await world.sending.step()
    world.chain.execute(SERVER, "DatanetRegistry", "createDatanet", "by hand", PLAIN_TERMS.struct(), "", 0)
    await send_all(world)
    [row] = await rows(world, "a")
    assert (row.status, row.nonce) == ("mined", 1)
    assert created(world) == ["by hand", "a"]


async def test_after_a_reorganisation_the_freed_nonce_is_used_again(world: World) -> None:
    await world.outbox.add("a", create("a"))
    await send_all(world)
    world.chain.reorg(1)
    assert world.chain.nonce_of(SERVER) == 0
    await world.outbox.add("b", create("b"))
    await send_all(world)
    [row] = await rows(world, "b")
    assert (row.status, row.nonce) == ("mined", 0)
