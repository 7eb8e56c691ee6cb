"""Making one EIP-1559 transaction, and finding it again once it is mined."""

from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes

from backend.domain.errors import ChainUnavailable, FeeTooHigh, InvalidValue, TransactionReverted
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


@dataclass(frozen=True, slots=True)
class Fees:
    """Wei a gas."""

    max_fee_wei: int
    tip_wei: int

    def over(self, old: "Fees") -> "Fees":
        """These, or as much as it takes to replace a transaction that pays `old`: both an eighth more, rounded up.
        Nodes ask for a tenth at least, some for that eighth."""
        tip = max(self.tip_wei, _an_eighth_more(old.tip_wei))
        return Fees(max(self.max_fee_wei, _an_eighth_more(old.max_fee_wei), tip), tip)


def _an_eighth_more(wei: int) -> int:
    return max(-(-wei * 9 // 8), wei + 1)


async def current_fees(chain: ChainConnection, ceiling_wei: int | None) -> tuple[Fees, int]:
    """(what a new transaction offers, the block it was read at). Raises: FeeTooHigh, ChainUnavailable."""
    try:
        head = await chain.rpc("eth_getBlockByNumber", "latest", False)
    except RpcError as err:
        raise ChainUnavailable(str(err)) from err
    base_fee, tip = int(head.get("baseFeePerGas", "0x0"), 16), await priority_fee(chain)
    max_fee = 2 * base_fee + tip  # stays valid through six full blocks
    if ceiling_wei is not None:
        if base_fee + tip > ceiling_wei:
            raise FeeTooHigh(base_fee + tip, ceiling_wei)
        max_fee = min(max_fee, ceiling_wei)
    return Fees(max_fee, tip), int(head["number"], 16)


async def sign_transaction(
    chain: ChainConnection,
    account: LocalAccount,
    to: Wallet | None,
    data: bytes,
    nonce: int,
    ceiling_wei: int | None = None,
) -> SignedTransaction:
    """An EIP-1559 transaction that would succeed now; `to` None creates a contract.

    Raises: TransactionReverted with the contract's named error when it would fail; FeeTooHigh; ChainUnavailable.
    """
    call: dict[str, Any] = {"from": account.address, "data": "0x" + data.hex()}
    if to is not None:
        call["to"] = to
    try:
        estimate = int(await chain.rpc("eth_estimateGas", call), 16)
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
    fields: dict[str, Any] = {
        "chainId": chain.chain_id,
        "nonce": nonce,
        "gas": min(estimate + estimate * GAS_MARGIN_PERCENT // 100, MAX_TRANSACTION_GAS),
        "value": 0,
        "data": "0x" + data.hex(),
    }
    if to is not None:
        fields["to"] = to
    fees, block = await current_fees(chain, ceiling_wei)
    return _signed(account, fields, fees, block)


async def sign_replacement(
    chain: ChainConnection, account: LocalAccount, raw: bytes, ceiling_wei: int | None, *, cancel: bool
) -> SignedTransaction:
    """As `TransactionSigner.outbid` says. Nothing is estimated anew: the call goes on as it was, whatever the state."""
    fields = transaction_fields(raw)
    old = Fees(fields["maxFeePerGas"], fields["maxPriorityFeePerGas"])
    fresh, block = await current_fees(chain, ceiling_wei)
    fees = fresh.over(old)
    if ceiling_wei is not None and fees.max_fee_wei > ceiling_wei:
        raise FeeTooHigh(fees.max_fee_wei, ceiling_wei)
    if cancel:
        fields |= {"to": account.address, "value": 0, "data": b""}
        fields["gas"] = await _gas_for_nothing(chain, account)
    return _signed(account, fields, fees, block, cancels=cancel)


async def _gas_for_nothing(chain: ChainConnection, account: LocalAccount) -> int:
    try:
        return int(await chain.rpc("eth_estimateGas", {"from": account.address, "to": account.address}), 16)
    except RpcError as err:
        raise ChainUnavailable(str(err)) from err


def transaction_fields(raw: bytes) -> dict[str, Any]:
    """What was signed, without the signature."""
    fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    return {name: value for name, value in fields.items() if name not in ("v", "r", "s")}


def _signed(
    account: LocalAccount, fields: dict[str, Any], fees: Fees, block: int, *, cancels: bool = False
) -> SignedTransaction:
    signed = account.sign_transaction(
        fields | {"type": 2, "maxFeePerGas": fees.max_fee_wei, "maxPriorityFeePerGas": fees.tip_wei}
    )
    return SignedTransaction(
        digest_of(bytes(signed.hash)),
        bytes(signed.raw_transaction),
        int(fields["nonce"]),
        fees.max_fee_wei,
        fees.tip_wei,
        block,
        cancels,
    )


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


async def revert_reason(chain: ChainConnection, mined: MinedTransaction) -> TransactionReverted:
    """As `TransactionSigner.why_reverted` says. The call runs again on the state that its block left, since what made
    it fail may have been in that block; then on the one before."""
    try:
        sent = await chain.rpc("eth_getTransactionByHash", mined.hash)
        if not sent:
            return TransactionReverted("Reverted", "the node no longer has it to be run again")
        if mined.gas_used >= int(sent["gas"], 16):
            return TransactionReverted("OutOfGas", f"gas {mined.gas_used}")
    except RpcError as err:
        raise ChainUnavailable(str(err)) from err
    call = {name: sent[name] for name in ("from", "to", "gas", "value", "input") if sent.get(name)}
    for block in (mined.block.number, mined.block.number - 1):
        try:
            await chain.rpc("eth_call", call, hex(block))
        except RpcError as err:
            if err.is_revert:
                return chain.named(err)
    return TransactionReverted("Reverted", "run again, it gives no reason")
