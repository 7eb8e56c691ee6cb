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
