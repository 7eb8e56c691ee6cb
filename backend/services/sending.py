"""Send each of the server's transactions exactly once, whenever the process is killed.

A transaction is durable before it is broadcast, with its nonce and its signed bytes: whoever takes
over sends the same bytes again, which the chain accepts once. Only one process sends (`Outbox.lead`).
"""

import logging
from dataclasses import dataclass

from backend.domain.errors import TransactionReverted
from backend.ports import Outbox, OutgoingTransaction, TransactionSigner

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sending:
    outbox: Outbox
    signer: TransactionSigner

    async def step(self) -> int:
        """Move every unfinished transaction one step on; returns how many were mined.
        Raises: ChainUnavailable, DatabaseUnavailable; Conflict when another process has signed one of them meanwhile.
        The next step takes up where this one stopped."""
        async with self.outbox.lead() as leading:
            if not leading:
                return 0
            mined = 0
            for transaction in await self.outbox.unfinished():
                mined += await self._advance(transaction)
            return mined

    async def _advance(self, transaction: OutgoingTransaction) -> int:
        if transaction.status == "queued":
            return await self._sign_and_send(transaction)
        assert transaction.tx_hash is not None  # noqa: S101 - what "signed" means
        assert transaction.raw is not None  # noqa: S101
        result = await self.signer.mined(transaction.tx_hash)
        if result is None:
            return await self._send_again(transaction, transaction.raw)
        if result.succeeded:
            await self.outbox.mark_mined(transaction.reference, result)
            return 1
        await self.outbox.mark_failed(transaction.reference, f"reverted in block {result.block.number}")
        return 0

    async def _send_again(self, transaction: OutgoingTransaction, raw: bytes) -> int:
        """The node lost it, or never had it: the same bytes again. Only when another transaction of this key has
        used its nonce, so that these bytes can never be mined, is it signed anew."""
        try:
            await self.signer.broadcast(raw)
        except TransactionReverted as refused:
            if refused.error == "NonceTooLow":
                return await self._sign_and_send(transaction)
            await self.outbox.mark_failed(transaction.reference, str(refused))
        return 0

    async def _sign_and_send(self, transaction: OutgoingTransaction) -> int:
        try:
            signed = await self.signer.sign(transaction.call, await self._free_nonce())
        except TransactionReverted as refused:
            log.warning("%s will not be sent: %s", transaction.reference, refused)
            await self.outbox.mark_failed(transaction.reference, str(refused))
            return 0
        await self.outbox.mark_signed(transaction, signed)
        try:
            await self.signer.broadcast(signed.raw)
        except TransactionReverted as refused:
            log.warning("%s was not taken: %s", transaction.reference, refused)  # the next step decides what follows
        return 0

    async def _free_nonce(self) -> int:
        """The first that is neither mined nor on its way. What the outbox remembers of ended ones does not
        count: a reorganisation frees their nonces again, and a gap would hold up all that follows."""
        taken = {t.nonce for t in await self.outbox.unfinished() if t.status == "signed"}
        nonce = await self.signer.next_nonce()
        while nonce in taken:
            nonce += 1
        return nonce
