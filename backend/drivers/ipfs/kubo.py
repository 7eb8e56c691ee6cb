"""`ContentStore` on a Kubo RPC: a real node, or our embedded store. The only file that imports ipfshttpclient.

The client hides three traps. It sends `raw-leaves=false` unless told, which changes every CID. It
drops the `X-Stream-Error` trailer, so a read that failed half-way looks like a shorter file. And an
absent CID is waited for on the network. So every CID is computed here as well, in both directions,
and every read has a time limit on both sides.
"""

import asyncio
import base64
import io
import ipaddress
import warnings
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

import base58
import ipfshttpclient
import multiaddr
import requests
from aleph_cid import CidHasher
from ipfshttpclient import exceptions as ipfs_errors

from backend.domain.errors import ContentCorrupt, ContentUnavailable, InvalidValue, TooLarge

_CHUNK_BYTES = 1 << 18
# As keywords and options, every time: the node's own defaults are its administrator's to change.
_ADD_KEYWORDS = {"cid_version": 1, "raw_leaves": True, "chunker": "size-262144", "pin": True}
_ADD_OPTIONS = {"cid-base": "base32", "max-file-links": "174", "hash": "sha2-256"}
Result = TypeVar("Result")


class KuboContentStore:
    """Args:
    api: the RPC's address as a URL (`http://127.0.0.1:5001`, with a path when behind a proxy) or a
        multiaddr (`/dns4/kubo.example/tcp/443/https`).
    token: sent as `Authorization: Bearer …`; None for a node without one.
    timeout_seconds: how long one silence of the node may last.

    Raises: InvalidValue when `api` is neither form.
    """

    def __init__(self, api: str, token: str | None, timeout_seconds: float) -> None:
        address, base, auth, loopback = _parse_api(api)
        # The pinned client still passes it to urllib3 2, once per connection.
        warnings.filterwarnings("ignore", "The 'strict' parameter is no longer needed", FutureWarning)
        self._timeout_seconds = timeout_seconds
        try:
            self._client = ipfshttpclient.Client(
                address,
                base=base,
                chunk_size=_CHUNK_BYTES,
                auth=auth,
                headers={"Authorization": f"Bearer {token}"} if token else None,
                timeout=(min(timeout_seconds, 10.0), timeout_seconds + 1.0),
            )
        except ipfs_errors.AddressError as err:
            raise InvalidValue("ipfs_api", f"{api!r} is neither a URL nor a multiaddr of a Kubo RPC") from err
        if loopback:  # a proxy from the environment must not see, or break, what stays on this machine
            self._client._client._session_props["trust_env"] = False

    async def put(self, content: BinaryIO) -> str:
        """Streams: memory does not grow with the content."""
        return await self._call("adding content", self._put, content)

    async def get(self, cid: str, *, max_bytes: int) -> bytes:
        """Raises: InvalidValue for what is no CID; else as the port says."""
        cid = _base32(cid)
        _hasher(cid)
        return await self._call(f"reading {cid}", self._get, cid, max_bytes)

    async def unpin(self, cid: str) -> None:
        await self._call(f"unpinning {cid}", self._unpin, cid)

    async def version(self) -> str:
        """What the node calls itself, for `byline doctor`. Raises: ContentUnavailable."""
        answer = await self._call("asking its version", self._client.version)
        return str(answer["Version"])

    def _put(self, content: BinaryIO) -> str:
        hashing = _HashingReader(content)
        answer = self._client.add(io.BufferedReader(hashing, _CHUNK_BYTES), opts=dict(_ADD_OPTIONS), **_ADD_KEYWORDS)
        expected, answered = hashing.cid(), _base32(str(answer["Hash"]))
        if answered != expected:
            self._unpin(answered)
            raise ContentCorrupt(f"the node stored {answered} where {expected} was sent")
        return expected

    def _get(self, cid: str, max_bytes: int) -> bytes:
        # One byte more than allowed is asked for: enough to know it is too large.
        options = {"length": str(max_bytes + 1), "timeout": f"{max(1, round(self._timeout_seconds))}s"}
        hasher, content = _hasher(cid), bytearray()
        with self._client.cat(cid, stream=True, opts=options) as pieces:
            for piece in pieces:
                content += piece
                if len(content) > max_bytes:
                    raise TooLarge(f"content {cid} is over {max_bytes} bytes; it was not taken in")
                hasher.update(piece)
        if hasher.finalize() != cid:
            raise ContentCorrupt(
                f"what came back for {cid} has another CID, or was cut short after {len(content)} bytes"
            )
        return bytes(content)

    def _unpin(self, cid: str) -> None:
        try:
            self._client.pin.rm(cid)
        except ipfs_errors.ErrorResponse as err:
            if "not pinned" not in str(err):
                raise

    async def _call(self, doing: str, function: Callable[..., Result], *args: Any) -> Result:
        """Run the synchronous client in a thread; foreign errors become ours here and nowhere else."""
        try:
            return await asyncio.to_thread(function, *args)
        except ipfs_errors.TimeoutError as err:
            raise ContentUnavailable(f"{doing}: no answer within {self._timeout_seconds:g} s") from err
        except ipfs_errors.ConnectionError as err:
            raise ContentUnavailable(f"{doing}: the IPFS node cannot be reached") from err
        except ipfs_errors.ErrorResponse as err:
            raise _refusal(doing, str(err.args[0])) from err
        except (ipfs_errors.Error, requests.RequestException) as err:
            raise ContentUnavailable(f"{doing}: {str(err)[:200]}") from err


def _refusal(doing: str, message: str) -> ContentUnavailable | ContentCorrupt:
    if "different hash than requested" in message:  # boxo's words for a block damaged on its disk
        return ContentCorrupt(f"{doing}: {message[:200]}")
    absent = ("could not find", "not found", "deadline exceeded", "context canceled")
    if any(words in message for words in absent):
        return ContentUnavailable(f"{doing}: the node does not have this content and found it nowhere; {message[:200]}")
    return ContentUnavailable(f"{doing}: {message[:200]}")


class _HashingReader(io.RawIOBase):
    """Passes a stream through and computes its CID on the way."""

    def __init__(self, content: BinaryIO) -> None:
        self._content = content
        self._hasher = CidHasher.for_ipfs_v1_raw_leaves()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._content.read(len(buffer))
        buffer[: len(piece)] = piece
        self._hasher.update(piece)
        return len(piece)

    def cid(self) -> str:
        return str(self._hasher.finalize())


def _base32(cid: str) -> str:
    """A version-1 CID in base58 (`z…`, as js-ipfs answers) in the base32 form that we compare and store."""
    if not cid.startswith("z"):
        return cid
    try:
        return "b" + base64.b32encode(base58.b58decode(cid[1:])).decode().lower().rstrip("=")
    except ValueError as err:
        raise InvalidValue("cid", f"{cid[:80]!r} is not a CID") from err


def _hasher(cid: str) -> CidHasher:
    """Raises: InvalidValue."""
    try:
        return CidHasher.for_expected(cid)
    except ValueError as err:
        raise InvalidValue("cid", f"{cid[:80]!r} is not a CID of a file") from err


def _parse_api(api: str) -> tuple[str, str, tuple[str, str] | None, bool]:
    """→ (multiaddr, base path, basic auth, is loopback). Raises: InvalidValue."""
    if api.startswith("/"):
        return api, "api/v0", None, api.startswith(("/ip4/127.", "/ip6/::1/", "/dns4/localhost/", "/dns/localhost/"))
    try:
        url = urlsplit(api)
        port = url.port or {"http": 80, "https": 443}[url.scheme]
    except (ValueError, KeyError) as err:
        raise InvalidValue("ipfs_api", f"{api!r} is neither a URL nor a multiaddr of a Kubo RPC") from err
    host = url.hostname or ""
    try:
        kind = f"ip{ipaddress.ip_address(host).version}"
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        kind, loopback = "dns", host == "localhost"
    path = url.path.strip("/").removesuffix("api/v0").strip("/")
    auth = (url.username, url.password or "") if url.username else None
    address = f"/{kind}/{host}/tcp/{port}/{url.scheme}"
    try:
        multiaddr.Multiaddr(address)
    except ValueError as err:
        raise InvalidValue("ipfs_api", f"{api!r} has no usable host") from err
    return address, f"{path}/api/v0" if path else "api/v0", auth, loopback
