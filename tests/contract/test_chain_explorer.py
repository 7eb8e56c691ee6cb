"""`ChainExplorer`: what a stranger sees of the chain, on the twin and on the embedded one."""

import hashlib
from dataclasses import dataclass
from typing import Any

import pytest

from backend.domain.errors import ChainUnavailable
from backend.domain.explorer import Argument
from backend.domain.types import Digest, Purpose, Wallet
from backend.drivers.chain.connection import ChainConnection
from backend.drivers.chain.explorer import RpcChainExplorer
from backend.drivers.chain.sending import KeyedSigner
from backend.drivers.chain.transactions import account_of
from backend.drivers.chain.wallet import local_test_key
from backend.drivers.memory.chain import MemoryChain
from backend.drivers.memory.explorer import MemoryChainExplorer
from backend.ports import ChainExplorer, ContractCall, MinedTransaction, TransactionSigner
from tests.chain_fixtures import ARTIFACTS, ChainHand, FickleNode, LocalHand, MemoryHand, create_datanet

OWNER, GRANTEE, STRANGER = 1, 2, 3
NOWHERE = Digest("0x" + hashlib.sha256(b"nowhere on any chain").hexdigest())
REGISTRY = "DatanetRegistry"


@dataclass
class Sight:
    chain: ChainHand
    explorer: ChainExplorer
    registry: Wallet
    dead: ChainExplorer

    async def fail(self, who: int, *args: object) -> Digest:
        """A transaction that is mined and fails: a wallet may send one whatever a node says about it first."""
        if isinstance(self.chain, MemoryHand):
            return await _fail_in_memory(self.chain.chain, self.chain.signer(who), args)
        assert isinstance(self.explorer, RpcChainExplorer)
        return await _fail_on_anvil(self.explorer._chain, who, args)


async def _fail_in_memory(chain: MemoryChain, signer: TransactionSigner, args: tuple[object, ...]) -> Digest:
    tx_hash = Digest("0x" + (b"doomed%d" % len(chain.blocks)).hex().ljust(64, "0"))
    chain.run(signer.address, ContractCall(REGISTRY, "grant", args), tx_hash)
    return tx_hash


async def _fail_on_anvil(chain: ChainConnection, who: int, args: tuple[object, ...]) -> Digest:
    key = local_test_key(who)
    data = chain.artifacts[REGISTRY].encode_call("grant", args)
    fields: dict[str, Any] = {
        "type": 2, "chainId": chain.chain_id, "nonce": await KeyedSigner(chain, key).next_nonce(), "gas": 200_000,
        "maxPriorityFeePerGas": 10**9, "maxFeePerGas": 10**11, "value": 0, "data": "0x" + data.hex(),
        "to": chain.contracts.datanet_registry,
    }  # fmt: skip
    raw = account_of(key).sign_transaction(fields).raw_transaction
    return Digest(await chain.rpc("eth_sendRawTransaction", "0x" + bytes(raw).hex()))


@pytest.fixture
def sight(chain: ChainHand, request: pytest.FixtureRequest) -> Sight:
    if isinstance(chain, MemoryHand):
        registry = Wallet("0x" + "d1" * 20)
        down = MemoryChain()
        down.down = True
        twins = [MemoryChainExplorer(one, {REGISTRY: registry}) for one in (chain.chain, down)]
        return Sight(chain, twins[0], registry, twins[1])
    assert isinstance(chain, LocalHand)
    connection: ChainConnection = request.getfixturevalue("chain_connection")
    dead: ChainConnection = request.getfixturevalue("dead_connection")
    return Sight(
        chain,
        RpcChainExplorer(connection, ARTIFACTS),
        connection.contracts.datanet_registry,
        RpcChainExplorer(dead, ARTIFACTS),
    )


def named(arguments: tuple[Argument, ...], name: str) -> Argument:
    (found,) = [a for a in arguments if a.name == name]
    return found


async def granted(sight: Sight, purposes: int = 3, expires_at: int = 0) -> tuple[int, MinedTransaction]:
    datanet = await create_datanet(sight.chain, OWNER)
    grantee = sight.chain.wallets[GRANTEE]
    return datanet, await sight.chain.send(OWNER, REGISTRY, "grant", datanet, grantee, purposes, expires_at)


async def test_a_block_has_its_transactions_by_the_name_of_what_they_call(sight: Sight) -> None:
    _, mined = await granted(sight)
    number = mined.block.number
    (block,) = await sight.explorer.blocks([number], transactions=True)
    assert (block.number, block.hash, block.timestamp) == (number, mined.block.hash, mined.block.timestamp)
    assert (block.transaction_count, len(block.transactions)) == (1, 1)
    (line,) = block.transactions
    assert (line.hash, line.method, line.contract) == (mined.hash, "grant", REGISTRY)
    assert (line.sender, line.to) == (sight.chain.wallets[OWNER], sight.registry)
    assert await sight.explorer.block_named(block.hash) == block
    (before,) = await sight.explorer.blocks([number - 1], transactions=False)
    assert (block.parent_hash, before.transactions) == (before.hash, ())


async def test_blocks_come_in_the_order_asked_for_and_only_those_there_are(sight: Sight) -> None:
    await granted(sight)
    head = await sight.explorer.head()
    blocks = await sight.explorer.blocks([head, head - 1, head + 1000], transactions=False)
    assert [block.number for block in blocks] == [head, head - 1]


async def test_a_call_is_shown_in_words(sight: Sight) -> None:
    datanet, mined = await granted(sight, expires_at=4_000_000_000)
    seen = await sight.explorer.transaction(mined.hash)
    assert seen is not None
    assert (seen.status, seen.block, seen.contract, seen.method) == ("success", mined.block, REGISTRY, "grant")
    assert seen.confirmations >= 1
    assert seen.call is not None
    assert seen.call.signature == "grant(uint256,address,uint32,uint48)"
    words = {a.name: (a.kind, a.text) for a in seen.call.arguments}
    assert words == {
        "datanetId": ("datanet", f"#{datanet}"),
        "grantee": ("address", sight.chain.wallets[GRANTEE]),
        "purposes": ("purposes", "train, retrieve"),
        "expiresAt": ("time", "2096-10-02T07:06:40Z"),
    }
    assert named(seen.call.arguments, "purposes").value == "3"


async def test_an_event_is_shown_in_words(sight: Sight) -> None:
    _, mined = await granted(sight)
    seen = await sight.explorer.transaction(mined.hash)
    assert seen is not None
    (event,) = seen.events
    assert event.address == sight.registry
    assert event.decoded is not None
    assert event.decoded.name == "AccessGranted"
    assert named(event.decoded.arguments, "purposes").text == "train, retrieve"
    assert named(event.decoded.arguments, "expiresAt").text == "never"
    assert named(event.decoded.arguments, "by").value == sight.chain.wallets[OWNER]


async def test_a_failed_transaction_says_the_contracts_own_reason(sight: Sight) -> None:
    datanet = await create_datanet(sight.chain, OWNER)
    tx_hash = await sight.fail(STRANGER, datanet, sight.chain.wallets[GRANTEE], 1, 0)
    seen = await sight.explorer.transaction(tx_hash)
    assert seen is not None
    assert (seen.status, seen.events) == ("failed", ())
    assert seen.failure is not None
    assert seen.failure.decoded is not None
    assert seen.failure.decoded.name.startswith("DatanetRegistryNot")
    assert await sight.explorer.succeeded([tx_hash, NOWHERE]) == {tx_hash: False}


async def test_what_the_chain_does_not_have_is_none(sight: Sight) -> None:
    assert await sight.explorer.transaction(NOWHERE) is None
    assert await sight.explorer.block_named(NOWHERE) is None
    assert await sight.explorer.events_naming(NOWHERE) == []


async def test_an_account_is_a_wallet_or_one_of_our_contracts(sight: Sight) -> None:
    await granted(sight)
    wallet = await sight.explorer.account(sight.chain.wallets[OWNER])
    assert (wallet.kind, wallet.contract, wallet.code_bytes, wallet.matches_build) == ("wallet", None, 0, None)
    assert wallet.transactions_sent >= 2
    ours = await sight.explorer.account(sight.registry)
    assert (ours.kind, ours.contract, ours.matches_build) == ("ours", REGISTRY, True)
    assert ours.code_bytes > 0


async def test_events_are_found_by_any_name_they_hold(sight: Sight) -> None:
    datanet, mined = await granted(sight)
    for value in (sight.chain.wallets[OWNER], sight.chain.wallets[GRANTEE], datanet):
        found = await sight.explorer.events_naming(value)
        assert [e.tx_hash for e in found if e.name == "AccessGranted"][-1] == mined.hash
        places = [(e.block.number, e.log_index) for e in found]
        assert places == sorted(set(places))
    of_registry = await sight.explorer.events_of(REGISTRY)
    assert mined.hash in {e.tx_hash for e in of_registry}
    assert {e.contract for e in of_registry} == {REGISTRY}


async def test_views_answer_by_name_and_a_refusal_is_none(sight: Sight) -> None:
    datanet, _ = await granted(sight, purposes=int(Purpose.RETRIEVE))
    grantee = sight.chain.wallets[GRANTEE]
    now, grant, may, may_not, nothing = await sight.explorer.views(
        [
            ContractCall(REGISTRY, "datanetOf", (datanet,)),
            ContractCall(REGISTRY, "grantOf", (datanet, grantee)),
            ContractCall(REGISTRY, "mayUse", (grantee, datanet, 2)),
            ContractCall(REGISTRY, "mayUse", (grantee, datanet, 1)),
            ContractCall(REGISTRY, "datanetOf", (10**9,)),
        ]
    )
    assert now is not None
    assert now["owner"] == sight.chain.wallets[OWNER]
    assert grant is not None
    assert (grant["purposes"], grant["expiresAt"]) == (2, 0)
    assert (may, may_not, nothing) == ({"": True}, {"": False}, None)


async def test_a_contract_lists_what_it_can_do(sight: Sight) -> None:
    entries = sight.explorer.about(REGISTRY).entries
    (grant,) = [e for e in entries if e.name == "grant"]
    assert [p.name for p in grant.parameters] == ["datanetId", "grantee", "purposes", "expiresAt"]


async def test_a_silent_chain_is_unavailable(sight: Sight) -> None:
    for ask in (
        sight.dead.head(),
        sight.dead.blocks([1], transactions=False),
        sight.dead.block_named(NOWHERE),
        sight.dead.transaction(NOWHERE),
        sight.dead.account(sight.registry),
        sight.dead.events_naming(1),
        sight.dead.events_of(REGISTRY),
        sight.dead.views([ContractCall(REGISTRY, "mayUse", (sight.registry, 1, 1))]),
        sight.dead.succeeded([NOWHERE]),
    ):
        with pytest.raises(ChainUnavailable):
            await ask


@pytest.mark.integration
async def test_the_sources_own_words_stand_beside_what_is_decoded(chain_connection: ChainConnection) -> None:
    explorer = RpcChainExplorer(chain_connection, ARTIFACTS)
    hand = LocalHand(chain_connection, chain_connection)
    sight = Sight(hand, explorer, chain_connection.contracts.datanet_registry, explorer)
    mined = await sight.chain.send(OWNER, REGISTRY, "grant", (await granted(sight))[0], sight.chain.wallets[3], 1, 0)
    seen = await sight.explorer.transaction(mined.hash)
    assert seen is not None
    assert seen.call is not None
    assert seen.call.notice.startswith("Lets a wallet use the datanet for exactly these purposes")
    assert seen.events[0].decoded is not None
    assert seen.events[0].decoded.notice.startswith("The grantee now holds exactly `purposes`")
    tx_hash = await sight.fail(STRANGER, 1, sight.chain.wallets[GRANTEE], 1, 0)
    failed = await sight.explorer.transaction(tx_hash)
    assert failed is not None
    assert failed.failure is not None
    assert failed.failure.decoded is not None
    assert failed.failure.decoded.notice.startswith("Only the datanet's owner")
    for contract in ("DatanetRegistry", "ModelRegistry", "ReceiptLedger"):
        about = sight.explorer.about(contract)
        assert about.title
        assert all(e.notice for e in about.entries if e.name.startswith(contract))
        address = chain_connection.contracts.of(contract)
        assert (await sight.explorer.account(address)).matches_build is True


@pytest.mark.integration
async def test_looking_makes_the_embedded_chain_add_no_block(
    fickle_node: FickleNode, fickle_connection: ChainConnection
) -> None:
    """The embedded chain makes one when it is asked for its latest block, or of its latest state, and that is old."""
    asked: list[str] = []

    def note(_: str, params: list[object], answer: object) -> object:
        asked.append(repr(params))
        return answer

    await fickle_connection.trust()  # once a connection, whoever asks first: it looks at the code of now
    fickle_node.bend = note
    explorer = RpcChainExplorer(fickle_connection, ARTIFACTS)
    await explorer.blocks([await explorer.head()], transactions=True)
    await explorer.account(fickle_connection.contracts.receipt_ledger)
    await explorer.views([ContractCall(REGISTRY, "mayUse", (fickle_connection.contracts.receipt_ledger, 1, 1))])
    await explorer.events_naming(1)
    assert len(asked) > 7
    assert not any("latest" in params or "pending" in params for params in asked)
