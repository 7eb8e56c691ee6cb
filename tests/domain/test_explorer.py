"""What a value of the EVM means to a person, from its name and its type alone."""

from typing import Any

import pytest

from backend.domain.explorer import MAX_ARGUMENTS, arguments, one

WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
CREDITS = {
    "name": "credits",
    "type": "tuple[]",
    "components": [{"name": "contributor", "type": "address"}, {"name": "shareBps", "type": "uint16"}],
}


@pytest.mark.parametrize(
    ("name", "kind", "value", "meaning", "text"),
    [
        ("purposes", "uint32", 5, "purposes", "train, evaluate"),
        ("publicPurposes", "uint32", 0, "purposes", "none"),
        ("remaining", "uint32", 2, "purposes", "retrieve"),
        ("purposes", "uint32", 16, "number", "16"),  # a bit that nobody knows is not hidden
        ("expiresAt", "uint48", 0, "time", "never"),
        ("deadline", "uint256", 1_800_000_000, "time", "2027-01-15T08:00:00Z"),
        ("deadline", "uint256", 2**255, "time", f"{2**255:,} s after 1970"),
        ("shareBps", "uint16", 1_250, "share", "12.5 %"),
        ("datanetId", "uint256", 3, "datanet", "#3"),
        ("tokenId", "uint256", 3, "datanet", "#3"),
        ("nonce", "uint256", 2**200, "number", f"{2**200:,}"),
        ("allowed", "bool", True, "boolean", "yes"),
        ("grantee", "address", WALLET, "address", WALLET),
        ("termsDigest", "bytes32", "0x" + "00" * 32, "digest", "none"),
        ("currency", "bytes3", b"EUR", "text", "EUR"),
        ("currency", "bytes3", b"\x01\x02\x03", "bytes", "0x010203"),
        ("signature", "bytes", b"\x01" * 65, "bytes", "65 bytes"),
        ("name_", "string", "Heart <b>", "text", "Heart <b>"),
    ],
)
def test_a_value_is_said_for_people(name: str, kind: str, value: Any, meaning: str, text: str) -> None:
    said = one(name, kind, value)
    assert (said.name, said.kind, said.text) == (name.strip("_"), meaning, text)


def test_the_exact_value_is_kept_beside_the_words() -> None:
    exact = [one("purposes", "uint32", 5), one("data", "bytes", b"\x01\x02"), one("allowed", "bool", False)]
    assert [said.value for said in exact] == ["5", "0x0102", "false"]


def test_structs_and_arrays_become_one_flat_list() -> None:
    rows = arguments([CREDITS], [((WALLET, 10_000), (WALLET, 50))], {"credits": "One event each."})
    assert [(r.name, r.text, r.notice) for r in rows] == [
        ("credits[0].contributor", WALLET, "One event each."),
        ("credits[0].shareBps", "100 %", ""),
        ("credits[1].contributor", WALLET, ""),
        ("credits[1].shareBps", "0.5 %", ""),
    ]
    assert [r.text for r in arguments([CREDITS], [()], {})] == ["none"]


def test_a_list_of_thousands_is_cut_and_says_so() -> None:
    rows = arguments([{"name": "proof", "type": "bytes32[]"}], [("0x" + "11" * 32,) * 5_000], {})
    assert len(rows) == MAX_ARGUMENTS + 1
    assert (rows[-1].kind, rows[-1].value) == ("omitted", str(5_000 - MAX_ARGUMENTS))
