"""The embedded chain: a local EVM chain that survives being killed at any moment.

    EmbeddedChain ── starts ──> python -m backend.embedded.chain (chain_proxy) ── starts ──> anvil

The middle process owns the data directory. When its parent dies it takes a last snapshot and ends; when it
dies itself the kernel kills anvil. Everything acknowledged is in the journal before it is acknowledged.
"""

import argparse
import asyncio
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from aiohttp import web

from backend.embedded.chain_node import JournaledNode
from backend.embedded.chain_proxy import ChainProxy
from backend.embedded.processes import die_with_parent

LOCAL_CHAIN_ID = 20931
# anvil funds the accounts of this public phrase. Byline offers them as labelled local test wallets.
TEST_MNEMONIC = "test test test test test test test test test test test junk"


class ChainDidNotStart(Exception):
    """The message ends with the last lines of the chain's log."""


class EmbeddedChain:
    """Starts and stops the chain's process; everything else goes through `url`.

    Start it from a thread that lives as long as the chain is wanted (usually the main one): the
    kernel ties the process to that thread.
    """

    def __init__(self, home: Path, anvil: Path, port: int = 0, chain_id: int = LOCAL_CHAIN_ID) -> None:
        """`home` keeps the chain; `anvil` is the program; port 0 takes a free one (it counts from the next start)."""
        self._home = home
        self._anvil = anvil
        self.port = port
        self.chain_id = chain_id
        self.process: subprocess.Popen[bytes] | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """Where the RPC answers, once started."""
        if not self._url:
            raise ValueError("the embedded chain is not started")
        return self._url

    @property
    def pid(self) -> int:
        if self.process is None:
            raise ValueError("the embedded chain is not started")
        return self.process.pid

    def start(self, timeout_seconds: float = 180.0) -> None:
        """Return when the RPC answers; replaying a long journal takes a while. Raises: ChainDidNotStart."""
        if not self._anvil.is_file():
            raise ChainDidNotStart(f"there is no anvil at {self._anvil}; `npm ci` brings it")
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        endpoint = self._home / "endpoint.json"
        endpoint.unlink(missing_ok=True)
        command = [sys.executable, "-m", "backend.embedded.chain", "--home", str(self._home)]
        command += ["--anvil", str(self._anvil), "--port", str(self.port), "--chain-id", str(self.chain_id)]
        command += ["--parent", str(os.getpid())]
        with self._log().open("ab") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=Path(__file__).parents[2],
                start_new_session=True,  # Ctrl-C is for the supervisor, which then stops us in order
            )  # fmt: skip
        deadline = time.monotonic() + timeout_seconds
        while not endpoint.exists():
            if self.process.poll() is not None:
                raise ChainDidNotStart(f"the embedded chain ended with {self.process.returncode}:\n{self._log_tail()}")
            if time.monotonic() > deadline:
                self.stop()
                raise ChainDidNotStart(f"no embedded chain after {timeout_seconds:g} s:\n{self._log_tail()}")
            time.sleep(0.02)
        self._url = str(json.loads(endpoint.read_text())["url"])

    def stop(self, timeout_seconds: float = 60.0) -> None:
        """Snapshot and end. Idempotent; killing instead would lose nothing either."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None
        self._url = ""

    def _log(self) -> Path:
        return self._home / "chain.log"

    def _log_tail(self) -> str:
        return self._log().read_text(errors="replace")[-2_000:]


# --- the process --------------------------------------------------------------------------------


def lock_home(home: Path, wait_seconds: float) -> IO[str]:
    """Two chains on one directory would ruin it; one that is just ending is waited for."""
    file = (home / "lock").open("w")
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise SystemExit(f"another chain is running on {home}") from None
            time.sleep(0.1)


async def serve(home: Path, anvil: Path, port: int, chain_id: int) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    proxy = ChainProxy(JournaledNode(home, anvil, chain_id))
    mining = await proxy.start()
    runner = web.AppRunner(proxy.application(), access_log=None)
    try:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port, shutdown_timeout=2)
        await site.start()
        taken = runner.addresses[0][1]
        fresh = home / "endpoint.json.new"
        fresh.write_text(json.dumps({"url": f"http://127.0.0.1:{taken}", "pid": os.getpid()}))
        fresh.replace(home / "endpoint.json")
        stopped = asyncio.ensure_future(stopping.wait())
        await asyncio.wait((stopped, mining), return_when=asyncio.FIRST_COMPLETED)
        if mining.done():
            mining.result()
    finally:
        (home / "endpoint.json").unlink(missing_ok=True)
        await runner.cleanup()
        await proxy.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m backend.embedded.chain")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--anvil", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--chain-id", type=int, default=LOCAL_CHAIN_ID)
    parser.add_argument("--parent", type=int, help="end when this process does")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    if options.parent is not None:
        die_with_parent(signal.SIGTERM, options.parent)()
    options.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = lock_home(options.home, wait_seconds=30)
    try:
        asyncio.run(serve(options.home, options.anvil, options.port, options.chain_id))
    finally:
        lock.close()


if __name__ == "__main__":
    main()
