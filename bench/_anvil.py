"""A bare anvil for counting gas: Osaka's rules, one block a transaction, the public test accounts unlocked."""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from backend.drivers.chain.abi import ContractArtifact
from backend.embedded.processes import free_port, start_child, stop_child, tail
from backend.preparing import ROOT

BINARY = ROOT / "node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
CHAIN_ID = 20931
MAX_TRANSACTION_GAS = 16_777_216  # EIP-7825
START_SECONDS = 60.0


class Anvil:
    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=60)
        self._deployed: dict[str, tuple[str, ContractArtifact]] = {}
        self.accounts: list[str] = []

    def ask(self, method: str, *params: Any) -> Any:
        """Raises: RuntimeError with the node's own words when it refuses."""
        document = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        answer = self._http.post("/", json=document).json()
        if "error" in answer:
            raise RuntimeError(f"anvil refused {method}: {answer['error']}")
        return answer["result"]

    def deploy(self, artifact: ContractArtifact, *args: Any) -> str:
        receipt = self._mine({"from": self.accounts[0], "data": "0x" + artifact.encode_creation(*args).hex()})
        self._deployed[artifact.name] = (receipt["contractAddress"], artifact)
        return str(receipt["contractAddress"])

    def send(self, who: int, contract: str, function: str, *args: Any) -> int:
        """Gas used, from the receipt. Raises: RuntimeError when it was refused or reverted."""
        to, artifact = self._deployed[contract]
        data = "0x" + artifact.encode_call(function, args).hex()
        return int(self._mine({"from": self.accounts[who], "to": to, "data": data})["gasUsed"], 16)

    def call(self, contract: str, function: str, *args: Any) -> Any:
        """The function's first result at the latest block."""
        to, artifact = self._deployed[contract]
        data = "0x" + artifact.encode_call(function, args).hex()
        return artifact.decode_result(function, bytes.fromhex(self.ask("eth_call", {"to": to, "data": data})[2:]))[0]

    def _mine(self, transaction: dict[str, str]) -> dict[str, Any]:
        sent = self.ask("eth_sendTransaction", transaction | {"gas": hex(MAX_TRANSACTION_GAS)})
        while (receipt := self.ask("eth_getTransactionReceipt", sent)) is None:
            time.sleep(0.005)
        if int(receipt["status"], 16) != 1:
            raise RuntimeError(f"transaction {sent} to {transaction.get('to')} reverted")
        mined: dict[str, Any] = receipt
        return mined


@contextlib.contextmanager
def anvil() -> Iterator[Anvil]:
    """A fresh chain, gone afterwards. Raises: FileNotFoundError, RuntimeError when it does not come up."""
    if not BINARY.exists():
        raise FileNotFoundError(f"{BINARY.relative_to(ROOT)} is missing; run `make setup`")
    with tempfile.TemporaryDirectory(prefix="byline-gas-") as home:
        port, log = free_port(None), Path(home) / "anvil.log"
        arguments = [
            *("--host", "127.0.0.1", "--port", str(port), "--chain-id", str(CHAIN_ID)),
            *("--hardfork", "osaka", "--enable-tx-gas-limit", "--cache-path", home),
        ]
        process = start_child([str(BINARY), *arguments], {"HOME": home}, log, Path(home))
        try:
            node = Anvil(f"http://127.0.0.1:{port}")
            deadline = time.monotonic() + START_SECONDS
            while not node.accounts:
                try:
                    node.accounts = node.ask("eth_accounts")
                except httpx.TransportError as err:
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(f"anvil did not come up:\n{tail(log)}") from err
                    time.sleep(0.05)
            yield node
        finally:
            stop_child(process, 5.0)
