"""What asking, following and extending the chain costs: `python -m bench.chain [--json] [--events 10000]`.

*Following.* Real events of our contracts on a real anvil, 100 in each block, nine in ten of them credits anchored in
batches and the rest datanets made and granted. The indexer reads them from block 0 into the mirror's tables in a real
Postgres, as the worker does: verified, decoded, stored, folded, committed. The peer in the same run reads them with
web3.py's `contract.events.X.get_logs` and inserts them one by one, in one transaction, into a table without indexes.

*Asking.* `mayUse` through `AccessRegistry.may_use`, as each decision does: the newest block, then the call at exactly
that block. One after the other, and 16 at a time; the peer is web3.py's `functions.mayUse(…).call()` at "latest", which
says nothing of the block it was answered at.

*Extending.* Receipts with one credit each, stored beforehand, until the mirror shows the last of them anchored: proof,
outbox, signature, block, event, table, as the worker does it. The peer is the same path with one receipt a transaction.
"""

import asyncio
import hashlib
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import psycopg
from web3 import AsyncHTTPProvider, AsyncWeb3

from backend.domain.answers import Answer, Credit, ModelRef
from backend.domain.consent import PLAIN_TERMS
from backend.domain.errors import ChainUnavailable
from backend.domain.types import DatanetId, Purpose, Wallet, digest_of, parse_wallet
from backend.drivers.chain.abi import CONTRACTS
from backend.drivers.chain.access import ContractAccessRegistry
from backend.drivers.chain.connection import NOWHERE, ChainConnection
from backend.drivers.chain.deploying import deploy
from backend.drivers.chain.events import Web3ChainEvents
from backend.drivers.chain.ledger import ContractReceiptLedger
from backend.drivers.chain.sending import KeyedSigner
from backend.drivers.chain.wallet import local_test_key
from backend.drivers.db.answers import PgAnswerLog
from backend.drivers.db.engine import migrate, open_database
from backend.drivers.db.mirror import PgChainMirror
from backend.drivers.db.outbox import PgOutbox
from backend.drivers.db.versions import PgVersionStore
from backend.embedded.postgres import EmbeddedPostgres
from backend.preparing import ARTIFACTS
from backend.services import anchoring
from backend.services.anchoring import Anchoring
from backend.services.indexing import ChainIndexing
from backend.services.sending import Sending
from backend.up import ANVIL
from bench._report import Table, parser, report
from tests.system_fixtures import free_port

CHAIN_ID = 31337
EVENTS = 10_000
EVENTS_A_BLOCK, CREDITS_A_BLOCK, GRANTS_A_BLOCK = 100, 89, 7  # the others: a checkpoint, a datanet, its mint and terms
QUESTIONS, AT_A_TIME = 1_000, 16
RECEIPTS, RECEIPTS_ONE_BY_ONE = 5_000, 20
GAS = hex(16_000_000)
RUNS = 5
TARGET_EVENTS_PER_SECOND = 20_000


@asynccontextmanager
async def anvil(accounts: int) -> AsyncIterator[str]:
    """An empty chain whose node signs for so many accounts. Yields its URL."""
    port = free_port()
    command = [str(ANVIL), "--port", str(port), "--accounts", str(accounts), "--chain-id", str(CHAIN_ID), "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: ASYNC220
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


async def answers(url: str) -> None:
    connection = ChainConnection(url, CHAIN_ID, NOWHERE, ARTIFACTS)
    for _ in range(200):
        try:
            await connection.check_chain_id()
            break
        except ChainUnavailable:
            await asyncio.sleep(0.05)
    await connection.close()


async def fill(chain: ChainConnection, blocks: int) -> None:
    """A block for each account: it anchors its log, makes a datanet and grants it."""
    accounts = await chain.rpc("eth_accounts")
    await chain.rpc("evm_setAutomine", False)
    for number in range(blocks):
        me = accounts[number]
        receipts = [hashlib.sha256(f"{number} {index}".encode()).digest() for index in range(CREDITS_A_BLOCK)]
        credits = [
            (accounts[index % len(accounts)], number + 1, digest, index, 10_000)
            for index, digest in enumerate(receipts)
        ]
        await _send(chain, me, "ReceiptLedger", "anchor", me, len(receipts), receipts[0], [], credits)
        await _send(chain, me, "DatanetRegistry", "createDatanet", f"datanet {number}", PLAIN_TERMS.struct(), "", 0)
        for place in range(GRANTS_A_BLOCK):
            other = accounts[(number + place + 1) % len(accounts)]
            await _send(chain, me, "DatanetRegistry", "grant", number + 1, other, 1 + place, 0)
        await chain.rpc("evm_mine")
    await chain.rpc("evm_setAutomine", True)


async def _send(chain: ChainConnection, sender: str, contract: str, function: str, *args: Any) -> None:
    data = "0x" + chain.artifacts[contract].encode_call(function, args).hex()
    await chain.rpc(
        "eth_sendTransaction", {"from": sender, "to": chain.contracts.of(contract), "data": data, "gas": GAS}
    )


async def ours(chain: ChainConnection, url: str) -> tuple[int, list[float], list[float]]:
    """(events, seconds of each run from an empty mirror to the tip, and this process's CPU seconds in it)."""
    database = open_database(url)
    mirror, seconds, cpu_seconds, added = PgChainMirror(database), [], [], 0
    for _ in range(RUNS):
        await mirror.rewind(None)
        indexing = ChainIndexing(Web3ChainEvents(chain), mirror, PgVersionStore(database))
        began, worked = time.perf_counter(), time.process_time()
        added = await indexing.step()
        seconds.append(time.perf_counter() - began)
        cpu_seconds.append(time.process_time() - worked)
    await database.close()
    return added, seconds, cpu_seconds


async def peer(chain: ChainConnection, url: str) -> tuple[int, float]:
    """(events, seconds) of web3.py and a loop of INSERTs."""
    web3 = AsyncWeb3(AsyncHTTPProvider(chain.rpc_url))
    contracts = [
        web3.eth.contract(cast(Any, chain.contracts.of(n)), abi=cast(Any, chain.artifacts[n].abi)) for n in CONTRACTS
    ]
    added = 0
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE peer (block bigint, log_index int, tx text, name text, args jsonb)")
        began = time.perf_counter()
        for contract in contracts:
            for kind in contract.events:
                for event in await kind.get_logs(from_block=0):
                    args = json.dumps(dict(event["args"]), default=lambda value: value.hex())
                    row = (
                        event["blockNumber"],
                        event["logIndex"],
                        event["transactionHash"].hex(),
                        event["event"],
                        args,
                    )
                    connection.execute("INSERT INTO peer VALUES (%s, %s, %s, %s, %s)", row)
                    added += 1
        connection.commit()
        seconds = time.perf_counter() - began
        connection.execute("DROP TABLE peer")
    await web3.provider.disconnect()
    return added, seconds


async def bench_indexer(url: str, events: int) -> dict[str, Any]:
    blocks = events // EVENTS_A_BLOCK
    async with anvil(max(10, blocks + 1)) as rpc_url:
        await answers(rpc_url)
        contracts = await deploy(rpc_url, CHAIN_ID, local_test_key(0), ARTIFACTS)
        chain = ChainConnection(rpc_url, CHAIN_ID, contracts, ARTIFACTS, timeout_seconds=120)
        try:
            await fill(chain, blocks)
            added, seconds, cpu_seconds = await ours(chain, url)
            peer_added, peer_seconds = await peer(chain, url)
            others = {"may_use": await bench_asking(chain), "anchoring": await bench_anchoring(chain, url)}
        finally:
            await chain.close()
    assert added >= events, f"{added} events were made, not {events}"
    assert peer_added == added, f"the peer found {peer_added} events, the indexer {added}"
    median = statistics.median(seconds)
    return {
        **others,
        "events": added,
        "runs": RUNS,
        "seconds": [round(second, 3) for second in seconds],
        "cpu_seconds": [round(second, 3) for second in cpu_seconds],
        "events_per_second": round(added / median),
        "best_events_per_second": round(added / min(seconds)),
        "peer": "web3.py get_logs and INSERT",
        "peer_events_per_second": round(peer_added / peer_seconds),
        "target_events_per_second": TARGET_EVENTS_PER_SECOND,
        "on_target": added / median >= TARGET_EVENTS_PER_SECOND,
    }


async def bench_asking(chain: ChainConnection) -> dict[str, Any]:
    """Of a grantee of datanet 1, who is allowed."""
    access = ContractAccessRegistry(chain)
    accounts = await chain.rpc("eth_accounts")
    grantee, datanet = parse_wallet(accounts[1]), DatanetId(1)
    web3 = AsyncWeb3(AsyncHTTPProvider(chain.rpc_url))
    artifact = chain.artifacts["DatanetRegistry"]
    contract = web3.eth.contract(cast(Any, chain.contracts.datanet_registry), abi=cast(Any, artifact.abi))

    async def ours() -> bool:
        return (await access.may_use(grantee, datanet, Purpose.TRAIN)).allowed

    async def peer() -> bool:
        return bool(await contract.functions.mayUse(grantee, 1, 1).call())

    async def rate(ask: Callable[[], Awaitable[bool]], at_a_time: int) -> int:
        assert await ask()
        began = time.perf_counter()

        async def some() -> None:
            for _ in range(QUESTIONS // at_a_time):
                assert await ask()

        await asyncio.gather(*(some() for _ in range(at_a_time)))
        return round(QUESTIONS / (time.perf_counter() - began))

    figures = {
        "per_second": await rate(ours, 1),
        "per_second_16_at_a_time": await rate(ours, AT_A_TIME),
        "peer": "web3.py call at latest",
        "peer_per_second": await rate(peer, 1),
        "peer_per_second_16_at_a_time": await rate(peer, AT_A_TIME),
    }
    await web3.provider.disconnect()
    return figures


async def bench_anchoring(chain: ChainConnection, url: str) -> dict[str, Any]:
    one_by_one = await _anchored_per_second(chain, url, 1, RECEIPTS_ONE_BY_ONE, RECEIPTS_ONE_BY_ONE)
    batched = await _anchored_per_second(chain, url, anchoring.RECEIPTS_PER_ANCHOR, RECEIPTS, RECEIPTS)
    return {
        "receipts": RECEIPTS,
        "per_second": batched,
        "peer": "one receipt a transaction",
        "peer_per_second": one_by_one,
    }


async def _anchored_per_second(chain: ChainConnection, url: str, batch: int, count: int, seed: int) -> float:
    database = open_database(url)
    nobody_yet = len(await chain.rpc("eth_accounts")) - 1  # every account before it has anchored a log in `fill`
    signer = KeyedSigner(chain, local_test_key(nobody_yet))
    log, outbox, mirror = PgAnswerLog(database), PgOutbox(database), PgChainMirror(database)
    indexing = ChainIndexing(Web3ChainEvents(chain), mirror, PgVersionStore(database))
    first = await log.size()
    for number in range(first, first + count):
        await log.append(*_receipt(seed, number, signer.address))
    steps = Anchoring(log, ContractReceiptLedger(chain, signer.address), outbox, signer.address)
    sending, before = Sending(outbox, signer, 0), anchoring.RECEIPTS_PER_ANCHOR
    anchoring.RECEIPTS_PER_ANCHOR = batch
    await indexing.step()
    began = time.perf_counter()
    while not await mirror.events_named("CheckpointAnchored", publisher=signer.address, size=first + count):
        await steps.step()
        await sending.step()
        await indexing.step()
    seconds = time.perf_counter() - began
    anchoring.RECEIPTS_PER_ANCHOR = before
    await database.close()
    return round(count / seconds, 1)


def _receipt(seed: int, number: int, wallet: Wallet) -> tuple[Answer, dict[str, Any], list[Credit]]:
    digest = digest_of(hashlib.sha256(f"{seed} {number}".encode()).digest())
    model = ModelRef("bench", "0")
    answer = Answer(f"{seed}-{number}", wallet, "q", "a", model, (), {wallet: 10_000}, digest, datetime.now(UTC))
    return answer, {"digest": digest}, [Credit(wallet, 1, digest, 10_000)]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--events", type=int, default=EVENTS, help="fewer for a trial (not kept)")
    chosen = arguments.parse_args()
    home = Path(tempfile.mkdtemp(prefix="byline-bench-", dir="/tmp"))
    home.chmod(0o755)  # Postgres is not root
    server = EmbeddedPostgres(home)
    try:
        url = server.start()
        migrate(url)
        figures = {"indexer": asyncio.run(bench_indexer(url, chosen.events))}
    finally:
        server.stop()
        shutil.rmtree(home)
    found = figures["indexer"]
    rows = [
        ["the indexer (median)", found["events_per_second"]],
        ["the indexer (best)", found["best_events_per_second"]],
        [found["peer"], found["peer_events_per_second"]],
    ]
    asking, extending = found["may_use"], found["anchoring"]
    asked = [
        ["may_use, with its block", asking["per_second"], asking["per_second_16_at_a_time"]],
        [asking["peer"], asking["peer_per_second"], asking["peer_per_second_16_at_a_time"]],
    ]
    anchored = [
        ["in batches, end to end", extending["per_second"]],
        [extending["peer"], extending["peer_per_second"]],
    ]
    tables = [
        Table(f"{found['events']:,} events from block 0 into Postgres", ("", "events/s"), rows),
        Table("`mayUse` through the backend", ("", "one by one, a second", "16 at a time, a second"), asked),
        Table(f"{extending['receipts']:,} receipts with a credit each", ("", "anchored a second"), anchored),
    ]
    report("chain", tables, figures, as_json=chosen.json, keep=chosen.events == EVENTS)


if __name__ == "__main__":
    main()
