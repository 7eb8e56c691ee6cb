"""EIP-4361: what parses, what does not and why, and every check on a message that does."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.domain import siwe
from backend.domain.errors import SignInRefused
from backend.domain.siwe import MessageMalformed, SiweMessage, check
from backend.domain.siwe_grammar import parse_instant
from backend.domain.siwe_text import parse, render
from backend.domain.types import Wallet, parse_wallet

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "siwe_malformed.json").read_text())
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
GOOD = SiweMessage(
    domain="byline.example",
    wallet=Wallet("0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2"),
    uri="https://byline.example",
    chain_id=20931,
    nonce="32891756abcdef",
    issued_at="2026-03-01T11:59:30Z",
    statement="Sign in.",
    expiration_time="2026-03-01T12:04:30Z",
)


def check_here(message: SiweMessage, now: datetime = NOW) -> None:
    check(
        message, domain="byline.example", uri="https://byline.example", chain_id=20931, nonce="32891756abcdef", now=now
    )


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda v: v["what"])
def test_a_valid_message_reads_and_writes_back_byte_for_byte(vector: dict[str, str]) -> None:
    assert render(parse(vector["message"])) == vector["message"]


@pytest.mark.parametrize("vector", VECTORS["malformed"], ids=lambda v: v["why"])
def test_a_malformed_message_is_refused_naming_the_part(vector: dict[str, str]) -> None:
    with pytest.raises(MessageMalformed) as refused:
        parse(vector["message"])
    assert refused.value.part == vector["part"]
    assert len(str(refused.value)) < 300  # fit to show, however long the message was


def test_the_vectors_are_many_and_all_different() -> None:
    messages = [v["message"] for v in VECTORS["malformed"]]
    assert len(set(messages)) == len(messages) >= 45


def test_the_eip_example_means_what_the_eip_says() -> None:
    message = parse(VECTORS["valid"][1]["message"])
    assert message == SiweMessage(
        domain="example.com",
        wallet=Wallet("0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2"),
        uri="https://example.com/login",
        chain_id=1,
        nonce="32891756",
        issued_at="2021-09-30T16:25:24Z",
        scheme="https",
        statement="I accept the ExampleOrg Terms of Service: https://example.com/tos",
        resources=(
            "ipfs://bafybeiemxf5abjwjbikoz4mc3a3dla6ual3jsgpdr4cjr3oz3evfyavhwq/",
            "https://example.com/my-web2-claim.json",
        ),
    )


UNRESERVED = "ABCXYZabcxyz0189-._~"
STATEMENT_CHARACTERS = UNRESERVED + ":/?#[]@!$&'()*+,;= "
MOMENTS = st.builds(
    lambda moment, form: moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0") + form,
    st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31)),
    st.sampled_from(["Z", ".5Z", ".123456789Z", "+05:30", "-23:59", "-00:00"]),
)
URIS = st.builds(
    lambda scheme, host, path: f"{scheme}://{host}/{path}",
    st.sampled_from(["https", "ipfs", "a+b-c.d"]),
    st.sampled_from(["example.com", "127.0.0.1:80", "[2001:db8::1]:443", "me@host"]),
    st.text(UNRESERVED + "/:@!$&'()*+,;=?", max_size=20),
)
MESSAGES = st.builds(
    SiweMessage,
    domain=st.sampled_from(["example.com", "localhost:3000", "[::1]:8000", "a@b", "%41.example"]),
    wallet=st.binary(min_size=20, max_size=20).map(lambda raw: parse_wallet("0x" + raw.hex())),
    uri=URIS,
    chain_id=st.integers(1, 10**32 - 1),
    nonce=st.text("AZaz09", min_size=8, max_size=40),
    issued_at=MOMENTS,
    scheme=st.none() | st.sampled_from(["https", "a+b-c.d"]),
    statement=st.none() | st.text(STATEMENT_CHARACTERS, min_size=1, max_size=60),
    expiration_time=st.none() | MOMENTS,
    not_before=st.none() | MOMENTS,
    request_id=st.none() | st.text(UNRESERVED + ":@!$&'()*+,;=", max_size=20),
    resources=st.none() | st.lists(URIS, max_size=4).map(tuple),
)


@given(MESSAGES)
def test_every_message_survives_the_round_trip(message: SiweMessage) -> None:
    text = render(message)
    assert parse(text) == message
    assert render(parse(text)) == text


@given(MESSAGES, st.data())
def test_what_still_parses_after_damage_writes_back_as_it_was(message: SiweMessage, data: st.DataObject) -> None:
    """No text has two readings: damage is either refused or part of the meaning."""
    text = render(message)
    at = data.draw(st.integers(0, len(text)))
    damaged = text[:at] + data.draw(st.sampled_from(["", "\n", "\r", " ", "0", "é", "://"])) + text[at + 1 :]
    try:
        read = parse(damaged)
    except MessageMalformed:
        return
    assert render(read) == damaged


@given(st.text())
def test_any_text_at_all_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(MessageMalformed):  # and by no other error
        parse(text)


@pytest.mark.parametrize("field", ["statement", "uri", "request_id", "nonce", "domain", "issued_at"])
def test_a_line_break_in_a_value_cannot_forge_another_line(field: str) -> None:
    with pytest.raises(MessageMalformed):
        render(replace(GOOD, **{field: "x\nNonce: 00000000"}))  # type: ignore[arg-type]


def test_offsets_and_fractions_are_the_moments_they_name() -> None:
    assert parse_instant("2026-03-01T13:30:00.25+01:30") == NOW + timedelta(milliseconds=250)
    assert parse_instant("2026-03-01T07:00:00-05:00") == NOW
    assert parse_instant("2026-03-01T12:00:00-00:00") == NOW


def test_a_message_in_order_passes_every_check() -> None:
    check_here(GOOD)
    check_here(replace(GOOD, scheme="https", not_before="2026-03-01T12:00:00Z"))


Change = Callable[[SiweMessage], SiweMessage]
FAILED_CHECKS: list[tuple[type[SignInRefused], Change]] = [
    (siwe.WrongDomain, lambda m: replace(m, domain="evil.example")),
    (siwe.WrongDomain, lambda m: replace(m, domain="byline.example:8443")),
    (siwe.WrongDomain, lambda m: replace(m, domain="BYLINE.example")),
    (siwe.WrongDomain, lambda m: replace(m, domain="byline.example@evil.example")),
    (siwe.WrongScheme, lambda m: replace(m, scheme="http")),
    (siwe.WrongUri, lambda m: replace(m, uri="https://evil.example")),
    (siwe.WrongUri, lambda m: replace(m, uri="https://byline.example/elsewhere")),
    (siwe.WrongChain, lambda m: replace(m, chain_id=1)),
    (siwe.WrongNonce, lambda m: replace(m, nonce="32891756abcdeF")),
    (siwe.IssuedInTheFuture, lambda m: replace(m, issued_at="2026-03-01T12:01:01Z")),
    (siwe.IssuedInTheFuture, lambda m: replace(m, issued_at="2026-03-01T12:30:00-00:01")),
    (siwe.IssuedTooLongAgo, lambda m: replace(m, issued_at="2026-03-01T11:53:59Z")),
    (siwe.IssuedTooLongAgo, lambda m: replace(m, issued_at="0001-01-01T00:00:00+23:59")),
    (siwe.ExpirationMissing, lambda m: replace(m, expiration_time=None)),
    (siwe.MessageExpired, lambda m: replace(m, expiration_time="2026-03-01T12:00:00Z")),
    (siwe.MessageExpired, lambda m: replace(m, expiration_time="2026-03-01T12:59:59+01:00")),
    (siwe.MessageNotYetValid, lambda m: replace(m, not_before="2026-03-01T12:00:01Z")),
    (siwe.MessageNotYetValid, lambda m: replace(m, not_before="9999-12-31T23:59:59-23:59")),
]


@pytest.mark.parametrize(("refusal", "change"), FAILED_CHECKS, ids=lambda v: getattr(v, "__name__", ""))
def test_each_failed_check_has_its_own_refusal(refusal: type[SignInRefused], change: Change) -> None:
    with pytest.raises(SignInRefused) as refused:
        check_here(change(GOOD))
    assert type(refused.value) is refusal


def test_a_clock_a_little_ahead_is_forgiven_and_no_more() -> None:
    check_here(replace(GOOD, issued_at="2026-03-01T12:01:00Z"))


def test_no_check_can_be_left_out() -> None:
    for left_out in ("domain", "uri", "chain_id", "nonce", "now"):
        given = {"domain": "d", "uri": "u", "chain_id": 1, "nonce": "n", "now": NOW}
        del given[left_out]
        with pytest.raises(TypeError, match=left_out):
            check(GOOD, **given)  # type: ignore[arg-type]
