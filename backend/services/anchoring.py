"""Carry the receipt log on chain: append first, anchor soon after.

The ledger takes a new checkpoint only with a proof that the old log is its prefix, so whatever is
sent twice, or from a forked copy of the log, the chain refuses.
"""

import logging
from dataclasses import dataclass

from attribution.log import Tree, leaf_hash
from backend.domain.answers import Credit
from backend.domain.errors import Conflict
from backend.domain.types import Wallet, digest_bytes, digest_of
from backend.ports import AnswerLog, ContractCall, Outbox, ReceiptLedger

RECEIPTS_PER_ANCHOR = 1_000
CREDITS_PER_ANCHOR = 2_000  # ~4,500 gas each (bench.gas): well under the 16,777,216 a transaction may use

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Anchoring:
    answers: AnswerLog
    ledger: ReceiptLedger
    outbox: Outbox
    publisher: Wallet

    async def step(self) -> int:
        """Queue one checkpoint over receipts not yet on chain. Returns how many receipts it adds, 0 while
        the last one is still on its way. Raises: Conflict when the chain holds another log than ours."""
        last = await self.outbox.latest("anchor:")
        if last is not None and last.status in ("queued", "signed"):
            return 0
        size = await self.answers.size()
        anchored = await self.ledger.checkpoint()
        if last is not None and last.status == "mined" and int(last.reference.split(":")[1]) > anchored.size:
            return 0  # a reorganisation took it, and `Sending` brings it back
        if size == anchored.size:
            return 0
        if size < anchored.size:
            raise Conflict(
                f"the chain has anchored {anchored.size} receipts and the database holds {size}: "
                "this database is older than the chain; restore the newer one"
            )
        end, credits = await self._batch(anchored.size, size)
        digests = await self.answers.digests(end)
        leaves = [leaf_hash(digest_bytes(digest)) for digest in digests]
        tree = Tree(leaves[: anchored.size])
        if anchored.size and digest_of(tree.root()) != anchored.root:
            raise Conflict(
                f"the first {anchored.size} receipts of the database are not those anchored on chain: "
                "the log was changed, or this key anchors for another database"
            )
        tree.extend(leaves[anchored.size :])
        proof = tree.consistency_proof(anchored.size) if anchored.size else []
        place = {digest: index for index, digest in enumerate(digests)}
        rows = tuple(
            (c.contributor, c.datanet, digest_bytes(c.receipt), place[c.receipt], c.share_bps) for c in credits
        )
        call = ContractCall("ReceiptLedger", "anchor", (self.publisher, end, tree.root(), tuple(proof), rows))
        await self.outbox.add(await self._reference(end), call)
        log.info("anchoring receipts %d to %d with %d credits", anchored.size, end - 1, len(credits))
        return end - anchored.size

    async def _batch(self, first: int, size: int) -> tuple[int, list[Credit]]:
        """The longest batch from `first` that one transaction can carry."""
        end = min(size, first + RECEIPTS_PER_ANCHOR)
        while True:
            credits = await self.answers.credits(first, end)
            if len(credits) <= CREDITS_PER_ANCHOR or end == first + 1:
                return end, credits
            end = first + max(1, (end - first) // 2)

    async def _reference(self, end: int) -> str:
        """Unique an attempt: a checkpoint that failed, or was lost to a reorganisation, is queued again."""
        last = await self.outbox.latest(f"anchor:{end}:")
        attempt = int(last.reference.rpartition(":")[2]) + 1 if last is not None else 0
        return f"anchor:{end}:{attempt}"
