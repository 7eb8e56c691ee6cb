"""`RpcGateway` onto a `MemoryChain`: just enough JSON-RPC to see that bytes go there and come back."""

import json

from backend.drivers.memory.chain import MemoryChain


class MemoryRpcGateway:
    def __init__(self, chain: MemoryChain) -> None:
        self._chain = chain
        self.forwarded: list[bytes] = []

    async def forward(self, body: bytes) -> bytes:
        self._chain.check_up()
        self.forwarded.append(body)
        call = json.loads(body)
        known = {"eth_chainId": hex(self._chain.chain_id), "eth_blockNumber": hex(len(self._chain.blocks) - 1)}
        answer = {"jsonrpc": "2.0", "id": call["id"]}
        if call["method"] in known:
            return json.dumps(answer | {"result": known[call["method"]]}).encode()
        return json.dumps(answer | {"error": {"code": -32601, "message": f"no {call['method']} here"}}).encode()
