"""What the server's one key does on chain: `TransactionSigner`."""

from eth_utils.crypto import keccak

from backend.domain.errors import ChainUnavailable, TransactionReverted
from backend.domain.types import Digest, Wallet, digest_of
from backend.drivers.chain.connection import ChainConnection, RpcError
from backend.drivers.chain.transactions import account_of, mined_transaction, sign_transaction
from backend.ports import ContractCall, MinedTransaction, SignedTransaction

# What nodes say of a transaction that no waiting will mend.
NEVER = ("intrinsic gas", "exceeds block gas limit", "invalid chain", "invalid sender", "decode", "rlp")


class KeyedSigner:
    """Stateless: who calls decides the nonce and remembers what was signed."""

    def __init__(self, chain: ChainConnection, key: str) -> None:
        """`key`: 0x and 64 hex digits. Raises: InvalidValue, without repeating the key."""
        self._chain = chain
        self._account = account_of(key)

    @property
    def address(self) -> Wallet:
        return Wallet(self._account.address)

    async def next_nonce(self) -> int:
        try:
            return int(await self._chain.rpc("eth_getTransactionCount", self.address, "latest"), 16)
        except RpcError as err:
            raise ChainUnavailable(str(err)) from err

    async def sign(self, call: ContractCall, nonce: int) -> SignedTransaction:
        to = self._chain.contracts.of(call.contract)
        data = self._chain.artifacts[call.contract].encode_call(call.function, call.args)
        return await sign_transaction(self._chain, self._account, to, data, nonce)

    async def broadcast(self, raw: bytes) -> None:
        """Raises: TransactionReverted "NonceTooLow" when another transaction took its nonce, "RejectedByNode" when
        the node will never take it; ChainUnavailable for what may pass (fees, funds, a node that restarts)."""
        try:
            await self._chain.rpc("eth_sendRawTransaction", "0x" + raw.hex())
        except RpcError as err:
            # Nodes word it "already known", "nonce too low", …: having the transaction is what counts.
            if await self._is_known(digest_of(keccak(raw))):
                return
            if "nonce too low" in err.message.lower():
                raise TransactionReverted("NonceTooLow", "another transaction of this key was mined first") from err
            if any(word in err.message.lower() for word in NEVER):
                raise TransactionReverted("RejectedByNode", err.message[:300]) from err
            raise ChainUnavailable(str(err)) from err

    async def _is_known(self, tx_hash: Digest) -> bool:
        try:
            return await self._chain.rpc("eth_getTransactionByHash", tx_hash) is not None
        except RpcError as err:
            raise ChainUnavailable(str(err)) from err

    async def mined(self, tx_hash: Digest) -> MinedTransaction | None:
        return await mined_transaction(self._chain, tx_hash)
