"""`TransactionSigner` on a `MemoryChain`, and the node's pool of transactions that wait to be mined.

pool = MemoryPool(chain)
pool.mining = False          # what is sent waits, as with a fee too low for anyone to mine it
pool.base_fee_wei *= 10      # … or make it so
pool.mine()                  # one block for each that is next in line and pays the base fee
pool.forget()                # the node restarted: nobody has what waited
"""

import hashlib
from dataclasses import dataclass, replace

from backend.domain.errors import FeeTooHigh, TransactionReverted
from backend.domain.types import Digest, Wallet, digest_of
from backend.drivers.memory.chain import MemoryChain
from backend.ports import ContractCall, MinedTransaction, SignedTransaction

TIP_WEI = 10**9


@dataclass(frozen=True)
class Offer:
    sender: Wallet
    call: ContractCall | None
    nonce: int
    max_fee_wei: int
    tip_wei: int


class MemoryPool:
    def __init__(self, chain: MemoryChain) -> None:
        self.chain = chain
        self.mining = True
        self.base_fee_wei = 10**9
        self.offers: dict[bytes, Offer] = {}  # all that was ever signed, by its bytes
        self.waiting: dict[tuple[Wallet, int], bytes] = {}

    def take(self, raw: bytes) -> None:
        """Raises: TransactionReverted, as `TransactionSigner.broadcast` says."""
        offer = self.offers[raw]
        if self.chain.find_mined(hash_of(raw)):
            return
        if offer.nonce < self.chain.nonce_of(offer.sender):
            raise TransactionReverted("NonceTooLow", "another transaction of this key was mined first")
        there = self.waiting.get((offer.sender, offer.nonce), raw)
        held = self.offers[there]
        fees, least = (offer.max_fee_wei, offer.tip_wei), (held.max_fee_wei * 1.1, held.tip_wei * 1.1)
        if there != raw and (fees[0] < least[0] or fees[1] < least[1]):
            raise TransactionReverted("Underpriced", "replacement transaction underpriced")
        self.waiting[offer.sender, offer.nonce] = raw
        if self.mining:
            self.mine()

    def mine(self) -> None:
        for (sender, nonce), raw in sorted(self.waiting.items()):
            offer = self.offers[raw]
            if nonce == self.chain.nonce_of(sender) and offer.max_fee_wei >= self.base_fee_wei:
                self.chain.run(sender, offer.call, hash_of(raw))
            if nonce < self.chain.nonce_of(sender):
                del self.waiting[sender, nonce]

    def forget(self) -> None:
        self.waiting.clear()


def hash_of(raw: bytes) -> Digest:
    return digest_of(hashlib.sha256(raw).digest())


class MemorySigner:
    def __init__(self, pool: MemoryPool, address: Wallet, *, max_fee_wei: int | None = None) -> None:
        self._pool, self._chain = pool, pool.chain
        self._address = address
        self._ceiling = max_fee_wei

    @property
    def address(self) -> Wallet:
        return self._address

    async def head(self) -> int:
        return (await self._chain.head()).number

    async def next_nonce(self, confirmations: int = 0) -> int:
        self._chain.check_up()
        return self._chain.nonce_of(self._address, confirmations)

    async def sign(self, call: ContractCall | None, nonce: int) -> SignedTransaction:
        self._chain.check_up()
        if call is not None:
            self._chain.simulate(self._address, call)
        return self._signed(Offer(self._address, call, nonce, *self._fees()))

    async def outbid(self, signed: SignedTransaction, *, cancel: bool = False) -> SignedTransaction:
        self._chain.check_up()
        old, (max_fee, tip) = self._pool.offers[signed.raw], self._fees()
        tip = max(tip, -(-old.tip_wei * 9 // 8))
        max_fee = max(max_fee, -(-old.max_fee_wei * 9 // 8), tip)
        if self._ceiling is not None and max_fee > self._ceiling:
            raise FeeTooHigh(max_fee, self._ceiling)
        made = replace(old, call=None if cancel else old.call, max_fee_wei=max_fee, tip_wei=tip)
        return replace(self._signed(made), cancels=cancel or signed.cancels)

    async def broadcast(self, raw: bytes) -> None:
        self._chain.check_up()
        self._pool.take(raw)

    async def mined(self, tx_hash: Digest) -> MinedTransaction | None:
        self._chain.check_up()
        return self._chain.find_mined(tx_hash)

    async def why_reverted(self, mined: MinedTransaction) -> TransactionReverted:
        self._chain.check_up()
        return self._chain.refusals[mined.hash]

    def _fees(self) -> tuple[int, int]:
        base_fee = self._pool.base_fee_wei
        if self._ceiling is None:
            return 2 * base_fee + TIP_WEI, TIP_WEI
        if base_fee + TIP_WEI > self._ceiling:
            raise FeeTooHigh(base_fee + TIP_WEI, self._ceiling)
        return min(2 * base_fee + TIP_WEI, self._ceiling), TIP_WEI

    def _signed(self, offer: Offer) -> SignedTransaction:
        raw = repr(offer).encode()
        self._pool.offers[raw] = offer
        head = len(self._chain.blocks) - 1
        return SignedTransaction(hash_of(raw), raw, offer.nonce, offer.max_fee_wei, offer.tip_wei, head)
