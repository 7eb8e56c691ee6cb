"""A person's own key, for the demo, the tests and funding on the embedded chain. The server's key is `KeyedSigner`."""

import asyncio
from typing import Any

from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data

from backend.domain.errors import ChainUnavailable
from backend.domain.types import Wallet
from backend.drivers.chain.connection import ChainConnection, RpcError
from backend.drivers.chain.transactions import account_of

TEST_MNEMONIC = "test test test test test test test test test test test junk"  # public: known to every developer


def local_test_key(index: int) -> str:
    """The private key of account `index` (0..9) of the public test mnemonic, funded on the embedded chain."""
    Account.enable_unaudited_hdwallet_features()
    account = Account.from_mnemonic(TEST_MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")
    return "0x" + bytes(account.key).hex()


def sign_message(key: str, text: str) -> str:
    """EIP-191, as a wallet's `personal_sign`: 0x and hex digits."""
    return "0x" + bytes(account_of(key).sign_message(encode_defunct(text=text)).signature).hex()


def sign_typed_data(key: str, document: dict[str, Any]) -> str:
    """EIP-712, as a wallet's `eth_signTypedData_v4`: 0x and hex digits."""
    return "0x" + bytes(account_of(key).sign_message(encode_typed_data(full_message=document)).signature).hex()


async def fund(chain: ChainConnection, key: str, to: Wallet, wei: int) -> None:
    """Send ether from `key`, and wait. Raises: ChainUnavailable."""
    account = account_of(key)
    try:
        nonce = int(await chain.rpc("eth_getTransactionCount", account.address, "pending"), 16)
        base_fee = int((await chain.rpc("eth_getBlockByNumber", "latest", False))["baseFeePerGas"], 16)
        fields: dict[str, Any] = {
            "type": 2,
            "chainId": chain.chain_id,
            "nonce": nonce,
            "gas": 21_000,
            "maxPriorityFeePerGas": 10**9,
            "maxFeePerGas": 2 * base_fee + 10**9,
            "value": wei,
            "to": to,
        }
        signed = account.sign_transaction(fields)
        sent = await chain.rpc("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex())
        for _ in range(300):
            if await chain.rpc("eth_getTransactionReceipt", sent) is not None:
                return
            await asyncio.sleep(0.1)
    except RpcError as err:
        raise ChainUnavailable(str(err)) from err
    raise ChainUnavailable("a transfer was not mined within 30 s")
