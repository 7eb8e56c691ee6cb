"""What Hardhat wrote about our contracts, and the one place where values cross between Python and the EVM."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from eth_abi.abi import decode as abi_decode
from eth_abi.abi import encode as abi_encode
from eth_abi.exceptions import DecodingError, EncodingError
from eth_utils.abi import (
    abi_to_signature,
    event_abi_to_log_topic,
    function_abi_to_4byte_selector,
    get_abi_input_types,
    get_abi_output_types,
)
from eth_utils.crypto import keccak

from backend.domain.errors import InvalidValue
from backend.domain.types import Digest, Wallet, digest_of, parse_wallet

CONTRACTS = ("DatanetRegistry", "ModelRegistry", "ReceiptLedger")
Abi = Any  # one entry of the ABI's JSON


@dataclass(frozen=True)
class ContractArtifact:
    """One contract's ABI, its creation code and the code that this leaves on chain."""

    name: str
    abi: tuple[Abi, ...]
    bytecode: bytes
    runtime: bytes  # with zeros where the constructor writes immutables
    immutables: tuple[tuple[int, int], ...]  # (start, length) of those, in bytes

    @classmethod
    def load(cls, artifacts: Path, name: str) -> "ContractArtifact":
        """`artifacts` is Hardhat's folder, `name` the source's path in contracts/ without its suffix.
        Raises: InvalidValue when the contract was not built."""
        file = artifacts / "contracts" / f"{name}.sol" / f"{Path(name).name}.json"
        try:
            content = json.loads(file.read_text())
        except (OSError, ValueError) as err:
            raise InvalidValue("artifacts", f"{file} cannot be read; run `npm run build`") from err
        spans = [span for places in content["immutableReferences"].values() for span in places]
        return cls(
            name,
            tuple(content["abi"]),
            bytes.fromhex(content["bytecode"].removeprefix("0x")),
            bytes.fromhex(content["deployedBytecode"].removeprefix("0x")),
            tuple(sorted((span["start"], span["length"]) for span in spans)),
        )

    @cached_property
    def _functions(self) -> dict[str, Abi]:
        return {entry["name"]: entry for entry in self.abi if entry["type"] == "function"}

    @cached_property
    def _events(self) -> dict[str, Abi]:
        return {"0x" + event_abi_to_log_topic(e).hex(): e for e in self.abi if e["type"] == "event"}

    @cached_property
    def errors(self) -> dict[str, Abi]:
        """Selector (0x and 8 hex digits) → ABI entry."""
        found = [entry for entry in self.abi if entry["type"] == "error"]
        return {"0x" + keccak(text=abi_to_signature(entry))[:4].hex(): entry for entry in found}

    def topic(self, event: str) -> str:
        return next(topic for topic, entry in self._events.items() if entry["name"] == event)

    def encode_call(self, function: str, args: Sequence[Any]) -> bytes:
        """Raises: InvalidValue when there is no such function or an argument does not fit."""
        entry = self._functions.get(function)
        if entry is None:
            raise InvalidValue("function", f"{self.name} has no {function}")
        return bytes(function_abi_to_4byte_selector(entry)) + encode(get_abi_input_types(entry), args)

    def encode_creation(self, *args: Any) -> bytes:
        return self.bytecode + self.encode_arguments(*args)

    def encode_arguments(self, *args: Any) -> bytes:
        """The constructor's, as they follow the creation code."""
        found = [entry for entry in self.abi if entry["type"] == "constructor"]
        return encode(get_abi_input_types(found[0]), args) if found else b""

    def decode_result(self, function: str, data: bytes) -> tuple[Any, ...]:
        """Raises: ValueError, e.g. because nothing lives at the address that was called."""
        return decode(get_abi_output_types(self._functions[function]), data)

    @cached_property
    def _readers(self) -> dict[str, "EventReader"]:
        return {topic: EventReader(entry) for topic, entry in self._events.items()}

    def decode_log(self, topics: Sequence[str], data: str) -> tuple[str, dict[str, Any]] | None:
        """(event name, args by name), or None for a log that is none of this contract's events.

        `topics` and `data` are hex as the node writes them. Raises: ValueError for data that is not the event's.
        """
        reader = self._readers.get(topics[0]) if topics else None
        return None if reader is None else reader.read(topics, data)


def encode(types: Sequence[str], args: Sequence[Any]) -> bytes:
    """Digests and other hex strings stand for bytes; a dataclass stands for the struct of its fields.

    Raises: InvalidValue.
    """
    try:
        return abi_encode(list(types), [to_evm(kind, value) for kind, value in zip(types, args, strict=True)])
    except (EncodingError, ValueError, TypeError) as err:
        raise InvalidValue("arguments", str(err)) from err


def decode(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    """Raises: ValueError, but never for a text: what is no UTF-8 in it becomes U+FFFD."""
    # The EVM does not look into a `string`: anybody may write bytes there that are none, and eth_abi would refuse
    # the whole log for them. On the wire a string is its bytes, so it is read as those.
    try:
        values = abi_decode([kind.replace("string", "bytes") for kind in types], data)
    except (DecodingError, OverflowError) as err:
        raise ValueError(str(err)) from err
    return tuple(from_evm(kind, value) for kind, value in zip(types, values, strict=True))


class EventReader:
    """One event's layout, worked out once: most of ours hold nothing but 32-byte words, and those need no decoder."""

    def __init__(self, entry: Abi) -> None:
        self._name = str(entry["name"])
        self._inputs = [(i["name"], i["type"]) for i in entry["inputs"]]
        self._indexed = [(i["name"], word_reader(i["type"])) for i in entry["inputs"] if i["indexed"]]
        plain = [(i["name"], i["type"]) for i in entry["inputs"] if not i["indexed"]]
        self._plain = plain
        self._words = [(name, word_reader(kind)) for name, kind in plain] if all(k in WORDS for _, k in plain) else None
        self._in_order = [*(n for n, _ in self._indexed), *(n for n, _ in plain)] == [n for n, _ in self._inputs]

    def read(self, topics: Sequence[str], data: str) -> tuple[str, dict[str, Any]] | None:
        if len(topics) != len(self._indexed) + 1:
            return None
        values = {name: word(topic[2:]) for (name, word), topic in zip(self._indexed, topics[1:], strict=True)}
        if self._words is None:
            decoded = decode([kind for _, kind in self._plain], bytes.fromhex(data[2:]))
            values |= dict(zip((name for name, _ in self._plain), decoded, strict=True))
        elif len(data) != 2 + 64 * len(self._words):
            raise ValueError(f"{self._name} has {len(self._words)} words, not {(len(data) - 2) / 64:g}")
        else:
            for place, (name, word) in enumerate(self._words):
                values[name] = word(data[2 + 64 * place : 66 + 64 * place])
        return self._name, values if self._in_order else {name: values[name] for name, _ in self._inputs}


Word = Callable[[str], Any]


def word_reader(kind: str) -> Word:
    """From 64 hex digits to the value, as `decode` gives it."""
    return WORDS.get(kind, lambda word: decode([kind], bytes.fromhex(word))[0])


def _number_word(bits: int) -> Word:
    def read(word: str) -> int:
        value = int(word, 16)
        if value >> bits:
            raise ValueError(f"0x{word} is no uint{bits}")
        return value

    return read


@lru_cache(maxsize=10_000)
def _wallet_word(word: str) -> Wallet:
    if word[:24] != "0" * 24:
        raise ValueError(f"0x{word} is no address")
    return parse_wallet("0x" + word[24:])


def _digest_word(word: str) -> Digest:
    return Digest("0x" + word.lower())


WORDS: dict[str, Word] = {f"uint{bits}": _number_word(bits) for bits in range(8, 257, 8)} | {
    "address": _wallet_word,
    "bytes32": _digest_word,
}


def to_evm(kind: str, value: Any) -> Any:
    if kind.endswith("]"):
        item = kind[: kind.rindex("[")]
        return [to_evm(item, each) for each in value]
    if kind.startswith("("):
        fields = split_tuple(kind)
        given = [getattr(value, f.name) for f in dataclasses.fields(value)] if is_record(value) else value
        return tuple(to_evm(k, v) for k, v in zip(fields, given, strict=True))
    if kind.startswith("bytes") and isinstance(value, str):
        return bytes.fromhex(value.removeprefix("0x"))
    return value


def from_evm(kind: str, value: Any) -> Any:  # noqa: PLR0911 - one return a kind
    """Integers stay integers, bytes32 become `Digest`s, addresses `Wallet`s, structs and arrays tuples; bytes of
    another fixed length become 0x and hex digits."""
    if kind.endswith("]"):
        return tuple(from_evm(kind[: kind.rindex("[")], each) for each in value)
    if kind.startswith("("):
        return tuple(from_evm(k, v) for k, v in zip(split_tuple(kind), value, strict=True))
    if kind == "bytes32":
        return digest_of(value)
    if kind.startswith("bytes") and kind != "bytes":
        return "0x" + value.hex()
    if kind == "address":
        return parse_wallet(value)
    if kind == "string":
        return value.decode("utf-8", "replace")
    return value


def is_record(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def split_tuple(kind: str) -> list[str]:
    """ "(address,(uint256,bool)[])" → ["address", "(uint256,bool)[]"]."""
    fields, depth, start = [], 0, 1
    for position, letter in enumerate(kind):
        depth += (letter == "(") - (letter == ")")
        if (letter == "," and depth == 1) or (letter == ")" and depth == 0):
            fields.append(kind[start:position])
            start = position + 1
    return fields


def digest_topic(digest: Digest) -> str:
    return str(digest)


def number_topic(number: int) -> str:
    return f"0x{number:064x}"


def wallet_topic(wallet: Wallet) -> str:
    return "0x" + "00" * 12 + wallet[2:].lower()
