"""Adapters at rest: pinned encrypted, kept on a shelf once fetched."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from backend.domain.answers import ModelRef
from backend.domain.errors import ContentCorrupt, ModelUnavailable
from backend.domain.types import digest_of
from backend.ports import ContentCipher, ContentStore

ADAPTER_HEADER = b"byline.adapter/1"
MAX_ADAPTER_BYTES = 4 * 2**30


def seal_adapter(cipher: ContentCipher, archive: bytes) -> bytes:
    """An adapter remembers the data it was trained on, so it is pinned encrypted like the data:
    length of the wrapped key (one byte), wrapped key, ciphertext."""
    key = cipher.new_key()
    wrapped = cipher.wrap(key)
    return bytes([len(wrapped)]) + wrapped + cipher.encrypt(key, archive, header=ADAPTER_HEADER)


def open_adapter(cipher: ContentCipher, sealed: bytes) -> bytes:
    """Raises: ContentCorrupt."""
    if not sealed or len(sealed) <= 1 + sealed[0]:
        raise ContentCorrupt("an adapter that is cut short")
    length = sealed[0]
    key = cipher.unwrap(sealed[1 : 1 + length])
    return cipher.decrypt(key, sealed[1 + length :], header=ADAPTER_HEADER)


@dataclass(frozen=True, slots=True)
class AdapterShelf:
    """Where the engine finds an adapter's files: fetched from IPFS once, checked against the digest on chain."""

    content: ContentStore
    cipher: ContentCipher
    unpack: Callable[[bytes, Path], None]
    folder: Path
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def path_of(self, model: ModelRef) -> Path:
        """Raises: as `put_into`."""
        place = self.folder / str(model.adapter_digest)  # without one, `put_into` refuses
        async with self._one_at_a_time:
            if not place.is_dir():
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                await self.put_into(place, model)
        return place

    async def put_into(self, place: Path, model: ModelRef) -> None:
        """Make `place` hold the adapter's files, beside the shelf: for who removes them when done.
        Raises: ContentUnavailable, ContentCorrupt, ModelUnavailable."""
        if model.adapter_digest is None or model.adapter_cid is None:
            raise ModelUnavailable(f"{model.base}: no adapter is stored for it")
        sealed = await self.content.get(model.adapter_cid, max_bytes=MAX_ADAPTER_BYTES)
        archive = await asyncio.to_thread(open_adapter, self.cipher, sealed)
        if digest_of(hashlib.sha256(archive).digest()) != model.adapter_digest:
            raise ContentCorrupt(f"adapter {model.adapter_digest}")
        await asyncio.to_thread(self.unpack, archive, place)
