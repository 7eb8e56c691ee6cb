"""The Kubo driver against nodes that misbehave in the ways real ones do."""

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import base58
import pytest
from aleph_cid import CidHasher

from backend.domain.errors import ContentCorrupt, ContentUnavailable, InvalidValue, TooLarge
from backend.drivers.ipfs.kubo import KuboContentStore

PATIENCE_SECONDS = 30.0

HELLO = b"hello\n"
HELLO_CID = "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am"
OTHER_CID = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
Answer = Callable[["Node"], None]


class Node(BaseHTTPRequestHandler):
    """Answers every call as `server.answer` says, and notes what was asked."""

    protocol_version = "HTTP/1.1"
    server: "FakeKubo"

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        url = urlsplit(self.path)
        self.server.asked.append((url.path, parse_qs(url.query), self.headers.get("Authorization")))
        self.server.answer(self)

    def reply(self, body: bytes, status: int = 200, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def reply_json(self, value: object, status: int = 200) -> None:
        self.reply(json.dumps(value).encode(), status)

    def log_message(self, format: str, *args: object) -> None:
        pass


class FakeKubo(ThreadingHTTPServer):
    daemon_threads = True
    answer: Answer

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Node)
        self.asked: list[tuple[str, dict[str, list[str]], str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def node() -> Iterator[FakeKubo]:
    server = FakeKubo()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def store(node: FakeKubo) -> KuboContentStore:
    return KuboContentStore(node.url, "secret", PATIENCE_SECONDS)


async def test_adding_asks_for_everything_that_decides_the_cid(node: FakeKubo, store: KuboContentStore) -> None:
    node.answer = lambda n: n.reply_json({"Name": "", "Hash": HELLO_CID, "Size": "6"})
    assert await store.put(io.BytesIO(HELLO)) == HELLO_CID
    path, query, token = node.asked[0]
    assert (path, token) == ("/api/v0/add", "Bearer secret")
    wanted = {"cid-version": "1", "chunker": "size-262144", "max-file-links": "174", "cid-base": "base32"}
    assert {name: query[name][0] for name in wanted} == wanted
    assert (query["raw-leaves"][0].lower(), query["pin"][0].lower()) == ("true", "true")


async def test_a_node_that_stores_something_else_is_caught_and_its_pin_removed(
    node: FakeKubo, store: KuboContentStore
) -> None:
    node.answer = lambda n: n.reply_json({"Name": "", "Hash": OTHER_CID, "Size": "0", "Pins": [OTHER_CID]})
    with pytest.raises(ContentCorrupt):
        await store.put(io.BytesIO(HELLO))
    assert [(path, query.get("arg")) for path, query, _ in node.asked[1:]] == [("/api/v0/pin/rm", [OTHER_CID])]


async def test_a_cid_in_another_base_is_the_same_cid(node: FakeKubo, store: KuboContentStore) -> None:
    raw = base64.b32decode(HELLO_CID[1:].upper() + "=" * (-len(HELLO_CID[1:]) % 8))
    base58_cid = "z" + base58.b58encode(raw).decode()
    node.answer = lambda n: n.reply_json({"Name": "", "Hash": base58_cid, "Size": "6"})
    assert await store.put(io.BytesIO(HELLO)) == HELLO_CID
    node.answer = lambda n: n.reply(HELLO)
    assert await store.get(base58_cid, max_bytes=6) == HELLO


async def test_a_read_that_failed_half_way_is_not_taken_for_a_short_file(
    node: FakeKubo, store: KuboContentStore
) -> None:
    """Kubo ends such a body properly and says so in a trailer that the client drops."""

    def truncate(n: Node) -> None:
        n.send_response(200)
        n.send_header("Transfer-Encoding", "chunked")
        n.send_header("Trailer", "X-Stream-Error")
        n.end_headers()
        n.wfile.write(b"3\r\nhel\r\n0\r\nX-Stream-Error: unexpected EOF\r\n\r\n")

    node.answer = truncate
    with pytest.raises(ContentCorrupt):
        await store.get(HELLO_CID, max_bytes=100)


async def test_a_dropped_connection_is_unavailable(node: FakeKubo, store: KuboContentStore) -> None:
    def drop(n: Node) -> None:
        n.send_response(200)
        n.send_header("Transfer-Encoding", "chunked")
        n.end_headers()
        n.wfile.write(b"3\r\nhel\r\n")
        n.close_connection = True

    node.answer = drop
    with pytest.raises(ContentUnavailable):
        await store.get(HELLO_CID, max_bytes=100)


async def test_a_node_that_sends_more_than_asked_is_cut_off(node: FakeKubo, store: KuboContentStore) -> None:
    node.answer = lambda n: n.reply(bytes(3_000_000))
    with pytest.raises(TooLarge):
        await store.get(HELLO_CID, max_bytes=6)
    assert node.asked[0][1]["length"] == ["7"]


async def test_content_searched_for_in_vain_is_given_up_on_both_sides(node: FakeKubo) -> None:
    searching = threading.Event()

    def search(_: Node) -> None:
        searching.wait(20)

    node.answer = search
    with pytest.raises(ContentUnavailable, match="no answer within 1 s"):
        await KuboContentStore(node.url, "secret", 1.0).get(HELLO_CID, max_bytes=100)
    searching.set()
    assert node.asked[0][1]["timeout"] == ["1s"]


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("block was not found locally (offline): ipld: could not find x", "does not have this content"),
        ("context deadline exceeded", "does not have this content"),
        ("this dag node is a directory", "directory"),
        ("lock /data/ipfs/repo.lock: someone else has the lock", "lock"),
    ],
)
async def test_what_the_node_says_reaches_the_person(
    node: FakeKubo, store: KuboContentStore, message: str, error: str
) -> None:
    node.answer = lambda n: n.reply_json({"Message": message, "Code": 0, "Type": "error"}, 500)
    with pytest.raises(ContentUnavailable, match=error):
        await store.get(HELLO_CID, max_bytes=100)


@pytest.mark.parametrize(("status", "body"), [(403, b"403 - Forbidden"), (502, b"<html>Bad Gateway"), (200, b"<html>")])
async def test_what_is_no_kubo_answer_is_unavailable_for_every_call(
    node: FakeKubo, store: KuboContentStore, status: int, body: bytes
) -> None:
    node.answer = lambda n: n.reply(body, status, "text/html")
    for call in (store.version(), store.put(io.BytesIO(HELLO)), store.unpin(HELLO_CID)):
        with pytest.raises(ContentUnavailable):
            await call


async def test_the_version_is_what_the_node_says(node: FakeKubo, store: KuboContentStore) -> None:
    node.answer = lambda n: n.reply_json({"Version": "0.44.0"})
    assert await store.version() == "0.44.0"


async def test_a_proxy_in_the_environment_does_not_come_between_us_and_loopback(
    node: FakeKubo, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    node.answer = lambda n: n.reply_json({"Version": "0.44.0"})
    assert await KuboContentStore(node.url, None, 5.0).version() == "0.44.0"
    assert node.asked[0][2] is None


@pytest.mark.parametrize(
    "form", ["{url}", "{url}/", "{url}/api/v0", "/ip4/127.0.0.1/tcp/{port}/http", "http://localhost:{port}"]
)
async def test_the_api_is_named_by_url_or_multiaddr(node: FakeKubo, form: str) -> None:
    node.answer = lambda n: n.reply_json({"Version": "1"})
    await KuboContentStore(form.format(url=node.url, port=node.server_address[1]), None, 5.0).version()
    assert node.asked[0][0] == "/api/v0/version"


async def test_a_path_and_a_user_in_the_url_are_kept(node: FakeKubo) -> None:
    node.answer = lambda n: n.reply_json({"Version": "1"})
    await KuboContentStore(node.url.replace("//", "//me:pw@") + "/ipfs-node/", None, 5.0).version()
    path, _, authorization = node.asked[0]
    assert (path, authorization) == ("/ipfs-node/api/v0/version", "Basic " + base64.b64encode(b"me:pw").decode())


@pytest.mark.parametrize("api", ["", "kubo", "ftp://x", "http://", "http://x:port", "/ip4/x", "/ip4/1.2.3.4/udp/5"])
def test_what_names_no_api_is_refused(api: str) -> None:
    with pytest.raises(InvalidValue, match="ipfs_api"):
        KuboContentStore(api, None, 5.0)


def test_the_cids_here_are_what_they_say() -> None:
    hasher = CidHasher.for_ipfs_v1_raw_leaves()
    hasher.update(HELLO)
    assert hasher.finalize() == HELLO_CID
