"""What every `TransactionSigner` does: sign what would succeed, send it once however often it is asked."""

from typing import Any

import pytest

from backend.domain.errors import ChainUnavailable, InvalidValue, TransactionReverted
from backend.domain.training import TrainingOrder
from backend.domain.types import Digest, Purpose, digest_bytes
from backend.drivers.chain.connection import ChainConnection
from backend.drivers.chain.sending import KeyedSigner
from backend.drivers.chain.transactions import MAX_TRANSACTION_GAS
from backend.drivers.chain.wallet import local_test_key
from backend.ports import ContractCall
from tests.chain_fixtures import NO_TERMS, ChainHand, FickleNode, create_datanet

SERVER, TRAINER, OWNER = 3, 1, 0
MANIFEST, RECORDS = Digest("0x" + "ab" * 32), Digest("0x" + "cd" * 32)
HARMLESS = ContractCall("DatanetRegistry", "createDatanet", ("a name", NO_TERMS, "", 0))


async def test_what_was_signed_is_mined_under_the_hash_it_was_given(chain: ChainHand) -> None:
    signer = chain.signer(SERVER)
    nonce = await signer.next_nonce()
    signed = await signer.sign(HARMLESS, nonce)
    assert signed.nonce == nonce
    assert await signer.mined(signed.hash) is None
    await signer.broadcast(signed.raw)
    mined = await signer.mined(signed.hash)
    assert mined is not None
    assert (mined.hash, mined.succeeded) == (signed.hash, True)
    assert mined.gas_used > 0
    assert await chain.events.block(mined.block.number) == mined.block
    assert await signer.next_nonce() == nonce + 1


async def test_sending_again_changes_nothing(chain: ChainHand) -> None:
    signer = chain.signer(SERVER)
    nonce = await signer.next_nonce()
    signed = await signer.sign(HARMLESS, nonce)
    for _ in range(3):
        await signer.broadcast(signed.raw)
    assert await signer.next_nonce() == nonce + 1


async def test_a_nonce_that_another_transaction_took_is_named(chain: ChainHand) -> None:
    signer = chain.signer(SERVER)
    nonce = await signer.next_nonce()
    first = await signer.sign(HARMLESS, nonce)
    second = await signer.sign(ContractCall("DatanetRegistry", "createDatanet", ("other", NO_TERMS, "", 0)), nonce)
    await signer.broadcast(first.raw)
    with pytest.raises(TransactionReverted) as refused:
        await signer.broadcast(second.raw)
    assert refused.value.error == "NonceTooLow"
    assert await signer.mined(second.hash) is None


async def test_what_would_fail_is_not_signed_and_the_contracts_reason_is_named(chain: ChainHand) -> None:
    datanet = await create_datanet(chain, OWNER)
    signer = chain.signer(SERVER)
    with pytest.raises(TransactionReverted) as refused:
        await signer.sign(ContractCall("DatanetRegistry", "grant", (datanet, signer.address, 1, 0)), 0)
    assert refused.value.error == "DatanetRegistryNotManager"
    assert f"datanetId {datanet}, caller {signer.address}" in str(refused.value)


async def test_the_server_relays_a_trainers_order_and_the_chain_checks_it(chain: ChainHand) -> None:
    datanet = await create_datanet(chain, OWNER)
    trainer = chain.wallets[TRAINER]
    await chain.send(OWNER, "DatanetRegistry", "publishVersion", datanet, 1, MANIFEST, RECORDS, "bafy")
    order = TrainingOrder(trainer, (datanet,), (1,), 0, RECORDS, 2**130 + datanet, 4_000_000_000)
    adapter = Digest(f"0x{datanet:064x}")
    struct = (trainer, (datanet,), (1,), 0, digest_bytes(RECORDS), order.nonce, order.deadline)

    def register(signature: bytes) -> ContractCall:
        made = (digest_bytes(adapter), "bafyadapter", "smollm2@1", digest_bytes(MANIFEST), "bafyprovenance")
        return ContractCall("ModelRegistry", "register", (struct, signature, made))

    signer, signature = chain.signer(SERVER), chain.sign_order(TRAINER, order)
    nonce = await signer.next_nonce()
    with pytest.raises(TransactionReverted, match="ModelRegistryTrainingNotPermitted"):
        await signer.sign(register(signature), nonce)
    await chain.send(OWNER, "DatanetRegistry", "grant", datanet, trainer, int(Purpose.TRAIN), 0)
    with pytest.raises(TransactionReverted, match="ModelRegistryInvalidSignature"):
        await signer.sign(register(chain.sign_message(TRAINER, "something else")), nonce)
    signed = await signer.sign(register(signature), nonce)
    await signer.broadcast(signed.raw)
    mined = await signer.mined(signed.hash)
    assert mined is not None
    registered, trained = await chain.events.events(mined.block.number, mined.block.number)
    assert registered.name == "ModelRegistered"
    assert registered.args["trainer"] == trainer
    assert (registered.args["adapterDigest"], registered.args["provenanceDigest"]) == (adapter, MANIFEST)
    assert (trained.name, trained.args["datanetId"], trained.args["version"]) == ("ModelTrainedOn", datanet, 1)
    with pytest.raises(TransactionReverted, match="ModelRegistryNonceUsed"):
        await signer.sign(register(signature), nonce + 1)


async def test_a_silent_chain_is_dont_know(chain: ChainHand) -> None:
    signed = await chain.signer(SERVER).sign(HARMLESS, await chain.signer(SERVER).next_nonce())
    await chain.cut()
    signer = chain.signer(SERVER)
    for attempt in (
        signer.next_nonce(),
        signer.sign(HARMLESS, 0),
        signer.broadcast(signed.raw),
        signer.mined(signed.hash),
    ):
        with pytest.raises(ChainUnavailable):
            await attempt


# --- the driver and a difficult node --------------------------------------------------------------


@pytest.mark.integration
async def test_a_node_that_forgot_to_answer_but_took_it_is_no_error(
    fickle_node: FickleNode, fickle_connection: ChainConnection
) -> None:
    signer = KeyedSigner(fickle_connection, local_test_key(SERVER))
    signed = await signer.sign(HARMLESS, await signer.next_nonce())
    known = {"error": {"code": -32000, "message": "already known"}}
    fickle_node.bend = lambda method, params, answer: known if method == "eth_sendRawTransaction" else answer
    await signer.broadcast(signed.raw)
    assert await signer.mined(signed.hash) is not None


@pytest.mark.integration
@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ("insufficient funds for gas * price + value", ChainUnavailable),
        ("the embedded chain is restarting; ask again", ChainUnavailable),
        ("intrinsic gas too low", TransactionReverted),
    ],
)
async def test_what_may_pass_is_tried_again_and_what_never_will_is_refused(
    fickle_node: FickleNode, fickle_connection: ChainConnection, message: str, outcome: type[Exception]
) -> None:
    def refuse(method: str, params: list[Any], answer: Any) -> Any:
        if method == "eth_sendRawTransaction":
            return {"error": {"code": -32000, "message": message}}
        return {"result": None} if method == "eth_getTransactionByHash" else answer

    signer = KeyedSigner(fickle_connection, local_test_key(SERVER))
    signed = await signer.sign(HARMLESS, await signer.next_nonce())
    fickle_node.bend = refuse
    with pytest.raises(outcome, match=message[:12]):
        await signer.broadcast(signed.raw)


@pytest.mark.integration
async def test_a_transaction_over_the_limit_of_one_is_refused_before_it_is_signed(
    fickle_node: FickleNode, fickle_connection: ChainConnection
) -> None:
    too_much = {"result": hex(MAX_TRANSACTION_GAS + 1)}
    fickle_node.bend = lambda method, params, answer: too_much if method == "eth_estimateGas" else answer
    with pytest.raises(TransactionReverted, match="TransactionTooLarge"):
        await KeyedSigner(fickle_connection, local_test_key(SERVER)).sign(HARMLESS, 0)


@pytest.mark.integration
async def test_wrong_arguments_and_keys_are_invalid_values(chain_connection: ChainConnection) -> None:
    signer = KeyedSigner(chain_connection, local_test_key(SERVER))
    for call in (
        ContractCall("DatanetRegistry", "noSuchFunction", ()),
        ContractCall("DatanetRegistry", "grant", (1, "not a wallet", 1, 0)),
        ContractCall("DatanetRegistry", "grant", (1,)),
        ContractCall("NoSuchContract", "grant", ()),
    ):
        with pytest.raises(InvalidValue):
            await signer.sign(call, 0)
    with pytest.raises(InvalidValue) as refused:
        KeyedSigner(chain_connection, "0xdeadbeef")
    assert "deadbeef" not in str(refused.value)
