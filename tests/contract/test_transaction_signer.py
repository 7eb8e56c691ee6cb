"""What every `TransactionSigner` does: sign what would succeed, send it once however often it is asked."""

import math
from fractions import Fraction
from typing import Any

import pytest

from backend.domain.errors import ChainUnavailable, FeeTooHigh, InvalidValue, TransactionReverted
from backend.domain.training import TrainingOrder
from backend.domain.types import Digest, Purpose, digest_bytes
from backend.drivers.chain.connection import ChainConnection
from backend.drivers.chain.sending import KeyedSigner
from backend.drivers.chain.transactions import MAX_TRANSACTION_GAS
from backend.drivers.chain.wallet import local_test_key
from backend.ports import ContractCall, TransactionSigner
from tests.chain_fixtures import NO_TERMS, ChainHand, FickleNode, MemoryHand, create_datanet

SERVER, TRAINER, OWNER, REVERTING = 3, 1, 0, 7
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


def an_eighth_more(wei: int) -> int:
    return math.ceil(Fraction(wei) * 9 / 8)


async def test_who_outbids_pays_an_eighth_more_of_both_fees_under_the_same_nonce(chain: ChainHand) -> None:
    signer = chain.signer(SERVER)
    first = await signer.sign(HARMLESS, await signer.next_nonce())
    second = await signer.outbid(first)
    third = await signer.outbid(second)
    for old, new in ((first, second), (second, third)):
        assert new.nonce == old.nonce
        assert new.hash != old.hash
        assert new.max_fee_wei >= an_eighth_more(old.max_fee_wei)
        assert new.tip_wei >= an_eighth_more(old.tip_wei)
        assert new.max_fee_wei >= new.tip_wei > 0
        assert not new.cancels
    await signer.broadcast(third.raw)
    mined = await signer.mined(third.hash)
    assert mined is not None
    events = await chain.events.events(mined.block.number, mined.block.number)
    assert [event.args["name"] for event in events if event.name == "DatanetCreated"] == ["a name"]
    with pytest.raises(TransactionReverted) as refused:
        await signer.broadcast(first.raw)
    assert refused.value.error == "NonceTooLow"


async def test_what_cancels_takes_up_the_nonce_and_does_nothing(chain: ChainHand) -> None:
    signer = chain.signer(SERVER)
    nonce = await signer.next_nonce()
    first = await signer.sign(HARMLESS, nonce)
    cancelling = await signer.outbid(first, cancel=True)
    assert cancelling.cancels
    assert cancelling.max_fee_wei >= an_eighth_more(first.max_fee_wei)
    assert (await signer.outbid(cancelling)).cancels
    await signer.broadcast(cancelling.raw)
    mined = await signer.mined(cancelling.hash)
    assert mined is not None
    assert mined.succeeded
    assert await chain.events.events(mined.block.number, mined.block.number) == []
    assert await signer.next_nonce() == nonce + 1


async def test_a_gap_in_the_nonces_is_filled_with_nothing(chain: ChainHand) -> None:
    signer = chain.signer(SERVER)
    nonce = await signer.next_nonce()
    later = await signer.sign(HARMLESS, nonce + 1)
    await signer.broadcast(later.raw)
    assert await signer.mined(later.hash) is None
    await signer.broadcast((await signer.sign(None, nonce)).raw)
    await signer.broadcast(later.raw)
    assert await signer.mined(later.hash) is not None
    assert await signer.next_nonce() == nonce + 2


async def test_nothing_is_signed_over_the_ceiling(chain: ChainHand) -> None:
    signer = chain.signer(SERVER)
    nonce = await signer.next_nonce()
    first = await signer.sign(HARMLESS, nonce)
    just_enough = chain.signer(SERVER, max_fee_wei=first.max_fee_wei)
    assert (await just_enough.sign(HARMLESS, nonce)).max_fee_wei <= first.max_fee_wei
    with pytest.raises(FeeTooHigh, match="MAX_FEE_GWEI"):
        await just_enough.outbid(first)
    with pytest.raises(FeeTooHigh, match="MAX_FEE_GWEI"):
        await chain.signer(SERVER, max_fee_wei=1).sign(HARMLESS, nonce)


async def test_a_revert_that_was_mined_is_named(chain: ChainHand) -> None:
    root = digest_bytes(RECORDS)
    anchor = ContractCall("ReceiptLedger", "anchor", (chain.wallets[REVERTING], 1, root, (), ()))
    signer = chain.signer(REVERTING)
    nonce = await signer.next_nonce()
    first, second = await signer.sign(anchor, nonce), await signer.sign(anchor, nonce + 1)
    for each in (first, second):
        await signer.broadcast(each.raw)
    mined = await signer.mined(second.hash)
    assert mined is not None
    assert not mined.succeeded
    why = await signer.why_reverted(mined)
    assert why.error == "ReceiptLedgerNotGrowing"


async def test_a_silent_chain_is_dont_know(chain: ChainHand) -> None:
    signed = await chain.signer(SERVER).sign(HARMLESS, await chain.signer(SERVER).next_nonce())
    await chain.cut()
    signer = chain.signer(SERVER)
    for attempt in (
        signer.head(),
        signer.next_nonce(),
        signer.outbid(signed),
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
        ("replacement transaction underpriced", TransactionReverted),
        ("max fee per gas less than block base fee", TransactionReverted),
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
    with pytest.raises(outcome, match=message[:12]) as refused:
        await signer.broadcast(signed.raw)
    if isinstance(refused.value, TransactionReverted):
        assert refused.value.error == ("RejectedByNode" if "intrinsic" in message else "Underpriced")


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


@pytest.fixture(params=["memory", pytest.param("anvil", marks=pytest.mark.integration)])
def remembering_signer(request: pytest.FixtureRequest) -> TransactionSigner:
    """On a node that keeps the states of earlier blocks, as the embedded chain does not."""
    if request.param == "memory":
        return MemoryHand().signer(SERVER)
    return KeyedSigner(request.getfixturevalue("slow_connection"), local_test_key(SERVER))


async def test_nonces_can_be_counted_as_of_some_blocks_ago(
    remembering_signer: TransactionSigner, request: pytest.FixtureRequest
) -> None:
    signer = remembering_signer
    nonce = await signer.next_nonce()
    signed = await signer.sign(HARMLESS, nonce)
    await signer.broadcast(signed.raw)
    if isinstance(signer, KeyedSigner):
        await request.getfixturevalue("slow_node").mine()
    mined = await signer.mined(signed.hash)
    assert mined is not None
    assert await signer.head() == mined.block.number
    assert [await signer.next_nonce(depth) for depth in (0, 1, mined.block.number + 9)] == [nonce + 1, nonce, 0]
