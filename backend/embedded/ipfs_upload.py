"""The multipart body of `add` and `block put`, taken in without holding it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

_PIECE_BYTES = 1 << 20
Part = TypeVar("Part")


class BadUpload(Exception):
    """The body is not a multipart form, is cut short, or holds no file."""


async def receive_files(
    headers: dict[bytes, bytes],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    begin: Callable[[], Part],
    write: Callable[[Part, bytes], None],
    finish: Callable[[str, Part], None],
) -> None:
    """Feed each file of the form through begin → write… → finish(filename), in a thread.
    A part counts only once its closing boundary is here. Raises: BadUpload."""
    kind, options = parse_options_header(headers.get(b"content-type", b""))
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise BadUpload("file argument 'path' is required")
    open_part: list[Part] = []
    header = [b"", b""]
    filename = [""]
    ended: list[bool] = []
    files = [0]

    def on_field(data: bytes, start: int, end: int) -> None:
        header[0] += data[start:end]

    def on_value(data: bytes, start: int, end: int) -> None:
        header[1] += data[start:end]

    def on_header_end() -> None:
        name, value = header
        header[:] = [b"", b""]
        if name.lower() == b"content-disposition":
            filename[0] = parse_options_header(value)[1].get(b"filename", b"").decode("utf-8", "replace")
        elif name.lower() == b"content-type" and value == b"application/x-directory":
            raise BadUpload("the embedded store keeps files only, no directories: add an archive")

    def on_end() -> None:
        finish(filename[0], open_part.pop())
        filename[0] = ""
        files[0] += 1

    parser = MultipartParser(
        options[b"boundary"],
        {
            "on_part_begin": lambda: open_part.append(begin()),
            "on_header_field": on_field,
            "on_header_value": on_value,
            "on_header_end": on_header_end,
            "on_part_data": lambda data, start, end: write(open_part[0], data[start:end]),
            "on_part_end": on_end,
            "on_end": lambda: ended.append(True),
        },
    )
    held, more = bytearray(), True
    try:
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise BadUpload("the client went away before its file was complete")
            held += message.get("body", b"")
            more = bool(message.get("more_body"))
            if len(held) >= _PIECE_BYTES or not more:
                piece, held = bytes(held), bytearray()
                await asyncio.to_thread(parser.write, piece)
    except MultipartParseError as err:
        raise BadUpload(f"the multipart body cannot be read: {err}") from err
    if not ended or not files[0]:
        raise BadUpload("the multipart body is cut short, or holds no file")
