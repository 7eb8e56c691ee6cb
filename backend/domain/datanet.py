"""A datanet's data as the rest of Byline sees it: records, shards, the manifest, passages."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from attribution.records import content_digest, record_digest
from backend.domain.types import DatanetId, Digest, Wallet

MANIFEST_SCHEMA = "byline.manifest/1"


def canonical_json(value: Any) -> bytes:
    """One byte string per value: sorted keys, no spaces, UTF-8, no NaN (after RFC 8785)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a datanet. `body` is one of {"instruction","input","output"}, {"messages"}, {"text"}."""

    body: dict[str, Any]
    contributor: Wallet
    salt: str  # 64 hex digits; without it nobody can guess a short record from its digest

    def content(self) -> bytes:
        """The salted digest of what it says, 32 bytes."""
        return content_digest(bytes.fromhex(self.salt), canonical_json(self.body))

    def leaf(self) -> bytes:
        """The record's leaf data in the records tree, 32 bytes: `attribution.records` says how it is made."""
        return record_digest(self.contributor, self.content())


@dataclass(frozen=True, slots=True)
class Shard:
    """One contributor's records of one version, encrypted and pinned as one object."""

    cid: str
    bytes: int  # of ciphertext
    sha256: Digest  # of ciphertext
    records: int
    contributor: Wallet


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a version consists of. Its canonical JSON is pinned; SHA-256 of that is on chain.

    Records are numbered through the shards in their order; `records_root` is the RFC 9162 tree
    over `Record.leaf()` in that order.
    """

    chain_id: int
    registry: Wallet
    datanet: DatanetId
    version: int
    format: str  # "alpaca", "messages" or "text"
    records: int
    records_root: Digest
    shards: tuple[Shard, ...]


@dataclass(frozen=True, slots=True)
class Membership:
    """That a record of its contributor is in its version, without what it says: enough to come to the records root."""

    content: Digest  # `Record.content()`
    records: int  # in the version
    path: tuple[Digest, ...]  # siblings from the record up to the root


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of one record, small enough to embed; found by retrieval, cited by an answer."""

    passage_id: int  # assigned by the index; 0 before
    datanet: DatanetId
    version: int
    record_index: int
    record_digest: Digest  # `Record.leaf()`
    membership: Membership
    contributor: Wallet
    text: str


@dataclass(frozen=True, slots=True)
class FoundPassage:
    passage: Passage
    score: float  # reciprocal-rank-fusion score, larger is better
    similarity: float  # cosine to the question, -1..1


def total_records(shards: Sequence[Shard]) -> int:
    return sum(shard.records for shard in shards)
