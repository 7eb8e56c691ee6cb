"""What every `ChainEvents` does; and how the driver reads a node that limits, moves or fails."""

from typing import Any

import pytest

from backend.domain.errors import ChainUnavailable, ContractsRefused, InvalidValue
from backend.domain.training import TrainingOrder
from backend.domain.types import DatanetId, Digest, Purpose, Wallet
from backend.drivers.chain import logs
from backend.drivers.chain.access import ContractAccessRegistry
from backend.drivers.chain.audit import Web3AuditReader
from backend.drivers.chain.connection import ChainConnection, ContractAddresses
from backend.drivers.chain.events import Web3ChainEvents
from backend.drivers.chain.sending import KeyedSigner
from backend.drivers.chain.transactions import account_of, sign_transaction
from backend.drivers.chain.wallet import local_test_key
from backend.drivers.db.engine import Database
from backend.drivers.db.mirror import PgChainMirror
from backend.drivers.db.versions import PgVersionStore
from backend.drivers.memory.chain import MemoryChain
from backend.embedded.chain import LOCAL_CHAIN_ID
from backend.ports import ContractCall
from backend.services.indexing import ChainIndexing
from tests.chain_fixtures import ARTIFACTS, NO_TERMS, ChainHand, FickleNode, LocalHand, create_datanet

OWNER, READER = 0, 1
SOMEBODY = Wallet("0x70997970C51812dc3A010C7d01b50e0d17dc79C8")
MANIFEST, RECORDS = Digest("0x" + "ab" * 32), Digest("0x" + "cd" * 32)


async def test_events_come_decoded_in_chain_order_each_once(chain: ChainHand) -> None:
    first = (await chain.events.head()).number + 1
    owner, reader = chain.wallets[OWNER], chain.wallets[READER]
    made = await chain.send(OWNER, "DatanetRegistry", "createDatanet", "cardio", NO_TERMS, "bafyterms", 2)
    datanet = (await chain.events.events(first, made.block.number))[0].args["datanetId"]
    await chain.send(OWNER, "DatanetRegistry", "publishVersion", datanet, 1, MANIFEST, RECORDS, "bafymanifest")
    await chain.send(READER, "DatanetRegistry", "requestAccess", datanet, 1, 3, 0, "for my thesis")
    last = await chain.send(OWNER, "DatanetRegistry", "approveRequest", datanet, reader, 1, 0)
    events = await chain.events.events(first, last.block.number)
    assert [(e.contract, e.name) for e in events] == [
        ("DatanetRegistry", name)
        for name in (
            "DatanetCreated", "Transfer", "TermsSet", "PublicPurposesSet", "VersionPublished", "AccessRequested",
            "RequestApproved", "AccessGranted",
        )
    ]  # fmt: skip
    created, _, terms, _, published, requested, _, granted = events
    assert created.args == {"datanetId": datanet, "owner": owner, "name": "cardio"}
    assert terms.args == {
        "datanetId": datanet, "termsVersion": 1, "licenceDigest": "0x" + "00" * 32, "licenceCid": "bafyterms",
        "purposes": 15, "pricePer1000Answers": 0, "currency": "0x000000", "keepsModels": False,
    }  # fmt: skip
    assert published.args == {
        "datanetId": datanet, "version": 1, "manifestDigest": MANIFEST, "recordsRoot": RECORDS,
        "manifestCid": "bafymanifest",
    }  # fmt: skip
    assert requested.args["message"] == "for my thesis"
    assert granted.args == {
        "datanetId": datanet, "grantee": reader, "by": owner, "purposes": 1, "expiresAt": 0, "termsVersion": 1,
    }  # fmt: skip
    assert (granted.tx_hash, granted.block) == (last.hash, last.block)
    order = [(e.block.number, e.log_index) for e in events]
    assert order == sorted(set(order))


async def test_a_range_holds_its_ends_and_nothing_beyond(chain: ChainHand) -> None:
    blocks = [(await chain.send(OWNER, "DatanetRegistry", "createDatanet", n, NO_TERMS, "", 0)).block for n in "abc"]
    events = await chain.events.events(blocks[0].number, blocks[1].number)
    assert {e.block for e in events} == set(blocks[:2])
    assert await chain.events.events(blocks[2].number + 1, blocks[2].number) == []


async def test_blocks_are_known_up_to_the_head_and_not_beyond(chain: ChainHand) -> None:
    await create_datanet(chain, OWNER)
    head = await chain.events.head()
    assert await chain.events.block(head.number) == head
    before = await chain.events.block(head.number - 1)
    assert before is not None
    assert before.timestamp <= head.timestamp
    assert await chain.events.block(head.number + 1_000) is None


async def test_a_silent_chain_is_said_so(chain: ChainHand) -> None:
    await chain.cut()
    with pytest.raises(ChainUnavailable):
        await chain.events.head()
    with pytest.raises(ChainUnavailable):
        await chain.events.block(0)
    with pytest.raises(ChainUnavailable):
        await chain.events.events(0, 1_000_000)


async def test_after_a_reorganisation_the_twin_has_other_blocks_and_not_the_events() -> None:
    chain = MemoryChain()
    wallet = SOMEBODY
    kept = chain.create_datanet(wallet, "kept")
    chain.create_datanet(wallet, "gone")
    before = await chain.head()
    chain.reorg(1)
    after = await chain.head()
    assert after.number == before.number
    assert after.hash != before.hash
    names = [e.args.get("name") for e in await chain.events(0, after.number) if e.name == "DatanetCreated"]
    assert names == ["kept"]
    assert (await chain.may_use(wallet, kept, Purpose.TRAIN)).allowed


# --- the driver and a difficult node --------------------------------------------------------------


@pytest.fixture
async def history(chain_connection: ChainConnection, dead_connection: ChainConnection) -> tuple[int, int]:
    """(first, last) block of ten datanets, one a block."""
    hand = LocalHand(chain_connection, dead_connection)
    made = [await hand.send(OWNER, "DatanetRegistry", "createDatanet", f"n{i}", NO_TERMS, "", 0) for i in range(10)]
    return made[0].block.number, made[-1].block.number


HOSTILE = {
    "no UTF-8 at all": (b"\xff\xfe\x80", "\ufffd\ufffd\ufffd"),
    "NUL, which Postgres refuses": (b"a\x00b", "a\ufffdb"),
    "half of a UTF-16 pair": (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
    "a character cut short": (b"ok \xf0\x9f\x92", "ok \ufffd"),
    "an overlong NUL": (b"\xc0\x80!", "\ufffd\ufffd!"),
}


async def send_with_text(connection: ChainConnection, who: int, call: ContractCall, text: bytes) -> int:
    """Anybody can write calldata by hand: `text` replaces as many "@" in `call`. Returns: the block."""
    hand, key = KeyedSigner(connection, local_test_key(who)), local_test_key(who)
    data = connection.artifacts[call.contract].encode_call(call.function, call.args)
    assert b"@" * len(text) in data
    data = data.replace(b"@" * len(text), text)
    to, nonce = connection.contracts.of(call.contract), await hand.next_nonce()
    signed = await sign_transaction(connection, account_of(key), to, data, nonce)
    await hand.broadcast(signed.raw)
    mined = await hand.mined(signed.hash)
    assert mined is not None
    assert mined.succeeded
    return mined.block.number


@pytest.mark.integration
@pytest.mark.parametrize("kind", HOSTILE)
async def test_a_text_that_is_no_text_stops_no_indexer(
    chain_connection: ChainConnection, dead_connection: ChainConnection, database: Database, kind: str
) -> None:
    """Whoever asks for access, makes a datanet or registers a model writes any bytes it likes."""
    text, shown = HOSTILE[kind]
    hand, filler = LocalHand(chain_connection, dead_connection), "@" * len(text)
    datanet, reader = await create_datanet(hand, OWNER), hand.wallets[READER]
    await hand.send(OWNER, "DatanetRegistry", "publishVersion", datanet, 1, MANIFEST, RECORDS, "bafy")
    ask = ContractCall("DatanetRegistry", "requestAccess", (datanet, 1, 1, 0, filler))
    make = ContractCall("DatanetRegistry", "createDatanet", (filler, NO_TERMS, "bafy", 0))
    order = TrainingOrder(hand.wallets[OWNER], (datanet,), (1,), 0, RECORDS, 2**140 + datanet, 4_000_000_000)
    model = (order, hand.sign_order(OWNER, order), (MANIFEST, filler, "base", RECORDS, "bafyprovenance"))
    first = await send_with_text(chain_connection, READER, ask, text)
    await send_with_text(chain_connection, READER, make, text)
    last = await send_with_text(chain_connection, READER, ContractCall("ModelRegistry", "register", model), text)

    found = await Web3ChainEvents(chain_connection).events(first, last)
    written = {"AccessRequested": "message", "DatanetCreated": "name", "ModelRegistered": "adapterCid"}
    as_read = text.decode("utf-8", "replace")
    assert [e.args[written[e.name]] for e in found if e.name in written] == [as_read] * 3

    mirror, versions = PgChainMirror(database), PgVersionStore(database)
    await ChainIndexing(Web3ChainEvents(chain_connection), mirror, versions).step()
    tip = await mirror.tip()
    assert tip is not None
    assert tip.number >= last
    assert [(r.requester, r.message) for r in await mirror.requests_of(datanet)] == [(reader, shown)]
    made = next(e.args["datanetId"] for e in found if e.name == "DatanetCreated")
    row = await mirror.datanet(made)
    assert row is not None
    assert row.name == shown
    assert (await mirror.events_named("ModelRegistered", limit=1))[0].args["adapterCid"] == shown


LIMITS = {
    "in results": ("query returned more than 10000 results", 2),
    "with a proposal": ("Log response size exceeded; this block range should work: [0x0, 0x2]", 3),
    "in blocks": ("exceed maximum block range: 3", 3),
    "in its own words": ("computer says no", 2),
}


@pytest.mark.integration
@pytest.mark.parametrize("words", LIMITS)
async def test_a_range_that_the_node_refuses_is_read_in_pieces_and_the_limit_remembered(
    fickle_node: FickleNode, fickle_connection: ChainConnection, chain_connection: ChainConnection,
    history: tuple[int, int], monkeypatch: pytest.MonkeyPatch, words: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(logs, "TAIL_BLOCKS", 2)  # the newest blocks are read one by one
    message, span = LIMITS[words]
    refused = 0

    def at_most_three_blocks(method: str, params: list[Any], answer: Any) -> Any:
        nonlocal refused
        if method != "eth_getLogs" or "blockHash" in params[0]:
            return answer
        if int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) < 3:
            return answer
        refused += 1
        return {"error": {"code": -32005, "message": message}}

    fickle_node.bend = at_most_three_blocks
    fickle_connection.log_span.blocks = 8
    expected = await Web3ChainEvents(chain_connection).events(*history)
    assert await Web3ChainEvents(fickle_connection).events(*history) == expected
    assert len(expected) == 30  # DatanetCreated, Transfer and TermsSet, each ten times
    assert refused in (1, 2)
    assert fickle_connection.log_span.blocks in (span, 4)
    refused = 0
    await Web3ChainEvents(fickle_connection).events(*history)
    assert refused == 0


@pytest.mark.integration
@pytest.mark.parametrize("tail", [2, 64])
async def test_a_node_that_refuses_even_one_block_is_unavailable(
    fickle_node: FickleNode, fickle_connection: ChainConnection, history: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch, tail: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(logs, "TAIL_BLOCKS", tail)
    fickle_node.bend = lambda method, params, answer: (
        {"error": {"code": -32000, "message": "pruned"}} if method == "eth_getLogs" else answer
    )
    with pytest.raises(ChainUnavailable, match="pruned"):
        await Web3ChainEvents(fickle_connection).events(*history)


@pytest.mark.integration
async def test_logs_without_times_get_them_from_their_blocks(
    fickle_node: FickleNode, fickle_connection: ChainConnection, chain_connection: ChainConnection,
    history: tuple[int, int],
) -> None:  # fmt: skip
    def without_times(method: str, params: list[Any], answer: Any) -> Any:
        if method == "eth_getLogs":
            for log in answer["result"]:
                log.pop("blockTimestamp", None)
        return answer

    fickle_node.bend = without_times
    assert await Web3ChainEvents(fickle_connection).events(*history) == await Web3ChainEvents(chain_connection).events(
        *history
    )


@pytest.mark.integration
async def test_a_chain_that_moves_while_it_is_read_is_read_again(
    fickle_node: FickleNode, fickle_connection: ChainConnection, history: tuple[int, int]
) -> None:
    asked = 0

    def other_hash_the_first_time(method: str, params: list[Any], answer: Any) -> Any:
        nonlocal asked
        if method == "eth_getBlockByNumber":
            asked += 1
            if asked == 1:
                answer["result"]["hash"] = "0x" + "99" * 32
        return answer

    fickle_node.bend = other_hash_the_first_time
    assert len(await Web3ChainEvents(fickle_connection).events(*history)) == 30
    assert asked > 1 + history[1] - history[0] + 1  # the boundary and every header, and then again


@pytest.mark.integration
async def test_a_chain_that_never_rests_is_unavailable_rather_than_wrong(
    fickle_node: FickleNode, fickle_connection: ChainConnection, history: tuple[int, int]
) -> None:
    def another_hash_each_time(method: str, params: list[Any], answer: Any) -> Any:
        if method == "eth_getBlockByNumber":
            answer["result"]["hash"] = f"0x{len(fickle_node.asked):064x}"
        return answer

    fickle_node.bend = another_hash_each_time
    with pytest.raises(ChainUnavailable):
        await Web3ChainEvents(fickle_connection).events(*history)


@pytest.mark.integration
async def test_a_block_overtaken_between_two_reads_is_read_anew_with_its_evidence(
    fickle_node: FickleNode, fickle_connection: ChainConnection
) -> None:
    refused = 0

    def overtaken_twice(method: str, params: list[Any], answer: Any) -> Any:
        nonlocal refused
        if method == "eth_call" and refused < 2:
            refused += 1
            return {
                "error": {"code": -32602, "message": "BlockOutOfRangeError: block height is 12 but requested was 11"}
            }
        return answer

    fickle_node.bend = overtaken_twice
    permission = await ContractAccessRegistry(fickle_connection).may_use(SOMEBODY, DatanetId(1), Purpose.TRAIN)
    assert refused == 2
    assert await Web3ChainEvents(fickle_connection).block(permission.block.number) == permission.block


@pytest.mark.integration
async def test_a_head_that_is_too_old_decides_nothing(
    fickle_node: FickleNode, contract_addresses: ContractAddresses
) -> None:
    connection = ChainConnection(
        fickle_node.url, LOCAL_CHAIN_ID, contract_addresses, ARTIFACTS, max_head_age_seconds=600
    )
    access = ContractAccessRegistry(connection)
    await access.may_use(SOMEBODY, DatanetId(1), Purpose.TRAIN)

    def an_hour_ago(method: str, params: list[Any], answer: Any) -> Any:
        if method == "eth_getBlockByNumber" and params[0] == "latest":
            answer["result"]["timestamp"] = hex(int(answer["result"]["timestamp"], 16) - 3_600)
        return answer

    fickle_node.bend = an_hour_ago
    with pytest.raises(ChainUnavailable, match=r"is 3\d+ seconds behind.*MAX_HEAD_AGE_SECONDS = 600"):
        await access.may_use(SOMEBODY, DatanetId(1), Purpose.TRAIN)
    await connection.close()


@pytest.mark.integration
async def test_a_head_lower_than_one_seen_before_decides_nothing_unless_the_chain_changed(
    fickle_node: FickleNode, fickle_connection: ChainConnection, history: tuple[int, int]
) -> None:
    """A node that lags would still allow what was revoked since."""
    access, lagging = ContractAccessRegistry(fickle_connection), 0

    def an_older_head(method: str, params: list[Any], answer: Any) -> Any:
        if method == "eth_getBlockByNumber" and params[0] == "latest" and lagging:
            return {"result": older[lagging]}
        if method == "eth_getBlockByNumber" and params[0] == "0x0" and lagging == 2:
            answer["result"]["hash"] = "0x" + "77" * 32
        return answer

    earlier = await fickle_connection.rpc("eth_getBlockByNumber", hex(history[0]), False)
    older = {1: earlier, 2: earlier | {"hash": "0x" + "88" * 32}}
    fickle_node.bend = an_older_head
    seen = (await access.may_use(SOMEBODY, DatanetId(1), Purpose.TRAIN)).block
    lagging = 1
    with pytest.raises(ChainUnavailable, match=f"at block {history[0]}, after block {seen.number} was seen"):
        await access.may_use(SOMEBODY, DatanetId(1), Purpose.TRAIN)
    lagging = 2
    assert (await fickle_connection.head()).hash == older[2]["hash"]  # another chain altogether
    lagging = 0
    assert (await access.may_use(SOMEBODY, DatanetId(1), Purpose.TRAIN)).block.number >= seen.number


@pytest.mark.integration
async def test_an_answer_is_never_paired_with_a_block_it_was_not_read_at(
    fickle_node: FickleNode, fickle_connection: ChainConnection, chain_connection: ChainConnection,
    dead_connection: ChainConnection,
) -> None:  # fmt: skip
    """Here a revocation lands between reading the head and asking at it."""
    hand = LocalHand(chain_connection, dead_connection)
    datanet, reader = await create_datanet(hand, OWNER), hand.wallets[READER]
    granted = await hand.send(OWNER, "DatanetRegistry", "grant", datanet, reader, 1, 0)
    before = await chain_connection.rpc("eth_getBlockByNumber", hex(granted.block.number), False)
    await hand.send(OWNER, "DatanetRegistry", "revoke", datanet, reader, 1)
    stale = [before]
    fickle_node.bend = lambda method, params, answer: (
        {"result": stale.pop()} if method == "eth_getBlockByNumber" and stale else answer
    )
    access = ContractAccessRegistry(fickle_connection)
    permission = await access.may_use(reader, datanet, Purpose.TRAIN)
    assert not stale
    assert permission == await access.permission_at(reader, datanet, Purpose.TRAIN, permission.block.number)


@pytest.mark.integration
async def test_the_wrong_chain_and_missing_contracts_are_named(
    chain_connection: ChainConnection, contract_addresses: Any
) -> None:
    await chain_connection.check()
    other = ChainConnection(chain_connection.rpc_url, 1, contract_addresses, ARTIFACTS)
    with pytest.raises(InvalidValue, match="is chain 20931, but CHAIN_ID says 1"):
        await other.check()
    await other.close()
    nobody = type(contract_addresses)(SOMEBODY, SOMEBODY, SOMEBODY)
    elsewhere = ChainConnection(chain_connection.rpc_url, 20931, nobody, ARTIFACTS)
    with pytest.raises(InvalidValue, match="there is no DatanetRegistry at"):
        await elsewhere.check()
    with pytest.raises(ContractsRefused, match="there is no DatanetRegistry at"):
        await ContractAccessRegistry(elsewhere).may_use(SOMEBODY, DatanetId(1), Purpose.TRAIN)
    await elsewhere.close()


@pytest.mark.integration
async def test_a_registry_that_reverts_is_not_ours_and_has_not_said_no(
    fickle_node: FickleNode, fickle_connection: ChainConnection
) -> None:
    reverted = {"error": {"code": 3, "message": "execution reverted", "data": "0x"}}
    fickle_node.bend = lambda method, params, answer: reverted if method == "eth_call" else answer
    with pytest.raises(ChainUnavailable, match="reverted"):
        await ContractAccessRegistry(fickle_connection).may_use(SOMEBODY, DatanetId(1), Purpose.TRAIN)


@pytest.mark.integration
async def test_an_audit_reads_the_chain_itself(
    chain_connection: ChainConnection, dead_connection: ChainConnection
) -> None:
    hand, audit = LocalHand(chain_connection, dead_connection), Web3AuditReader(chain_connection)
    datanet = await create_datanet(hand, OWNER)
    published = await hand.send(OWNER, "DatanetRegistry", "publishVersion", datanet, 1, MANIFEST, RECORDS, "bafy")
    assert await audit.version_on_chain(datanet, 1) == (MANIFEST, RECORDS, published.block.timestamp)
    assert await audit.version_on_chain(datanet, 2) is None
    assert await audit.block_hash_at(published.block.number) == published.block.hash
    assert await audit.block_hash_at(10**9) is None
    receipt = Digest("0x" + "5a" * 32)
    credit = (hand.wallets[READER], datanet, receipt, 0, 10_000)
    anchored = await hand.send(2, "ReceiptLedger", "anchor", hand.wallets[2], 1, MANIFEST, (), (credit,))
    assert await audit.credited(receipt) == [(hand.wallets[READER], datanet, 10_000, anchored.hash)]
    assert await audit.credited(RECORDS) == []
