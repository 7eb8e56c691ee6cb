"""Send each of the server's transactions exactly once, whenever the process is killed.

    queued ──sign──> signed ──a receipt──> mined ──buried──> final
                     │    ^                  │
                     │    └──reorganised away┘
                     └──buried as a revert, or cancelled──> failed

A call is bound to its nonce by its first signature, and every attempt is durable before it is broadcast: attempts
with one nonce exclude each other, so whoever takes over may send any of them again. The rules:

- Not mined yet: the latest attempt goes out again, each step; the node may have dropped it.
- Next in line and unmined for `patience_blocks` new blocks, or too cheap for the node: outbid, with the same nonce and
  both fees at least 12.5 % higher. Over the fee ceiling it waits and says so.
- Another transaction took its nonce: once that one is `confirmations` blocks deep and none of our attempts is mined,
  none ever will be, and only then is the call signed anew under a new nonce.
- A node that will never take it is no proof that no other node did: the nonce is taken up by a transaction that does
  nothing, and the call has failed once that one is mined.
- A gap below nonces that are taken (their transactions would wait for ever) is filled with one that does nothing.
- Mined, reverted or not, counts for good `confirmations` blocks later. Until then a reorganisation is noticed.

Only one process sends (`Outbox.lead`); one that lost its lead unawares meets a Conflict, since marks compare first.
"""

import logging
from dataclasses import dataclass

from backend.domain.errors import FeeTooHigh, InvalidValue, TransactionReverted
from backend.ports import MinedTransaction, Outbox, OutgoingTransaction, SignedTransaction, TransactionSigner

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sending:
    outbox: Outbox
    signer: TransactionSigner
    confirmations: int = 12  # blocks on top of one that no reorganisation takes back; 0 on a chain that has none
    patience_blocks: int = 6

    async def step(self) -> None:
        """Move every unfinished transaction one step on. Raises: ChainUnavailable, DatabaseUnavailable; Conflict when
        another process moved one of them meanwhile. The next step takes up where this one stopped."""
        async with self.outbox.lead() as leading:
            if not leading:
                return
            holders: dict[int, str] = {}  # nonce → the first that waits with it: two would outbid each other
            for transaction in await self.outbox.unfinished():
                if transaction.nonce is None:
                    await self._sign(transaction)
                elif (
                    await self._is_unmined(transaction)
                    and holders.setdefault(transaction.nonce, transaction.reference) == transaction.reference
                ):
                    await self._push(transaction)
            await self._fill_gap()

    async def _is_unmined(self, transaction: OutgoingTransaction) -> bool:
        """Whether to go on sending it. Notes what the chain has of it; a call that lost its nonce gets another."""
        attempt, mined = await self._mined_attempt(transaction)
        if attempt is not None and mined is not None:
            await self._note_mined(transaction, attempt, mined)
        elif await self._lost_its_nonce(transaction):
            log.warning("%s: another transaction took its nonce; it gets a new one", transaction.reference)
            await self._sign(transaction)
        elif transaction.is_mined:
            log.warning("%s is no longer on chain; it is sent again", transaction.reference)
            await self.outbox.mark_signed(transaction, transaction.attempts[-1])
        else:
            return True
        return False

    async def _lost_its_nonce(self, transaction: OutgoingTransaction) -> bool:
        """For good. The receipts are asked for after the count: one that is missing then has never been."""
        nonce = transaction.attempts[-1].nonce
        if nonce >= await self.signer.next_nonce() or nonce >= await self.signer.next_nonce(self.confirmations):
            return False
        return await self._mined_attempt(transaction) == (None, None)

    async def _note_mined(
        self, transaction: OutgoingTransaction, attempt: SignedTransaction, mined: MinedTransaction
    ) -> None:
        buried = await self.signer.head() - mined.block.number >= self.confirmations
        if mined.succeeded and not attempt.cancels:
            if buried or (transaction.tx_hash, transaction.block_number) != (mined.hash, mined.block.number):
                await self.outbox.mark_mined(transaction, mined, final=buried)
        elif transaction.is_mined:  # in the block that came instead it is a revert
            await self.outbox.mark_signed(transaction, attempt)
        elif buried:
            problem = transaction.problem or "" if attempt.cancels else await self._why_reverted(mined)
            log.warning("%s failed: %s", transaction.reference, problem)
            await self.outbox.mark_failed(transaction, problem)

    async def _why_reverted(self, mined: MinedTransaction) -> str:
        return f"reverted in block {mined.block.number}: {await self.signer.why_reverted(mined)}"

    async def _mined_attempt(
        self, transaction: OutgoingTransaction
    ) -> tuple[SignedTransaction, MinedTransaction] | tuple[None, None]:
        for attempt in reversed(transaction.attempts):
            mined = await self.signer.mined(attempt.hash)
            if mined is not None:
                return attempt, mined
        return None, None

    async def _push(self, transaction: OutgoingTransaction) -> None:
        """Send it again, or something that does better."""
        latest, next_nonce = transaction.attempts[-1], await self.signer.next_nonce()
        if latest.nonce < next_nonce:
            return  # mined just now, or taken: the blocks to come will tell
        refused = await self._broadcast(transaction, latest)
        stuck = latest.nonce == next_nonce and await self.signer.head() - latest.block >= self.patience_blocks
        if (refused is None and stuck) or (refused is not None and refused.error == "Underpriced"):
            await self._outbid(transaction)
        elif refused is not None and refused.error == "RejectedByNode" and not latest.cancels:
            await self.outbox.mark_waiting(transaction, str(refused))
            await self._outbid(transaction, cancel=True)

    async def _sign(self, transaction: OutgoingTransaction) -> None:
        """With a nonce of its own. The caller made sure that no earlier attempt can be mined."""
        try:
            signed = await self.signer.sign(transaction.call, await self._free_nonce())
        except (TransactionReverted, InvalidValue) as refused:
            log.warning("%s will not be sent: %s", transaction.reference, refused)
            return await self.outbox.mark_failed(transaction, str(refused))
        except FeeTooHigh as dear:
            return await self._wait(transaction, dear)
        await self.outbox.mark_signed(transaction, signed)
        await self._broadcast(transaction, signed)
        return None

    async def _outbid(self, transaction: OutgoingTransaction, *, cancel: bool = False) -> None:
        try:
            signed = await self.signer.outbid(transaction.attempts[-1], cancel=cancel)
        except FeeTooHigh as dear:
            return await self._wait(transaction, dear)
        log.info("%s is replaced by one that pays up to %d wei a gas", transaction.reference, signed.max_fee_wei)
        await self.outbox.mark_signed(transaction, signed)
        await self._broadcast(transaction, signed)
        return None

    async def _wait(self, transaction: OutgoingTransaction, dear: FeeTooHigh) -> None:
        if transaction.problem != str(dear):
            log.warning("%s: %s", transaction.reference, dear)
            await self.outbox.mark_waiting(transaction, str(dear))

    async def _broadcast(
        self, transaction: OutgoingTransaction, signed: SignedTransaction
    ) -> TransactionReverted | None:
        try:
            await self.signer.broadcast(signed.raw)
        except TransactionReverted as refused:
            log.debug("%s was not taken: %s", transaction.reference, refused)
            return refused
        return None

    async def _held_nonces(self) -> set[int]:
        """By what is on its way. What has ended holds none: should a reorganisation free its nonce after all, a gap
        would hold up all that follows."""
        return {t.nonce for t in await self.outbox.unfinished() if t.nonce is not None}

    async def _free_nonce(self) -> int:
        held = await self._held_nonces()
        nonce = await self.signer.next_nonce()
        while nonce in held:
            nonce += 1
        return nonce

    async def _fill_gap(self) -> None:
        """Not kept anywhere: sent twice it happens once, and a call that gets this nonce too is treated as one whose
        nonce another took."""
        held = await self._held_nonces()
        if not held:
            return
        nonce = await self.signer.next_nonce()
        if nonce in held or nonce > max(held):
            return
        try:
            await self.signer.broadcast((await self.signer.sign(None, nonce)).raw)
        except (TransactionReverted, FeeTooHigh) as refused:
            log.warning("nonce %d, which nothing holds, was not filled: %s", nonce, refused)
