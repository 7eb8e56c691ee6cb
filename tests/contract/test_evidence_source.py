"""What every `EvidenceSource` does: say what the chain itself holds, and keep "not there" from "could not look"."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from attribution.evidence import (
    CheckpointSeen,
    CreditSeen,
    Evidence,
    ModelSeen,
    Needed,
    PermissionAsked,
    PermissionSeen,
    Unseen,
    VersionAsked,
    VersionSeen,
)
from attribution.log import Tree
from backend.domain.training import TrainingOrder
from backend.domain.types import DatanetId, Digest, Purpose, Wallet, digest_bytes, digest_of
from backend.drivers.chain.connection import ChainConnection, ContractAddresses
from backend.drivers.chain.evidence import ChainEvidence
from backend.drivers.chain.transactions import account_of, sign_transaction
from backend.drivers.chain.wallet import local_test_key
from backend.drivers.memory.evidence import MemoryEvidence
from backend.embedded.chain import LOCAL_CHAIN_ID, EmbeddedChain
from backend.ports import EvidenceSource
from tests.chain_fixtures import ARTIFACTS, ChainHand, LocalHand, MemoryHand, create_datanet

OWNER, READER = 0, 1
MANIFEST, RECORDS = Digest("0x" + "ab" * 32), Digest("0x" + "cd" * 32)
REGISTRY, LEDGER = Wallet("0x5CbDd86a2FA8Dc4bDdd8a8f69dBa48572EeC07FB"), Wallet("0x" + "7" * 40)


@dataclass
class Auditor:
    """An evidence source, and what a receipt of its chain and contracts names."""

    source: EvidenceSource
    nothing: Needed  # a receipt about which the chain holds nothing

    async def sees(self, **asked: Any) -> Evidence:
        return await self.source.gather(replace(self.nothing, **asked))


@pytest.fixture
def auditor(chain: ChainHand, request: pytest.FixtureRequest) -> Auditor:
    registry, ledger = REGISTRY, LEDGER
    if isinstance(chain, MemoryHand):
        source: EvidenceSource = MemoryEvidence(chain.chain, REGISTRY, LEDGER)
    else:
        ours: ContractAddresses = request.getfixturevalue("contract_addresses")
        registry, ledger = ours.datanet_registry, ours.receipt_ledger
        source = ChainEvidence(request.getfixturevalue("chain_connection"))
    return Auditor(
        source,
        Needed(
            digest=digest("a receipt that nobody logged"), chain_id=LOCAL_CHAIN_ID, registry=registry, ledger=ledger,
            publisher=chain.wallets[READER], checkpoint_size=None, permissions=(), versions=(), adapter_digest=None,
            adapter_cid=None, base_model=None,
        ),
    )  # fmt: skip


@pytest.fixture
async def publishers(chain: ChainHand) -> list[int]:
    """Who has no log yet: the real chain is the session's, and a log only grows."""
    return [who for who in reversed(range(9)) if (await chain.ledger(who).checkpoint()).size == 0]


def digest(text: str) -> Digest:
    return digest_of(hashlib.sha256(text.encode()).digest())


def tree(size: int) -> Tree:
    return Tree.of([bytes([n]) * 32 for n in range(size)])


def unseen(evidence: Evidence) -> set[str]:
    """Why; each part of it, for the same reason."""
    parts = (evidence.chain_id, evidence.checkpoint, evidence.credits, evidence.model)
    assert all(isinstance(part, Unseen) for part in parts)
    assert not evidence.permissions
    assert not evidence.versions
    return {part.reason for part in parts if isinstance(part, Unseen)}


async def test_a_permission_is_that_of_the_block_asked_about(chain: ChainHand, auditor: Auditor) -> None:
    datanet, reader = await create_datanet(chain, OWNER), chain.wallets[READER]
    granted = await chain.send(OWNER, "DatanetRegistry", "grant", datanet, reader, int(Purpose.RETRIEVE), 0)
    revoked = await chain.send(OWNER, "DatanetRegistry", "revoke", datanet, reader, int(Purpose.RETRIEVE))
    allowed = PermissionAsked(reader, datanet, "retrieve", granted.block.number)
    other_purpose = PermissionAsked(reader, datanet, "train", granted.block.number)
    refused = PermissionAsked(reader, datanet, "retrieve", revoked.block.number)
    beyond = PermissionAsked(reader, datanet, "retrieve", revoked.block.number + 10**6)
    evidence = await auditor.sees(permissions=(allowed, other_purpose, refused, beyond))
    assert evidence.chain_id == LOCAL_CHAIN_ID
    assert evidence.permissions == {
        allowed: PermissionSeen(True, granted.block.hash),
        other_purpose: PermissionSeen(False, granted.block.hash),
        refused: PermissionSeen(False, revoked.block.hash),
        beyond: PermissionSeen(False, None),
    }


async def test_a_purpose_that_is_none_is_unseen_and_the_rest_is_seen(chain: ChainHand, auditor: Auditor) -> None:
    datanet, block = await create_datanet(chain, OWNER), (await chain.events.head()).number
    nonsense = PermissionAsked(chain.wallets[OWNER], datanet, "to read", block)
    fine = PermissionAsked(chain.wallets[OWNER], datanet, "retrieve", block)
    permissions = (await auditor.sees(permissions=(nonsense, fine))).permissions
    found = permissions[nonsense]
    assert isinstance(found, Unseen)
    assert "to read" in found.reason
    assert permissions[fine] != found


async def test_a_version_is_what_was_published_or_none(chain: ChainHand, auditor: Auditor) -> None:
    datanet = await create_datanet(chain, OWNER)
    await chain.send(OWNER, "DatanetRegistry", "publishVersion", datanet, 1, MANIFEST, RECORDS, "bafymanifest")
    published, later, elsewhere = VersionAsked(datanet, 1), VersionAsked(datanet, 2), VersionAsked(10**9, 1)
    evidence = await auditor.sees(versions=(published, later, elsewhere))
    assert evidence.versions == {published: VersionSeen(MANIFEST, RECORDS), later: None, elsewhere: None}


async def test_a_checkpoint_is_that_of_the_size_asked_for_or_else_the_last(
    chain: ChainHand, auditor: Auditor, publishers: list[int]
) -> None:
    publisher = publishers[0]
    wallet = chain.wallets[publisher]
    assert (await auditor.sees(publisher=wallet, checkpoint_size=2)).checkpoint is None
    await chain.send(publisher, "ReceiptLedger", "anchor", wallet, 2, tree(2).root(), (), ())
    proof = tuple(tree(5).consistency_proof(2))
    await chain.send(publisher, "ReceiptLedger", "anchor", wallet, 5, tree(5).root(), proof, ())
    first, last = (CheckpointSeen(size, digest_of(tree(size).root())) for size in (2, 5))
    for size, seen in ((2, first), (5, last), (3, last), (None, last)):
        assert (await auditor.sees(publisher=wallet, checkpoint_size=size)).checkpoint == seen


async def test_only_what_the_publisher_itself_credited_counts(
    chain: ChainHand, auditor: Auditor, publishers: list[int]
) -> None:
    publisher, crony = publishers[:2]
    datanet, reader = await create_datanet(chain, OWNER), chain.wallets[READER]
    ours, another = digest(f"receipt {datanet}"), digest(f"another receipt {datanet}")
    credits = ((reader, datanet, ours, 0, 2_500), (reader, datanet, another, 1, 500))
    theirs = (chain.wallets[crony], 1, tree(1).root(), (), ((reader, datanet, ours, 0, 9_000),))
    await chain.send(crony, "ReceiptLedger", "anchor", *theirs)
    assert (await auditor.sees(publisher=chain.wallets[publisher], digest=ours)).credits == []
    await chain.send(publisher, "ReceiptLedger", "anchor", chain.wallets[publisher], 2, tree(2).root(), (), credits)
    evidence = await auditor.sees(publisher=chain.wallets[publisher], digest=ours)
    assert evidence.credits == [CreditSeen(reader, datanet, 2_500)]


async def test_of_several_registrations_the_one_meant_is_seen(chain: ChainHand, auditor: Auditor) -> None:
    adapter = digest(f"adapter {await create_datanet(chain, OWNER)}")
    assert (await auditor.sees(adapter_digest=adapter, adapter_cid="bafy", base_model="base")).model is None
    for cid, base in (("bafyanother", "base"), ("bafy", "another base"), ("bafy", "base")):
        await register(chain, adapter, cid, base)
    asked = {"adapter_digest": adapter, "adapter_cid": "bafy", "base_model": "base"}
    seen = (await auditor.sees(**asked)).model
    assert isinstance(seen, ModelSeen)
    assert (seen.trainer, seen.adapter_cid, seen.base_model) == (chain.wallets[OWNER], "bafy", "base")
    for other in ({"adapter_cid": "bafynowhere"}, {"base_model": "no base"}):
        found = (await auditor.sees(**asked | other)).model
        assert isinstance(found, ModelSeen)
        assert found.model_id < seen.model_id
    assert (await auditor.sees()).model is None


async def register(chain: ChainHand, adapter: Digest, cid: str, base: str) -> None:
    """By the owner of a datanet made for it."""
    await chain.send(OWNER, "ModelRegistry", "register", *await registration(chain, adapter, cid, base))


async def registration(chain: ChainHand, adapter: Digest, cid: str, base: str) -> tuple[Any, ...]:
    datanet: DatanetId = await create_datanet(chain, OWNER)
    await chain.send(OWNER, "DatanetRegistry", "publishVersion", datanet, 1, MANIFEST, RECORDS, "bafymanifest")
    order = TrainingOrder(chain.wallets[OWNER], (datanet,), (1,), 0, RECORDS, 2**140 + datanet, 4_000_000_000)
    struct = (order.trainer, order.datanets, order.versions, 0, digest_bytes(RECORDS), order.nonce, order.deadline)
    result = (digest_bytes(adapter), cid, base, digest_bytes(MANIFEST), "bafyprovenance")
    return struct, chain.sign_order(OWNER, order), result


@pytest.mark.parametrize("part", ["registry", "ledger"])
async def test_contracts_other_than_the_auditors_are_no_evidence(auditor: Auditor, part: str) -> None:
    """Whoever deploys a registry of their own can have it allow anything."""
    theirs = "0x" + "e" * 40
    evidence = await auditor.sees(**{part: theirs}, permissions=(PermissionAsked("0x" + "1" * 40, 1, "retrieve", 1),))
    (reason,) = unseen(evidence)
    assert theirs in reason


async def test_a_receipt_that_withholds_its_registry_is_looked_up_in_the_auditors(auditor: Auditor) -> None:
    assert (await auditor.sees(registry=None)).chain_id == LOCAL_CHAIN_ID


async def test_a_receipt_of_another_chain_is_not_looked_up_on_this_one(auditor: Auditor) -> None:
    (reason,) = unseen(await auditor.sees(chain_id=1, versions=(VersionAsked(1, 1),)))
    assert "chain 1," in reason
    assert str(LOCAL_CHAIN_ID) in reason


async def test_a_silent_chain_is_dont_know_with_the_reason(
    chain: ChainHand, auditor: Auditor, request: pytest.FixtureRequest
) -> None:
    await chain.cut()
    if not isinstance(chain, MemoryHand):
        auditor.source = ChainEvidence(request.getfixturevalue("dead_connection"))
    (reason,) = unseen(await auditor.sees(versions=(VersionAsked(1, 1),)))
    assert "down" in reason or "eth_chainId" in reason


# --- the driver -----------------------------------------------------------------------------------


@pytest.fixture
async def misled(
    embedded_chain: EmbeddedChain, contract_addresses: ContractAddresses
) -> AsyncIterator[ChainConnection]:
    """Its node is on another chain than the settings say."""
    connection = ChainConnection(embedded_chain.url, 1, contract_addresses, ARTIFACTS)
    yield connection
    await connection.close()


@pytest.mark.integration
async def test_a_node_of_another_chain_is_dont_know_and_both_are_named(
    misled: ChainConnection, contract_addresses: ContractAddresses
) -> None:
    needed = Needed(
        digest("a receipt"), 1, contract_addresses.datanet_registry, contract_addresses.receipt_ledger,
        "0x" + "1" * 40, None, (), (), None, None, None,
    )  # fmt: skip
    (reason,) = unseen(await ChainEvidence(misled).gather(needed))
    assert f"is chain {LOCAL_CHAIN_ID}" in reason
    assert "CHAIN_ID says 1" in reason


@pytest.mark.integration
async def test_a_registration_whose_cid_is_no_text_hides_no_other(
    chain_connection: ChainConnection, dead_connection: ChainConnection, contract_addresses: ContractAddresses
) -> None:
    """The EVM takes any bytes for a string, and whoever may train can register a known digest again."""
    hand = LocalHand(chain_connection, dead_connection)
    adapter = digest(f"adapter {await create_datanet(hand, OWNER)}")
    artifact = chain_connection.artifacts["ModelRegistry"]
    data = artifact.encode_call("register", await registration(hand, adapter, "no text", "base"))
    bent = data.replace(b"no text", b"\xff\xfe text")
    assert bent != data
    signer, account = hand.signer(OWNER), account_of(local_test_key(OWNER))
    signed = await sign_transaction(
        chain_connection, account, contract_addresses.model_registry, bent, await signer.next_nonce()
    )
    await signer.broadcast(signed.raw)
    await register(hand, adapter, "bafy", "base")
    needed = Needed(
        digest("a receipt"), LOCAL_CHAIN_ID, contract_addresses.datanet_registry, contract_addresses.receipt_ledger,
        hand.wallets[READER], None, (), (), adapter, "bafy", "base",
    )  # fmt: skip
    seen = (await ChainEvidence(chain_connection).gather(needed)).model
    assert isinstance(seen, ModelSeen)
    assert seen.adapter_cid == "bafy"
    unreadable = (await ChainEvidence(chain_connection).gather(replace(needed, adapter_cid="bafyanother"))).model
    assert isinstance(unreadable, ModelSeen)
    assert unreadable.adapter_cid == "\ufffd\ufffd text"
