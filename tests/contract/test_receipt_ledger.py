"""What every `ReceiptLedger` does: say where the publisher's log stands on chain, and by which transaction."""

import hashlib

import pytest

from attribution.log import Tree
from backend.domain.errors import ChainUnavailable, TransactionReverted
from backend.domain.types import Digest, Wallet, digest_of
from tests.chain_fixtures import ChainHand, create_datanet

CONTRIBUTOR = Wallet("0x70997970C51812dc3A010C7d01b50e0d17dc79C8")


async def unpublished(chain: ChainHand) -> list[int]:
    """Who has no log yet: the real chain is the session's, and a log only grows."""
    return [who for who in range(9) if (await chain.ledger(who).checkpoint()).size == 0]


@pytest.fixture
async def publisher(chain: ChainHand) -> int:
    return (await unpublished(chain))[0]


def receipts(count: int) -> list[bytes]:
    return [hashlib.sha256(f"receipt {n}".encode()).digest() for n in range(count)]


def tree(size: int) -> Tree:
    return Tree.of(receipts(size))


async def test_a_log_grows_from_nothing_by_consistent_checkpoints(chain: ChainHand, publisher: int) -> None:
    ledger = chain.ledger(publisher)
    start = await ledger.checkpoint()
    assert (start.size, start.tx_hash, start.block_number) == (0, None, None)
    datanet = await create_datanet(chain, 0)
    credit = (CONTRIBUTOR, datanet, digest_of(receipts(1)[0]), 0, 10_000)
    first = await chain.send(
        publisher, "ReceiptLedger", "anchor", chain.wallets[publisher], 3, tree(3).root(), (), (credit,)
    )
    then = await ledger.checkpoint()
    assert (then.size, then.root) == (3, digest_of(tree(3).root()))
    assert (then.tx_hash, then.block_number) == (first.hash, first.block.number)
    proof = tuple(tree(7).consistency_proof(3))
    second = await chain.send(
        publisher, "ReceiptLedger", "anchor", chain.wallets[publisher], 7, tree(7).root(), proof, ()
    )
    last = await ledger.checkpoint()
    assert (last.size, last.tx_hash) == (7, second.hash)
    receipt = digest_of(receipts(1)[0])
    assert await ledger.anchoring_of(receipt, 3) == first
    assert await ledger.anchoring_of(receipt, 7) == second
    assert await ledger.anchoring_of(receipt, 5) is None
    anchored, credited = await chain.events.events(first.block.number, first.block.number)
    assert anchored.args == {"publisher": chain.wallets[publisher], "size": 3, "root": digest_of(tree(3).root())}
    assert credited.args == {
        "contributor": CONTRIBUTOR, "datanetId": datanet, "receipt": credit[2], "shareBps": 10_000,
    }  # fmt: skip
    with pytest.raises(TransactionReverted, match="ReceiptLedgerNotGrowing"):
        await chain.send(publisher, "ReceiptLedger", "anchor", chain.wallets[publisher], 7, tree(7).root(), (), ())
    with pytest.raises(TransactionReverted, match="ReceiptLedgerInconsistent"):
        await chain.send(publisher, "ReceiptLedger", "anchor", chain.wallets[publisher], 8, tree(8).root(), proof, ())


async def test_one_publishers_log_is_not_anothers(chain: ChainHand, publisher: int) -> None:
    await chain.send(publisher, "ReceiptLedger", "anchor", chain.wallets[publisher], 2, tree(2).root(), (), ())
    assert (await chain.ledger(publisher).checkpoint()).size == 2
    other = chain.ledger((await unpublished(chain))[0])
    assert await other.anchoring_of(Digest("0x" + "00" * 32), 2) is None


async def test_a_silent_chain_is_dont_know_and_never_an_empty_log(chain: ChainHand) -> None:
    await chain.cut()
    with pytest.raises(ChainUnavailable):
        await chain.ledger(0).checkpoint()
    with pytest.raises(ChainUnavailable):
        await chain.ledger(0).anchoring_of(Digest("0x" + "00" * 32), 1)


async def test_a_log_goes_on_under_the_key_it_was_offered_to_and_no_other(chain: ChainHand, publisher: int) -> None:
    old, new, stranger = publisher, *[who for who in range(9) if who != publisher][:2]
    log, wallets = chain.wallets[publisher], chain.wallets

    async def anchor(who: int, size: int) -> None:
        proof = tuple(tree(size).consistency_proof(size - 1)) if size > 1 else ()
        await chain.send(who, "ReceiptLedger", "anchor", log, size, tree(size).root(), proof, ())

    await anchor(old, 1)
    with pytest.raises(TransactionReverted, match="ReceiptLedgerNotKey"):
        await chain.send(stranger, "ReceiptLedger", "offerKey", log, wallets[stranger])
    await chain.send(old, "ReceiptLedger", "offerKey", log, wallets[new])
    with pytest.raises(TransactionReverted, match="ReceiptLedgerNotOffered"):
        await chain.send(stranger, "ReceiptLedger", "acceptKey", log)
    await anchor(old, 2)  # until it is accepted
    rotated = await chain.send(new, "ReceiptLedger", "acceptKey", log)
    [event] = await chain.events.events(rotated.block.number, rotated.block.number)
    assert event.args == {"publisher": log, "key": wallets[new], "previous": log}
    with pytest.raises(TransactionReverted, match="ReceiptLedgerNotKey"):
        await anchor(old, 3)
    await anchor(new, 3)
    assert (await chain.ledger(publisher).checkpoint()).size == 3


async def test_credits_are_of_the_receipts_a_step_adds_and_never_more_than_the_whole(
    chain: ChainHand, publisher: int
) -> None:
    log, datanet = chain.wallets[publisher], await create_datanet(chain, 0)
    first, second = (digest_of(receipt) for receipt in receipts(2))

    async def anchor(*credits: tuple[Digest, int, int]) -> None:
        rows = tuple((CONTRIBUTOR, datanet, *credit) for credit in credits)
        await chain.send(publisher, "ReceiptLedger", "anchor", log, 2, tree(2).root(), (), rows)

    with pytest.raises(TransactionReverted, match="ReceiptLedgerTooManyShares"):
        await anchor((first, 0, 6_000), (first, 0, 4_001))
    for misplaced in (
        [(first, 2, 1)],  # not added by this step
        [(second, 1, 1), (first, 0, 1)],  # out of order
        [(first, 0, 1), (second, 0, 1)],  # two receipts in one place
    ):
        with pytest.raises(TransactionReverted, match="ReceiptLedgerMisplacedCredit"):
            await anchor(*misplaced)
    await anchor((first, 0, 6_000), (first, 0, 4_000), (second, 1, 10_000))
