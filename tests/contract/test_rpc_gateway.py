"""What every `RpcGateway` does: carry JSON-RPC there and back, and say so when nobody answers."""

import json
from collections.abc import AsyncIterator

import pytest

from backend.domain.errors import ChainUnavailable
from backend.drivers.chain.gateway import HttpRpcGateway
from backend.drivers.memory.chain import MemoryChain
from backend.drivers.memory.gateway import MemoryRpcGateway
from backend.embedded.chain import EmbeddedChain
from backend.ports import RpcGateway


@pytest.fixture(params=["memory", pytest.param("anvil", marks=pytest.mark.integration)])
def rpc_url(request: pytest.FixtureRequest) -> str | None:
    if request.param == "memory":
        return None
    server: EmbeddedChain = request.getfixturevalue("embedded_chain")
    return server.url


@pytest.fixture
async def gateway(rpc_url: str | None) -> AsyncIterator[RpcGateway]:
    if rpc_url is None:
        yield MemoryRpcGateway(MemoryChain())
        return
    real = HttpRpcGateway(rpc_url)
    yield real
    await real.close()


@pytest.fixture
async def dead_gateway(rpc_url: str | None) -> AsyncIterator[RpcGateway]:
    if rpc_url is None:
        chain = MemoryChain()
        chain.down = True
        yield MemoryRpcGateway(chain)
        return
    real = HttpRpcGateway("http://127.0.0.1:9", timeout_seconds=2)
    yield real
    await real.close()


def call(method: str) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 77, "method": method, "params": []}).encode()


async def test_a_call_and_its_answer_pass_as_they_are(gateway: RpcGateway) -> None:
    assert json.loads(await gateway.forward(call("eth_chainId"))) == {"jsonrpc": "2.0", "id": 77, "result": "0x51c3"}


async def test_the_nodes_refusal_is_an_answer_too(gateway: RpcGateway) -> None:
    answer = json.loads(await gateway.forward(call("anvil_setBalance")))
    assert (answer["id"], answer["error"]["code"]) == (77, -32601)


async def test_a_silent_node_is_unavailable(dead_gateway: RpcGateway) -> None:
    with pytest.raises(ChainUnavailable):
        await dead_gateway.forward(call("eth_chainId"))
