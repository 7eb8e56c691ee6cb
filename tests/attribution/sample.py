"""One whole receipt with everything a chain would say about it, to be bent in tests."""

import copy
import hashlib
from collections.abc import Sequence
from typing import Any

from attribution.attribute import Attribution, Source, attribute
from attribution.log import Tree
from attribution.receipt import JSON, Receipt, receipt_fields, seal
from attribution.records import record_digest
from attribution.shapley import Coalition
from attribution.verify import (
    CheckpointSeen,
    CreditSeen,
    Evidence,
    ModelSeen,
    PermissionAsked,
    PermissionSeen,
    VersionAsked,
    VersionSeen,
)

ASKER, ALICE, BOB, CRONY = ("0x" + digit * 40 for digit in "5Abc")
REGISTRY, LEDGER, PUBLISHER = ("0x" + digit * 40 for digit in "123")
CHAIN_ID = 20931
BASE = "smollm2-135m-instruct"
REGISTERED_BASE = f"{BASE}@sha256:1234"
INDEX, SIZE = 4, 11
RECORDS = 45
WHERE = {1: (3, ALICE), 2: (3, BOB), 3: (3, ALICE), 4: (8, ALICE)}  # passage → datanet, contributor


def digest(text: str) -> str:
    return "0x" + hashlib.sha256(text.encode()).hexdigest()


def content(number: int) -> bytes:
    return hashlib.sha256(f"content {number}".encode()).digest()


def records_of(datanet: int) -> Tree:
    """The records tree of a datanet of RECORDS, with the sample's passages in their places."""
    leaves = [hashlib.sha256(f"record {datanet} {place}".encode()).digest() for place in range(RECORDS)]
    for number, (its_datanet, contributor) in WHERE.items():
        if its_datanet == datanet:
            leaves[10 * number] = record_digest(contributor, content(number))
    return Tree.of(leaves)


def records_root(datanet: int) -> str:
    return "0x" + records_of(datanet).root().hex()


async def sample_attribution(*more: Source, answer_tokens: int = 7) -> Attribution:
    sources = [Source(ALICE, 3, (1, 3)), Source(BOB, 3, (2,)), Source(ALICE, 8, (4,)), *more]
    gains = [6.0, 2.5, -0.75, 3.0]

    async def log_prob(coalitions: Sequence[Coalition]) -> list[float]:
        return [-14.0 + sum(gains[i] for i in kept) for kept in coalitions]

    return await attribute(sources, log_prob, answer_tokens)


async def sample_fields(attribution: Attribution | None = None) -> list[tuple[str, JSON]]:
    return receipt_fields(
        chain={"chain_id": CHAIN_ID, "registry": REGISTRY, "ledger": LEDGER, "publisher": PUBLISHER},
        answered_at="2026-11-22T19:00:00.000Z",
        asker=ASKER,
        model={
            "base": BASE,
            "revision": "sha256:1234",
            "run_id": "run1",
            "adapter_digest": digest("adapter"),
            "adapter_cid": "bafyadapter",
        },
        prompt_template=digest("template"),
        question="What thins blood?",
        answer="Warfarin does [1].",
        answer_token_ids=[11, 22, 33, 44, 55, 66, 77],
        seed=7,
        permissions=[
            {
                "datanet_id": datanet,
                "purpose": "retrieve",
                "wallet": ASKER,
                "allowed": True,
                "block_number": 42,
                "block_hash": digest("block 42"),
                "version": 1,
                "manifest_digest": digest(f"manifest {datanet}"),
                "records_root": records_root(datanet),
            }
            for datanet in (3, 8)
        ],
        passages=[
            {
                "number": number,
                "datanet_id": datanet,
                "version": 1,
                "record_index": 10 * number,
                "record_digest": "0x" + record_digest(contributor, content(number)).hex(),
                "record_content": "0x" + content(number).hex(),
                "records": RECORDS,
                "path": ["0x" + sibling.hex() for sibling in records_of(datanet).inclusion_proof(10 * number)],
                "contributor": contributor,
                "text_sha256": digest(f"text {number}"),
            }
            for number, (datanet, contributor) in WHERE.items()
        ],
        attribution=attribution or await sample_attribution(),
    )


def with_values(fields: Sequence[tuple[str, JSON]], **values: JSON) -> list[tuple[str, JSON]]:
    """The fields, those of these tags saying something else."""
    return [(tag, copy.deepcopy(values.get(tag, value))) for tag, value in fields]


def file_of(receipt: Receipt) -> dict[str, Any]:
    """The receipt at INDEX of a log of SIZE, whose other receipts are made up."""
    tree = log_of(receipt.digest)
    return {
        "receipt": copy.deepcopy(receipt.to_document()),
        "proof": {"index": INDEX, "size": SIZE, "path": ["0x" + h.hex() for h in tree.inclusion_proof(INDEX)]},
        "chain_id": CHAIN_ID,
        "ledger": LEDGER,
        "publisher": PUBLISHER,
        "anchored": {"size": SIZE, "root": "0x" + tree.root().hex(), "tx_hash": digest("tx"), "block_number": 50},
    }


def log_of(receipt_digest: str) -> Tree:
    digests = [hashlib.sha256(bytes([i])).digest() for i in range(SIZE)]
    digests[INDEX] = bytes.fromhex(receipt_digest[2:])
    return Tree.of(digests)


def checkpoint_for(receipt: Receipt) -> CheckpointSeen:
    return CheckpointSeen(SIZE, "0x" + log_of(receipt.digest).root().hex())


def evidence_for(receipt: Receipt) -> Evidence:
    """What an honest chain says."""
    shares = [share for share in receipt.values("share") if share["contributor"] != "nobody" and share["share_bps"]]
    return Evidence(
        chain_id=CHAIN_ID,
        checkpoint=checkpoint_for(receipt),
        permissions={
            PermissionAsked(ASKER, d, "retrieve", 42): PermissionSeen(True, digest("block 42")) for d in (3, 8)
        },
        versions={VersionAsked(d, 1): VersionSeen(digest(f"manifest {d}"), records_root(d)) for d in (3, 8)},
        credits=[CreditSeen(s["contributor"], s["datanet_id"], s["share_bps"]) for s in shares],
        model=ModelSeen(1, ASKER, "bafyadapter", REGISTERED_BASE),
    )


async def sample() -> tuple[Receipt, dict[str, Any], Evidence]:
    receipt = seal(await sample_fields())
    return receipt, file_of(receipt), evidence_for(receipt)
