"""The JSON-RPC server in front of the journalled anvil: the only way in.

It lets through what a wallet, an explorer and Byline need of `eth_*`, `net_*` and `web3_*`, and nothing that could
change the chain otherwise than by a signed transaction (`anvil_*`, `evm_*`, accounts that the node holds).
"""

import asyncio
import json
import logging
import time
from typing import Any

from aiohttp import web

from backend.embedded.chain_node import JournaledNode, NodeDown, NodeRefused

log = logging.getLogger("byline.chain")

READS = frozenset(
    (
        "eth_blockNumber",
        "eth_call",
        "eth_chainId",
        "eth_createAccessList",
        "eth_estimateGas",
        "eth_feeHistory",
        "eth_gasPrice",
        "eth_getBalance",
        "eth_getBlockByHash",
        "eth_getBlockByNumber",
        "eth_getBlockReceipts",
        "eth_getBlockTransactionCountByHash",
        "eth_getBlockTransactionCountByNumber",
        "eth_getCode",
        "eth_getFilterChanges",
        "eth_getFilterLogs",
        "eth_getLogs",
        "eth_getProof",
        "eth_getStorageAt",
        "eth_getTransactionByBlockHashAndIndex",
        "eth_getTransactionByBlockNumberAndIndex",
        "eth_getTransactionByHash",
        "eth_getTransactionCount",
        "eth_getTransactionReceipt",
        "eth_getUncleCountByBlockHash",
        "eth_getUncleCountByBlockNumber",
        "eth_maxPriorityFeePerGas",
        "eth_newBlockFilter",
        "eth_newFilter",
        "eth_newPendingTransactionFilter",
        "eth_syncing",
        "eth_uninstallFilter",
        "net_listening",
        "net_version",
        "web3_clientVersion",
        "web3_sha3",
    )
)
TRANSACTIONS_PER_BLOCK = 100  # anvil keeps its pool in memory and slows with it: the rest waits here
CALLS_PER_BATCH = 1_000
BODY_BYTES = 4 * 1024 * 1024
SNAPSHOT_BLOCKS = 500
SNAPSHOT_IDLE_SECONDS = 5.0
# A chain that mines on demand would stop its own clock, and with it the expiry of grants: a read of the latest
# state that finds the head older than this gets a new, empty block first.
HEARTBEAT_SECONDS = 15

Call = dict[str, Any]


class ChainProxy:
    """One HTTP endpoint over one `JournaledNode`; a single task mines, so blocks have one order."""

    def __init__(self, node: JournaledNode) -> None:
        self._node = node
        self._waiting: asyncio.Queue[tuple[str | None, asyncio.Future[str]]] = asyncio.Queue()
        self._mining: asyncio.Task[None] | None = None
        self._block: asyncio.Future[None] | None = None
        self._reviving = False
        self._transactions_since_snapshot = 0

    def application(self) -> web.Application:
        app = web.Application(client_max_size=BODY_BYTES)
        app.router.add_post("/", self._post)
        app.router.add_options("/", self._options)
        return app

    async def start(self) -> asyncio.Task[None]:
        """Returns the mining task, which ends only by a defect. Raises: NodeDown."""
        await self._node.open()
        self._mining = asyncio.create_task(self._keep_mining())
        return self._mining

    async def stop(self) -> None:
        """Let the block being made be finished, then snapshot."""
        if self._mining is not None:
            self._mining.cancel()
            await asyncio.gather(self._mining, *([self._block] if self._block else []), return_exceptions=True)
        try:
            if self._node.blocks_since_snapshot:
                await self._node.snapshot()
        except (NodeDown, NodeRefused, OSError) as err:
            log.warning("no snapshot at the end (%s); the journal has it all", err)
        await self._node.close()

    # --- mining -------------------------------------------------------------------------------

    async def _keep_mining(self) -> None:
        while True:
            try:
                batch = [await asyncio.wait_for(self._waiting.get(), SNAPSHOT_IDLE_SECONDS)]
            except TimeoutError:
                if self._transactions_since_snapshot:
                    await self._guarded(self._snapshot())
                continue
            while len(batch) < TRANSACTIONS_PER_BLOCK and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            # Shielded, and awaited by `stop`: no block is left journalled, mined and unanswered.
            self._block = asyncio.ensure_future(self._mine(batch))
            await asyncio.shield(self._block)
            if self._node.blocks_since_snapshot >= SNAPSHOT_BLOCKS:
                await self._guarded(self._snapshot())

    async def _mine(self, batch: list[tuple[str | None, asyncio.Future[str]]]) -> None:
        raws = [raw for raw, _ in batch if raw is not None]
        try:
            results = await self._node.mine(raws, even_if_empty=len(raws) < len(batch))
        except (NodeDown, NodeRefused, OSError) as err:
            log.error("anvil failed while mining (%s)", err)
            for _, future in batch:
                if not future.done():
                    future.set_exception(NodeDown(str(err)))
            await self._revive()
            return
        self._transactions_since_snapshot += sum(isinstance(result, str) for result in results)
        answers = iter(results)
        for raw, future in batch:
            result = next(answers) if raw is not None else ""
            if future.done():  # its asker has gone
                continue
            if isinstance(result, NodeRefused):
                future.set_exception(result)
            else:
                future.set_result(result)

    async def _snapshot(self) -> None:
        await self._node.snapshot()
        self._transactions_since_snapshot = 0

    async def _guarded(self, work: Any) -> None:
        try:
            await work
        except (NodeDown, NodeRefused, OSError) as err:
            log.error("anvil failed at a snapshot (%s)", err)
            await self._revive()

    async def _revive(self) -> None:
        """Start anvil again from what is on the disk. Until it has replayed all of that nobody may read: the chain
        would go back to before the latest revocations."""
        self._reviving = True
        while True:
            await self._node.close()
            try:
                await self._node.open()
                self._reviving = False
                return
            except (NodeDown, NodeRefused, OSError) as err:
                log.error("anvil does not come up (%s); trying again", err)
                await asyncio.sleep(1.0)

    async def _queue(self, raw: str | None) -> str:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        await self._waiting.put((raw, future))
        return await future

    def _wake_miner(self) -> None:
        """Whoever reads notices first that anvil is gone; the miner notices by mining, and revives it."""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda done: done.exception())  # nobody waits for this one
        self._waiting.put_nowait((None, future))

    # --- answering ----------------------------------------------------------------------------

    async def _options(self, _: web.Request) -> web.Response:
        headers = {"Access-Control-Allow-Headers": "content-type", "Access-Control-Allow-Methods": "POST"}
        return web.Response(status=204, headers=CORS | headers)

    async def _post(self, request: web.Request) -> web.Response:
        try:
            document = json.loads(await request.read())
        except ValueError:
            body = error_answer(None, -32700, "this is not JSON")
        else:
            if isinstance(document, list) and 0 < len(document) <= CALLS_PER_BATCH:
                body = b"[" + b",".join([await self._answer(call) for call in document]) + b"]"
            elif isinstance(document, list):
                body = error_answer(None, -32600, f"a batch has 1 to {CALLS_PER_BATCH} calls")
            else:
                body = await self._answer(document)
        return web.Response(body=body, content_type="application/json", headers=CORS)

    async def _answer(self, call: Any) -> bytes:
        call_id = call.get("id") if isinstance(call, dict) else None
        try:
            if not isinstance(call, dict) or not isinstance(call.get("method"), str):
                raise refused(-32600, "this is not a JSON-RPC call")
            return await self._answer_call(call_id, call["method"], call.get("params") or [])
        except NodeRefused as refusal:
            return json.dumps({"jsonrpc": "2.0", "id": call_id, "error": refusal.error}).encode()
        except NodeDown:
            if not self._reviving:
                self._wake_miner()
            return error_answer(call_id, -32603, "the embedded chain is restarting; ask again")

    async def _answer_call(self, call_id: Any, method: str, params: Any) -> bytes:
        if method == "eth_sendRawTransaction":
            if not (isinstance(params, list) and len(params) == 1 and is_hex(params[0])):
                raise refused(-32602, "one 0x… string is wanted")
            return json.dumps({"jsonrpc": "2.0", "id": call_id, "result": await self._queue(params[0])}).encode()
        if method == "eth_accounts":  # this node signs for nobody
            return json.dumps({"jsonrpc": "2.0", "id": call_id, "result": []}).encode()
        if method not in READS:
            raise refused(-32601, f"{method[:80]} is not available here")
        is_old = self._node.timestamp + HEARTBEAT_SECONDS < time.time()
        if is_old and reads_latest_state(method, params) and not self._reviving:
            await self._queue(None)
        if self._reviving:
            raise NodeDown("replaying the journal")
        return await self._node.anvil.forward({"jsonrpc": "2.0", "id": call_id, "method": method, "params": params})


CORS = {"Access-Control-Allow-Origin": "*"}  # a public chain: nothing here is anyone's secret


def reads_latest_state(method: str, params: Any) -> bool:
    """Whether the answer depends on the head's time. Pollers ask eth_blockNumber, which makes no blocks."""
    if method not in ("eth_call", "eth_getBlockByNumber") or not isinstance(params, list):
        return False
    block = params[1 if method == "eth_call" else 0] if len(params) > (method == "eth_call") else "latest"
    return block in ("latest", "pending")


def is_hex(text: Any) -> bool:
    return isinstance(text, str) and text.startswith("0x") and all(c in "0123456789abcdefABCDEF" for c in text[2:])


def refused(code: int, message: str) -> NodeRefused:
    return NodeRefused({"code": code, "message": message})


def error_answer(call_id: Any, code: int, message: str) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": call_id, "error": {"code": code, "message": message}}).encode()
