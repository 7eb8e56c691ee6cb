"""Licence texts: pinned for whoever sets terms, and read back only as the chain has them."""

import hashlib
import io
from dataclasses import dataclass

from backend.domain.errors import ContentCorrupt, InvalidValue, NotFound
from backend.domain.types import DatanetId, Digest, digest_of
from backend.ports import ChainMirror, ContentStore

MAX_LICENCE_BYTES = 200_000


@dataclass(frozen=True, slots=True)
class Licensing:
    content: ContentStore
    mirror: ChainMirror

    async def pin(self, text: str) -> tuple[Digest, str]:
        """(SHA-256 of the text in UTF-8, its CID). Public: anyone may read a licence before asking for access.
        Raises: InvalidValue, ContentUnavailable."""
        content = text.encode("utf-8", "surrogatepass")
        if not text.strip():
            raise InvalidValue("text", "is empty")
        if len(content) > MAX_LICENCE_BYTES:
            raise InvalidValue("text", f"has {len(content):,} bytes; a licence has at most {MAX_LICENCE_BYTES:,}")
        return digest_of(hashlib.sha256(content).digest()), await self.content.put(io.BytesIO(content))

    async def text(self, datanet: DatanetId, terms_version: int) -> str:
        """The licence of that version of the terms. Raises: NotFound, ContentUnavailable, ContentCorrupt."""
        found = await self.mirror.events_named("TermsSet", datanetId=int(datanet), termsVersion=terms_version)
        if not found or not found[0].args["licenceCid"]:
            raise NotFound(f"a licence text of datanet {datanet}, terms {terms_version},")
        args = found[0].args
        content = await self.content.get(args["licenceCid"], max_bytes=MAX_LICENCE_BYTES)
        if digest_of(hashlib.sha256(content).digest()) != args["licenceDigest"]:
            raise ContentCorrupt(f"the licence of datanet {datanet}, terms {terms_version}")
        return content.decode("utf-8", "replace")
