"""What each field of a receipt must look like. A check raises `ReceiptMalformed` naming the part that does not."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from attribution.receipt import MAX_LEAVES, REPEATED_TAGS, SCHEMA, ReceiptMalformed, parse_hash
from attribution.shares import BPS_TOTAL, NOBODY

MAX_SOURCES = 256  # bounds the work that a forged receipt can cause
_MAX_ITEMS = 100_000

Check = Callable[[str, Any], None]

_WALLET = re.compile(r"0x[0-9a-fA-F]{40}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")


def check_field(tag: str, value: object) -> None:
    """Raises: ReceiptMalformed naming the part of the field that is wrong, or the tag when Byline has no such field."""
    if tag not in _FIELDS:
        raise ReceiptMalformed(tag, "is no field of a receipt")
    _FIELDS[tag](tag, value)


def integer(minimum: int = 0, maximum: int = 2**64 - 1) -> Check:
    def check(place: str, value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
            raise ReceiptMalformed(place, f"is {_short(value)}, not an integer from {minimum} to {maximum}")

    return check


def text(place: str, value: object) -> None:
    if not isinstance(value, str):
        raise ReceiptMalformed(place, f"is {_short(value)}, not text")


def matching(pattern: re.Pattern[str], what: str) -> Check:
    def check(place: str, value: object) -> None:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ReceiptMalformed(place, f"is {_short(value)}, not {what}")

    return check


def digest(place: str, value: object) -> None:
    parse_hash(place, value)


def optional(check: Check) -> Check:
    return lambda place, value: None if value is None else check(place, value)


def list_of(check: Check, maximum: int = _MAX_ITEMS) -> Check:
    def check_all(place: str, value: object) -> None:
        if not isinstance(value, list) or len(value) > maximum:
            raise ReceiptMalformed(place, f"is {_short(value)}, not a list of at most {maximum}")
        for i, item in enumerate(value):
            check(f"{place}[{i}]", item)

    return check_all


def object_of(parts: Mapping[str, Check]) -> Check:
    def check(place: str, value: object) -> None:
        if not isinstance(value, dict):
            raise ReceiptMalformed(place, f"is {_short(value)}, not an object")
        for key in value:
            if key not in parts:
                raise ReceiptMalformed(place, f"has an unknown key {_short(key)}")
        for key, part in parts.items():
            if key not in value:
                raise ReceiptMalformed(place, f"lacks {key!r}")
            part(f"{place}.{key}", value[key])

    return check


wallet = matching(_WALLET, "a wallet")


def _contributor(place: str, value: object) -> None:
    if value != NOBODY:
        wallet(place, value)


def _boolean(place: str, value: object) -> None:
    if not isinstance(value, bool):
        raise ReceiptMalformed(place, f"is {_short(value)}, not true or false")


def _schema(place: str, value: object) -> None:
    if value != SCHEMA:
        raise ReceiptMalformed(place, f"is {_short(value)}, not {SCHEMA!r}")


def _short(value: object) -> str:
    shown = repr(value) if not isinstance(value, dict | list) else f"a {type(value).__name__} of {len(value)}"
    return shown if len(shown) <= 60 else shown[:60] + "…"


_FIELDS: dict[str, Check] = {
    "schema": _schema,
    "counts": object_of({tag: integer(0, MAX_LEAVES) for tag in REPEATED_TAGS}),
    "chain": object_of({"chain_id": integer(1), "registry": wallet, "ledger": wallet, "publisher": wallet}),
    "answered_at": matching(_TIME, "a time like 2026-11-22T19:00:00.000Z"),
    "asker": wallet,
    "model": object_of(
        {
            "base": text,
            "revision": text,
            "run_id": optional(text),
            "adapter_digest": optional(digest),
            "adapter_cid": optional(text),
        }
    ),
    "prompt_template": digest,
    "question": text,
    "answer": text,
    "answer_token_ids": list_of(integer()),
    "seed": integer(),
    "permission": object_of(
        {
            "datanet_id": integer(1),
            "purpose": text,
            "wallet": wallet,
            "allowed": _boolean,
            "block_number": integer(),
            "block_hash": digest,
            "version": integer(0, 2**32 - 1),
            "manifest_digest": digest,
            "records_root": digest,
        }
    ),
    "passage": object_of(
        {
            "number": integer(1),
            "datanet_id": integer(1),
            "version": integer(1, 2**32 - 1),
            "record_index": integer(),
            "record_digest": digest,
            "record_content": digest,
            "records": integer(1),
            "path": list_of(digest, 64),
            "contributor": wallet,
            "text_sha256": digest,
        }
    ),
    "scores": object_of(
        {
            "method": text,
            "answer_tokens": integer(0, _MAX_ITEMS),
            "sources": list_of(
                object_of(
                    {"contributor": wallet, "datanet_id": integer(1), "passages": list_of(integer(1), MAX_SOURCES)}
                ),
                MAX_SOURCES,
            ),
            "coalitions": list_of(
                object_of({"kept": list_of(integer(), MAX_SOURCES), "log_prob_micronats": integer(-(2**63), 0)}),
                MAX_SOURCES + 2,
            ),
            "influence_micronats": list_of(integer(-(2**64), 2**64), MAX_SOURCES),
            "efficiency_gap_micronats": integer(-(2**64), 2**64),
        }
    ),
    "share": object_of({"contributor": _contributor, "datanet_id": integer(), "share_bps": integer(0, BPS_TOTAL)}),
}
