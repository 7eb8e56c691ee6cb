"""Calls, events and refusals of our contracts in words: the ABI's shapes with the compiler's NatSpec beside them."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from eth_utils.abi import abi_to_signature
from eth_utils.crypto import keccak

from backend.domain.errors import InvalidValue
from backend.domain.explorer import AbiEntry, Argument, ContractAbout, Decoded, arguments
from backend.drivers.chain.abi import Abi, ContractArtifact, decode
from backend.drivers.chain.connection import SOLIDITY_ERRORS

KINDS = ("function", "event", "error")
SELECTOR = 10  # 0x and 8 hex digits


class ContractWords:
    """One contract's ABI by selector and topic, with what its sources say about each entry.

    Read at first use and once: a build's output is megabytes. A build without NatSpec is no error: nothing is said.
    """

    def __init__(self, artifact: ContractArtifact, artifacts: Path) -> None:
        self.name = artifact.name
        self._abi = artifact.abi
        self._file = artifacts / "contracts" / f"{artifact.name}.sol" / f"{artifact.name}.json"
        self._builds = artifacts / "build-info"

    @cached_property
    def _built(self) -> Mapping[str, Any]:
        try:
            held: Mapping[str, Any] = json.loads(self._file.read_text())
        except (OSError, ValueError) as err:
            raise InvalidValue("artifacts", f"{self._file} cannot be read; run `npm run build`") from err
        return held

    @cached_property
    def _docs(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """The compiler's userdoc and devdoc."""
        try:
            output = json.loads((self._builds / f"{self._built['buildInfoId']}.output.json").read_text())
            found = output["output"]["contracts"][self._built["inputSourceName"]][self.name]
        except (OSError, ValueError, KeyError):
            return {}, {}
        return found.get("userdoc") or {}, found.get("devdoc") or {}

    @cached_property
    def _by_key(self) -> dict[tuple[str, str], Abi]:
        found = {}
        for entry in self._abi:
            if entry["type"] in KINDS:
                digest = "0x" + keccak(text=abi_to_signature(entry)).hex()
                found[entry["type"], digest if entry["type"] == "event" else digest[:SELECTOR]] = entry
        return found

    def call(self, data: str) -> Decoded | None:
        """`data` is 0x… hex. None when it is no call of this contract, or does not decode as one."""
        return self._selected("function", data)

    def refusal(self, data: str) -> Decoded | None:
        return self._selected("error", data)

    def event(self, topics: Sequence[str], data: str) -> Decoded | None:
        entry = self._by_key.get(("event", topics[0])) if topics else None
        if entry is None:
            return None
        inputs = [_as_logged(i) for i in entry["inputs"]]
        indexed = [i for i in inputs if i["indexed"]]
        plain = [i for i in inputs if not i["indexed"]]
        if len(topics) != len(indexed) + 1:
            return None
        try:
            values = {
                i["name"]: decode([i["type"]], bytes.fromhex(topic[2:]))[0]
                for i, topic in zip(indexed, topics[1:], strict=True)
            }
            rest = decode([canonical(i) for i in plain], bytes.fromhex(data[2:]))
        except ValueError:
            return None
        values |= dict(zip((i["name"] for i in plain), rest, strict=True))
        return self._said(entry, inputs, [values[i["name"]] for i in inputs])

    def _selected(self, kind: str, data: str) -> Decoded | None:
        entry = self._by_key.get((kind, data[:SELECTOR].lower()))
        if entry is None:
            return None
        inputs = entry["inputs"]
        try:
            return self._said(entry, inputs, decode([canonical(i) for i in inputs], bytes.fromhex(data[SELECTOR:])))
        except ValueError:
            return None

    def _said(self, entry: Abi, inputs: Sequence[Abi], values: Sequence[Any]) -> Decoded:
        notice, said = self._words(entry)
        return Decoded(self.name, entry["name"], abi_to_signature(entry), notice, arguments(inputs, values, said))

    def _words(self, entry: Abi) -> tuple[str, Mapping[str, str]]:
        """(@notice, or else @dev; @param by name)."""
        user, dev = self._docs
        part = {"function": "methods", "event": "events", "error": "errors"}[entry["type"]]
        signature = abi_to_signature(entry)
        userdoc, devdoc = _first(user.get(part, {}).get(signature)), _first(dev.get(part, {}).get(signature))
        return str(userdoc.get("notice") or devdoc.get("details") or ""), devdoc.get("params") or {}

    def about(self) -> ContractAbout:
        user, dev = self._docs
        entries = []
        for entry in self._abi:
            if entry["type"] not in KINDS:
                continue
            notice, said = self._words(entry)
            parameters = [_parameter(given, said) for given in entry["inputs"]]
            mutability = str(entry.get("stateMutability", ""))
            signature = abi_to_signature(entry)
            entries.append(AbiEntry(entry["type"], entry["name"], signature, notice, mutability, tuple(parameters)))
        return ContractAbout(self.name, str(dev.get("title", "")), str(user.get("notice", "")), tuple(entries))

    def is_compiled_to(self, code: bytes) -> bool:
        """Whether that is our sources' code; the places of immutable values, set at deployment, may differ."""
        built = bytearray.fromhex(str(self._built["deployedBytecode"]).removeprefix("0x"))
        if len(built) != len(code):
            return False
        found = bytearray(code)
        for places in self._built.get("immutableReferences", {}).values():
            for place in places:
                hole = slice(place["start"], place["start"] + place["length"])
                built[hole] = found[hole] = bytes(place["length"])
        return built == found

    def result(self, function: str, data: bytes) -> dict[str, Any]:
        """A view's outputs by name; those of a struct that is returned alone. Raises: ValueError."""
        (entry,) = [e for e in self._abi if e["type"] == "function" and e["name"] == function]
        outputs = entry["outputs"]
        values = decode([canonical(o) for o in outputs], data)
        if len(outputs) == 1 and outputs[0]["type"] == "tuple":
            outputs, values = outputs[0]["components"], values[0]
        return {str(o["name"]): value for o, value in zip(outputs, values, strict=True)}


def solidity_error(data: str) -> Decoded | None:
    """`Error(string)` and `Panic(uint256)`, which Solidity itself raises."""
    entry = SOLIDITY_ERRORS.get(data[:SELECTOR].lower())
    try:
        values = decode([i["type"] for i in entry["inputs"]], bytes.fromhex(data[SELECTOR:])) if entry else ()
    except ValueError:
        return None
    if entry is None:
        return None
    return Decoded("Solidity", entry["name"], abi_to_signature(entry), "", arguments(entry["inputs"], values, {}))


def canonical(entry: Abi) -> str:
    """ "tuple[]" → "(address,uint256)[]"."""
    kind = str(entry["type"])
    if not kind.startswith("tuple"):
        return kind
    return "(" + ",".join(canonical(part) for part in entry["components"]) + ")" + kind.removeprefix("tuple")


def _parameter(given: Abi, said: Mapping[str, str]) -> Argument:
    name = str(given["name"])
    return Argument(name.strip("_"), canonical(given), "", "", "", said.get(name, ""))


def _as_logged(entry: Abi) -> Abi:
    """An indexed text, list or struct is in its topic as a hash only."""
    hashed = entry["indexed"] and (entry["type"] in ("string", "bytes") or entry["type"].startswith("tuple"))
    return {**entry, "type": "bytes32"} if hashed or (entry["indexed"] and entry["type"].endswith("]")) else entry


def _first(found: Any) -> Mapping[str, Any]:
    """The docs of an error are a list: one for each place that declares it."""
    held = found[0] if isinstance(found, list) and found else found
    return held if isinstance(held, dict) else {}
