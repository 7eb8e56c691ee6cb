"""The indexer, a real anvil that is reorganised, killed and replaced, and a real Postgres."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import pytest

from backend.domain.errors import ChainUnavailable
from backend.domain.finality import FINAL_DEPTH
from backend.domain.types import NO_WALLET
from backend.drivers.chain.connection import ChainConnection, ContractAddresses
from backend.drivers.chain.deploying import deploy
from backend.drivers.chain.events import Web3ChainEvents
from backend.drivers.chain.wallet import local_test_key
from backend.drivers.db.engine import Database
from backend.drivers.db.mirror import PgChainMirror
from backend.drivers.db.versions import PgVersionStore
from backend.drivers.memory.mirror import MemoryChainMirror
from backend.drivers.memory.versions import MemoryVersionStore
from backend.services.indexing import ChainIndexing
from tests.chain_fixtures import ANVIL, ARTIFACTS, NO_TERMS
from tests.system_fixtures import free_port

pytestmark = pytest.mark.integration
CHAIN_ID = 31337
NOWHERE = ContractAddresses(NO_WALLET, NO_WALLET, NO_WALLET)


class OpenAnvil:
    """An anvil without Byline's proxy in front, so that it can be told to reorganise."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.plain = ChainConnection(self.url, CHAIN_ID, NOWHERE, ARTIFACTS)

    async def start(self) -> ContractAddresses:
        """A chain of its own each time: the state of the one before is gone."""
        command = [str(ANVIL), "--port", str(self.port), "--quiet"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: ASYNC220
        for _ in range(600):
            try:
                await self.plain.check_chain_id()
                break
            except ChainUnavailable:
                await asyncio.sleep(0.05)
        return await deploy(self.url, CHAIN_ID, local_test_key(0), ARTIFACTS)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    async def create(self, chain: ChainConnection, name: str) -> None:
        data = "0x" + chain.artifacts["DatanetRegistry"].encode_call("createDatanet", [name, NO_TERMS, "", 0]).hex()
        [sender, *_] = await chain.rpc("eth_accounts")
        call = {"from": sender, "to": chain.contracts.datanet_registry, "data": data, "gas": hex(1_000_000)}
        await chain.rpc("eth_sendTransaction", call)


@pytest.fixture
async def anvil() -> AsyncIterator[OpenAnvil]:
    server = OpenAnvil()
    yield server
    server.kill()
    await server.plain.close()


async def shown(mirror: Any) -> Any:
    standing = await mirror.standing()
    names = ("DatanetCreated", "Transfer")
    return standing.tip, await mirror.datanets(), [await mirror.events_named(n, limit=1_000) for n in names]


async def assert_as_from_block_0(mirror: PgChainMirror, events: Web3ChainEvents) -> list[str]:
    """Returns the datanets' names."""
    fresh = MemoryChainMirror(MemoryVersionStore())
    await ChainIndexing(events, fresh, MemoryVersionStore()).step()
    assert await shown(mirror) == await shown(fresh)
    return [row.name for row in await mirror.datanets()]


async def test_a_real_chain_is_followed_through_reorganisations_a_kill_and_its_replacement(
    anvil: OpenAnvil, database: Database
) -> None:
    contracts = await anvil.start()
    chain = ChainConnection(anvil.url, CHAIN_ID, contracts, ARTIFACTS)
    events, mirror, versions = Web3ChainEvents(chain), PgChainMirror(database), PgVersionStore(database)
    indexing = ChainIndexing(events, mirror, versions)
    for depth in (1, 2, 5, 9):
        for number in range(depth + 1):
            await anvil.create(chain, f"{depth} {number}")
            await indexing.step()
        await chain.rpc("anvil_reorg", depth, [])
        await indexing.step()
        names = await assert_as_from_block_0(mirror, events)
        assert f"{depth} 0" in names
        assert f"{depth} {depth}" not in names
    await chain.rpc("anvil_mine", hex(FINAL_DEPTH + 20))
    await indexing.step()
    standing = await mirror.standing()
    assert standing.finality is not None
    assert standing.finality.block.number > 0
    await chain.rpc("anvil_reorg", FINAL_DEPTH + 4, [])
    await indexing.step()
    await assert_as_from_block_0(mirror, events)
    assert "which it had called final" in str((await mirror.standing()).problem)

    anvil.kill()
    with pytest.raises(ChainUnavailable):
        await indexing.step()
    assert await deploy_again(anvil) == contracts  # the same account's first transactions: only the chain is another
    await anvil.create(chain, "fresh")
    restarted = ChainIndexing(events, mirror, versions)
    await restarted.step()
    assert await assert_as_from_block_0(mirror, events) == ["fresh"]
    assert (await mirror.standing()).problem is None
    await chain.close()


async def deploy_again(anvil: OpenAnvil) -> ContractAddresses:
    await asyncio.sleep(1.1)  # anvil's first block says the second it was made in, and that tells the chains apart
    return await anvil.start()
