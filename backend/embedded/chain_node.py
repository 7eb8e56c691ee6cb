"""An anvil that forgets nothing: every block is journalled before it is mined.

anvil mines only when told to. For each block the one writer here first offers the transactions to anvil's
pool, which is memory only: what anvil refuses (junk, another chain's, an empty wallet's) goes no further. Those
it took are appended to `journal.jsonl`, one line with the block's number and time; once that line is on the
disk, anvil mines. From time to time the whole state goes to `state.bin` and the journal starts afresh.
A start loads the state and mines the journal's blocks again. Since parent, time, order and contents are
those recorded, the blocks get the very hashes they had: a kill at any moment is not even a reorganisation.

Anvil's own `--state` is never used: it is written only at exit, and not atomically.
"""

import asyncio
import json
import logging
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp

from backend.embedded.chain_journal import BlockLine, Journal
from backend.embedded.processes import RUN_MARK, die_with_parent, free_port

log = logging.getLogger("byline.chain")

START_SECONDS = 120.0
START_TRIES = 3


class NodeRefused(Exception):
    """The node answered with a JSON-RPC error; `error` is that object, to be passed on as it is."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(str(error.get("message", error)))
        self.error = error


class NodeDown(Exception):
    """anvil does not answer. What was journalled is mined once it is back."""


class Anvil:
    """One anvil process on a random loopback port that only this process is told of."""

    def __init__(self, binary: Path, chain_id: int, home: Path) -> None:
        self._binary = binary
        self._chain_id = chain_id
        self._home = home
        self._loading = home / "state.loading.json"
        self._process: asyncio.subprocess.Process | None = None
        self._session: aiohttp.ClientSession | None = None
        self._url = ""

    async def start(self, genesis_timestamp: int, state: bytes | None) -> None:
        """`state` is the JSON that `dump` returned. Raises: NodeDown when anvil does not come up."""
        for tries_left in reversed(range(START_TRIES)):
            process = await self._launch(genesis_timestamp, state)
            try:
                await self._until_it_answers(process)
                return
            except NodeDown:
                if process.returncode is None or not tries_left:
                    raise
                await self.stop()  # its port may have been taken between our choosing it and its binding it

    async def _launch(self, genesis_timestamp: int, state: bytes | None) -> asyncio.subprocess.Process:
        port = free_port(None)
        self._url = f"http://127.0.0.1:{port}"
        arguments = [
            *("--host", "127.0.0.1", "--port", str(port), "--chain-id", str(self._chain_id)),
            *("--timestamp", str(genesis_timestamp), "--order", "fifo", "--no-mining", "--no-cors", "--quiet"),
            *("--prune-history", "--no-request-size-limit", "--cache-path", str(self._home / "anvil-cache")),
        ]
        if state is not None:
            self._loading.write_bytes(state)
            arguments += ["--load-state", str(self._loading)]
        self._process = await asyncio.create_subprocess_exec(
            str(self._binary),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            env={
                "PATH": os.defpath,
                "HOME": str(self._home),
                **{name: value for name, value in os.environ.items() if name == RUN_MARK},
            },
            preexec_fn=die_with_parent(signal.SIGKILL),  # safe here: the proxy process runs one thread
        )
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120))
        return self._process

    async def _until_it_answers(self, process: asyncio.subprocess.Process) -> None:
        deadline = time.monotonic() + START_SECONDS
        while process.returncode is None:
            try:
                async with asyncio.timeout(5):  # whoever else has the port may never say a word
                    await self.ask("eth_chainId")
                self._loading.unlink(missing_ok=True)
                return
            except (NodeDown, TimeoutError) as err:
                if time.monotonic() > deadline:
                    raise NodeDown(f"anvil does not answer ({err})") from err
                await asyncio.sleep(0.02)
        raise NodeDown(f"anvil ended with {process.returncode}")

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()  # nothing is lost: what matters is in the journal
            await self._process.wait()

    async def forward(self, request: Any) -> bytes:
        """Post a JSON-RPC document and return the answer's bytes. Raises: NodeDown."""
        if self._session is None:
            raise NodeDown("not started")
        try:
            async with self._session.post(self._url, json=request) as response:
                return await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError, RuntimeError) as err:
            raise NodeDown(str(err) or type(err).__name__) from err

    async def ask(self, method: str, *params: Any) -> Any:
        """Raises: NodeRefused, NodeDown."""
        answer = json.loads(
            await self.forward({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}) or b"{}"
        )
        if "error" in answer:
            raise NodeRefused(answer["error"])
        return answer.get("result")

    async def dump(self) -> bytes:
        """The whole state, gzipped. Only whole while nothing is being mined."""
        return bytes.fromhex((await self.ask("anvil_dumpState"))[2:])


class JournaledNode:
    """anvil and its journal as one chain. One task at a time may call `mine`, `snapshot`, `open` and `close`."""

    def __init__(self, home: Path, binary: Path, chain_id: int) -> None:
        self.anvil = Anvil(binary, chain_id, home)
        self._journal = Journal(home)
        self._pool: dict[str, str] = {}  # hash → raw of what anvil took and has not mined
        self._genesis = 0
        self._number = 0
        self._hash = ""
        self.timestamp = 0
        self.blocks_since_snapshot = 0

    async def open(self) -> None:
        """Load, replay, and be ready to mine. Raises: NodeDown."""
        saved = self._journal.load()
        header: dict[str, Any] = saved[0] if saved else {"number": 0, "genesis": int(time.time()), "pool": []}
        self._genesis = int(header["genesis"])
        self._pool.clear()
        self._journal.close()
        await self.anvil.start(self._genesis, saved[1] if saved else None)
        await self._look()
        blocks = self._journal.blocks_after(int(header["number"]))
        self._journal.open()
        for raw in header["pool"]:
            await self._offer(raw)
        if saved is None:
            # A state of nothing but the genesis block does not load with the base fee it had.
            await self._mine_block(BlockLine(1, self._hash, self._genesis, ()))
            await self.snapshot()
        for block in blocks:
            if block.number != self._number + 1 or block.parent != self._hash:
                log.error("replay: block %d does not follow the recorded parent", block.number)
            for raw in block.raw:
                await self._offer(raw)
            await self._mine_block(block)
        self.blocks_since_snapshot = len(blocks)
        log.info("chain is up at block %d (%d replayed)", self._number, len(blocks))

    async def mine(self, raws: Sequence[str], *, even_if_empty: bool) -> list[str | NodeRefused]:
        """Put the transactions into the next block. Returns, for each, its hash or why anvil refused it.

        One that is refused leaves no trace; when all are, there is a block only `even_if_empty`.
        Raises: NodeDown, with the block journalled or not.
        """
        results = [await self._offer(raw) for raw in raws]
        taken = [raw for raw, result in zip(raws, results, strict=True) if isinstance(result, str)]
        if not taken and not even_if_empty:
            return results
        await self._journal_and_mine(taken)
        pending = int((await self.anvil.ask("txpool_status"))["pending"], 16)
        while pending:  # more than one block's gas
            before = pending
            await self._journal_and_mine(())
            pending = int((await self.anvil.ask("txpool_status"))["pending"], 16)
            if pending == before:
                break
        return results

    async def _journal_and_mine(self, taken: Sequence[str]) -> None:
        # Several blocks may share a second, and a clock set back must not stop the chain.
        block = BlockLine(self._number + 1, self._hash, max(self.timestamp, int(time.time())), tuple(taken))
        self._journal.append(block)
        await self._mine_block(block)

    async def _mine_block(self, block: BlockLine) -> None:
        """Of what is in anvil's pool."""
        await self.anvil.ask("evm_setNextBlockTimestamp", max(block.timestamp, self.timestamp))
        await self.anvil.ask("evm_mine")
        await self._look()
        self.blocks_since_snapshot += 1

    async def _offer(self, raw: str) -> str | NodeRefused:
        try:
            tx_hash = str(await self.anvil.ask("eth_sendRawTransaction", raw))
        except NodeRefused as refusal:
            return refusal
        self._pool[tx_hash] = raw
        return tx_hash

    async def _look(self) -> None:
        head = await self.anvil.ask("eth_getBlockByNumber", "latest", False)
        self._number, self._hash = int(head["number"], 16), str(head["hash"])
        self.timestamp = int(head["timestamp"], 16)
        for tx_hash in head["transactions"]:
            self._pool.pop(tx_hash, None)

    async def snapshot(self) -> None:
        """Must not run beside `mine`: a dump taken while a block is made lacks parts of it."""
        waiting = []
        if self._pool:  # future nonces: anvil's dump leaves the pool out
            content = await self.anvil.ask("txpool_content")
            held = {tx["hash"] for part in content.values() for own in part.values() for tx in own.values()}
            self._pool = {tx_hash: raw for tx_hash, raw in self._pool.items() if tx_hash in held}
            waiting = list(self._pool.values())
        header = {"number": self._number, "genesis": self._genesis, "pool": waiting}
        self._journal.replace(header, await self.anvil.dump())
        self.blocks_since_snapshot = 0

    async def close(self) -> None:
        await self.anvil.stop()
        self._journal.close()
