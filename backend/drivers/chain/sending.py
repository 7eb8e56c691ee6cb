"""What the server's one key does on chain: `TransactionSigner`."""

from dataclasses import replace
from typing import Any

from eth_utils.crypto import keccak

from backend.domain.errors import ChainUnavailable, TransactionReverted
from backend.domain.types import Digest, Wallet, digest_of
from backend.drivers.chain.connection import ChainConnection, RpcError
from backend.drivers.chain.transactions import (
    account_of,
    mined_transaction,
    revert_reason,
    sign_replacement,
    sign_transaction,
)
from backend.ports import ContractCall, MinedTransaction, SignedTransaction

# What nodes say of a fee that is too low, for its nonce or at all; and of what no waiting will mend.
TOO_CHEAP = ("underpriced", "less than block base fee", "fee too low", "could not replace")
NEVER = ("intrinsic gas", "exceeds block gas limit", "invalid chain", "invalid sender", "decode", "rlp")


class KeyedSigner:
    """Stateless: who calls decides the nonce and remembers what was signed."""

    def __init__(self, chain: ChainConnection, key: str, *, max_fee_wei: int | None = None) -> None:
        """`key`: 0x and 64 hex digits; `max_fee_wei`: the most to offer a gas. Raises: InvalidValue, without repeating
        the key."""
        self._chain = chain
        self._account = account_of(key)
        self._ceiling = max_fee_wei

    @property
    def address(self) -> Wallet:
        return Wallet(self._account.address)

    async def head(self) -> int:
        return await self._number("eth_blockNumber")

    async def next_nonce(self, confirmations: int = 0) -> int:
        block = hex(max(await self.head() - confirmations, 0)) if confirmations else "latest"
        return await self._number("eth_getTransactionCount", self.address, block)

    async def sign(self, call: ContractCall | None, nonce: int) -> SignedTransaction:
        to, data = self.address, b""
        if call is not None:
            to = self._chain.contracts.of(call.contract)
            data = self._chain.artifacts[call.contract].encode_call(call.function, call.args)
        return await sign_transaction(self._chain, self._account, to, data, nonce, self._ceiling)

    async def outbid(self, signed: SignedTransaction, *, cancel: bool = False) -> SignedTransaction:
        made = await sign_replacement(self._chain, self._account, signed.raw, self._ceiling, cancel=cancel)
        return replace(made, cancels=cancel or signed.cancels)

    async def broadcast(self, raw: bytes) -> None:
        """What may pass (funds, a node that restarts) is ChainUnavailable."""
        try:
            await self._chain.rpc("eth_sendRawTransaction", "0x" + raw.hex())
        except RpcError as err:
            # Nodes word it "already known", "nonce too low", …: having the transaction is what counts.
            if await self._is_known(digest_of(keccak(raw))):
                return
            said = err.message.lower()
            if "nonce too low" in said:
                raise TransactionReverted("NonceTooLow", "another transaction of this key was mined first") from err
            if any(words in said for words in TOO_CHEAP):
                raise TransactionReverted("Underpriced", err.message[:300]) from err
            if any(words in said for words in NEVER):
                raise TransactionReverted("RejectedByNode", err.message[:300]) from err
            raise ChainUnavailable(str(err)) from err

    async def _number(self, method: str, *params: Any) -> int:
        try:
            return int(await self._chain.rpc(method, *params), 16)
        except RpcError as err:
            raise ChainUnavailable(str(err)) from err

    async def _is_known(self, tx_hash: Digest) -> bool:
        try:
            return await self._chain.rpc("eth_getTransactionByHash", tx_hash) is not None
        except RpcError as err:
            raise ChainUnavailable(str(err)) from err

    async def mined(self, tx_hash: Digest) -> MinedTransaction | None:
        return await mined_transaction(self._chain, tx_hash)

    async def why_reverted(self, mined: MinedTransaction) -> TransactionReverted:
        return await revert_reason(self._chain, mined)
