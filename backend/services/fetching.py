"""A published version, back from IPFS, with every byte answered for by the chain.

The chain holds the manifest's digest and the records root; the manifest holds each shard's CID, size
and digest; each shard opens only under its version's key and its place. What does not match is
refused by name.
"""

import asyncio
import hashlib
from dataclasses import dataclass

from backend.domain.datanet import Manifest, Record, Shard
from backend.domain.errors import ContentCorrupt, InvalidValue, NotFound, PublicationUnseen, TooLarge
from backend.domain.manifest import MAX_MANIFEST_BYTES, parse_manifest, parse_shard, records_root, shard_header
from backend.domain.types import Digest, PublishedVersion, Wallet, digest_of
from backend.ports import ContentCipher, ContentStore, VersionStore


@dataclass(frozen=True, slots=True)
class Fetching:
    versions: VersionStore
    content: ContentStore
    cipher: ContentCipher
    chain_id: int
    registry: Wallet

    async def fetch(self, version: PublishedVersion) -> list[Record]:
        """The version's records, in the order of its records tree.

        The caller MUST have read the permission on chain first: nothing here asks whether anyone may.
        `version` MUST come from the chain (`AccessRegistry.current_version`), never from a mirror.
        Raises: NotFound (nothing published, or its data key is not on this server), PublicationUnseen,
            ContentUnavailable, ContentCorrupt naming what did not match.
        """
        if version.version == 0:
            raise NotFound(f"a published version of datanet {version.datanet}")
        row = await self.versions.version(version.manifest_digest)
        if row is None:
            raise NotFound(f"the data key of datanet {version.datanet} version {version.version} on this server")
        if row.status in ("prepared", "stale"):
            # Else a stranger's datanet that names this digest would open it: the indexer knows who published it.
            raise PublicationUnseen(_name(version))
        manifest = await self._manifest(row.manifest_cid, version)
        key = self.cipher.unwrap(row.wrapped_key)
        records: list[Record] = []
        for number, shard in enumerate(manifest.shards):
            records += await self._shard(manifest, number, shard, key)
        if await asyncio.to_thread(records_root, records) != version.records_root:
            raise ContentCorrupt(f"{_name(version)}: its records do not have the records root that is on chain")
        return records

    async def _manifest(self, cid: str, version: PublishedVersion) -> Manifest:
        content = await self._get(cid, MAX_MANIFEST_BYTES, f"{_name(version)}: its manifest")
        if _sha256(content) != version.manifest_digest:
            raise ContentCorrupt(f"{_name(version)}: its manifest does not have the digest that is on chain")
        manifest = parse_manifest(content)
        if (manifest.datanet, manifest.version) != (version.datanet, version.version):
            raise ContentCorrupt(
                f"{_name(version)}: its manifest is of datanet {manifest.datanet} version {manifest.version}"
            )
        if (manifest.chain_id, manifest.registry) != (self.chain_id, self.registry):
            raise ContentCorrupt(f"{_name(version)}: its manifest is of another chain or registry")
        if manifest.records_root != version.records_root:
            raise ContentCorrupt(f"{_name(version)}: its manifest names another records root than the chain")
        return manifest

    async def _shard(self, manifest: Manifest, number: int, shard: Shard, key: bytes) -> list[Record]:
        sealed = await self._get(shard.cid, shard.bytes, f"shard {number} ({shard.cid})")
        if len(sealed) != shard.bytes:
            raise ContentCorrupt(f"shard {number} has {len(sealed)} bytes, its manifest says {shard.bytes}")
        if _sha256(sealed) != shard.sha256:
            raise ContentCorrupt(f"shard {number} does not have the SHA-256 of its manifest")
        header = shard_header(manifest.chain_id, manifest.registry, manifest.datanet, manifest.version, number)

        def opened() -> list[Record]:
            return parse_shard(self.cipher.decrypt(key, sealed, header=header), shard)

        return await asyncio.to_thread(opened)

    async def _get(self, cid: str, max_bytes: int, what: str) -> bytes:
        try:
            return await self.content.get(cid, max_bytes=max_bytes)
        except TooLarge as err:
            raise ContentCorrupt(f"{what} is longer than it may be") from err
        except InvalidValue as err:
            raise ContentCorrupt(f"{what} has a name that is not a CID") from err


def _name(version: PublishedVersion) -> str:
    return f"datanet {version.datanet} version {version.version}"


def _sha256(content: bytes) -> Digest:
    return digest_of(hashlib.sha256(content).digest())
