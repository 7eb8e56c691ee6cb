"""Contract calls as JSON and back, for an outbox that must send after a crash what it was given before."""

from collections.abc import Mapping
from typing import Any

from backend.ports import ContractCall

_BYTES = "$bytes"


def encode_args(args: tuple[Any, ...]) -> list[Any]:
    """Integers of any size stay exact; bytes become {"$bytes": hex}. Raises: TypeError for what no ABI takes."""
    return [_encode(value) for value in args]


def decode_args(stored: list[Any]) -> tuple[Any, ...]:
    """Every sequence comes back as a tuple: that is how structs are passed, and arrays may be."""
    return tuple(_decode(value) for value in stored)


def settled(call: ContractCall) -> ContractCall:
    """The call as it will be read back."""
    return ContractCall(call.contract, call.function, decode_args(encode_args(call.args)))


def _encode(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return {_BYTES: value.hex()}
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int):  # an IntFlag too, as its number
        return int(value)
    if isinstance(value, Mapping):
        return {str(key): _encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encode(item) for item in value]
    raise TypeError(f"{type(value).__name__} is no contract argument")


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode(item) for item in value)
    if isinstance(value, dict):
        if value.keys() == {_BYTES}:
            return bytes.fromhex(value[_BYTES])
        return {key: _decode(item) for key, item in value.items()}
    return value
