"""The file that a receipt travels in: the receipt, where its log stands, and its place there."""

import json
import re
from dataclasses import dataclass
from typing import Any

from attribution.evidence import Needed, PermissionAsked, VersionAsked
from attribution.fields import Check, check_field, digest, integer, list_of, object_of, optional, text, wallet
from attribution.receipt import Leaf, Receipt, ReceiptMalformed, parse_hash, places

MAX_FILE_BYTES = 4 * 1024 * 1024
_MAX_DEPTH = 32
_STRUCTURE = re.compile(r'\\.|["\[\]{}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Proof:
    """The path from a receipt to the root of the log of that size."""

    index: int
    size: int
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """The checkpoint that the file says covers the receipt. Only the chain can confirm it."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class AuditFile:
    receipt: Receipt
    stated_digest: str
    proof: Proof | None
    chain_id: int
    ledger: str
    publisher: str
    anchored: Claim | None

    def well_formed(self, tag: str) -> list[Any]:
        """Values of the shown leaves of that tag that look like such a field."""
        return [leaf.value for leaf in self.receipt.leaves if leaf.tag == tag and _is_field(leaf)]

    def withholds(self, tag: str) -> bool:
        """Whether a withheld leaf may be such a field: one that stands in its place; without the counts, any."""
        leaves, counts = self.receipt.leaves, self.well_formed("counts")
        tags = places(counts[0]) if counts else []
        return any(
            leaf.withheld and (len(tags) != len(leaves) or tags[place] == tag) for place, leaf in enumerate(leaves)
        )

    def needed(self) -> Needed:
        """What to look up on chain to verify all of it."""
        permissions = self.well_formed("permission")
        chain = next(iter(self.well_formed("chain")), None)
        model = next(iter(self.well_formed("model")), None)
        return Needed(
            digest=self.receipt.digest,
            chain_id=self.chain_id,
            registry=chain["registry"] if chain else None,
            ledger=self.ledger,
            publisher=self.publisher,
            checkpoint_size=self.proof.size if self.proof else None,
            permissions=tuple(dict.fromkeys(permission_asked(p) for p in permissions)),
            versions=tuple(dict.fromkeys(VersionAsked(p["datanet_id"], p["version"]) for p in permissions)),
            adapter_digest=model["adapter_digest"] if model else None,
            adapter_cid=model["adapter_cid"] if model else None,
            base_model=f"{model['base']}@{model['revision']}" if model else None,
        )


def permission_asked(permission: dict[str, Any]) -> PermissionAsked:
    return PermissionAsked(
        permission["wallet"], permission["datanet_id"], permission["purpose"], permission["block_number"]
    )


def parse_file(file: object) -> AuditFile:
    """Strictly. Raises: ReceiptMalformed naming the part that is wrong."""
    if not isinstance(file, dict):
        raise ReceiptMalformed("file", "is not a JSON object")
    _FILE("file", file)
    receipt = Receipt.from_document(file["receipt"])
    proof, anchored = file["proof"], file["anchored"]
    return AuditFile(
        receipt=receipt,
        stated_digest=file["receipt"]["digest"],
        proof=proof
        and Proof(proof["index"], proof["size"], tuple(parse_hash("proof.path", sibling) for sibling in proof["path"])),
        chain_id=file["chain_id"],
        ledger=file["ledger"],
        publisher=file["publisher"],
        anchored=anchored and Claim(anchored["size"], parse_hash("anchored.root", anchored["root"])),
    )


def read_file(raw: bytes) -> dict[str, Any]:
    """The JSON object in a file's bytes. Raises: ReceiptMalformed when it is none, is truncated, too large, or says
    one thing twice."""
    if len(raw) > MAX_FILE_BYTES:
        raise ReceiptMalformed("file", f"has {len(raw)} bytes, more than {MAX_FILE_BYTES}")
    try:
        decoded = raw.decode("utf-8")
        _check_depth(decoded)
        file = json.loads(decoded, object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise ReceiptMalformed("file", "is not UTF-8 text") from None
    except json.JSONDecodeError as err:
        raise ReceiptMalformed("file", f"is not JSON, or is cut short: {err}") from None
    except ReceiptMalformed:
        raise
    except ValueError as err:  # an integer of thousands of digits
        raise ReceiptMalformed("file", str(err)) from None
    if not isinstance(file, dict):
        raise ReceiptMalformed("file", "is not a JSON object")
    return file


def _is_field(leaf: Leaf) -> bool:
    if leaf.withheld:
        return False
    try:
        check_field(leaf.tag, leaf.value)
    except ReceiptMalformed:
        return False
    return True


def _check_depth(document: str) -> None:
    """Before the parser sees it: the json module recurses in C, and where a library has raised the recursion
    limit a few hundred kilobytes of brackets end the whole process."""
    depth, quoted = 0, False
    for match in _STRUCTURE.finditer(document):
        mark = match[0]
        if mark == '"':
            quoted = not quoted
        elif not quoted and mark in "[{":
            depth += 1
            if depth > _MAX_DEPTH:
                raise ReceiptMalformed("file", f"is nested deeper than {_MAX_DEPTH}")
        elif not quoted and mark in "]}":
            depth -= 1


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ReceiptMalformed("file", f"says {next(k for k in keys if keys.count(k) > 1)[:40]!r} twice")
    return named


def _no_constant(name: str) -> None:
    raise ReceiptMalformed("file", f"holds {name}, which is not JSON")


def _anything(place: str, value: object) -> None:
    """Looked at elsewhere."""


_FILE: Check = object_of(
    {
        "receipt": _anything,
        "proof": optional(object_of({"index": integer(), "size": integer(1), "path": list_of(digest, 64)})),
        "chain_id": integer(1),
        "ledger": wallet,
        "publisher": wallet,
        "anchored": optional(
            object_of(
                {
                    "size": integer(1),
                    "root": digest,
                    "tx_hash": optional(text),
                    "block_number": optional(integer()),
                }
            )
        ),
    }
)
