"""The embedded chain through its own door: what it lets in, and what a kill cannot take away."""

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from eth_account import Account
from eth_account.signers.local import LocalAccount

from backend.embedded.chain import TEST_MNEMONIC, ChainDidNotStart, EmbeddedChain
from backend.embedded.chain_journal import BlockLine, Journal
from backend.embedded.chain_node import Anvil, JournaledNode
from backend.embedded.chain_proxy import ChainProxy
from backend.embedded.processes import RUN_MARK, end_leftovers, free_port, leftovers

ROOT = Path(__file__).parents[2]
ANVIL = ROOT / "node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"

pytestmark = pytest.mark.integration


def rpc(url: str, method: str, *params: Any) -> Any:
    answer = post(url, {"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    assert "error" not in answer, answer
    return answer["result"]


def post(url: str, document: Any) -> Any:
    request = urllib.request.Request(url, json.dumps(document).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def wallet(index: int) -> LocalAccount:
    Account.enable_unaudited_hdwallet_features()
    account: LocalAccount = Account.from_mnemonic(TEST_MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")
    return account


def payment(sender: LocalAccount, nonce: int, value: int = 1, fee: int = 10**10, chain_id: int = 20931) -> str:
    """A signed transfer to a fresh address that only this nonce pays."""
    to = Account.from_key((10**12 + nonce).to_bytes(32, "big")).address
    fields = {"to": to, "value": value, "nonce": nonce, "gas": 21_000, "chainId": chain_id, "type": 2}
    signed = sender.sign_transaction(fields | {"maxFeePerGas": fee, "maxPriorityFeePerGas": 10**9})
    return "0x" + bytes(signed.raw_transaction).hex()


def unsigned(raw: str) -> str:
    """The same transaction under a signature that is nobody's: its r, 32 bytes before the length and the 32 of s,
    is no number of the curve."""
    return raw[:-130] + "ff" * 32 + raw[-66:]


def blocks(url: str) -> list[tuple[str, tuple[str, ...]]]:
    head = int(rpc(url, "eth_blockNumber"), 16)
    found = [rpc(url, "eth_getBlockByNumber", hex(n), False) for n in range(head + 1)]
    return [(block["hash"], tuple(block["transactions"])) for block in found]


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def eventually(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[EmbeddedChain]:
    embedded = EmbeddedChain(tmp_path / "chain", ANVIL)
    embedded.start()
    yield embedded
    embedded.stop()


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedChain]:
    """For tests that only ask."""
    embedded = EmbeddedChain(tmp_path_factory.mktemp("untouched"), ANVIL)
    embedded.start()
    yield embedded
    embedded.stop()


def test_a_fresh_chain_has_its_own_id_and_funded_test_wallets(untouched: EmbeddedChain) -> None:
    assert int(rpc(untouched.url, "eth_chainId"), 16) == 20931
    assert all(int(rpc(untouched.url, "eth_getBalance", wallet(i).address, "latest"), 16) > 10**21 for i in range(10))


def test_a_sent_transaction_is_mined_when_it_is_acknowledged(chain: EmbeddedChain) -> None:
    tx_hash = rpc(chain.url, "eth_sendRawTransaction", payment(wallet(0), 0))
    assert rpc(chain.url, "eth_getTransactionReceipt", tx_hash)["status"] == "0x1"


@pytest.mark.parametrize(
    "method",
    ["anvil_setBalance", "evm_mine", "debug_traceTransaction", "personal_sign", "eth_sendTransaction", "eth_sign",
     "eth_sendUnsignedTransaction", "eth_signTypedData_v4", "hardhat_impersonateAccount", "ots_getApiLevel",
     "txpool_content"],
)  # fmt: skip
def test_only_signed_transactions_change_the_chain(untouched: EmbeddedChain, method: str) -> None:
    refusal = post(untouched.url, {"jsonrpc": "2.0", "id": 7, "method": method, "params": []})
    assert (refusal["id"], refusal["error"]["code"]) == (7, -32601)
    assert rpc(untouched.url, "eth_accounts") == []


def test_a_batch_is_answered_in_its_order_and_a_bad_call_only_for_itself(untouched: EmbeddedChain) -> None:
    methods = ["eth_chainId", "evm_mine", "net_version"]
    answers = post(
        untouched.url, [{"jsonrpc": "2.0", "id": i, "method": m, "params": []} for i, m in enumerate(methods)]
    )
    assert [a["id"] for a in answers] == [0, 1, 2]
    assert [a.get("result") for a in answers] == ["0x51c3", None, "20931"]


def test_nonsense_is_refused_and_not_passed_on(untouched: EmbeddedChain) -> None:
    assert post(untouched.url, 5)["error"]["code"] == -32600
    assert post(untouched.url, [])["error"]["code"] == -32600
    bad = {"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": ["0xnothex"]}
    assert post(untouched.url, bad)["error"]["code"] == -32602


def test_the_nodes_own_refusal_reaches_the_sender(chain: EmbeddedChain) -> None:
    rpc(chain.url, "eth_sendRawTransaction", payment(wallet(0), 0))
    again = {"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": [payment(wallet(0), 0, value=2)]}
    assert "nonce too low" in post(chain.url, again)["error"]["message"]


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    """The proxy inside this process, so that a test can turn its knobs."""
    inside = ChainProxy(JournaledNode(tmp_path, ANVIL, 20931))
    await inside.start()
    async with TestClient(TestServer(inside.application())) as client:
        yield client
    await inside.stop()


async def answer_of(proxy: TestClient[web.Request, web.Application], method: str, *params: Any) -> Any:
    async with proxy.post("/", json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params}) as response:
        return await response.json()


async def ask(proxy: TestClient[web.Request, web.Application], method: str, *params: Any) -> Any:
    return (await answer_of(proxy, method, *params))["result"]


async def test_reading_the_latest_state_of_an_old_head_makes_a_new_one_and_polling_does_not(
    proxy: TestClient[web.Request, web.Application], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chain that mines on demand would otherwise keep an expired grant alive for as long as nobody sends."""
    monkeypatch.setattr("backend.embedded.chain_proxy.HEARTBEAT_SECONDS", -10)  # every head is old
    start = int(await ask(proxy, "eth_blockNumber"), 16)
    for _ in range(3):
        await ask(proxy, "eth_getBlockByNumber", hex(start), False)
    assert int(await ask(proxy, "eth_blockNumber"), 16) == start
    await ask(proxy, "eth_call", {"data": "0x4260005260206000f3"}, "latest")
    await ask(proxy, "eth_call", {"data": "0x4260005260206000f3"})
    assert int(await ask(proxy, "eth_blockNumber"), 16) == start + 2
    assert int((await ask(proxy, "eth_getBlockByNumber", "latest", False))["number"], 16) == start + 3


async def refusal(proxy: TestClient[web.Request, web.Application], raw: str) -> str:
    call = {"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": [raw]}
    async with proxy.post("/", json=call) as response:
        return str((await response.json())["error"]["message"])


NOBODY = Account.from_key("0x" + "5a" * 32)  # has a key and no money
JUNK = {
    "0x": "Empty transaction data",
    "0xdeadbeef": "Failed to decode transaction",
    "0x" + "00" * 100_000: "Failed to decode transaction",
    payment(NOBODY, 0)[:-20]: "Failed to decode transaction",
    "0x7f" + payment(NOBODY, 0)[4:]: "Failed to decode transaction",
    unsigned(payment(NOBODY, 0)): "Failed to recover the signer",
    payment(NOBODY, 0, chain_id=1): "invalid chain id for signer",
    payment(NOBODY, 0): "Insufficient funds for gas * price + value",
}


async def test_junk_costs_neither_a_block_nor_a_write_and_is_told_what_it_is(
    proxy: TestClient[web.Request, web.Application], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("backend.embedded.chain_proxy.SNAPSHOT_IDLE_SECONDS", 0.05)
    head, kept = await ask(proxy, "eth_blockNumber"), [tmp_path / name for name in ("journal.jsonl", "state.bin")]
    before = [(path.stat().st_mtime_ns, path.stat().st_size) for path in kept]
    for raw, why in JUNK.items():
        assert await refusal(proxy, raw) == why
    await asyncio.sleep(0.3)  # time enough for an idle snapshot, had there been anything to keep
    assert [(path.stat().st_mtime_ns, path.stat().st_size) for path in kept] == before
    assert await ask(proxy, "eth_blockNumber") == head


async def test_junk_beside_a_transaction_and_a_reader_takes_nothing_from_either(
    proxy: TestClient[web.Request, web.Application], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    start = int(await ask(proxy, "eth_blockNumber"), 16)
    *refusals, sent = await asyncio.gather(
        *(refusal(proxy, raw) for raw in JUNK), ask(proxy, "eth_sendRawTransaction", payment(wallet(0), 0))
    )
    assert refusals == list(JUNK.values())
    assert (await ask(proxy, "eth_getTransactionReceipt", sent))["status"] == "0x1"
    assert [block.raw for block in Journal(tmp_path).blocks_after(start)] == [(payment(wallet(0), 0),)]
    monkeypatch.setattr("backend.embedded.chain_proxy.HEARTBEAT_SECONDS", -10)  # every head is old
    asked = [ask(proxy, "eth_getBlockByNumber", "latest", False), *(refusal(proxy, raw) for raw in JUNK)]
    newest: Any = (await asyncio.gather(*asked))[0]
    assert int(newest["number"], 16) == start + 2


async def test_a_long_journal_is_folded_into_the_snapshot_as_it_grows(
    proxy: TestClient[web.Request, web.Application], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("backend.embedded.chain_proxy.SNAPSHOT_BLOCKS", 3)
    sent = [await ask(proxy, "eth_sendRawTransaction", payment(wallet(0), nonce)) for nonce in range(7)]
    journal = Journal(tmp_path)
    saved = journal.load()
    assert saved is not None
    assert saved[0]["number"] >= 4
    assert len(journal.blocks_after(0)) <= 3  # what the snapshot has is not in the journal any more
    assert all([await ask(proxy, "eth_getTransactionReceipt", tx_hash) for tx_hash in sent])


def test_a_graceful_stop_and_start_keep_every_block(chain: EmbeddedChain) -> None:
    for nonce in range(5):
        rpc(chain.url, "eth_sendRawTransaction", payment(wallet(0), nonce))
    before = blocks(chain.url)
    chain.stop()
    chain.start()
    assert blocks(chain.url)[: len(before)] == before


def test_killed_at_random_moments_nothing_acknowledged_is_lost_and_blocks_keep_their_hashes(tmp_path: Path) -> None:
    chain = EmbeddedChain(tmp_path / "chain", ANVIL)
    chain.start()
    dice = random.Random(7)  # noqa: S311
    acknowledged: dict[str, str | None] = {}  # transaction → hash of its block, when there was time to see it
    for _ in range(6):
        sender = threading.Thread(target=send_until_refused, args=(chain.url, acknowledged))
        sender.start()
        aim = len(acknowledged) + dice.randint(1, 40)
        eventually(lambda aim=aim: len(acknowledged) >= aim)
        victims = [chain.pid, *children(chain.pid)]
        dice.shuffle(victims)
        for pid in victims:
            kill(pid)
        sender.join()
        chain.stop()
        chain.start()
        receipts = {h: rpc(chain.url, "eth_getTransactionReceipt", h) for h in acknowledged}
        assert all(receipts.values())
        assert all(seen in (None, receipts[h]["blockHash"]) for h, seen in acknowledged.items())
    assert not (tmp_path / "chain" / ".foundry").exists()
    assert not list((tmp_path / "chain").glob("anvil-cache/**/*.json"))
    chain.stop()


def send_until_refused(url: str, acknowledged: dict[str, str | None]) -> None:
    sender = wallet(1)
    nonce = int(rpc(url, "eth_getTransactionCount", sender.address, "latest"), 16)
    try:
        while True:
            tx_hash = rpc(url, "eth_sendRawTransaction", payment(sender, nonce))
            acknowledged[tx_hash] = None
            acknowledged[tx_hash] = rpc(url, "eth_getTransactionReceipt", tx_hash)["blockHash"]
            nonce += 1
    except (OSError, AssertionError, ValueError, HTTPException):
        return


def test_when_anvil_alone_dies_it_comes_back_with_everything(chain: EmbeddedChain) -> None:
    tx_hash = rpc(chain.url, "eth_sendRawTransaction", payment(wallet(0), 0))
    before = blocks(chain.url)
    (anvil,) = children(chain.pid)
    kill(anvil)
    question = {"jsonrpc": "2.0", "id": 1, "method": "eth_getTransactionReceipt", "params": [tx_hash]}
    eventually(lambda: post(chain.url, question).get("result"))
    assert blocks(chain.url)[: len(before)] == before


class HeldAtReplay(JournaledNode):
    """Stops before the first block that it mines again, from its second `open` on, until it is let go."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, ANVIL, 20931)
        self.opened = 0
        self.held, self.go_on = asyncio.Event(), asyncio.Event()

    async def open(self) -> None:
        self.opened += 1
        await super().open()

    async def _mine_block(self, block: BlockLine) -> None:
        if self.opened > 1:
            self.held.set()
            await self.go_on.wait()
        await super()._mine_block(block)


async def test_while_the_journal_is_replayed_nobody_reads_what_was_true_earlier(tmp_path: Path) -> None:
    """Half-replayed, a chain does not know of the latest revocations yet: "no answer" is not "granted"."""
    node = HeldAtReplay(tmp_path)
    inside = ChainProxy(node)
    await inside.start()
    async with TestClient(TestServer(inside.application())) as client, asyncio.timeout(60):
        sent = [await ask(client, "eth_sendRawTransaction", payment(wallet(0), nonce)) for nonce in range(3)]
        before = int(await ask(client, "eth_blockNumber"), 16)
        await node.anvil.stop()
        assert "restarting" in (await answer_of(client, "eth_blockNumber"))["error"]["message"]
        await node.held.wait()
        for method, *params in (("eth_blockNumber",), ("eth_call", {"data": "0x00"}, "latest")):
            assert "restarting" in (await answer_of(client, method, *params))["error"]["message"]
        node.go_on.set()
        while (answer := await answer_of(client, "eth_blockNumber")).get("result") is None:
            await asyncio.sleep(0.01)
        assert int(answer["result"], 16) >= before
        assert all([await ask(client, "eth_getTransactionReceipt", tx_hash) for tx_hash in sent])
    await inside.stop()


def test_a_transaction_waiting_for_an_earlier_nonce_survives(chain: EmbeddedChain) -> None:
    later = rpc(chain.url, "eth_sendRawTransaction", payment(wallet(0), 1))
    assert rpc(chain.url, "eth_getTransactionReceipt", later) is None
    chain.stop()
    chain.start()
    rpc(chain.url, "eth_sendRawTransaction", payment(wallet(0), 0))
    assert rpc(chain.url, "eth_getTransactionReceipt", later)["status"] == "0x1"


def test_many_senders_at_once_share_blocks_and_all_get_in(chain: EmbeddedChain) -> None:
    raws = [payment(wallet(i), nonce) for i in range(8) for nonce in range(5)]
    done: list[str] = []
    lanes = [raws[i * 5 : i * 5 + 5] for i in range(8)]
    senders = [
        threading.Thread(target=lambda r=lane: done.extend(rpc(chain.url, "eth_sendRawTransaction", x) for x in r))
        for lane in lanes
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert len(done) == 40
    assert all(rpc(chain.url, "eth_getTransactionReceipt", h)["status"] == "0x1" for h in done)


def test_when_the_parent_is_killed_the_chain_snapshots_and_no_process_stays(tmp_path: Path) -> None:
    home = tmp_path / "chain"
    script = (
        "import sys, time; from pathlib import Path; from backend.embedded.chain import EmbeddedChain\n"
        "c = EmbeddedChain(Path(sys.argv[1]), Path(sys.argv[2])); c.start(); print(c.pid, c.url, flush=True)\n"
        "time.sleep(600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(home), str(ANVIL)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert parent.stdout is not None
    pid, url = parent.stdout.readline().split()
    tx_hash = rpc(url, "eth_sendRawTransaction", payment(wallet(0), 0))
    family = [int(pid), *children(int(pid))]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    eventually(lambda: all(gone(p) for p in family))
    assert (home / "journal.jsonl").stat().st_size == 0  # the last snapshot has it
    again = EmbeddedChain(home, ANVIL)
    again.start()
    assert rpc(again.url, "eth_getTransactionReceipt", tx_hash)["status"] == "0x1"
    again.stop()


def test_the_guard_finds_anvil_and_still_lets_the_chain_take_its_last_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = f"{tmp_path}#1.1;"
    monkeypatch.setenv(RUN_MARK, mark)
    chain = EmbeddedChain(tmp_path / "chain", ANVIL)
    chain.start()
    rpc(chain.url, "eth_sendRawTransaction", payment(wallet(0), 0))
    family = {chain.pid, *children(chain.pid)}
    assert len(family) == 2
    assert {process.pid for process in leftovers(mark)} == family
    assert end_leftovers(mark, seconds=60) == 2
    assert (tmp_path / "chain" / "journal.jsonl").stat().st_size == 0
    chain.stop()


def test_the_chain_has_a_session_of_its_own(untouched: EmbeddedChain) -> None:
    """Ctrl-C is for who started it, who then stops it in order."""
    assert os.getsid(untouched.pid) == untouched.pid


async def test_a_port_that_was_taken_meanwhile_is_not_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:  # accepts, and never answers
        ports = iter([taken.getsockname()[1]] * 2)
        monkeypatch.setattr("backend.embedded.chain_node.free_port", lambda *_: next(ports, None) or free_port(None))
        anvil = Anvil(ANVIL, 20931, tmp_path)
        async with asyncio.timeout(100):  # less than a request may take
            await anvil.start(1_700_000_000, None)
            assert int(await anvil.ask("eth_chainId"), 16) == 20931
    await anvil.stop()


def test_a_second_chain_on_one_directory_is_refused(chain: EmbeddedChain, tmp_path: Path) -> None:
    second = subprocess.run(
        [sys.executable, "-c", "from pathlib import Path; from backend.embedded.chain import lock_home; import sys\n"
         "lock_home(Path(sys.argv[1]), 0)", str(tmp_path / "chain")],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert second.returncode == 1
    assert "another chain is running" in second.stderr


def test_a_missing_or_broken_anvil_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(ChainDidNotStart, match="npm ci"):
        EmbeddedChain(tmp_path / "a", tmp_path / "nowhere").start()
    broken = tmp_path / "anvil"
    broken.write_text("#!/bin/sh\necho 'cannot do this' >&2; exit 3\n")
    broken.chmod(0o755)
    with pytest.raises(ChainDidNotStart, match="cannot do this"):
        EmbeddedChain(tmp_path / "b", broken).start()


def test_a_torn_last_line_is_cut_off_the_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.open()
    first = BlockLine(2, "0xaa", 10, ("0x01",))
    journal.append(first)
    journal.close()
    with (tmp_path / "journal.jsonl").open("ab") as file:
        file.write(b'{"number": 3, "par')
    assert journal.blocks_after(1) == [first]
    journal.open()
    journal.append(BlockLine(3, "0xbb", 11, ()))
    journal.close()
    assert [b.number for b in journal.blocks_after(1)] == [2, 3]
    assert [b.number for b in journal.blocks_after(2)] == [3]
