"""UnixFS the way Kubo writes it: CIDs, dag-pb nodes, and the balanced tree over 256 KiB chunks.

Only what a file needs. A block is named by its multihash, here always sha2-256: `0x12 0x20` and 32
digest bytes. Specs: github.com/multiformats/cid, ipld.io/specs/codecs/dag-pb, specs.ipfs.tech/unixfs.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

RAW, DAG_PB = 0x55, 0x70
DEFAULT_CHUNK_BYTES = 262_144
DEFAULT_LINKS = 174
_DIRECTORY, _FILE = 1, 2
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_SHA2_256 = b"\x12\x20"


class BadCid(ValueError):
    """Not a CID, or one of a kind this store does not hold."""


class BadNode(ValueError):
    """A dag-pb or UnixFS node that cannot be read."""


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """(value, position after it). Raises: BadNode when it does not end."""
    value = shift = 0
    for position in range(at, min(at + 10, len(data))):
        value |= (data[position] & 0x7F) << shift
        if data[position] < 0x80:
            return value, position + 1
        shift += 7
    raise BadNode("a varint does not end")


def multihash(block: bytes) -> bytes:
    return _SHA2_256 + hashlib.sha256(block).digest()


@dataclass(frozen=True, slots=True)
class Cid:
    version: int
    codec: int
    multihash: bytes

    def __str__(self) -> str:
        """Base58 for version 0, base32 for version 1: the forms Kubo prints."""
        if self.version == 1:
            return "b" + base64.b32encode(bytes(self)).decode().lower().rstrip("=")
        number, out = int.from_bytes(self.multihash, "big"), ""
        while number:
            number, digit = divmod(number, 58)
            out = _BASE58[digit] + out
        return out

    def __bytes__(self) -> bytes:
        return self.multihash if self.version == 0 else varint(1) + varint(self.codec) + self.multihash

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Cid":
        if raw[:2] == _SHA2_256 and len(raw) == 34:
            return cls(0, DAG_PB, raw)
        try:
            version, at = read_varint(raw, 0)
            codec, at = read_varint(raw, at)
        except BadNode as err:
            raise BadCid("the CID is cut short") from err
        if version != 1 or codec not in (RAW, DAG_PB) or raw[at : at + 2] != _SHA2_256 or len(raw) != at + 34:
            raise BadCid("only raw and dag-pb blocks under sha2-256 are kept here")
        return cls(1, codec, raw[at:])

    @classmethod
    def parse(cls, text: str) -> "Cid":
        """Base58 (v0, or v1 with `z`), base32 (`b`), with or without `/ipfs/`. Raises: BadCid."""
        text = text.removeprefix("/ipfs/")
        try:
            if text.startswith("Qm") and len(text) == 46:
                return cls.from_bytes(_from_base58(text))
            if text.startswith("z"):
                return cls.from_bytes(_from_base58(text[1:]))
            if text.startswith("b"):
                return cls.from_bytes(base64.b32decode(text[1:].upper() + "=" * (-len(text[1:]) % 8)))
        except (binascii.Error, ValueError) as err:
            raise BadCid(f"{text[:80]!r} is not a CID") from err
        raise BadCid(f"{text[:80]!r} is not a CID")


def _from_base58(text: str) -> bytes:
    number = 0
    for char in text:
        number = number * 58 + _BASE58.index(char)
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


@dataclass(frozen=True, slots=True)
class Link:
    cid: Cid
    name: str
    total_bytes: int  # of the block and everything below it


@dataclass(frozen=True, slots=True)
class Node:
    """A dag-pb block read as UnixFS. `sizes[i]` is the file bytes below `links[i]`."""

    is_directory: bool
    data: bytes
    links: tuple[Link, ...]
    sizes: tuple[int, ...]


def encode_node(links: list[Link], unixfs: bytes) -> bytes:
    out = bytearray()
    for link in links:
        cid, name = bytes(link.cid), link.name.encode()
        body = (
            b"\x0a" + varint(len(cid)) + cid + b"\x12" + varint(len(name)) + name + b"\x18" + varint(link.total_bytes)
        )
        out += b"\x12" + varint(len(body)) + body
    return bytes(out + b"\x0a" + varint(len(unixfs)) + unixfs)


def encode_unixfs_file(data: bytes | None, size: int, block_sizes: list[int]) -> bytes:
    out = b"\x08" + varint(_FILE)
    if data:
        out += b"\x12" + varint(len(data)) + data
    return out + b"\x18" + varint(size) + b"".join(b"\x20" + varint(s) for s in block_sizes)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Protobuf: (field number, value) with varints as int and length-delimited ones as bytes."""
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        value, at = read_varint(data, at)
        if key & 7 == 0:
            yield key >> 3, value
        elif key & 7 == 2 and at + value <= len(data):
            yield key >> 3, data[at : at + value]
            at += value
        else:
            raise BadNode("not a dag-pb block")


def decode_node(block: bytes) -> Node:
    """Raises: BadNode."""
    links: list[Link] = []
    kind, data, sizes = _FILE, b"", []
    for number, value in _fields(block):
        if not isinstance(value, bytes):
            raise BadNode("not a dag-pb block")
        if number == 2:
            link = dict(_fields(value))
            cid, name, size = link.get(1), link.get(2, b""), link.get(3, 0)
            if not isinstance(cid, bytes) or not isinstance(name, bytes) or not isinstance(size, int):
                raise BadNode("a link is malformed")
            links.append(Link(Cid.from_bytes(cid), name.decode(errors="replace"), size))
        elif number == 1:
            for inner, part in _fields(value):
                if inner == 1 and isinstance(part, int):
                    kind = part
                elif inner == 2 and isinstance(part, bytes):
                    data = part
                elif inner == 4 and isinstance(part, int):
                    sizes.append(part)
    if kind != _DIRECTORY and len(sizes) != len(links):
        raise BadNode("a file node has links without sizes")
    return Node(kind == _DIRECTORY, data, tuple(links), tuple(sizes))


@dataclass(frozen=True, slots=True)
class Subtree:
    cid: Cid
    total_bytes: int
    file_bytes: int


class Importer:
    """Turns a byte stream into blocks, bottom up, holding one chunk and one open node per level.

    `put(multihash, block)` stores a block. With the defaults the root CID equals that of
    `ipfs add --cid-version=1`; `version=0, raw_leaves=False` gives plain `ipfs add`.
    """

    def __init__(
        self,
        put: Callable[[bytes, bytes], None],
        *,
        version: int = 1,
        raw_leaves: bool = True,
        chunk_bytes: int = DEFAULT_CHUNK_BYTES,
        links: int = DEFAULT_LINKS,
    ) -> None:
        self._put, self._version, self._raw, self._chunk, self._width = put, version, raw_leaves, chunk_bytes, links
        self._buffer = bytearray()
        self._levels: list[list[Subtree]] = [[]]
        self._leaves = 0

    def write(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= self._chunk:
            self._leaf(bytes(self._buffer[: self._chunk]))
            del self._buffer[: self._chunk]

    def finish(self) -> Subtree:
        if self._buffer or not self._leaves:
            self._leaf(bytes(self._buffer))
            self._buffer.clear()
        level = 0
        while level < len(self._levels) - 1 or len(self._levels[level]) > 1:
            self._push(level + 1, self._parent(self._levels[level]))
            level += 1
        return self._levels[level][0]

    def _leaf(self, data: bytes) -> None:
        self._leaves += 1
        block = data if self._raw else encode_node([], encode_unixfs_file(data, len(data), []))
        self._push(0, Subtree(self._store(RAW if self._raw else DAG_PB, block), len(block), len(data)))

    def _push(self, level: int, subtree: Subtree) -> None:
        if level == len(self._levels):
            self._levels.append([])
        if len(self._levels[level]) == self._width:
            self._push(level + 1, self._parent(self._levels[level]))
            self._levels[level] = []
        self._levels[level].append(subtree)

    def _parent(self, children: list[Subtree]) -> Subtree:
        size = sum(child.file_bytes for child in children)
        links = [Link(child.cid, "", child.total_bytes) for child in children]
        block = encode_node(links, encode_unixfs_file(None, size, [child.file_bytes for child in children]))
        total = len(block) + sum(child.total_bytes for child in children)
        return Subtree(self._store(DAG_PB, block), total, size)

    def _store(self, codec: int, block: bytes) -> Cid:
        name = multihash(block)
        self._put(name, block)
        return Cid(1 if codec == RAW else self._version, codec, name)
