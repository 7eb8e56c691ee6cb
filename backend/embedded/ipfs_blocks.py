"""Blocks and pins on disk: Kubo's flatfs layout, written so that a SIGKILL leaves no half block.

    <home>/blocks/<next-to-last two characters>/<base32 multihash>.data
    <home>/pins/<CID>            an empty file per recursively pinned root
    <home>/repo.lock             one server per home (flock)

A block is written aside, synced, and renamed; `sync` makes the names durable before a caller is
told anything. Methods block: the RPC calls them in threads, and keeps
`collect` away from adding, so that a block of an unfinished add is never taken for garbage.
"""

import base64
import binascii
import fcntl
import os
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from backend.embedded.ipfs_unixfs import DAG_PB, RAW, Cid, Link, Node, decode_node, multihash


class MissingBlock(Exception):
    def __init__(self, cid: Cid) -> None:
        super().__init__(f"block was not found locally (offline): ipld: could not find {cid}")


class CorruptBlock(Exception):
    def __init__(self, cid: Cid) -> None:
        super().__init__(f"block in storage has different hash than requested: {cid}")


class RepoLocked(Exception):
    pass


class BlockStore:
    def __init__(self, home: Path) -> None:
        """Opens the repo, clearing what a killed predecessor left half written. Raises: RepoLocked."""
        self.home = home
        self._blocks, self._pins = home / "blocks", home / "pins"
        for directory in (home, self._blocks, self._pins):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = (home / "repo.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            self._lock.close()
            raise RepoLocked(f"another process already serves {home}") from err
        sharding = self._blocks / "SHARDING"
        if not sharding.exists():  # what real Kubo looks for when it opens this directory
            sharding.write_text("/repo/flatfs/shard/v1/next-to-last/2\n")
        for left_over in self._blocks.glob("*/*.tmp"):
            left_over.unlink()
        self._dirty: set[Path] = {home, self._blocks, self._pins}
        self._guard, self._syncing = threading.Lock(), threading.Lock()
        self._serial = count()
        self.sync()

    def close(self) -> None:
        self._lock.close()

    # --- blocks

    def put(self, name: bytes, block: bytes) -> None:
        """Durable after the next `sync`. A damaged block of that name is replaced."""
        path = self._path(name)
        try:
            if path.read_bytes() == block:
                self._mark(path.parent)
                return
        except FileNotFoundError:
            pass
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            self._mark(self._blocks)
        aside = path.with_name(f"{path.stem}.{next(self._serial)}.tmp")
        with aside.open("wb") as file:
            file.write(block)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
        self._mark(path.parent)

    def sync(self) -> None:
        """Returns once every block and pin put so far survives a power cut."""
        with self._syncing:  # one at a time: whoever finds nothing to do must not overtake the one doing it
            with self._guard:
                waiting, self._dirty = self._dirty, set()
            try:
                for directory in waiting:
                    _sync_directory(directory)
            except OSError:
                with self._guard:
                    self._dirty |= waiting
                raise

    def get(self, cid: Cid) -> bytes:
        """Raises: MissingBlock, CorruptBlock."""
        try:
            block = self._path(cid.multihash).read_bytes()
        except FileNotFoundError as err:
            raise MissingBlock(cid) from err
        if multihash(block) != cid.multihash:
            raise CorruptBlock(cid)
        return block

    def has(self, cid: Cid) -> bool:
        return self._path(cid.multihash).exists()

    def block_bytes(self, cid: Cid) -> int:
        try:
            return self._path(cid.multihash).stat().st_size
        except FileNotFoundError as err:
            raise MissingBlock(cid) from err

    # --- graphs

    def node(self, cid: Cid) -> Node:
        """A raw block is a file without links. Raises: MissingBlock, CorruptBlock, BadNode."""
        return Node(False, self.get(cid), (), ()) if cid.codec == RAW else decode_node(self.get(cid))

    def walk(self, root: Cid) -> Iterator[Cid]:
        """`root` and all below it, depth first, each once. Raw leaves are named, not read."""
        seen: set[bytes] = set()
        waiting = [root]
        while waiting:
            cid = waiting.pop()
            if cid.multihash in seen:
                continue
            seen.add(cid.multihash)
            yield cid
            if cid.codec == DAG_PB:
                waiting.extend(link.cid for link in reversed(self.node(cid).links))

    def require(self, root: Cid) -> None:
        """Raises: MissingBlock unless the whole graph is here."""
        for cid in self.walk(root):
            if not self.has(cid):
                raise MissingBlock(cid)

    def read(self, cid: Cid, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The file's bytes [offset, offset + length), block by block, reading only the blocks that hold them."""
        end = None if length is None else offset + length

        def below(cid: Cid, base: int) -> Iterator[bytes]:
            node = self.node(cid)
            if node.is_directory:
                raise IsADirectoryError("this dag node is a directory")
            piece = node.data[max(0, offset - base) : None if end is None else max(0, end - base)]
            if piece:
                yield piece
            base += len(node.data)
            for link, size in zip(node.links, node.sizes, strict=True):
                if base + size > offset and (end is None or base < end):
                    yield from below(link.cid, base)
                base += size

        return below(cid, 0)

    def links(self, cid: Cid) -> tuple[Link, ...]:
        return self.node(cid).links

    # --- pins

    def pin(self, cid: Cid) -> None:
        """Durable on return. The graph must be here: see `require`."""
        (self._pins / str(cid)).touch(mode=0o600)
        self._mark(self._pins)
        self.sync()

    def unpin(self, cid: Cid) -> bool:
        """False when it was not pinned."""
        try:
            (self._pins / str(cid)).unlink()
        except FileNotFoundError:
            return False
        self._mark(self._pins)
        self.sync()
        return True

    def pins(self) -> list[Cid]:
        return [Cid.parse(name) for name in sorted(os.listdir(self._pins))]

    def is_pinned(self, cid: Cid) -> bool:
        return (self._pins / str(cid)).exists()

    def collect(self) -> list[Cid]:
        """Delete every block no pin reaches; returns them. The caller MUST hold the writer's side of the lock.
        Raises: MissingBlock, CorruptBlock (and deletes nothing) when a pinned graph cannot be walked."""
        live = {cid.multihash for root in self.pins() for cid in self.walk(root)}
        gone = []
        for path in self._blocks.glob("*/*.data"):
            name = _name(path)
            if name not in live:
                path.unlink()
                gone.append(Cid(1, RAW, name))
        return gone

    def size(self) -> tuple[int, int]:
        """(blocks, bytes)."""
        sizes = [path.stat().st_size for path in self._blocks.glob("*/*.data")]
        return len(sizes), sum(sizes)

    def _path(self, name: bytes) -> Path:
        key = base64.b32encode(name).decode().rstrip("=")
        return self._blocks / key[-3:-1] / f"{key}.data"

    def _mark(self, directory: Path) -> None:
        with self._guard:
            self._dirty.add(directory)


def _name(path: Path) -> bytes:
    try:
        return base64.b32decode(path.stem + "=" * (-len(path.stem) % 8))
    except binascii.Error as err:
        raise OSError(f"{path} is not a block") from err


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
