"""A receipt: one salted leaf per field, one digest over all.

    leaf hash = SHA-256(0x00 ‖ salt (32 bytes) ‖ len(tag) (2 bytes, big endian) ‖ tag ‖ canonical JSON of the value)
    node hash = SHA-256(0x01 ‖ left ‖ right)

The digest is the root of an RFC 9162-shaped tree over the leaf hashes themselves: they are not hashed a second
time, because the salted hash already carries the leaf prefix. The salt keeps a short value from being guessed
when its leaf is withheld. A withheld leaf keeps its hash only, and the digest still comes out.

In a document each shown leaf also states its hash, so that a changed field is named and not merely noticed.

Leaves stand in the order of `TAGS`, and `counts` says how many each repeated tag has: so a leaf's place says what it
holds, and whoever is shown the counts knows what is withheld. No receipt has two `answer` leaves to show one to each
reader: a leaf's hash cannot pass for a node's, so all who see the counts of a digest see the same tree. Without the
counts, a withheld hash may stand for anything, and for more than one leaf.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attribution.attribute import Attribution
from attribution.log import Tree

JSON = None | bool | int | str | list[Any] | dict[str, Any]

SCHEMA = "byline.receipt/1"
SALT_BYTES = 32
REPEATED_TAGS = ("permission", "passage", "share")
TAGS = (
    "schema", "counts", "chain", "answered_at", "asker", "model", "prompt_template", "question", "answer",
    "answer_token_ids", "seed", "permission", "passage", "scores", "share",
)  # fmt: skip

_HASH = re.compile(r"0x[0-9a-f]{64}")
MAX_LEAVES = 10_000
_MAX_DEPTH = 16


class ReceiptMalformed(ValueError):
    """A receipt document is not one; `field` names the part that is wrong."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


def canonical_json(value: JSON) -> bytes:
    """One byte string per value: sorted keys, no spaces, UTF-8; integers only, because two languages may print
    the same float differently. Raises: ReceiptMalformed for anything that has no such form."""
    _check_json(value, 0)
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ReceiptMalformed("value", "holds half of a surrogate pair, which is not text") from None


@dataclass(frozen=True, slots=True)
class Leaf:
    """One field. `salt` is None when it is withheld: then only `hash` is known."""

    hash: bytes
    tag: str = ""
    value: JSON = None
    salt: bytes | None = None

    @property
    def withheld(self) -> bool:
        return self.salt is None

    def opens(self) -> bool:
        """Whether tag, value and salt are those that were sealed. True for a withheld leaf: it claims nothing."""
        return self.salt is None or field_hash(self.tag, self.value, self.salt) == self.hash


def field_hash(tag: str, value: JSON, salt: bytes) -> bytes:
    encoded = tag.encode()
    return hashlib.sha256(b"\x00" + salt + len(encoded).to_bytes(2, "big") + encoded + canonical_json(value)).digest()


@dataclass(frozen=True, slots=True)
class Receipt:
    leaves: tuple[Leaf, ...]

    @property
    def digest(self) -> str:
        """0x and 64 hex digits: what is logged, anchored and credited."""
        return "0x" + Tree(leaf.hash for leaf in self.leaves).root().hex()

    def values(self, tag: str) -> list[Any]:
        """What the shown leaves of that tag say, in order."""
        return [leaf.value for leaf in self.leaves if not leaf.withheld and leaf.tag == tag]

    def to_document(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "digest": self.digest, "leaves": [_leaf_document(leaf) for leaf in self.leaves]}

    @classmethod
    def from_document(cls, document: object) -> "Receipt":
        """Parse strictly. That is about form only: whether leaves open to their hashes, and whether these give
        the stated digest, is for `attribution.verify` to say. Raises: ReceiptMalformed naming the part."""
        if not isinstance(document, dict):
            raise ReceiptMalformed("receipt", "is not a JSON object")
        _only_keys("receipt", document, {"schema", "digest", "leaves"})
        if document["schema"] != SCHEMA:
            raise ReceiptMalformed("schema", f"is {str(document['schema'])[:40]!r}, not {SCHEMA!r}")
        parse_hash("digest", document["digest"])
        leaves = document["leaves"]
        if not isinstance(leaves, list) or not 1 <= len(leaves) <= MAX_LEAVES:
            raise ReceiptMalformed("leaves", f"is not a list of 1 to {MAX_LEAVES} leaves")
        parsed = tuple(_parse_leaf(f"leaves[{i}]", leaf) for i, leaf in enumerate(leaves))
        seen: set[str] = set()
        for leaf in parsed:
            if not leaf.withheld and leaf.tag not in REPEATED_TAGS:
                if leaf.tag in seen:
                    raise ReceiptMalformed(leaf.tag, "stands in the receipt twice")
                seen.add(leaf.tag)
        return cls(parsed)


def seal(fields: Sequence[tuple[str, JSON]], *, salts: Sequence[bytes] | None = None) -> Receipt:
    """Seal (tag, value) pairs in their order. `salts` are for test vectors; else each leaf gets fresh randomness.
    Raises: ReceiptMalformed naming the tag whose value has no canonical form, or that may not repeat."""
    if salts is None:
        salts = [secrets.token_bytes(SALT_BYTES) for _ in fields]
    leaves = []
    for (tag, value), salt in zip(fields, salts, strict=True):
        if len(salt) != SALT_BYTES:
            raise ReceiptMalformed(tag, f"its salt has {len(salt)} bytes, not {SALT_BYTES}")
        try:
            leaves.append(Leaf(field_hash(tag, value, salt), tag, value, salt))
        except ReceiptMalformed as err:
            raise ReceiptMalformed(tag, err.problem) from None
    receipt = Receipt(tuple(leaves))
    Receipt.from_document(receipt.to_document())  # what is sealed can be read back
    return receipt


def places(counts: Mapping[str, int]) -> list[str]:
    """The tag of each leaf, in order; `counts` is the field of that name."""
    return [tag for tag in TAGS for _ in range(counts.get(tag, 1))]


def redact(document: Mapping[str, Any], keep: Callable[[str, JSON], bool]) -> dict[str, Any]:
    """Withhold every leaf for which `keep(tag, value)` is false; what was withheld already stays so.
    The digest still comes out of what is left. Raises: ReceiptMalformed."""
    receipt = Receipt.from_document(document)
    leaves = (leaf if leaf.withheld or keep(leaf.tag, leaf.value) else Leaf(leaf.hash) for leaf in receipt.leaves)
    return {**document, "leaves": [_leaf_document(leaf) for leaf in leaves]}


def receipt_fields(
    *,
    chain: Mapping[str, JSON],
    answered_at: str,
    asker: str,
    model: Mapping[str, JSON],
    prompt_template: str,
    question: str,
    answer: str,
    answer_token_ids: Sequence[int],
    seed: int,
    permissions: Sequence[Mapping[str, JSON]],
    passages: Sequence[Mapping[str, JSON]],
    attribution: Attribution,
) -> list[tuple[str, JSON]]:
    """Byline's fields in their order (`TAGS`); permission, passage and share once for each, and how many those are.

    Args:
        chain: chain_id, registry, ledger, publisher.
        model: base, revision, run_id, adapter_digest, adapter_cid.
        permissions: datanet_id, purpose, wallet, allowed, block_number, block_hash, version, manifest_digest,
            records_root.
        passages: number, datanet_id, version, record_index, record_digest, record_content, records, path,
            contributor, text_sha256.
    """
    scores: JSON = {
        "method": attribution.method,
        "answer_tokens": attribution.answer_tokens,
        "sources": [
            {"contributor": s.contributor, "datanet_id": s.datanet_id, "passages": list(s.passages)}
            for s in attribution.sources
        ],
        "coalitions": [
            {"kept": list(c.kept), "log_prob_micronats": c.log_prob_micronats} for c in attribution.coalitions
        ],
        "influence_micronats": list(attribution.influence_micronats),
        "efficiency_gap_micronats": attribution.efficiency_gap_micronats,
    }
    return [
        ("schema", SCHEMA),
        ("counts", {"permission": len(permissions), "passage": len(passages), "share": len(attribution.shares)}),
        ("chain", dict(chain)),
        ("answered_at", answered_at),
        ("asker", asker),
        ("model", dict(model)),
        ("prompt_template", prompt_template),
        ("question", question),
        ("answer", answer),
        ("answer_token_ids", list(answer_token_ids)),
        ("seed", seed),
        *(("permission", dict(permission)) for permission in permissions),
        *(("passage", dict(passage)) for passage in passages),
        ("scores", scores),
        *(
            ("share", {"contributor": s.contributor, "datanet_id": s.datanet_id, "share_bps": s.share_bps})
            for s in attribution.shares
        ),
    ]


def parse_hash(field: str, text: object) -> bytes:
    """0x and 64 lower-case hex digits → 32 bytes. Raises: ReceiptMalformed naming `field`."""
    if not isinstance(text, str) or not _HASH.fullmatch(text):
        raise ReceiptMalformed(field, f"{str(text)[:80]!r} is not 0x and 64 lower-case hex digits")
    return bytes.fromhex(text[2:])


def _leaf_document(leaf: Leaf) -> dict[str, Any]:
    stated = "0x" + leaf.hash.hex()
    if leaf.salt is None:
        return {"hash": stated}
    return {"tag": leaf.tag, "value": leaf.value, "salt": "0x" + leaf.salt.hex(), "hash": stated}


def _parse_leaf(place: str, leaf: object) -> Leaf:
    if not isinstance(leaf, dict):
        raise ReceiptMalformed(place, "is not a JSON object")
    if set(leaf) == {"hash"}:
        return Leaf(parse_hash(f"{place}.hash", leaf["hash"]))
    _only_keys(place, leaf, {"tag", "value", "salt", "hash"})
    tag = leaf["tag"]
    if not isinstance(tag, str) or not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", tag):
        raise ReceiptMalformed(f"{place}.tag", f"{str(tag)[:40]!r} is not a tag")
    try:
        canonical_json(leaf["value"])
    except ReceiptMalformed as err:
        raise ReceiptMalformed(f"{place} ({tag})", err.problem) from None
    salt = parse_hash(f"{place}.salt ({tag})", leaf["salt"])
    return Leaf(parse_hash(f"{place}.hash ({tag})", leaf["hash"]), tag, leaf["value"], salt)


def _only_keys(place: str, document: Mapping[str, Any], keys: set[str]) -> None:
    for key in document:
        if key not in keys:
            raise ReceiptMalformed(place, f"has an unknown key {str(key)[:40]!r}")
    for key in sorted(keys):
        if key not in document:
            raise ReceiptMalformed(place, f"lacks {key!r}")


def _check_json(value: object, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ReceiptMalformed("value", f"is nested deeper than {_MAX_DEPTH}")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise ReceiptMalformed("value", f"has the key {key!r}, which is not text")
            _check_json(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check_json(inner, depth + 1)
    elif isinstance(value, int) and abs(value) >= 2**64:
        raise ReceiptMalformed("value", "holds an integer of more than 64 bits")
    elif not (value is None or isinstance(value, str | int)):
        raise ReceiptMalformed("value", f"holds a {type(value).__name__}, which has no canonical form")
