"""The HTTP under the RPC: a query string's values in, Kubo's kinds of answer out."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs

from backend.embedded.ipfs_unixfs import Cid

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Scope = Mapping[str, Any]


class Refused(Exception):
    """The call cannot be done; the text goes to the client as Kubo's `Message`."""


class Query:
    def __init__(self, raw: bytes) -> None:
        self._values = parse_qs(raw.decode("latin-1"), keep_blank_values=True)

    def text(self, name: str, default: str = "") -> str:
        return self._values.get(name, [default])[-1]

    def flag(self, name: str, default: bool = False) -> bool:
        return self.text(name, str(default)).lower() in ("true", "1", "")

    def number(self, name: str, default: int) -> int:
        value = self.text(name) or str(default)
        if not value.isascii() or not value.isdigit():
            raise Refused(f"{name} must be a whole number, not {value[:40]!r}")
        return int(value)

    def cids(self) -> list[Cid]:
        if not (found := [Cid.parse(text) for text in self._values.get("arg", [])]):
            raise Refused('argument "ipfs-path" is required')
        return found


async def reply(send: Send, status: int, body: bytes, kind: bytes) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def reply_json(send: Send, values: list[dict[str, Any]], status: int = 200) -> None:
    """One JSON object a line, as Kubo streams them."""
    lines = b"".join(json.dumps(value).encode() + b"\n" for value in values)
    await reply(send, status, lines, b"application/json")


async def reply_error(send: Send, status: int, message: str) -> None:
    await reply_json(send, [{"Message": message, "Code": 0, "Type": "error"}], status)


async def stream(send: Send, first: bytes, rest: Iterator[bytes]) -> None:
    """A failure after the first piece leaves the chunked body unended: the client sees a broken
    connection, never a short file that looks whole."""
    headers = [(b"content-type", b"application/octet-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    piece = first
    while piece:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        piece = await asyncio.to_thread(next, rest, b"")
    await send({"type": "http.response.body", "body": b""})
