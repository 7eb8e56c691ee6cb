"""`ContentStore`: the memory twin, and the Kubo driver on the embedded store."""

import base64
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from backend.domain.errors import ContentCorrupt, ContentUnavailable, InvalidValue, TooLarge
from backend.drivers.ipfs.kubo import KuboContentStore
from backend.drivers.memory.content import MemoryContentStore
from backend.embedded.ipfs import EmbeddedIpfs
from backend.embedded.ipfs_unixfs import Cid
from backend.ports import ContentStore

ABSENT = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"


@dataclass
class Case:
    store: ContentStore
    damage: Callable[[str], None]  # harm what is stored under that CID
    is_pinned: Callable[[str], bool]
    take_down: Callable[[], None]


def memory_case() -> Case:
    store = MemoryContentStore()
    return Case(store, store.corrupt.add, store.pinned.__contains__, lambda: setattr(store, "down", True))


def kubo_case(ipfs: EmbeddedIpfs, home: Path) -> Case:
    def damage(cid: str) -> None:
        key = base64.b32encode(bytes(Cid.parse(cid).multihash)).decode().rstrip("=")
        path = home / "blocks" / key[-3:-1] / f"{key}.data"
        block = bytearray(path.read_bytes())
        block[-1] ^= 1
        path.write_bytes(block)

    store = KuboContentStore(ipfs.api, ipfs.token, 60.0)
    return Case(store, damage, lambda cid: (home / "pins" / cid).exists(), ipfs.stop)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedIpfs, Path]]:
    home = tmp_path_factory.mktemp("ipfs")
    ipfs = EmbeddedIpfs(home)
    yield ipfs, home
    ipfs.stop()


@pytest.fixture(params=["memory", pytest.param("kubo", marks=pytest.mark.integration)])
def case(request: pytest.FixtureRequest) -> Case:
    if request.param == "memory":
        return memory_case()
    ipfs, home = request.getfixturevalue("embedded")
    if not ipfs.is_running():  # a test took it down
        ipfs.start()
    return kubo_case(ipfs, home)


@pytest.mark.parametrize("size", [0, 1, 262_143, 262_144, 262_145, 1_048_577])
async def test_what_is_put_comes_back_and_is_pinned(case: Case, size: int) -> None:
    content = bytes(i * 31 % 251 for i in range(size))
    cid = await case.store.put(io.BytesIO(content))
    assert case.is_pinned(cid)
    assert await case.store.get(cid, max_bytes=size) == content


async def test_the_cid_is_the_one_kubo_gives(case: Case) -> None:
    """`echo hello | ipfs add --cid-version=1`, and the empty file."""
    assert await case.store.put(io.BytesIO(b"hello\n")) == "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am"
    assert await case.store.put(io.BytesIO(b"")) == "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"


async def test_putting_twice_gives_one_cid(case: Case) -> None:
    assert await case.store.put(io.BytesIO(b"same")) == await case.store.put(io.BytesIO(b"same"))


async def test_content_that_nobody_has_is_unavailable_and_said_to_be(case: Case) -> None:
    with pytest.raises(ContentUnavailable, match="does not have this content"):
        await case.store.get(ABSENT, max_bytes=100)


@pytest.mark.parametrize("cid", ["", "nonsense", "Qm", "../../etc/passwd", "zzzz", "b" * 59, "bafy%00"])
async def test_what_is_no_cid_is_refused_before_anything_is_asked(case: Case, cid: str) -> None:
    with pytest.raises(InvalidValue):
        await case.store.get(cid, max_bytes=100)


async def test_content_damaged_at_rest_is_corrupt_not_short(case: Case) -> None:
    cid = await case.store.put(io.BytesIO(b"x" * 300))
    case.damage(cid)
    with pytest.raises(ContentCorrupt):
        await case.store.get(cid, max_bytes=1000)


async def test_content_over_the_limit_is_too_large(case: Case) -> None:
    cid = await case.store.put(io.BytesIO(bytes(600_000)))
    with pytest.raises(TooLarge):
        await case.store.get(cid, max_bytes=599_999)


async def test_unpinning_is_idempotent(case: Case) -> None:
    cid = await case.store.put(io.BytesIO(b"for a while"))
    await case.store.unpin(cid)
    assert not case.is_pinned(cid)
    await case.store.unpin(cid)


async def test_a_node_that_is_down_is_unavailable(case: Case) -> None:
    cid = await case.store.put(io.BytesIO(b"x"))
    case.take_down()
    with pytest.raises(ContentUnavailable, match="cannot be reached"):
        await case.store.get(cid, max_bytes=10)
    with pytest.raises(ContentUnavailable):
        await case.store.put(io.BytesIO(b"y"))
    with pytest.raises(ContentUnavailable):
        await case.store.unpin(cid)
