"""The bytes behind a version: the manifest's canonical JSON, a shard's lines, the records root.

Both directions are here, so that what publishing writes is exactly what fetching accepts.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attribution.log import Tree
from backend.domain.datanet import MANIFEST_SCHEMA, Manifest, Record, Shard, canonical_json, total_records
from backend.domain.errors import ContentCorrupt, InvalidValue
from backend.domain.json_text import BadJson, parse_json
from backend.domain.types import DatanetId, Digest, Wallet, digest_of, parse_digest, parse_wallet

SHARD_SCHEMA = "byline.shard/1"
FORMATS = ("alpaca", "messages", "text")
MAX_MANIFEST_BYTES = 64 * 2**20


def records_root(records: Iterable[Record]) -> Digest:
    """RFC 9162 root over the records' leaves. Raises: ValueError when there is none."""
    tree = Tree.of(record.leaf() for record in records)
    if not len(tree):
        raise ValueError("a version without records has no root")
    return digest_of(tree.root())


# --- shards -------------------------------------------------------------------------------------


def shard_header(chain_id: int, registry: Wallet, datanet: DatanetId, version: int, shard: int) -> bytes:
    """What a shard's ciphertext is tied to; `shard` is its place in the manifest, from 0."""
    place = {"chain_id": chain_id, "registry": registry, "datanet": datanet, "version": version, "shard": shard}
    return canonical_json({"schema": SHARD_SCHEMA, **place})


def shard_lines(records: Iterable[Record]) -> bytes:
    return b"".join(
        canonical_json({"salt": r.salt, "body": r.body, "contributor": r.contributor}) + b"\n" for r in records
    )


def parse_shard(lines: bytes, shard: Shard) -> list[Record]:
    """Raises: ContentCorrupt unless it is what `shard_lines` writes, of that many records of that contributor."""
    records = []
    for number, line in enumerate(lines.splitlines(keepends=True), 1):  # bytes: splits at \n, \r only
        value = _object(line, f"record {number} of shard {shard.cid}", ("salt", "body", "contributor"))
        salt, body, contributor = value["salt"], value["body"], value["contributor"]
        if not isinstance(salt, str) or not isinstance(body, dict) or contributor != shard.contributor:
            raise ContentCorrupt(f"record {number} of shard {shard.cid}: not a record of {shard.contributor}")
        records.append(Record(body, shard.contributor, _salt(salt, shard)))
    if len(records) != shard.records:
        raise ContentCorrupt(f"shard {shard.cid} has {len(records)} records, its manifest says {shard.records}")
    if shard_lines(records) != lines:
        raise ContentCorrupt(f"shard {shard.cid} is not in canonical form")
    return records


def _salt(text: str, shard: Shard) -> str:
    try:
        if len(bytes.fromhex(text)) == 32:
            return text
    except ValueError:
        pass
    raise ContentCorrupt(f"shard {shard.cid}: a salt is not 64 hex digits")


# --- the manifest -------------------------------------------------------------------------------


def manifest_value(manifest: Manifest) -> dict[str, Any]:
    return {
        "schema": MANIFEST_SCHEMA,
        "chain_id": manifest.chain_id,
        "registry": manifest.registry,
        "datanet": manifest.datanet,
        "version": manifest.version,
        "format": manifest.format,
        "records": manifest.records,
        "records_root": manifest.records_root,
        "shards": [
            {"cid": s.cid, "bytes": s.bytes, "sha256": s.sha256, "records": s.records, "contributor": s.contributor}
            for s in manifest.shards
        ],
    }


def manifest_bytes(manifest: Manifest) -> bytes:
    """Its SHA-256 is the digest that the owner puts on chain."""
    return canonical_json(manifest_value(manifest))


def parse_manifest(content: bytes) -> Manifest:
    """Strict inverse of `manifest_bytes`. Raises: ContentCorrupt naming what is wrong."""
    names = ("schema", "chain_id", "registry", "datanet", "version", "format", "records", "records_root", "shards")
    value = _object(content, "the manifest", names)
    if value["schema"] != MANIFEST_SCHEMA:
        raise ContentCorrupt(f"the manifest's schema is {value['schema']!r}, not {MANIFEST_SCHEMA!r}")
    if value["format"] not in FORMATS:
        raise ContentCorrupt(f"the manifest's format is none of {', '.join(FORMATS)}")
    if not isinstance(value["shards"], list) or not value["shards"]:
        raise ContentCorrupt("the manifest has no shards")
    try:
        manifest = Manifest(
            chain_id=_count(value, "chain_id"),
            registry=parse_wallet(_string(value, "registry")),
            datanet=DatanetId(_count(value, "datanet")),
            version=_count(value, "version"),
            format=value["format"],
            records=_count(value, "records"),
            records_root=parse_digest(_string(value, "records_root")),
            shards=tuple(_shard(shard) for shard in value["shards"]),
        )
    except InvalidValue as err:
        raise ContentCorrupt(f"the manifest's {err.field} is malformed") from err
    if total_records(manifest.shards) != manifest.records:
        raise ContentCorrupt("the manifest's shards do not add up to its records")
    if manifest_bytes(manifest) != content:  # one manifest, one byte string
        raise ContentCorrupt("the manifest is not in canonical form")
    return manifest


def _shard(value: object) -> Shard:
    names = ("cid", "bytes", "sha256", "records", "contributor")
    if not isinstance(value, dict) or set(value) != set(names):
        raise ContentCorrupt(f"a shard in the manifest does not have exactly {', '.join(names)}")
    return Shard(
        cid=_string(value, "cid"),
        bytes=_count(value, "bytes"),
        sha256=parse_digest(_string(value, "sha256")),
        records=_count(value, "records"),
        contributor=parse_wallet(_string(value, "contributor")),
    )


def _object(content: bytes, what: str, names: Sequence[str]) -> dict[str, Any]:
    try:
        value = parse_json(content.decode())
    except (BadJson, UnicodeDecodeError) as err:
        raise ContentCorrupt(f"{what} is not JSON") from err
    if not isinstance(value, dict) or set(value) != set(names):
        raise ContentCorrupt(f"{what} does not have exactly {', '.join(names)}")
    return value


def _count(value: Mapping[str, Any], name: str) -> int:
    number = value[name]
    if type(number) is not int or number < 1:
        raise ContentCorrupt(f"{name} in the manifest is not a positive whole number")
    return number


def _string(value: Mapping[str, Any], name: str) -> str:
    text = value[name]
    if not isinstance(text, str) or not text:
        raise ContentCorrupt(f"{name} in the manifest is not text")
    return text
