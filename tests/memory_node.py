"""A JSON-RPC node over a `MemoryChain`, for the real driver, with the faults that nodes have.

node = MemoryNode(MemoryChain(), addresses)
connection = node.connect()          # a `ChainConnection` that asks this node
node.faults += [("fine", 0), ("lag", 2)]   # for the next questions, one each
"""

import random
from collections.abc import Sequence
from functools import cache
from typing import Any

from eth_utils.crypto import keccak

from backend.domain.errors import ChainUnavailable
from backend.domain.types import Wallet
from backend.drivers.chain.abi import CONTRACTS, ContractArtifact, encode
from backend.drivers.chain.connection import ChainConnection, ContractAddresses, RpcError
from backend.drivers.memory.chain import MemoryBlock, MemoryChain
from backend.ports import ChainEvent
from tests.chain_fixtures import ARTIFACTS

ADDRESSES = ContractAddresses(Wallet(f"0x{11:040x}"), Wallet(f"0x{12:040x}"), Wallet(f"0x{13:040x}"))
FAULTS = ("outage", "refused", "duplicate", "shuffled", "removed", "other branch", "contradiction", "not asked for",
          "lag", "reorg")  # fmt: skip
Log = dict[str, Any]


@cache
def _artifact(name: str) -> ContractArtifact:
    return ContractArtifact.load(ARTIFACTS, name)


class MemoryNode:
    def __init__(self, chain: MemoryChain, seed: int = 0) -> None:
        self.chain = chain
        self.faults: list[tuple[str, int]] = []
        self.asked = 0
        self._abi = {name: _artifact(name) for name in CONTRACTS}
        self._draw = random.Random(seed)  # noqa: S311 - repeatable, not secret

    def connect(self) -> ChainConnection:
        connection: Any = ChainConnection("http://memory", self.chain.chain_id, ADDRESSES, ARTIFACTS)
        connection.rpc, connection.batch = self.rpc, self.batch
        return connection  # type: ignore[no-any-return]

    async def batch(self, method: str, params: Sequence[Sequence[Any]]) -> list[Any]:
        return [await self.rpc(method, *each) for each in params]

    async def rpc(self, method: str, *params: Any) -> Any:
        self.asked += 1
        fault, size = self.faults.pop(0) if self.faults else ("fine", 0)
        if fault == "outage":
            raise ChainUnavailable("outage")
        if fault == "refused":
            raise RpcError(method, {"code": -32005, "message": "query returned more than 10000 results"})
        if fault == "reorg":
            self.chain.reorg(min(size, len(self.chain.blocks) - 1))
        blocks = self.chain.blocks[: max(1, len(self.chain.blocks) - (size if fault == "lag" else 0))]
        if method == "eth_blockNumber":
            return hex(len(blocks) - 1)
        if method == "eth_getBlockByNumber":
            return self._header(blocks, params[0])
        assert method == "eth_getLogs"
        return self._bent(fault, self._logs(blocks, params[0]))

    def _header(self, blocks: list[MemoryBlock], name: str) -> dict[str, Any] | None:
        last = len(blocks) - 1
        number = {"latest": last, "finalized": max(0, last - 64)}.get(name)
        number = int(name, 16) if number is None else number
        if number > last:
            return None
        block = blocks[number]
        parent = blocks[number - 1].ref.hash if number else "0x" + "00" * 32
        return {"number": hex(number), "hash": block.ref.hash, "parentHash": parent,
                "timestamp": hex(block.ref.timestamp), "logsBloom": self._bloom(block),
                "transactions": list(block.transactions)}  # fmt: skip

    def _logs(self, blocks: list[MemoryBlock], query: dict[str, Any]) -> list[Log]:
        if "blockHash" in query:
            found = [block for block in blocks if block.ref.hash == query["blockHash"]]
            if not found:
                raise RpcError("eth_getLogs", {"code": -32000, "message": "unknown block"})
        else:
            found = blocks[int(query["fromBlock"], 16) : int(query["toBlock"], 16) + 1]
        return [self._log(event) for block in found for event in block.events]

    def _bent(self, fault: str, logs: list[Log]) -> list[Log]:
        if not logs:
            return logs
        other, genesis = "0x" + "66" * 32, self.chain.blocks[0].ref.hash
        ghost = logs[-1] | {"logIndex": hex(99), "transactionHash": other}
        bent = {
            "duplicate": [*logs, dict(self._draw.choice(logs))],
            "shuffled": self._draw.sample(logs, len(logs)),
            "removed": [*logs, ghost | {"removed": True}],
            "other branch": [*logs, ghost | {"blockHash": other}],
            "contradiction": [*logs, logs[-1] | {"transactionHash": other}],
            "not asked for": [*logs, ghost | {"blockNumber": hex(0), "blockHash": genesis}],
        }
        return bent.get(fault, logs)

    def _log(self, event: ChainEvent) -> Log:
        abi = self._abi[event.contract]
        [entry] = [entry for entry in abi.abi if entry["type"] == "event" and entry["name"] == event.name]
        topics = [abi.topic(event.name)]
        topics += ["0x" + encode([i["type"]], [event.args[i["name"]]]).hex() for i in entry["inputs"] if i["indexed"]]
        plain = [i for i in entry["inputs"] if not i["indexed"]]
        data = encode([i["type"] for i in plain], [event.args[i["name"]] for i in plain])
        return {"address": ADDRESSES.of(event.contract), "topics": topics, "data": "0x" + data.hex(),
                "blockNumber": hex(event.block.number), "blockHash": event.block.hash,
                "transactionHash": event.tx_hash, "logIndex": hex(event.log_index), "removed": False}  # fmt: skip

    def _bloom(self, block: MemoryBlock) -> str:
        bloom = 0
        for log in map(self._log, block.events):
            for item in (log["address"], *log["topics"]):
                digest = keccak(hexstr=item)
                for at in (0, 2, 4):
                    bloom |= 1 << ((digest[at] << 8 | digest[at + 1]) & 2047)
        return f"0x{bloom:0512x}"
