"""From an owner's file to a version that is pinned and ready for the owner's transaction.

Two steps, because an owner decides after looking: `preview` keeps the upload sealed for an hour;
`prepare` encrypts, pins and writes the manifest. Nothing is published here: the owner's wallet does
that, by putting the manifest's digest on chain.
"""

import asyncio
import hashlib
import io
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backend.domain.datanet import Manifest, Record, Shard, canonical_json
from backend.domain.errors import AccessDenied, InvalidValue, NotFound, RejectedRows, Unavailable
from backend.domain.manifest import manifest_bytes, records_root, shard_header, shard_lines
from backend.domain.types import DatanetId, Digest, PublishedVersion, Wallet, digest_of
from backend.domain.uploads import MAX_ROWS, MAX_UPLOAD_BYTES, Upload, UploadedRow, read_upload, refuse_oversized
from backend.ports import AccessRegistry, ContentCipher, ContentStore, Draft, TableReader, VersionRow, VersionStore

DRAFT_LIFETIME = timedelta(hours=1)
_UNPACKED_FACTOR = 4  # a compressed table may unpack to so many times the upload limit

log = logging.getLogger(__name__)


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Publishing:
    """`chain_id` and `registry` name the chain that versions are for: they are part of each manifest."""

    access: AccessRegistry
    versions: VersionStore
    content: ContentStore
    cipher: ContentCipher
    tables: TableReader
    chain_id: int
    registry: Wallet
    max_upload_bytes: int = MAX_UPLOAD_BYTES
    now: Callable[[], datetime] = _utc_now

    async def preview(
        self, wallet: Wallet, datanet: DatanetId, filename: str, content: bytes, contributor_column: str | None
    ) -> tuple[Draft, Upload]:
        """Read the file row by row and keep it, sealed, for an hour. Only for the datanet's owner.
        Raises: AccessDenied, NotFound, TooLarge, InvalidValue, UnreadableFile."""
        await self._current(wallet, datanet)
        refuse_oversized(len(content), self.max_upload_bytes)
        upload = await asyncio.to_thread(self._read, filename, content, wallet, contributor_column)
        key, draft_id = self.cipher.new_key(), secrets.token_hex(16)
        header = _draft_header(draft_id, datanet, wallet)
        draft = Draft(
            draft_id=draft_id,
            datanet=datanet,
            owner=wallet,
            filename=filename,
            contributor_column=contributor_column,
            sealed=await asyncio.to_thread(self.cipher.encrypt, key, content, header=header),
            wrapped_key=self.cipher.wrap(key),
            expires_at=self.now() + DRAFT_LIFETIME,
        )
        await self.versions.add_draft(draft)
        return draft, upload

    async def prepare(self, wallet: Wallet, draft_id: str, on_bad_row: str) -> VersionRow:
        """Encrypt and pin a draft as the datanet's next version, all of it or nothing: on any failure what
        was pinned is unpinned, and the draft stays.

        Args: on_bad_row: "skip" keeps the good rows, "refuse" takes none when one is bad.
        Raises: NotFound (no such draft of this wallet, or it ran out), AccessDenied, RejectedRows,
            InvalidValue (no good row), ContentUnavailable.
        """
        if on_bad_row not in ("skip", "refuse"):
            raise InvalidValue("on_bad_row", f"{on_bad_row[:40]!r} is neither skip nor refuse")
        draft = await self.versions.draft(draft_id, self.now())
        if draft is None or draft.owner != wallet:
            raise NotFound("that upload (it is kept for an hour; upload the file again)")
        current = await self._current(wallet, draft.datanet)
        upload = await asyncio.to_thread(self._reopen, draft)
        if upload.problems and on_bad_row == "refuse":
            raise RejectedRows(upload.problems)
        if not upload.records:
            first = upload.problems[0]
            raise InvalidValue("file", f"none of its rows can be used (row {first.row}: {first.problem})")
        row = await self._pin(current, upload)
        try:
            await self.versions.drop_draft(draft_id)
        except Unavailable:  # the version stands; the draft runs out by itself
            log.warning("draft %s was not dropped; it expires at %s", draft_id, draft.expires_at)
        return row

    async def _pin(self, current: PublishedVersion, upload: Upload) -> VersionRow:
        version, key = current.version + 1, self.cipher.new_key()
        records, shards = list[Record](), list[Shard]()
        async with self._all_or_nothing() as pinned:
            for number, (contributor, rows) in enumerate(upload.by_contributor().items()):
                header = shard_header(self.chain_id, self.registry, current.datanet, version, number)
                mine, sealed = await asyncio.to_thread(self._seal, rows, key, header)
                cid = await self.content.put(io.BytesIO(sealed))
                pinned.append(cid)
                shards.append(Shard(cid, len(sealed), _sha256(sealed), len(mine), contributor))
                records += mine
            manifest = Manifest(
                chain_id=self.chain_id,
                registry=self.registry,
                datanet=current.datanet,
                version=version,
                format=upload.format,
                records=len(records),
                records_root=await asyncio.to_thread(records_root, records),
                shards=tuple(shards),
            )
            written = manifest_bytes(manifest)
            manifest_cid = await self.content.put(io.BytesIO(written))
            pinned.append(manifest_cid)
            row = VersionRow(
                datanet=current.datanet,
                version=version,
                owner=current.owner,
                manifest_digest=_sha256(written),
                manifest_cid=manifest_cid,
                manifest=manifest,
                wrapped_key=self.cipher.wrap(key),
                status="prepared",
                passages=0,
                created_at=self.now(),
            )
            await self.versions.add_version(row)
        return row

    @asynccontextmanager
    async def _all_or_nothing(self) -> AsyncIterator[list[str]]:
        """Collects CIDs; unpins them all if the block does not come to its end. Each ciphertext is new
        (fresh key, salts and nonces), so nobody else's pin can be hit."""
        pinned: list[str] = []
        try:
            yield pinned
        except BaseException:
            await asyncio.shield(self._unpin(pinned))
            raise

    async def _unpin(self, cids: list[str]) -> None:
        for cid in cids:
            try:
                await self.content.unpin(cid)
            except Unavailable:  # what stays is ciphertext whose key was never stored
                log.warning("%s stays pinned: IPFS does not answer", cid)

    def _seal(self, rows: list[UploadedRow], key: bytes, header: bytes) -> tuple[list[Record], bytes]:
        records = [Record(row.body, row.contributor, secrets.token_hex(32)) for row in rows]
        return records, self.cipher.encrypt(key, shard_lines(records), header=header)

    def _reopen(self, draft: Draft) -> Upload:
        header = _draft_header(draft.draft_id, draft.datanet, draft.owner)
        content = self.cipher.decrypt(self.cipher.unwrap(draft.wrapped_key), draft.sealed, header=header)
        return self._read(draft.filename, content, draft.owner, draft.contributor_column)

    def _read(self, filename: str, content: bytes, uploader: Wallet, contributor_column: str | None) -> Upload:
        return read_upload(
            filename,
            content,
            uploader,
            contributor_column,
            read_table=lambda table: self.tables.read(
                table, max_rows=MAX_ROWS, max_bytes=_UNPACKED_FACTOR * self.max_upload_bytes
            ),
            max_bytes=self.max_upload_bytes,
        )

    async def _current(self, wallet: Wallet, datanet: DatanetId) -> PublishedVersion:
        """The chain's current version, if this wallet owns the datanet there. Raises: AccessDenied, NotFound."""
        current = await self.access.current_version(datanet)
        if current.owner != wallet:
            raise AccessDenied(
                f"only the owner of datanet {datanet} may publish to it; on chain that is {current.owner}, "
                f"and you are signed in as {wallet}"
            )
        return current


def _draft_header(draft_id: str, datanet: DatanetId, owner: Wallet) -> bytes:
    return canonical_json({"schema": "byline.draft/1", "draft": draft_id, "datanet": datanet, "owner": owner})


def _sha256(content: bytes) -> Digest:
    return digest_of(hashlib.sha256(content).digest())
