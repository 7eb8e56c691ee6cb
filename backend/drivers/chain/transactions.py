"""Making one EIP-1559 transaction, and finding it again once it is mined."""

from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount

from backend.domain.errors import ChainUnavailable, InvalidValue, TransactionReverted
from backend.domain.types import Digest, Wallet, digest_of, parse_digest
from backend.drivers.chain.connection import ChainConnection, RpcError, block_ref
from backend.ports import MinedTransaction, SignedTransaction

MAX_TRANSACTION_GAS = 16_777_216  # EIP-7825
GAS_MARGIN_PERCENT = 25  # state may change between the estimate and the block
DEFAULT_TIP_WEI = 1_000_000_000


def account_of(key: str) -> LocalAccount:
    try:
        account: LocalAccount = Account.from_key(key)
    except (ValueError, TypeError):
        raise InvalidValue("key", "a private key is 0x and 64 hex digits") from None
    return account


async def sign_transaction(
    chain: ChainConnection, account: LocalAccount, to: Wallet | None, data: bytes, nonce: int
) -> SignedTransaction:
    """An EIP-1559 transaction that would succeed now; `to` None creates a contract.

    Raises: TransactionReverted with the contract's named error when it would fail; ChainUnavailable.
    """
    call: dict[str, Any] = {"from": account.address, "data": "0x" + data.hex()}
    if to is not None:
        call["to"] = to
    try:
        estimate = int(await chain.rpc("eth_estimateGas", call), 16)
        base_fee = int((await chain.rpc("eth_getBlockByNumber", "latest", False)).get("baseFeePerGas", "0x0"), 16)
    except RpcError as err:
        if err.is_revert:
            raise chain.named(err) from err
        if "gas required exceeds" in err.message:
            raise TransactionReverted("TransactionTooLarge", err.message[:300]) from err
        raise ChainUnavailable(str(err)) from err
    if estimate > MAX_TRANSACTION_GAS:
        raise TransactionReverted(
            "TransactionTooLarge", f"needs {estimate} gas; one transaction may use {MAX_TRANSACTION_GAS}"
        )
    tip = await priority_fee(chain)
    fields: dict[str, Any] = {
        "type": 2,
        "chainId": chain.chain_id,
        "nonce": nonce,
        "gas": min(estimate + estimate * GAS_MARGIN_PERCENT // 100, MAX_TRANSACTION_GAS),
        "maxPriorityFeePerGas": tip,
        "maxFeePerGas": 2 * base_fee + tip,  # stays valid through six full blocks
        "value": 0,
        "data": "0x" + data.hex(),
    }
    if to is not None:
        fields["to"] = to
    signed = account.sign_transaction(fields)
    return SignedTransaction(digest_of(bytes(signed.hash)), bytes(signed.raw_transaction), nonce)


async def priority_fee(chain: ChainConnection) -> int:
    try:
        return int(await chain.rpc("eth_maxPriorityFeePerGas"), 16)
    except RpcError:  # not every node suggests one
        return DEFAULT_TIP_WEI


async def mined_transaction(chain: ChainConnection, tx_hash: Digest) -> MinedTransaction | None:
    try:
        receipt = await chain.rpc("eth_getTransactionReceipt", tx_hash)
        block = await chain.rpc("eth_getBlockByHash", receipt["blockHash"], False) if receipt else None
    except RpcError as err:
        raise ChainUnavailable(str(err)) from err
    if not receipt or not block:
        return None
    return MinedTransaction(
        hash=parse_digest(receipt["transactionHash"]),
        block=block_ref(block),
        succeeded=int(receipt["status"], 16) == 1,
        gas_used=int(receipt["gasUsed"], 16),
    )
