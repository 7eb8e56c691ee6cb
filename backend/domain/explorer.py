"""What anyone may read of the chain, decoded for people. Wei are decimal text: 256 bits are too many for JSON.

A decoded call, event or refusal is a flat list of `Argument`s: a struct's field is "order.trainer", an array's
item "credits[0].shareBps". What a value means follows from its name and its type alone, so that a contract
which grows a function needs nothing here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from backend.domain.types import ALL_PURPOSES, BlockRef, Digest, Wallet, purpose_names

MAX_ARGUMENTS = 200  # an anchoring may credit thousands: the raw input has them all
ZERO_DIGEST = "0x" + "00" * 32
_PURPOSES = re.compile(r"(?i)purposes$|^remaining$|^offered$")
_TIME = re.compile(r"At$|^deadline$")
_DATANET = re.compile(r"^datanetIds?$|^tokenId$")


@dataclass(frozen=True, slots=True)
class Argument:
    """One named value. `kind` says how to show it: address, datanet, digest, purposes, time, share, number, text,
    bytes, boolean, or omitted (a line that counts what is not listed)."""

    name: str
    type: str  # as in the ABI
    kind: str
    value: str  # exact: decimal, hex or the text itself
    text: str  # as a person says it
    notice: str = ""  # the contract's own words (NatSpec)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A call, an event or a refusal of one of our contracts."""

    contract: str
    name: str
    signature: str
    notice: str
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class EventSeen:
    log_index: int
    address: Wallet
    decoded: Decoded | None  # None for what none of our contracts says
    topics: tuple[str, ...]
    data: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a transaction failed, found by running it again at `replayed_at`: nodes keep no reasons."""

    decoded: Decoded | None
    message: str
    replayed_at: int | None
    exact: bool  # whether that was the state just before the transaction's own block


@dataclass(frozen=True, slots=True)
class TransactionLine:
    hash: Digest
    block_number: int
    timestamp: int  # Unix seconds
    index: int
    sender: Wallet
    to: Wallet | None  # None: it creates a contract
    contract: str | None  # the name of `to`, when it is one of ours
    method: str
    value_wei: str
    succeeded: bool | None = None  # None: not asked


@dataclass(frozen=True, slots=True)
class BlockSeen:
    number: int
    hash: Digest
    timestamp: int  # Unix seconds
    parent_hash: Digest
    miner: Wallet
    gas_used: int
    gas_limit: int
    base_fee_wei: str
    size_bytes: int
    transaction_count: int
    transactions: tuple[TransactionLine, ...] = ()


@dataclass(frozen=True, slots=True)
class TransactionSeen:
    hash: Digest
    status: str  # "success", "failed", or "pending" (no block has it)
    block: BlockRef | None
    confirmations: int
    sender: Wallet
    to: Wallet | None
    created: Wallet | None
    contract: str | None  # of ours: what was called, or created
    method: str
    value_wei: str
    fee_wei: str | None
    gas_price_wei: str | None
    gas_used: int | None
    gas_limit: int
    nonce: int
    input: str
    call: Decoded | None
    events: tuple[EventSeen, ...] = ()
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class AccountSeen:
    address: Wallet
    kind: str  # "wallet", "contract", or "ours"
    contract: str | None
    balance_wei: str
    transactions_sent: int
    code_bytes: int
    code_hash: Digest | None
    matches_build: bool | None  # whether the code of ours is what our sources compile to


@dataclass(frozen=True, slots=True)
class AbiEntry:
    kind: str  # "function", "event" or "error"
    name: str
    signature: str
    notice: str
    mutability: str  # "view", "nonpayable", …; "" but for functions
    parameters: tuple[Argument, ...]  # without values


@dataclass(frozen=True, slots=True)
class ContractAbout:
    name: str
    title: str
    notice: str
    entries: tuple[AbiEntry, ...] = field(default_factory=tuple)


# --- what a value means ---------------------------------------------------------------------------


def arguments(
    inputs: Sequence[Mapping[str, Any]], values: Sequence[Any], notices: Mapping[str, str]
) -> tuple[Argument, ...]:
    """`inputs` as the ABI has them (name, type, components); `notices` by parameter name."""
    rows: list[Argument] = []
    left = 0
    for given, value in zip(inputs, values, strict=True):
        for row in _rows(str(given["name"]), given, value, notices.get(str(given["name"]), "")):
            if len(rows) < MAX_ARGUMENTS:
                rows.append(row)
            else:
                left += 1
    if left:
        rows.append(Argument("…", "", "omitted", str(left), f"and {left} more values: the raw data has them"))
    return tuple(rows)


def _rows(name: str, given: Mapping[str, Any], value: Any, notice: str) -> Iterator[Argument]:
    kind = str(given["type"])
    if kind.endswith("]"):
        item = {**given, "type": kind[: kind.rindex("[")]}
        if not value:
            yield Argument(name, kind, "text", "", "none", notice)
        for position, each in enumerate(value):
            yield from _rows(f"{name}[{position}]", item, each, notice if position == 0 else "")
    elif kind == "tuple":
        for position, (part, each) in enumerate(zip(given["components"], value, strict=True)):
            yield from _rows(f"{name}.{part['name']}" if name else str(part["name"]), part, each, notice)
            notice = "" if position == 0 else notice
    else:
        yield one(name, kind, value, notice)


def loose_arguments(args: Mapping[str, Any]) -> tuple[Argument, ...]:
    """Of an event that was decoded elsewhere: types as far as its values show them."""
    return tuple(one(name, _type_of(value), value) for name, value in args.items() if not isinstance(value, tuple))


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, bytes):
        return "bytes"
    if isinstance(value, str):
        return {42: "address", 66: "bytes32"}.get(len(value), "string") if value.startswith("0x") else "string"
    return "uint256"


def one(name: str, kind: str, value: Any, notice: str = "") -> Argument:
    """A single value of the EVM: Python's int, bool, str or bytes; a `Digest` or a `Wallet`."""
    word = re.sub(r"\[\d+\]", "", name.rsplit(".", 1)[-1]).strip("_")
    meaning, text = _meaning(word, kind, value)
    exact = "0x" + value.hex() if isinstance(value, bytes) else str(value).lower() if kind == "bool" else str(value)
    return Argument(name.strip("_"), kind, meaning, exact, text, notice)


def _meaning(word: str, kind: str, value: Any) -> tuple[str, str]:
    if kind == "bool":
        return "boolean", "yes" if value else "no"
    if kind == "bytes32":
        return "digest", "none" if value == ZERO_DIGEST else str(value)
    if isinstance(value, bytes):
        return ("bytes", f"{len(value)} bytes") if kind == "bytes" else _few_bytes(value)
    if isinstance(value, int):
        return _number(word, value)
    return ("address" if kind == "address" else "text"), str(value)


def _few_bytes(value: bytes) -> tuple[str, str]:
    """A bytes3 may be a word: "EUR"."""
    word = value.rstrip(b"\0").decode("ascii", "replace")
    return ("text", word) if word.isascii() and word.isalnum() else ("bytes", "0x" + value.hex())


def _number(word: str, value: int) -> tuple[str, str]:
    if _PURPOSES.search(word) and not value & ~int(ALL_PURPOSES):
        return "purposes", ", ".join(purpose_names(value)) or "none"
    if _TIME.search(word):
        return "time", _time(value)
    if word.endswith("Bps"):
        return "share", f"{value / 100:.2f}".rstrip("0").rstrip(".") + " %"
    return ("datanet", f"#{value}") if _DATANET.search(word) else ("number", f"{value:,}")


def _time(seconds: int) -> str:
    if seconds == 0:
        return "never"
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:,} s after 1970"
