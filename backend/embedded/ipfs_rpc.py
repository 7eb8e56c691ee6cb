"""Kubo's RPC (`/api/v0/…`, POST only) over a `BlockStore`: the calls Byline and a curious `curl` need.

A plain ASGI application. Every call needs the bearer token, because any local process can reach a
loopback port. Answers and error texts are Kubo's, so that a client cannot tell the difference; what
is not offered says so instead of doing something similar.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from backend.embedded.ipfs_blocks import BlockStore, CorruptBlock, MissingBlock
from backend.embedded.ipfs_http import Query, Receive, Refused, Scope, Send, reply, reply_error, reply_json, stream
from backend.embedded.ipfs_lock import ReadersWriter
from backend.embedded.ipfs_unixfs import (
    DAG_PB,
    DEFAULT_CHUNK_BYTES,
    DEFAULT_LINKS,
    RAW,
    BadCid,
    BadNode,
    Cid,
    Importer,
    multihash,
    varint,
)
from backend.embedded.ipfs_upload import BadUpload, receive_files

VERSION = "0.43.0-byline"  # the Kubo whose RPC this speaks
_PIECE_BYTES = 1 << 20


Answer = list[dict[str, Any]] | bytes | Iterator[bytes]
Call = Callable[[Query, dict[bytes, bytes], Receive], Awaitable[Answer]]


class IpfsRpc:
    def __init__(self, store: BlockStore, token: str) -> None:
        self._store = store
        self._bearer = f"Bearer {token}".encode()
        self._lock = ReadersWriter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("this server speaks HTTP only")
        headers = dict(scope["headers"])
        if not hmac.compare_digest(headers.get(b"authorization", b""), self._bearer):
            await reply(send, 403, b"403 - Forbidden: the bearer token is missing or wrong\n", b"text/plain")
            return
        if scope["method"] != "POST":
            await reply(send, 405, b"405 - Method Not Allowed\n", b"text/plain")
            return
        calls: dict[str, Call] = {
            "add": self._add, "cat": self._cat, "ls": self._ls,
            "pin/add": self._pin_add, "pin/rm": self._pin_rm, "pin/ls": self._pin_ls,
            "block/get": self._block_get, "block/put": self._block_put, "block/stat": self._block_stat,
            "dag/export": self._dag_export, "repo/gc": self._repo_gc, "repo/stat": self._repo_stat,
            "version": self._version, "id": self._id,
        }  # fmt: skip
        call = calls.get(scope["path"].removeprefix("/api/v0/"))
        if call is None:
            await reply(send, 404, b"404 page not found\n", b"text/plain")
            return
        try:
            answer = await call(Query(scope["query_string"]), headers, receive)
            # Taken before the status line, so that an absent root is a plain error and not a torn stream.
            first = await asyncio.to_thread(next, answer, b"") if isinstance(answer, Iterator) else b""
        except Refused as err:
            await reply_error(send, 500, str(err))
        except (BadUpload, BadCid) as err:
            await reply_error(send, 400, str(err))
        except (MissingBlock, CorruptBlock, BadNode, IsADirectoryError) as err:
            await reply_error(send, 500, str(err))
        except OSError as err:  # disk full, disk gone
            await reply_error(send, 500, f"the block store cannot be used: {err}")
        else:
            if isinstance(answer, Iterator):
                await stream(send, first, answer)
            elif isinstance(answer, bytes):
                await reply(send, 200, answer, b"application/octet-stream")
            else:
                await reply_json(send, answer)

    # --- files

    async def _add(self, query: Query, headers: dict[bytes, bytes], receive: Receive) -> list[dict[str, Any]]:
        for name in ("trickle", "nocopy", "wrap-with-directory", "inline"):
            if query.flag(name):
                raise Refused(f"{name} is not offered by the embedded store")
        chunker, _, size = query.text("chunker", f"size-{DEFAULT_CHUNK_BYTES}").partition("-")
        if chunker != "size" or not size.isdigit() or not 1 <= int(size) <= 1 << 20:
            raise Refused("the embedded store offers the chunkers size-1 to size-1048576")
        if query.text("hash", "sha2-256") != "sha2-256":
            raise Refused("the embedded store offers the hash sha2-256")
        version = query.number("cid-version", 0)
        links = query.number("max-file-links", DEFAULT_LINKS)
        if version > 1 or not 2 <= links <= 1024:
            raise Refused("cid-version must be 0 or 1, max-file-links 2 to 1024")
        keep, pin = not query.flag("only-hash"), query.flag("pin", True)
        answers: list[dict[str, Any]] = []

        def importer() -> Importer:
            return Importer(
                self._store.put if keep else lambda _name, _block: None,
                version=version,
                raw_leaves=query.flag("raw-leaves", version == 1),
                chunk_bytes=int(size),
                links=links,
            )

        def finished(filename: str, done: Importer) -> None:
            root = done.finish()
            if keep:
                self._store.sync()
                if pin:
                    self._store.pin(root.cid)
            name = filename or str(root.cid)
            answers.append({"Name": name, "Hash": str(root.cid), "Size": str(root.total_bytes)})

        async with self._lock.adding():
            await receive_files(headers, receive, importer, Importer.write, finished)
        return answers

    async def _cat(self, query: Query, _headers: object, _receive: Receive) -> Iterator[bytes]:
        length = query.number("length", 0) if query.text("length") else None
        return _gathered(self._store.read(query.cids()[0], query.number("offset", 0), length))

    async def _ls(self, query: Query, _headers: object, _receive: Receive) -> list[dict[str, Any]]:
        def entries(cid: Cid) -> dict[str, Any]:
            links = [
                {"Name": link.name, "Hash": str(link.cid), "Size": link.total_bytes, "Type": 2, "Target": ""}
                for link in self._store.node(cid).links
            ]
            return {"Hash": str(cid), "Links": links}

        return [{"Objects": await asyncio.to_thread(lambda: [entries(cid) for cid in query.cids()])}]

    async def _dag_export(self, query: Query, _headers: object, _receive: Receive) -> Iterator[bytes]:
        root = query.cids()[0]
        await asyncio.to_thread(self._store.require, root)

        def car() -> Iterator[bytes]:
            tagged = b"\x00" + bytes(root)
            header = b"\xa2\x65roots\x81\xd8\x2a\x58" + bytes([len(tagged)]) + tagged + b"\x67version\x01"  # dag-cbor
            yield varint(len(header)) + header
            for cid in self._store.walk(root):
                section = bytes(cid) + self._store.get(cid)
                yield varint(len(section)) + section

        return _gathered(car())

    # --- pins

    async def _pin_add(self, query: Query, _headers: object, _receive: Receive) -> list[dict[str, Any]]:
        if not query.flag("recursive", True):
            raise Refused("the embedded store pins recursively only")
        async with self._lock.adding():
            for cid in query.cids():
                await asyncio.to_thread(self._store.require, cid)
                await asyncio.to_thread(self._store.pin, cid)
        return [{"Pins": [str(cid) for cid in query.cids()]}]

    async def _pin_rm(self, query: Query, _headers: object, _receive: Receive) -> list[dict[str, Any]]:
        for cid in query.cids():
            if not await asyncio.to_thread(self._store.unpin, cid):
                raise Refused("not pinned or pinned indirectly")
        return [{"Pins": [str(cid) for cid in query.cids()]}]

    async def _pin_ls(self, query: Query, _headers: object, _receive: Receive) -> list[dict[str, Any]]:
        kind = query.text("type", "all")
        if kind not in ("all", "recursive") and not query.text("arg"):
            raise Refused("the embedded store lists pins of type recursive")
        found = query.cids() if query.text("arg") else self._store.pins()
        for cid in found:
            if not self._store.is_pinned(cid):
                raise Refused(f"path '{cid}' is not pinned")
        return [{"Keys": {str(cid): {"Type": "recursive"} for cid in found}}]

    # --- blocks and the repo

    async def _block_get(self, query: Query, _headers: object, _receive: Receive) -> bytes:
        return await asyncio.to_thread(self._store.get, query.cids()[0])

    async def _block_stat(self, query: Query, _headers: object, _receive: Receive) -> list[dict[str, Any]]:
        cid = query.cids()[0]
        return [{"Key": str(cid), "Size": self._store.block_bytes(cid)}]

    async def _block_put(self, query: Query, headers: dict[bytes, bytes], receive: Receive) -> list[dict[str, Any]]:
        codec = {"raw": RAW, "dag-pb": DAG_PB}.get(query.text("cid-codec", "raw"))
        if codec is None or query.text("mhtype", "sha2-256") != "sha2-256":
            raise Refused("the embedded store keeps raw and dag-pb blocks under sha2-256")
        answers: list[dict[str, Any]] = []

        def add(block: bytearray, piece: bytes) -> None:
            if len(block) + len(piece) > 2 << 20:
                raise Refused("produced block is over 2MiB: big blocks can't be exchanged with other peers")
            block += piece

        def finished(_filename: str, block: bytearray) -> None:
            cid = Cid(1, codec, multihash(bytes(block)))
            self._store.put(cid.multihash, bytes(block))
            self._store.sync()
            if query.flag("pin"):
                self._store.pin(cid)
            answers.append({"Key": str(cid), "Size": len(block)})

        async with self._lock.adding():
            await receive_files(headers, receive, bytearray, add, finished)
        return answers

    async def _repo_gc(self, query: Query, _headers: object, _receive: Receive) -> list[dict[str, Any]]:
        async with self._lock.collecting():
            gone = await asyncio.to_thread(self._store.collect)
        return [] if query.flag("quiet") else [{"Key": {"/": str(cid)}} for cid in gone]

    async def _repo_stat(self, _query: Query, _headers: object, _receive: Receive) -> list[dict[str, Any]]:
        blocks, size = await asyncio.to_thread(self._store.size)
        path = str(self._store.home)
        return [{"NumObjects": blocks, "RepoSize": size, "RepoPath": path, "Version": "fs-repo@18", "StorageMax": 0}]

    async def _version(self, _query: Query, _headers: object, _receive: Receive) -> list[dict[str, Any]]:
        return [{"Version": VERSION, "Commit": "", "Repo": "18", "System": "byline/embedded", "Golang": ""}]

    async def _id(self, _query: Query, _headers: object, _receive: Receive) -> list[dict[str, Any]]:
        """No peer id: this store has no network and will not pretend to one."""
        agent = f"byline-embedded/{VERSION}"
        return [{"ID": "", "PublicKey": "", "Addresses": [], "AgentVersion": agent, "Protocols": []}]


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of about 1 MiB: fewer, larger writes."""
    held = bytearray()
    for piece in pieces:
        held += piece
        if len(held) >= _PIECE_BYTES:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)
