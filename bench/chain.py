"""What following the chain costs: `python -m bench.chain [--json] [--events 10000]`.

Real events of our contracts on a real anvil, 100 in each block, nine in ten of them credits anchored in batches and
the rest datanets made and granted. The indexer reads them from block 0 into the mirror's tables in a real Postgres,
as the worker does: verified, decoded, stored, folded, committed. The peer in the same run reads the same events with
web3.py's `contract.events.X.get_logs` and inserts them one by one, in one transaction, into a table without indexes.
"""

import asyncio
import hashlib
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import psycopg
from web3 import AsyncHTTPProvider, AsyncWeb3

from backend.domain.errors import ChainUnavailable
from backend.drivers.chain.abi import CONTRACTS
from backend.drivers.chain.connection import ChainConnection, ContractAddresses
from backend.drivers.chain.deploying import deploy
from backend.drivers.chain.events import Web3ChainEvents
from backend.drivers.chain.wallet import local_test_key
from backend.drivers.db.engine import migrate, open_database
from backend.drivers.db.mirror import PgChainMirror
from backend.drivers.db.versions import PgVersionStore
from backend.embedded.postgres import EmbeddedPostgres
from backend.preparing import ARTIFACTS
from backend.services.indexing import ChainIndexing
from backend.up import ANVIL
from bench._report import Table, parser, report
from tests.system_fixtures import free_port

CHAIN_ID = 31337
EVENTS = 10_000
EVENTS_A_BLOCK, CREDITS_A_BLOCK, GRANTS_A_BLOCK = 100, 89, 8  # the others: one checkpoint, one datanet, one mint
GAS = hex(16_000_000)
RUNS = 5
TARGET_EVENTS_PER_SECOND = 20_000
NO_TERMS = b"\0" * 32


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
    nobody = ContractAddresses(*([cast(Any, "0x" + "00" * 20)] * 3))
    connection = ChainConnection(url, CHAIN_ID, nobody, ARTIFACTS)
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
            (accounts[index % len(accounts)], number + 1, digest, 10_000) for index, digest in enumerate(receipts)
        ]
        await _send(chain, me, "ReceiptLedger", "anchor", len(receipts), receipts[0], [], credits)
        await _send(chain, me, "DatanetRegistry", "createDatanet", f"datanet {number}", NO_TERMS, "", 0)
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
        finally:
            await chain.close()
    assert added >= events, f"{added} events were made, not {events}"
    assert peer_added == added, f"the peer found {peer_added} events, the indexer {added}"
    median = statistics.median(seconds)
    return {
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
    table = Table(f"{found['events']:,} events from block 0 into Postgres", ("", "events/s"), rows)
    report("chain", [table], figures, as_json=chosen.json, keep=chosen.events == EVENTS)


if __name__ == "__main__":
    main()
