"""What every `Outbox` does."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from backend.domain.errors import Conflict, NotFound
from backend.domain.types import BlockRef, Digest, Purpose
from backend.drivers.db.outbox import PgOutbox
from backend.drivers.memory.outbox import MemoryOutbox
from backend.ports import ContractCall, MinedTransaction, Outbox, OutgoingTransaction, SignedTransaction

HASH = Digest("0x" + "ab" * 32)
OTHER = Digest("0x" + "cd" * 32)
CALL = ContractCall("ReceiptLedger", "anchor", (128, HASH, (HASH, HASH), (("0xabc", 1, HASH, 10_000),)))


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.integration)])
def outbox(request: pytest.FixtureRequest) -> Outbox:
    if request.param == "memory":
        return MemoryOutbox()
    return PgOutbox(request.getfixturevalue("database"))


def signed(nonce: int, tx_hash: Digest = HASH, *, cancels: bool = False) -> SignedTransaction:
    return SignedTransaction(tx_hash, b"\x02raw\x00", nonce, 10**30, 2, 7, cancels)


async def read(outbox: Outbox, reference: str) -> OutgoingTransaction:
    row = await outbox.get(reference)
    assert row is not None
    return row


def mined(block: int, tx_hash: Digest = HASH) -> MinedTransaction:
    return MinedTransaction(tx_hash, BlockRef(block, HASH, 1_700_000_000), True, 21_000)


async def test_a_call_is_queued_as_it_was_given(outbox: Outbox) -> None:
    assert await outbox.add("anchor:128", CALL) is True
    assert await outbox.get("anchor:128") == OutgoingTransaction("anchor:128", CALL, "queued")
    assert await outbox.get("anchor:129") is None


async def test_a_reference_is_queued_once(outbox: Outbox) -> None:
    await outbox.add("anchor:128", CALL)
    assert await outbox.add("anchor:128", ContractCall("ReceiptLedger", "anchor", ())) is False
    assert await outbox.get("anchor:128") == OutgoingTransaction("anchor:128", CALL, "queued")


async def test_arguments_survive_exactly(outbox: Outbox) -> None:
    call = ContractCall(
        "ModelRegistry", "register", ((2**256 - 1, b"\x00\xff", True, -5), "Grüße", [1, [2]], Purpose(3))
    )
    await outbox.add("register:1", call)
    kept = await outbox.get("register:1")
    assert kept is not None
    assert kept.call.args == ((2**256 - 1, b"\x00\xff", True, -5), "Grüße", (1, (2,)), 3)


async def test_what_no_abi_takes_is_refused_before_it_is_queued(outbox: Outbox) -> None:
    with pytest.raises(TypeError):
        await outbox.add("anchor:1", ContractCall("ReceiptLedger", "anchor", (1.5,)))
    assert await outbox.unfinished() == []


async def test_a_transaction_goes_from_queued_over_signed_and_mined_to_final(outbox: Outbox) -> None:
    await outbox.add("anchor:1", CALL)
    await outbox.mark_signed(await read(outbox, "anchor:1"), signed(4))
    expected = OutgoingTransaction("anchor:1", CALL, "signed", (signed(4),))
    assert await outbox.unfinished() == [expected]
    assert expected.nonce == 4
    await outbox.mark_mined(expected, mined(9), final=False)
    expected = OutgoingTransaction("anchor:1", CALL, "mined", (signed(4),), HASH, 9)
    assert await outbox.unfinished() == [expected]
    await outbox.mark_mined(expected, mined(9), final=True)
    assert await read(outbox, "anchor:1") == replace(expected, status="final")
    assert await outbox.unfinished() == []


async def test_every_attempt_is_kept_and_any_may_be_the_one_mined(outbox: Outbox) -> None:
    await outbox.add("anchor:1", CALL)
    await outbox.mark_signed(await read(outbox, "anchor:1"), signed(4))
    await outbox.mark_signed(await read(outbox, "anchor:1"), signed(4, OTHER))
    row = await read(outbox, "anchor:1")
    assert row.attempts == (signed(4), signed(4, OTHER))
    await outbox.mark_mined(row, mined(9, HASH), final=False)
    row = await read(outbox, "anchor:1")
    assert (row.tx_hash, row.attempts) == (HASH, (signed(4), signed(4, OTHER)))


async def test_a_failed_transaction_says_why_and_is_finished(outbox: Outbox) -> None:
    await outbox.add("anchor:1", CALL)
    await outbox.mark_failed(await read(outbox, "anchor:1"), "ReceiptLedgerBadProof \x00")
    assert await outbox.get("anchor:1") == OutgoingTransaction(
        "anchor:1", CALL, "failed", problem="ReceiptLedgerBadProof \ufffd"
    )
    assert await outbox.unfinished() == []


async def test_what_it_waits_for_is_said_until_it_waits_no_more(outbox: Outbox) -> None:
    await outbox.add("anchor:1", CALL)
    queued = await read(outbox, "anchor:1")
    await outbox.mark_waiting(queued, "the fee is too high")
    assert await outbox.unfinished() == [replace(queued, problem="the fee is too high")]
    await outbox.mark_signed(queued, signed(4))
    row = await read(outbox, "anchor:1")
    assert row.problem is None
    await outbox.mark_waiting(row, "no node takes it")
    await outbox.mark_signed(row, signed(4, OTHER, cancels=True))  # this one is why, and has to be remembered
    row = await read(outbox, "anchor:1")
    assert (row.problem, row.attempts[-1].cancels) == ("no node takes it", True)
    await outbox.mark_mined(row, mined(9), final=False)
    assert (await read(outbox, "anchor:1")).problem is None


async def test_unfinished_ones_come_oldest_first(outbox: Outbox) -> None:
    for reference in ("b", "a", "c"):
        await outbox.add(reference, CALL)
    await outbox.mark_signed(await read(outbox, "b"), signed(1))
    assert [t.reference for t in await outbox.unfinished()] == ["b", "a", "c"]


async def test_the_latest_of_a_prefix_is_the_newest_of_exactly_that_prefix(outbox: Outbox) -> None:
    for reference in ("anchor:2", "anchor:1", "anchor%3", "register:1"):
        await outbox.add(reference, CALL)
    found = await outbox.latest("anchor:")
    assert found is not None
    assert found.reference == "anchor:1"
    assert await outbox.latest("anchor_") is None


Mark = Callable[[Outbox, OutgoingTransaction], Awaitable[None]]
MARKS: list[Mark] = [
    lambda outbox, seen: outbox.mark_signed(seen, signed(5, OTHER)),
    lambda outbox, seen: outbox.mark_mined(seen, mined(9), final=False),
    lambda outbox, seen: outbox.mark_mined(seen, mined(9), final=True),
    lambda outbox, seen: outbox.mark_failed(seen, "gone"),
    lambda outbox, seen: outbox.mark_waiting(seen, "the fee is too high"),
]


@pytest.mark.parametrize("mark", MARKS)
async def test_marking_what_is_not_there_is_an_error(outbox: Outbox, mark: Mark) -> None:
    with pytest.raises(NotFound):
        await mark(outbox, OutgoingTransaction("anchor:1", CALL, "queued"))


@pytest.mark.parametrize("late", MARKS)
async def test_who_comes_late_undoes_nothing(outbox: Outbox, late: Mark) -> None:
    """Their bytes may be on their way; with another nonce the same call would happen twice."""
    await outbox.add("anchor:1", CALL)
    moves: list[Mark] = [
        lambda outbox, seen: outbox.mark_signed(seen, signed(4)),
        lambda outbox, seen: outbox.mark_signed(seen, signed(4, OTHER)),
        lambda outbox, seen: outbox.mark_mined(seen, mined(8), final=False),
        lambda outbox, seen: outbox.mark_mined(seen, mined(9), final=False),  # in another block after all
        lambda outbox, seen: outbox.mark_mined(seen, mined(9), final=True),
    ]
    for move in moves:
        seen = await read(outbox, "anchor:1")
        await move(outbox, seen)
        newer = await read(outbox, "anchor:1")
        with pytest.raises(Conflict):
            await late(outbox, seen)
        assert await read(outbox, "anchor:1") == newer


async def test_a_mined_transaction_that_was_lost_can_be_sent_again(outbox: Outbox) -> None:
    await outbox.add("anchor:1", CALL)
    await outbox.mark_signed(await read(outbox, "anchor:1"), signed(4))
    as_signed = await read(outbox, "anchor:1")
    await outbox.mark_mined(as_signed, mined(9), final=False)
    await outbox.mark_signed(await read(outbox, "anchor:1"), signed(4))
    assert await outbox.unfinished() == [as_signed]


async def test_one_leads_at_a_time_and_the_next_after_it(outbox: Outbox) -> None:
    async with outbox.lead() as first:
        async with outbox.lead() as second:
            assert (first, second) == (True, False)
        async with outbox.lead() as third:  # one who did not lead gave nothing away
            assert third is False
    async with outbox.lead() as fourth:
        assert fourth is True


async def test_a_leader_that_failed_leads_no_more(outbox: Outbox) -> None:
    with pytest.raises(ZeroDivisionError):
        async with outbox.lead():
            _ = 1 / 0
    async with outbox.lead() as leading:
        assert leading is True
