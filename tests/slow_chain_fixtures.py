"""An anvil of the test's own that mines when told to, may reorganise, and keeps earlier states.

async def test_something(slow_node: SlowNode, slow_connection: ChainConnection) -> None: ...
"""

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from backend.domain.consent import PLAIN_TERMS
from backend.drivers.chain.connection import ChainConnection
from backend.drivers.chain.deploying import deploy
from backend.drivers.chain.wallet import local_test_key
from backend.embedded.chain import LOCAL_CHAIN_ID
from backend.embedded.processes import free_port
from backend.ports import ContractCall
from tests.chain_fixtures import ANVIL, ARTIFACTS, DEPLOYER


class SlowNode:
    def __init__(self, url: str) -> None:
        self.url = url

    async def ask(self, method: str, *params: object) -> object:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        async with aiohttp.ClientSession() as session, session.post(self.url, json=request) as response:
            answer = await response.json()
        assert "error" not in answer, answer["error"]
        return answer["result"]

    async def mine(self, blocks: int = 1) -> None:
        await self.ask("anvil_mine", hex(blocks))

    async def mine_nothing(self, blocks: int) -> None:
        """Blocks that leave out what waits, as they do when its fee is too low."""
        pool = await self.ask("txpool_content")
        assert isinstance(pool, dict)
        hashes = [tx["hash"] for part in pool.values() for own in part.values() for tx in own.values()]
        raws = [await self.ask("eth_getRawTransactionByHash", tx_hash) for tx_hash in hashes]
        for tx_hash in hashes:
            await self.ask("anvil_dropTransaction", tx_hash)
        await self.mine(blocks)
        for raw in raws:
            await self.ask("eth_sendRawTransaction", raw)


@pytest.fixture(scope="session")
def slow_url() -> Iterator[str]:
    port = free_port(None)
    process = subprocess.Popen(
        [str(ANVIL), "--port", str(port), "--chain-id", str(LOCAL_CHAIN_ID), "--no-mining", "--quiet"]
    )
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait()


@pytest.fixture
async def slow_node(slow_url: str) -> AsyncIterator[SlowNode]:
    """As it was before the test, afterwards."""
    node = SlowNode(slow_url)
    deadline = time.monotonic() + 60
    while True:
        try:
            await node.ask("eth_chainId")
            break
        except aiohttp.ClientError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
    before = await node.ask("evm_snapshot")
    yield node
    await node.ask("anvil_dropAllTransactions")
    await node.ask("evm_revert", before)


@pytest.fixture
async def slow_connection(slow_node: SlowNode) -> AsyncIterator[ChainConnection]:
    async def keep_mining() -> None:
        while True:
            await slow_node.mine()
            await asyncio.sleep(0.02)

    mining = asyncio.create_task(keep_mining())
    contracts = await deploy(slow_node.url, LOCAL_CHAIN_ID, local_test_key(DEPLOYER), ARTIFACTS)
    mining.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await mining
    connection = ChainConnection(slow_node.url, LOCAL_CHAIN_ID, contracts, ARTIFACTS)
    yield connection
    await connection.close()


def create(name: str) -> ContractCall:
    """A call that always goes through, and whose doubling would show: each makes another datanet."""
    return ContractCall("DatanetRegistry", "createDatanet", (name, PLAIN_TERMS.struct(), "", 0))
