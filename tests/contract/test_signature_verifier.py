"""What every `SignatureVerifier` does; and contract wallets, deployed and not, on the real chain."""

from typing import Any

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from backend.domain.errors import ChainUnavailable
from backend.domain.training import TrainingOrder
from backend.domain.types import DatanetId, Digest, Wallet
from backend.drivers.chain.abi import ContractArtifact
from backend.drivers.chain.connection import ChainConnection
from backend.drivers.chain.signatures import ERC_6492_SUFFIX, MAX_SIGNATURE_BYTES, Web3SignatureVerifier
from backend.drivers.chain.transactions import account_of, sign_transaction
from backend.drivers.chain.wallet import local_test_key
from tests.chain_fixtures import ARTIFACTS, DEPLOYER, ChainHand, FickleNode, LocalHand

ALICE, MALLORY = 0, 1
TEXT = "example.org wants you to sign in"
# Always there on anvil, at this address on nearly every chain: calldata = salt ‖ creation code.
CREATE2_FACTORY = "0x4e59b44847b379578588920cA78FbF26c0B4956C"


def order_of(trainer: Wallet, nonce: int = 2**200 + 1) -> TrainingOrder:
    digest = Digest("0x" + "c0" * 32)
    return TrainingOrder(trainer, (DatanetId(1), DatanetId(2**130)), (1, 7), 5, digest, nonce, 4_000_000_000)


async def test_a_wallets_own_signature_is_valid_and_only_for_that_wallet_and_text(chain: ChainHand) -> None:
    alice, mallory = chain.wallets[ALICE], chain.wallets[MALLORY]
    signature = chain.sign_message(ALICE, TEXT)
    assert await chain.verifier.is_valid(alice, TEXT, signature)
    assert not await chain.verifier.is_valid(mallory, TEXT, signature)
    assert not await chain.verifier.is_valid(alice, TEXT + " ", signature)
    assert not await chain.verifier.is_valid(alice, TEXT, chain.sign_message(MALLORY, TEXT))


@pytest.mark.parametrize("nonsense", [b"", b"\x01", b"\x00" * 65, b"\xff" * 65, b"\x01" * 64, ERC_6492_SUFFIX])
async def test_nonsense_is_an_invalid_signature_and_no_failure(chain: ChainHand, nonsense: bytes) -> None:
    assert not await chain.verifier.is_valid(chain.wallets[ALICE], TEXT, nonsense)
    assert not await chain.verifier.is_valid_order(order_of(chain.wallets[ALICE]), nonsense)


async def test_an_order_is_valid_only_as_its_trainer_signed_it(chain: ChainHand) -> None:
    order = order_of(chain.wallets[ALICE])
    signature = chain.sign_order(ALICE, order)
    assert await chain.verifier.is_valid_order(order, signature)
    assert not await chain.verifier.is_valid_order(order_of(chain.wallets[ALICE], nonce=2), signature)
    assert not await chain.verifier.is_valid_order(order_of(chain.wallets[MALLORY]), signature)
    assert not await chain.verifier.is_valid_order(order, chain.sign_order(MALLORY, order))


async def test_the_typed_data_survives_a_browsers_numbers(chain: ChainHand) -> None:
    document = chain.verifier.order_typed_data(order_of(chain.wallets[ALICE]))
    assert document["primaryType"] == "TrainingOrder"
    assert document["message"]["nonce"] == str(2**200 + 1)
    assert document["message"]["datanetIds"] == ["1", str(2**130)]


async def test_without_the_chain_a_key_is_still_known_and_the_rest_is_dont_know(chain: ChainHand) -> None:
    signature = chain.sign_message(ALICE, TEXT)
    await chain.cut()
    assert await chain.verifier.is_valid(chain.wallets[ALICE], TEXT, signature)
    with pytest.raises(ChainUnavailable):
        await chain.verifier.is_valid(chain.wallets[MALLORY], TEXT, signature)
    with pytest.raises(ChainUnavailable):
        await chain.verifier.is_valid_order(order_of(chain.wallets[ALICE]), signature)


# --- contract wallets -----------------------------------------------------------------------------


def wallet_code() -> bytes:
    """A wallet contract whose one key is Alice's."""
    artifact = ContractArtifact.load(ARTIFACTS, "test/ContractWallet")
    return artifact.encode_creation(account_of(local_test_key(ALICE)).address)


def factory_call(salt: int) -> tuple[Wallet, bytes]:
    """(the wallet's address, the factory's calldata that makes it)"""
    data = salt.to_bytes(32, "big") + wallet_code()
    where = keccak(b"\xff" + bytes.fromhex(CREATE2_FACTORY[2:]) + data[:32] + keccak(data[32:]))[12:]
    return Wallet(to_checksum_address(where)), data


def signed_by(who: int, text: str = TEXT) -> bytes:
    return bytes(Account.from_key(local_test_key(who)).sign_message(encode_defunct(text=text)).signature)


def wrapped(factory_data: bytes, inner: bytes, factory: str = CREATE2_FACTORY) -> bytes:
    return encode(["address", "bytes", "bytes"], [factory, factory_data, inner]) + ERC_6492_SUFFIX


@pytest.fixture
def verifier(chain_connection: ChainConnection) -> Web3SignatureVerifier:
    return Web3SignatureVerifier(chain_connection)


@pytest.mark.integration
async def test_a_deployed_contract_wallet_decides_by_itself(
    verifier: Web3SignatureVerifier, chain_connection: ChainConnection
) -> None:
    wallet, data = factory_call(salt=1)
    deployer = account_of(local_test_key(DEPLOYER))
    nonce = int(await chain_connection.rpc("eth_getTransactionCount", deployer.address, "latest"), 16)
    signed = await sign_transaction(chain_connection, deployer, Wallet(CREATE2_FACTORY), data, nonce)
    await chain_connection.rpc("eth_sendRawTransaction", "0x" + signed.raw.hex())
    assert await chain_connection.rpc("eth_getCode", wallet, "latest") != "0x"
    assert await verifier.is_valid(wallet, TEXT, signed_by(ALICE))
    assert await verifier.is_valid(wallet, TEXT, wrapped(data, signed_by(ALICE)))  # as some wallets keep doing
    assert not await verifier.is_valid(wallet, TEXT, signed_by(MALLORY))
    assert not await verifier.is_valid(wallet, TEXT + "!", signed_by(ALICE))


@pytest.mark.integration
async def test_a_wallet_that_is_not_deployed_yet_is_asked_through_its_factory(
    verifier: Web3SignatureVerifier, chain_connection: ChainConnection
) -> None:
    wallet, data = factory_call(salt=2)
    assert await verifier.is_valid(wallet, TEXT, wrapped(data, signed_by(ALICE)))
    assert not await verifier.is_valid(wallet, TEXT, wrapped(data, signed_by(MALLORY)))
    assert not await verifier.is_valid(wallet, TEXT, signed_by(ALICE))  # without the factory nobody is there
    assert await chain_connection.rpc("eth_getCode", wallet, "latest") == "0x"  # asking deployed nothing


@pytest.mark.integration
async def test_a_factory_that_makes_another_wallet_or_nothing_proves_nothing(verifier: Web3SignatureVerifier) -> None:
    wallet, _ = factory_call(salt=3)
    _, other = factory_call(salt=4)
    assert not await verifier.is_valid(wallet, TEXT, wrapped(other, signed_by(ALICE)))
    assert not await verifier.is_valid(wallet, TEXT, wrapped(b"", signed_by(ALICE)))
    assert not await verifier.is_valid(wallet, TEXT, wrapped(other, signed_by(ALICE), factory=wallet))


@pytest.mark.integration
async def test_a_signature_longer_than_any_wallets_is_refused_unasked(verifier: Web3SignatureVerifier) -> None:
    wallet, data = factory_call(salt=5)
    assert not await verifier.is_valid(wallet, TEXT, wrapped(data + b"\0" * MAX_SIGNATURE_BYTES, signed_by(ALICE)))


@pytest.mark.integration
@pytest.mark.parametrize(
    "error", [{"code": -32603, "message": "restarting"}, {"code": -32000, "message": "out of gas"}]
)
async def test_a_node_that_cannot_run_the_check_has_not_said_no(
    fickle_node: FickleNode, fickle_connection: ChainConnection, error: dict[str, Any]
) -> None:
    fickle_node.bend = lambda method, params, answer: {"error": error} if method == "eth_call" else answer
    wallet, data = factory_call(salt=6)
    with pytest.raises(ChainUnavailable):
        await Web3SignatureVerifier(fickle_connection).is_valid(wallet, TEXT, wrapped(data, signed_by(ALICE)))


@pytest.mark.integration
async def test_the_contract_hashes_an_order_as_its_typed_data_says(
    chain_connection: ChainConnection, dead_connection: ChainConnection
) -> None:
    """What `ModelRegistry.register` will check is what the wallet showed its owner."""
    hand = LocalHand(chain_connection, dead_connection)
    order = order_of(hand.wallets[ALICE])
    _, (digest,) = await chain_connection.call_at_head("ModelRegistry", "orderDigest", order)
    signature = hand.sign_order(ALICE, order)
    recovered = Account._recover_hash(bytes.fromhex(digest[2:]), signature=signature)
    assert recovered == order.trainer
