"""The embedded IPFS store: Kubo's CIDs and calls, durable before it answers, gone when its parent is."""

import asyncio
import base64
import io
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aleph_cid import CidHasher

from backend.domain.errors import ContentUnavailable
from backend.drivers.ipfs.kubo import KuboContentStore
from backend.embedded.ipfs import EmbeddedIpfs, EmbeddedIpfsFailed
from backend.embedded.ipfs_blocks import BlockStore, CorruptBlock, MissingBlock, RepoLocked
from backend.embedded.ipfs_lock import ReadersWriter
from backend.embedded.ipfs_unixfs import BadCid, BadNode, Cid, Importer, decode_node, multihash

MIB = 1 << 20


@pytest.fixture
def ipfs(tmp_path: Path) -> Iterator[EmbeddedIpfs]:
    ipfs = EmbeddedIpfs(tmp_path / "ipfs")
    ipfs.start()
    yield ipfs
    ipfs.stop()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlockStore]:
    store = BlockStore(tmp_path / "repo")
    yield store
    store.close()


def add(store: BlockStore, data: bytes) -> Cid:
    importer = Importer(store.put)
    importer.write(data)
    root = importer.finish().cid
    store.sync()
    return root


def call(ipfs: EmbeddedIpfs, path: str, body: bytes | None = None, token: str | None = None) -> bytes:
    headers = {"Authorization": f"Bearer {ipfs.token if token is None else token}"}
    if body is not None:
        headers["Content-Type"] = "multipart/form-data; boundary=xx"
    request = urllib.request.Request(f"{ipfs.api}/api/v0/{path}", data=body or b"", method="POST", headers=headers)
    with urllib.request.urlopen(request, timeout=20) as response:
        return bytes(response.read())


def answer(ipfs: EmbeddedIpfs, path: str, body: bytes | None = None) -> dict[str, Any]:
    out = json.loads(call(ipfs, path, body))
    assert isinstance(out, dict)
    return out


def form(data: bytes, end: bytes = b"\r\n--xx--\r\n") -> bytes:
    return b'--xx\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + data + end


def block_files(home: Path) -> list[Path]:
    return sorted(home.glob("blocks/*/*.data"))


def eventually(happened: Callable[[], bool]) -> bool:
    for _ in range(1_200):
        if happened():
            return True
        time.sleep(0.05)
    return False


# --- CIDs


@pytest.mark.parametrize("size", [0, 1, 262_144, 262_145, 174 * 262_144, 174 * 262_144 + 1])
@pytest.mark.parametrize("version", [0, 1])
def test_cids_are_those_of_an_independent_implementation(size: int, version: int) -> None:
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    importer = Importer(lambda _name, _block: None, version=version, raw_leaves=version == 1)
    importer.write(data)
    theirs = CidHasher.for_ipfs_v1_raw_leaves() if version else CidHasher.for_ipfs()
    theirs.update(data)
    assert str(importer.finish().cid) == theirs.finalize()


def test_a_cid_reads_back_from_each_of_its_forms() -> None:
    v0 = "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o"
    v1 = "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am"
    assert str(Cid.parse(v0)) == v0
    assert str(Cid.parse("/ipfs/" + v1)) == v1


@pytest.mark.parametrize(
    "text",
    ["", "x", "Qm" + "0" * 44, "b!!", "bafk", "z0OIl", "bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"],
)
def test_what_is_no_cid_is_refused(text: str) -> None:
    with pytest.raises(BadCid):
        Cid.parse(text)


@pytest.mark.parametrize(
    "block", [b"\xff", b"\x12\x05ab", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"hello"]
)
def test_junk_is_no_node(block: bytes) -> None:
    with pytest.raises((BadNode, BadCid)):
        decode_node(block)


# --- blocks


def test_a_range_is_read_without_the_blocks_outside_it(store: BlockStore) -> None:
    data = os.urandom(3 * 262_144 + 100)
    root = add(store, data)
    assert b"".join(store.read(root)) == data
    first = store.node(root).links[0].cid
    key = base64.b32encode(first.multihash).decode().rstrip("=")
    (store.home / "blocks" / key[-3:-1] / f"{key}.data").unlink()
    assert b"".join(store.read(root, 262_100 + 262_144, 200)) == data[524_244:524_444]
    with pytest.raises(MissingBlock):
        b"".join(store.read(root, 0, 1))


def test_a_damaged_block_is_an_error_and_adding_it_again_mends_it(store: BlockStore) -> None:
    root = add(store, b"precious")
    (path,) = block_files(store.home)
    path.write_bytes(b"precious!")
    with pytest.raises(CorruptBlock):
        store.get(root)
    add(store, b"precious")
    assert store.get(root) == b"precious"


def test_collecting_keeps_what_a_pin_reaches_and_nothing_else(store: BlockStore) -> None:
    kept, dropped = add(store, os.urandom(600_000)), add(store, b"garbage")
    store.pin(kept)
    assert [cid.multihash for cid in store.collect()] == [dropped.multihash]
    store.require(kept)


def test_collecting_deletes_nothing_when_a_pinned_graph_is_damaged(store: BlockStore) -> None:
    kept = add(store, os.urandom(600_000))
    store.pin(kept)
    add(store, b"garbage")
    key = base64.b32encode(kept.multihash).decode().rstrip("=")
    (store.home / "blocks" / key[-3:-1] / f"{key}.data").write_bytes(b"?")
    before = block_files(store.home)
    with pytest.raises(CorruptBlock):
        store.collect()
    assert block_files(store.home) == before


def test_two_stores_cannot_open_one_home(store: BlockStore) -> None:
    with pytest.raises(RepoLocked):
        BlockStore(store.home)


def test_what_a_killed_writer_left_half_done_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "blocks" / "AA").mkdir(parents=True)
    (tmp_path / "blocks" / "AA" / "XAAX.7.tmp").write_bytes(b"half")
    BlockStore(tmp_path).close()
    assert not list(tmp_path.glob("blocks/*/*.tmp"))


async def test_collecting_waits_for_adding_and_new_adding_waits_for_it() -> None:
    lock, order = ReadersWriter(), list[str]()
    first_may_end = asyncio.Event()

    async def first() -> None:
        async with lock.adding():
            order.append("adding")
            await first_may_end.wait()
            order.append("added")

    async def collector() -> None:
        async with lock.collecting():
            order.append("collected")

    async def second() -> None:
        async with lock.adding():
            order.append("second")

    tasks = [asyncio.create_task(first())]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(collector()))
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(second()))
    await asyncio.sleep(0)
    first_may_end.set()
    await asyncio.gather(*tasks)
    assert order == ["adding", "added", "collected", "second"]


# --- the process


@pytest.mark.integration
def test_without_the_token_nothing_is_answered(ipfs: EmbeddedIpfs, tmp_path: Path) -> None:
    for token in ("", "wrong", ipfs.token + "x"):
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            call(ipfs, "version", token=token)
        refused.value.close()
    assert stat.S_IMODE((tmp_path / "ipfs" / "token").stat().st_mode) == 0o600


@pytest.mark.integration
def test_kubos_calls_answer_as_kubo_does(ipfs: EmbeddedIpfs) -> None:
    added = answer(ipfs, "add?cid-version=1", form(b"hello\n"))
    cid = "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am"
    assert added == {"Name": "f", "Hash": cid, "Size": "6"}
    assert answer(ipfs, "add", form(b"hello\n"))["Hash"] == "QmZULkCELmmk5XNfCgTnCyFgAVxBRBXyDHGGMVoLFLiXEN"
    assert call(ipfs, f"cat?arg={cid}&offset=1&length=3") == b"ell"
    assert answer(ipfs, f"pin/ls?arg={cid}&type=recursive") == {"Keys": {cid: {"Type": "recursive"}}}
    assert answer(ipfs, f"block/stat?arg={cid}") == {"Key": cid, "Size": 6}
    assert call(ipfs, f"block/get?arg={cid}") == b"hello\n"
    assert answer(ipfs, "block/put", form(b"hello\n")) == {"Key": cid, "Size": 6}
    assert answer(ipfs, f"ls?arg={cid}")["Objects"][0]["Links"] == []
    assert answer(ipfs, "repo/stat")["NumObjects"] == 2
    car = call(ipfs, f"dag/export?arg={cid}")
    assert car.endswith(b"hello\n")
    assert car[1:8] == b"\xa2\x65roots"
    assert answer(ipfs, f"pin/rm?arg={cid}") == {"Pins": [cid]}
    assert json.loads(call(ipfs, "repo/gc"))["Key"]["/"] == cid
    gone_calls = [f"{path}?arg={cid}" for path in ("cat", "pin/add", "pin/rm", "block/get", "block/stat", "dag/export")]
    for gone in (*gone_calls, "cat", "cat?arg=x", f"cat?arg={cid}&offset=-1"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            call(ipfs, gone)
        assert b'"Message"' in refused.value.read()
        refused.value.close()


@pytest.mark.integration
@pytest.mark.parametrize(
    "option", ["trickle=true", "nocopy=True", "hash=blake3", "chunker=rabin", "cid-version=2", "chunker=size-0"]
)
def test_what_would_change_a_cid_and_is_not_offered_is_refused(ipfs: EmbeddedIpfs, option: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="500") as refused:
        call(ipfs, f"add?{option}", form(b"x"))
    refused.value.close()


@pytest.mark.integration
def test_a_body_cut_short_is_refused_and_not_pinned(ipfs: EmbeddedIpfs) -> None:
    for body in (form(b"half", b""), form(b"half", b"\r\n--xx"), b"--xx\r\n\r\n", b"--xx--\r\n", b"junk"):
        with pytest.raises(urllib.error.HTTPError, match="400") as refused:
            call(ipfs, "add", body)
        refused.value.close()
    assert answer(ipfs, "pin/ls?type=recursive")["Keys"] == {}
    with pytest.raises(urllib.error.HTTPError, match="400") as refused:  # a whole file, then nothing where more was due
        call(ipfs, "add?pin=false", form(b"whole", b"\r\n--xx\r\n"))
    refused.value.close()


@pytest.mark.integration
async def test_a_block_lost_in_the_middle_breaks_the_read_instead_of_shortening_it(
    ipfs: EmbeddedIpfs, tmp_path: Path
) -> None:
    content = KuboContentStore(ipfs.api, ipfs.token, 60.0)
    data = os.urandom(4 * MIB)
    cid = await content.put(io.BytesIO(data))
    late = CidHasher.for_ipfs_v1_raw_leaves()
    late.update(data[-262_144:])
    key = base64.b32encode(Cid.parse(late.finalize()).multihash).decode().rstrip("=")
    (tmp_path / "ipfs" / "blocks" / key[-3:-1] / f"{key}.data").unlink()
    with pytest.raises(ContentUnavailable):
        await content.get(cid, max_bytes=5 * MIB)


@pytest.mark.integration
async def test_what_was_answered_survives_kill_9(tmp_path: Path) -> None:
    ipfs = EmbeddedIpfs(tmp_path)
    ipfs.start()
    data = os.urandom(MIB)
    cid = await KuboContentStore(ipfs.api, ipfs.token, 60.0).put(io.BytesIO(data))
    assert ipfs.pid is not None
    os.kill(ipfs.pid, signal.SIGKILL)
    assert eventually(lambda: not ipfs.is_running())
    ipfs.start()
    assert await KuboContentStore(ipfs.api, ipfs.token, 60.0).get(cid, max_bytes=MIB) == data
    assert answer(ipfs, f"pin/ls?arg={cid}&type=recursive")["Keys"]
    ipfs.stop()


@pytest.mark.integration
def test_killed_while_adding_it_keeps_no_half_block(tmp_path: Path) -> None:
    ipfs = EmbeddedIpfs(tmp_path)
    for _ in range(3):
        ipfs.start()
        host, port = ipfs.api.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST /api/v0/add HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ipfs.token}\r\n"
            head += "Content-Type: multipart/form-data; boundary=xx\r\nContent-Length: 99999999\r\n\r\n"
            connection.sendall(head.encode() + form(os.urandom(8 * MIB), b""))
            assert eventually(lambda: len(block_files(tmp_path)) > 3)
            assert ipfs.pid is not None
            os.kill(ipfs.pid, signal.SIGKILL)
        assert eventually(lambda: not ipfs.is_running())
        for path in block_files(tmp_path):
            name = base64.b32decode(path.stem + "=" * (-len(path.stem) % 8))
            assert name == multihash(path.read_bytes())
            path.unlink()


PARENT = """
import os, sys, threading, time
from pathlib import Path
from backend.embedded.ipfs import EmbeddedIpfs
ipfs = EmbeddedIpfs(Path(sys.argv[1]))
starter = threading.Thread(target=ipfs.start)
starter.start(); starter.join()  # the thread that started it ends; the store must not
time.sleep(0.5)
print(ipfs.pid if ipfs.is_running() else "ended with the thread", flush=True)
time.sleep(600)
"""


@pytest.mark.integration
def test_it_outlives_the_thread_that_started_it_but_not_a_killed_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert eventually(lambda: not _serves(pid))


def _serves(pid: int) -> bool:
    try:
        return b"backend.embedded.ipfs" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@pytest.mark.integration
def test_a_taken_port_and_a_taken_home_are_said(ipfs: EmbeddedIpfs, tmp_path: Path) -> None:
    port = int(ipfs.api.rpartition(":")[2])
    with pytest.raises(EmbeddedIpfsFailed, match=f"port {port}: .*[Aa]ddress already in use"):
        EmbeddedIpfs(tmp_path / "other", port).start()
    with pytest.raises(EmbeddedIpfsFailed, match="another process already serves"):
        EmbeddedIpfs(tmp_path / "ipfs").start()
