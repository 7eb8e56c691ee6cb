"""Signing in: what a challenge is good for, and what is refused."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount

from backend.domain import siwe
from backend.domain.errors import ChainUnavailable, NotFound, NotSignedIn, SignInRefused
from backend.domain.siwe_text import parse, render
from backend.domain.types import Wallet
from backend.drivers.memory.sessions import MemorySessionStore
from backend.services.signing_in import Challenge, SigningIn

SITE = "https://byline.example"
DEV = "http://localhost:3000"
ALICE = Account.from_key("0x" + "a1" * 32)
BOB = Account.from_key("0x" + "b0" * 32)
ALICE_WALLET = Wallet(ALICE.address)
BOB_WALLET = Wallet(BOB.address)


@dataclass
class Clock:
    now: datetime = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def tick(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass
class CountingRandom:
    """Different bytes at every call, the same in every run."""

    calls: int = 0

    def __call__(self, size: int) -> bytes:
        self.calls += 1
        return self.calls.to_bytes(size, "big")


@dataclass
class EoaSignatures:
    """Real EIP-191 recovery; a contract wallet needs the chain, which may be down."""

    contract_wallets: set[Wallet] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    async def is_valid(self, wallet: Wallet, message: str, signature: bytes) -> bool:
        self.asked.append(message)
        if wallet in self.contract_wallets:
            raise ChainUnavailable("eth_call")
        if len(signature) != 65:
            return False
        return bool(Account.recover_message(encode_defunct(text=message), signature=signature) == wallet)

    async def is_valid_order(self, order: object, signature: bytes) -> bool:
        raise AssertionError("signing in has nothing to do with orders")

    def order_typed_data(self, order: object) -> dict[str, object]:
        raise AssertionError("signing in has nothing to do with orders")

    async def is_valid_consent(self, consent: object, signer: object, signature: bytes) -> bool:
        raise AssertionError("signing in has nothing to do with consents")

    def consent_typed_data(self, consent: object) -> dict[str, object]:
        raise AssertionError("signing in has nothing to do with consents")


@dataclass
class Door:
    signing_in: SigningIn
    store: MemorySessionStore
    signatures: EoaSignatures
    clock: Clock

    async def challenge(self, origin: str = SITE) -> Challenge:
        return await self.signing_in.challenge(ALICE_WALLET, origin)

    async def altered(self, **changes: object) -> str:
        """A fresh challenge's text, with fields changed before it is signed."""
        message = parse((await self.challenge()).message)
        return render(replace(message, **changes))  # type: ignore[arg-type]

    async def enter(self, message: str, *, origin: str = SITE, signer: LocalAccount = ALICE) -> str:
        token, _ = await self.signing_in.sign_in(message, sign(message, signer), origin, "Firefox")
        return token


def sign(message: str, signer: LocalAccount = ALICE) -> str:
    return "0x" + bytes(signer.sign_message(encode_defunct(text=message)).signature).hex()


@pytest.fixture
def door() -> Door:
    store, signatures, clock = MemorySessionStore(), EoaSignatures(), Clock()
    signing_in = SigningIn(store, signatures, 20931, frozenset({SITE, DEV}), 3600, clock, CountingRandom())
    return Door(signing_in, store, signatures, clock)


async def test_a_wallet_signs_in_and_its_token_is_known_from_then_on(door: Door) -> None:
    challenge = await door.challenge()
    token, session = await door.signing_in.sign_in(challenge.message, sign(challenge.message), SITE, "Firefox")

    assert session.wallet == ALICE_WALLET
    assert session.chain_id == 20931
    assert session.user_agent == "Firefox"
    assert session.expires_at - session.created_at == timedelta(hours=1)
    assert (await door.signing_in.authenticate(token)).session_id == session.session_id


async def test_a_challenge_names_this_site_this_chain_and_five_minutes(door: Door) -> None:
    challenge = await door.challenge(DEV)
    message = parse(challenge.message)
    assert (message.domain, message.uri, message.chain_id) == ("localhost:3000", DEV, 20931)
    assert message.wallet == ALICE_WALLET
    assert message.nonce == challenge.nonce
    assert (message.issued_at, message.expiration_time) == ("2026-03-01T12:00:00.123Z", "2026-03-01T12:05:00.123Z")
    assert challenge.expires_at == door.clock.now + timedelta(minutes=5)


async def test_the_token_is_32_random_bytes_and_not_what_is_stored(door: Door) -> None:
    token = await door.enter((await door.challenge()).message)
    assert len(token) == 43
    assert token not in repr(vars(door.store))


async def test_a_login_replayed_is_refused(door: Door) -> None:
    challenge = await door.challenge()
    await door.enter(challenge.message)
    with pytest.raises(siwe.UnknownNonce):
        await door.enter(challenge.message)


async def test_two_logins_at_once_with_one_nonce_open_one_session(door: Door) -> None:
    message = (await door.challenge()).message
    outcomes = await asyncio.gather(door.enter(message), door.enter(message), return_exceptions=True)
    assert sorted(type(o).__name__ for o in outcomes) == ["UnknownNonce", "str"]
    assert len(await door.signing_in.sessions(ALICE_WALLET)) == 1


async def test_a_failed_attempt_uses_the_nonce_up(door: Door) -> None:
    challenge = await door.challenge()
    with pytest.raises(siwe.WrongSignature):
        await door.enter(challenge.message, signer=BOB)
    with pytest.raises(siwe.UnknownNonce):
        await door.enter(challenge.message)


async def test_a_nonce_that_was_never_given_out_is_refused(door: Door) -> None:
    with pytest.raises(siwe.UnknownNonce):
        await door.enter(await door.altered(nonce="0123456789abcdef"))


async def test_a_nonce_of_five_minutes_ago_is_refused(door: Door) -> None:
    message = await door.altered(expiration_time="2026-03-01T13:00:00Z")
    door.clock.tick(minutes=5)
    with pytest.raises(siwe.NonceExpired):
        await door.enter(message)


async def test_a_nonce_given_to_one_page_is_no_use_on_another(door: Door) -> None:
    message = parse((await door.challenge(SITE)).message)
    moved = render(replace(message, domain="localhost:3000", uri=DEV))
    with pytest.raises(siwe.NonceFromAnotherOrigin):
        await door.enter(moved, origin=DEV)


@pytest.mark.parametrize("origin", ["https://evil.example", "", "null", "https://byline.example/", SITE.upper()])
async def test_a_page_that_is_not_ours_gets_nothing(door: Door, origin: str) -> None:
    with pytest.raises(siwe.OriginNotAllowed):
        await door.challenge(origin)
    message = (await door.challenge()).message
    with pytest.raises(siwe.OriginNotAllowed):
        await door.enter(message, origin=origin)


@pytest.mark.parametrize(
    ("refusal", "changes"),
    [
        (siwe.WrongDomain, {"domain": "evil.example"}),
        (siwe.WrongScheme, {"scheme": "http"}),
        (siwe.WrongUri, {"uri": "https://byline.example/admin"}),
        (siwe.WrongChain, {"chain_id": 1}),
        (siwe.IssuedInTheFuture, {"issued_at": "2026-03-01T12:10:00Z"}),
        (siwe.IssuedTooLongAgo, {"issued_at": "2026-03-01T11:00:00Z"}),
        (siwe.ExpirationMissing, {"expiration_time": None}),
        (siwe.MessageExpired, {"expiration_time": "2026-03-01T12:00:00Z"}),
        (siwe.MessageNotYetValid, {"not_before": "2026-03-01T12:01:00Z"}),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
async def test_each_failed_check_is_refused_by_name_and_opens_no_session(
    door: Door, refusal: type[SignInRefused], changes: dict[str, object]
) -> None:
    message = await door.altered(**changes)
    with pytest.raises(SignInRefused) as refused:
        await door.enter(message)
    assert type(refused.value) is refusal
    assert door.signatures.asked == []
    assert await door.signing_in.sessions(ALICE_WALLET) == []


async def test_a_message_for_somebody_elses_wallet_is_refused(door: Door) -> None:
    with pytest.raises(siwe.WrongSignature):
        await door.enter(await door.altered(wallet=BOB_WALLET))
    assert await door.signing_in.sessions(BOB_WALLET) == []


async def test_a_signature_of_another_text_is_refused(door: Door) -> None:
    first, second = await door.challenge(), await door.challenge()
    with pytest.raises(siwe.WrongSignature):
        await door.signing_in.sign_in(second.message, sign(first.message), SITE)


@pytest.mark.parametrize(
    "signature", ["", "0x", "0x0", "0xzz", "ab" * 65, "0x" + "ab " * 65, "0x" + "é" * 10, "0x" + "00" * 16_385]
)
async def test_a_signature_that_is_not_hex_is_refused(door: Door, signature: str) -> None:
    message = (await door.challenge()).message
    with pytest.raises(siwe.SignatureMalformed):
        await door.signing_in.sign_in(message, signature, SITE)
    assert door.signatures.asked == []


async def test_text_that_is_no_message_is_refused(door: Door) -> None:
    with pytest.raises(siwe.MessageMalformed):
        await door.signing_in.sign_in("let me in", "0x00", SITE)


async def test_the_signature_is_checked_over_the_text_as_it_came(door: Door) -> None:
    message = (await door.challenge()).message
    await door.enter(message)
    assert door.signatures.asked == [message]


async def test_a_contract_wallet_is_not_refused_because_the_chain_is_down(door: Door) -> None:
    door.signatures.contract_wallets.add(ALICE_WALLET)
    message = (await door.challenge()).message
    with pytest.raises(ChainUnavailable):
        await door.enter(message)
    assert await door.signing_in.sessions(ALICE_WALLET) == []


@pytest.mark.parametrize("token", ["", "A" * 43, "nonsense", "\ud800"])
async def test_a_token_that_was_never_given_out_is_nobody(door: Door, token: str) -> None:
    await door.enter((await door.challenge()).message)
    with pytest.raises(NotSignedIn):
        await door.signing_in.authenticate(token)


async def test_a_session_ends_by_itself(door: Door) -> None:
    token = await door.enter((await door.challenge()).message)
    door.clock.tick(minutes=59)
    await door.signing_in.authenticate(token)
    door.clock.tick(minutes=1)
    with pytest.raises(NotSignedIn):
        await door.signing_in.authenticate(token)
    assert await door.signing_in.sessions(ALICE_WALLET) == []


async def test_signing_out_ends_that_session_only_and_may_be_repeated(door: Door) -> None:
    here = await door.enter((await door.challenge()).message)
    there = await door.enter((await door.challenge()).message)
    await door.signing_in.sign_out(here)
    await door.signing_in.sign_out(here)
    with pytest.raises(NotSignedIn):
        await door.signing_in.authenticate(here)
    assert (await door.signing_in.authenticate(there)).wallet == ALICE_WALLET


async def test_a_wallet_lists_and_revokes_its_own_sessions_and_no_others(door: Door) -> None:
    token = await door.enter((await door.challenge()).message)
    [session] = await door.signing_in.sessions(ALICE_WALLET)
    with pytest.raises(NotFound):
        await door.signing_in.revoke(BOB_WALLET, session.session_id)
    await door.signing_in.authenticate(token)

    await door.signing_in.revoke(ALICE_WALLET, session.session_id)
    with pytest.raises(NotSignedIn):
        await door.signing_in.authenticate(token)
    with pytest.raises(NotFound):
        await door.signing_in.revoke(ALICE_WALLET, session.session_id)


async def test_a_browsers_name_is_kept_short_and_printable(door: Door) -> None:
    message = (await door.challenge()).message
    _, session = await door.signing_in.sign_in(message, sign(message), SITE, "Fire\x00fox\n\u202e" + "x" * 500)
    assert session.user_agent.startswith("Firefoxx")
    assert len(session.user_agent) == 200
