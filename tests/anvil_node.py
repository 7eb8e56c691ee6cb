"""An anvil of the test's own, without a journal before it: it mines at once and lets the test change what it likes.

with anvil("--disable-default-create2-deployer") as url: ...
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from backend.embedded.chain import LOCAL_CHAIN_ID
from backend.embedded.processes import free_port
from tests.chain_fixtures import ANVIL

START_SECONDS = 60.0


@contextmanager
def anvil(*flags: str, port: int | None = None) -> Iterator[str]:
    """Its URL, while it runs."""
    port = port or free_port(None)
    url = f"http://127.0.0.1:{port}"
    command = [str(ANVIL), "--port", str(port), "--chain-id", str(LOCAL_CHAIN_ID), "--quiet", *flags]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert process.poll() is None, "anvil ended"
            assert time.monotonic() < deadline, "anvil does not answer"
            try:
                ask(url, "eth_chainId")
                break
            except httpx.HTTPError:
                time.sleep(0.02)
        yield url
    finally:
        process.kill()
        process.wait()


def ask(url: str, method: str, *params: Any) -> Any:
    answer = httpx.post(url, json={"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}).json()
    assert "error" not in answer, answer["error"]
    return answer["result"]
