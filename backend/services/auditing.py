"""The way from a receipt back to what it rests on, for whoever asks: asker, contributor, or a stranger."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attribution.audit_file import parse_file
from attribution.log import Tree, leaf_hash
from attribution.receipt import ReceiptMalformed, redact
from attribution.verdict import Check, Verdict, overall, refuted
from attribution.verify import verify_receipt
from backend.domain.answers import Checkpoint, LoggedReceipt
from backend.domain.errors import NotFound
from backend.domain.types import Digest, Wallet, digest_bytes
from backend.ports import AnswerLog, ChainMirror, EvidenceSource, ReceiptLedger
from backend.services.sealing import LedgerIdentity

PUBLIC_TAGS = frozenset({"schema", "counts", "chain", "answered_at", "prompt_template"})


@dataclass(frozen=True, slots=True)
class Audit:
    verdict: Verdict
    checks: tuple[Check, ...]


async def audit_file(file: dict[str, Any], evidence: EvidenceSource) -> Audit:
    """Check an audit file against the chain. What is malformed is refuted, by the name of its part."""
    try:
        needed = parse_file(file).needed()
        checks = tuple(verify_receipt(file, await evidence.gather(needed)))
    except ReceiptMalformed as malformed:
        checks = (refuted(malformed.field, malformed.problem),)
    return Audit(overall(checks), checks)


@dataclass(frozen=True, slots=True)
class Auditing:
    answers: AnswerLog
    ledger: ReceiptLedger
    mirror: ChainMirror
    evidence: EvidenceSource
    identity: LedgerIdentity

    async def receipt(self, digest: Digest) -> LoggedReceipt:
        """Raises: NotFound."""
        found = await self.answers.receipt(digest)
        if found is None:
            raise NotFound(f"receipt {digest}")
        return found

    async def anchor_of(self, index: int) -> Checkpoint | None:
        """The first checkpoint that covers the receipt at `index`, as the mirror knows it."""
        anchored = await self.mirror.events_named("CheckpointAnchored", publisher=self.identity.publisher)
        covering = [e for e in anchored if int(e.args["size"]) > index]
        if not covering:
            return None
        first = min(covering, key=lambda e: int(e.args["size"]))
        return Checkpoint(int(first.args["size"]), Digest(first.args["root"]), first.tx_hash, first.block.number)

    async def file(self, digest: Digest, viewer: Wallet | None) -> dict[str, Any]:
        """The audit file as `viewer` may have it: all of it for the asker; for a contributor the fields that
        say nothing of the question, and their own leaves; for anyone else the public fields. What is
        withheld leaves its hash, so the digest still comes out. Raises: NotFound."""
        receipt = await self.receipt(digest)
        anchor = await self.anchor_of(receipt.index)
        return {
            "receipt": visible_to(receipt, viewer),
            "proof": await self._proof(receipt, anchor),
            "chain_id": self.identity.chain_id,
            "ledger": self.identity.ledger,
            "publisher": self.identity.publisher,
            "anchored": anchor
            and {
                "size": anchor.size,
                "root": anchor.root,
                "tx_hash": anchor.tx_hash,
                "block_number": anchor.block_number,
            },
        }

    async def inclusion(self, digest: Digest) -> dict[str, Any] | None:
        """What `ReceiptLedger.verifyInclusion` takes for this receipt, from any explorer's Read tab: the proof is for
        the checkpoint on chain now. None until one covers it. Raises: NotFound, ChainUnavailable."""
        receipt = await self.receipt(digest)
        checkpoint = await self.ledger.checkpoint()
        proof = await self._proof(receipt, checkpoint if checkpoint.size > receipt.index else None)
        if proof is None:
            return None
        return {
            "ledger": self.identity.ledger,
            "publisher": self.identity.publisher,
            "receipt": receipt.digest,
            "index": proof["index"],
            "proof": proof["path"],
            "size": proof["size"],
        }

    async def _proof(self, receipt: LoggedReceipt, anchor: Checkpoint | None) -> dict[str, Any] | None:
        """Against that checkpoint. The file has the one that anchored it: a proof that stays true as the log grows."""
        if anchor is None:
            return None
        digests = await self.answers.digests(anchor.size)
        tree = Tree(leaf_hash(digest_bytes(d)) for d in digests)
        path = tree.inclusion_proof(receipt.index)
        return {"index": receipt.index, "size": anchor.size, "path": ["0x" + sibling.hex() for sibling in path]}

    async def audit(self, digest: Digest, viewer: Wallet | None) -> Audit:
        """What `byline audit` prints. Raises: NotFound."""
        return await audit_file(await self.file(digest, viewer), self.evidence)


def visible_to(receipt: LoggedReceipt, viewer: Wallet | None) -> dict[str, Any]:
    """The receipt's document as `viewer` may have it (see `Auditing.file`)."""
    if viewer == receipt.asker:
        return receipt.document
    credited = viewer in {credit.contributor for credit in receipt.credits}

    def keep(tag: str, value: Any) -> bool:
        own = isinstance(value, Mapping) and value.get("contributor") == viewer
        return tag in PUBLIC_TAGS or (credited and (tag == "model" or (tag in ("passage", "share") and own)))

    return redact(receipt.document, keep)
