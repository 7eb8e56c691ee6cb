import pytest

from frontend_reflex.words import count, duration, ether, percent, pieces, plain, shares

ALICE, BOB = "0x" + "aa" * 20, "0x" + "bb" * 20


def test_what_nobody_explains_comes_last_even_when_it_is_the_largest() -> None:
    rows = shares({"nobody": 7000, ALICE: 1000, BOB: 2000})
    assert [row["who"] for row in rows] == [BOB, ALICE, "nobody"]
    assert [row["percent"] for row in rows] == ["20 %", "10 %", "70 %"]


def test_no_shares_are_no_rows() -> None:
    assert shares(None) == []


def test_percents_keep_every_basis_point() -> None:
    assert [percent(bps) for bps in (0, 1, 1234, 10_000)] == ["0 %", "0.01 %", "12.34 %", "100 %"]


def test_only_citations_of_given_sources_become_links() -> None:
    parts = pieces("Yes [1], not [4] or [0].", sources=2)
    assert [(part["text"], part["cites"]) for part in parts] == [("Yes ", 0), ("[1]", 1), (", not [4] or [0].", 0)]


def test_splitting_an_answer_loses_no_character() -> None:
    answer = "[1][2] a [3]b"
    assert "".join(part["text"] for part in pieces(answer, sources=3)) == answer
    assert [part["text"] for part in pieces("", sources=3)] == [""]


def test_durations_are_said_in_two_units() -> None:
    assert [duration(s) for s in (0.4, 59, 61, 3725, None, -1)] == [
        "0 s",
        "59 s",
        "1 min 1 s",
        "1 h 2 min",
        "unknown",
        "unknown",
    ]


def test_numbers_are_written_as_people_type_them() -> None:
    assert [plain(n) for n in (0.0002, 1e-6, 16.0, 2**31 - 1)] == ["0.0002", "0.000001", "16", "2147483647"]
    assert [count(n) for n in (950, 1_500, 134_515_008, 7_241_732_096)] == ["950", "1.5 k", "135 M", "7.2 B"]


@pytest.mark.parametrize(
    ("wei", "said"),
    [
        (None, "—"),
        ("0", "0 ETH"),
        ("999", "999 wei"),
        ("1000000000", "1 gwei"),
        ("1500000000", "1.5 gwei"),
        ("1500000000000000000", "1.5 ETH"),
        ("10000000000000000000000", "10,000 ETH"),
        (str(2**255), f"{2**255 // 10**18:,}"),
    ],
)
def test_wei_are_said_as_ether(wei: str | None, said: str) -> None:
    assert ether(wei).startswith(said)
