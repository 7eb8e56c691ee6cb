"""An answer and its shares become a receipt: every fact that an audit needs, each in a salted leaf of its own."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from attribution.attribute import Attribution
from attribution.receipt import receipt_fields, seal
from attribution.shares import NOBODY
from backend.domain.answers import Answer, Credit, Generation, Unfinished
from backend.domain.datanet import FoundPassage
from backend.domain.prompt import prompt_digest
from backend.domain.types import Digest, Permission, PublishedVersion, Wallet


@dataclass(frozen=True, slots=True)
class LedgerIdentity:
    """Where a receipt can be checked: it is written into each one."""

    chain_id: int
    registry: Wallet
    ledger: Wallet
    publisher: Wallet


def seal_answer(
    identity: LedgerIdentity, begun: Unfinished, generation: Generation, attribution: Attribution, answered_at: datetime
) -> tuple[Answer, dict[str, Any], list[Credit]]:
    """The answer, its receipt's document with every salt, and what is credited to whom on chain."""
    question = begun.question
    receipt = seal(
        receipt_fields(
            chain=asdict(identity),
            answered_at=answered_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            asker=question.asker,
            model=asdict(question.model),
            prompt_template=prompt_digest(),
            question=question.text,
            answer=generation.text,
            answer_token_ids=list(generation.token_ids),
            seed=question.seed,
            permissions=[_permission(*pair) for pair in zip(question.permissions, question.versions, strict=True)],
            passages=[_passage(number, found) for number, found in enumerate(begun.passages, start=1)],
            attribution=attribution,
        )
    )
    digest = Digest(receipt.digest)
    answer = Answer(
        answer_id=begun.answer_id,
        asker=question.asker,
        question=question.text,
        text=generation.text,
        model=question.model,
        passages=begun.passages,
        shares_bps=attribution.shares_by_contributor(),
        receipt_digest=digest,
        answered_at=answered_at,
    )
    credits = [
        Credit(Wallet(share.contributor), share.datanet_id, digest, share.share_bps)
        for share in attribution.shares
        if share.contributor != NOBODY and share.share_bps > 0
    ]
    return answer, receipt.to_document(), credits


def _permission(permission: Permission, version: PublishedVersion) -> Mapping[str, Any]:
    return {
        "datanet_id": permission.datanet,
        "purpose": "retrieve",
        "wallet": permission.wallet,
        "allowed": permission.allowed,
        "block_number": permission.block.number,
        "block_hash": permission.block.hash,
        "version": version.version,
        "manifest_digest": version.manifest_digest,
        "records_root": version.records_root,
    }


def _passage(number: int, found: FoundPassage) -> Mapping[str, Any]:
    passage = found.passage
    return {
        "number": number,
        "datanet_id": passage.datanet,
        "version": passage.version,
        "record_index": passage.record_index,
        "record_digest": passage.record_digest,
        "record_content": passage.membership.content,
        "records": passage.membership.records,
        "path": list(passage.membership.path),
        "contributor": passage.contributor,
        "text_sha256": "0x" + hashlib.sha256(passage.text.encode()).hexdigest(),
    }
