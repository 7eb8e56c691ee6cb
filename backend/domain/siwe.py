"""EIP-4361 "Sign-In with Ethereum": the message, and every check on it (its text form: siwe_text.py).

SignInRefused
├── MessageMalformed       the text is not EIP-4361; `part` names the line
├── WrongDomain            ├── WrongScheme
├── WrongUri               ├── WrongChain
├── WrongNonce             the message carries another nonce than the one it is checked against
├── UnknownNonce           never given out here, or used already (a nonce is forgotten when it is used)
├── NonceExpired           ├── NonceFromAnotherOrigin
├── IssuedInTheFuture      ├── IssuedTooLongAgo
├── ExpirationMissing      ├── MessageExpired
├── MessageNotYetValid     ├── OriginNotAllowed
├── SignatureMalformed     not hex bytes at all
└── WrongSignature         not made by the wallet the message names
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from backend.domain.errors import SignInRefused
from backend.domain.siwe_grammar import parse_instant
from backend.domain.types import Wallet

CLOCK_SKEW = timedelta(seconds=60)  # a wallet's clock may run this much ahead of ours
MAX_AGE = timedelta(minutes=5)  # as long as a nonce lives: an older message cannot answer it


class MessageMalformed(SignInRefused):
    def __init__(self, part: str, problem: str) -> None:
        super().__init__(f"the sign-in message is malformed: {part}: {problem}")
        self.part = part
        self.problem = problem


class WrongDomain(SignInRefused):
    def __init__(self, found: str, expected: str) -> None:
        super().__init__(
            f"the message was signed for {found[:100]!r}, this is {expected!r}; sign in from that page only"
        )


class WrongScheme(SignInRefused):
    def __init__(self, found: str, expected: str) -> None:
        super().__init__(f"the message was signed for {found[:20]}://, this is {expected}://")


class WrongUri(SignInRefused):
    def __init__(self, found: str, expected: str) -> None:
        super().__init__(f"the message names the URI {found[:100]!r}, not {expected!r}")


class WrongChain(SignInRefused):
    def __init__(self, found: int, expected: int) -> None:
        super().__init__(
            f"the message is for chain {found}, this site uses chain {expected}; switch the wallet's network"
        )


class WrongNonce(SignInRefused):
    def __init__(self) -> None:
        super().__init__("the message carries another nonce than the one it answers; start signing in again")


class UnknownNonce(SignInRefused):
    def __init__(self) -> None:
        super().__init__("the message's nonce was not given out here, or was used already; start signing in again")


class NonceExpired(SignInRefused):
    def __init__(self) -> None:
        super().__init__("the sign-in was not finished in time; start signing in again")


class NonceFromAnotherOrigin(SignInRefused):
    def __init__(self, found: str, expected: str) -> None:
        super().__init__(f"the message's nonce was given to {found!r}, not to {expected!r}; start signing in again")


class IssuedInTheFuture(SignInRefused):
    def __init__(self, issued_at: str) -> None:
        super().__init__(f"the message says it was issued at {issued_at}, which is still to come; check your clock")


class IssuedTooLongAgo(SignInRefused):
    def __init__(self, issued_at: str) -> None:
        super().__init__(f"the message was issued at {issued_at}, too long ago; start signing in again")


class ExpirationMissing(SignInRefused):
    def __init__(self) -> None:
        super().__init__("the message has no expiration time; sign the text this site gave, unchanged")


class MessageExpired(SignInRefused):
    def __init__(self, expiration_time: str) -> None:
        super().__init__(f"the message expired at {expiration_time}; start signing in again")


class MessageNotYetValid(SignInRefused):
    def __init__(self, not_before: str) -> None:
        super().__init__(f"the message is not valid before {not_before}")


class OriginNotAllowed(SignInRefused):
    def __init__(self, origin: str) -> None:
        super().__init__(f"{origin[:100]!r} is not a page of this site; set PUBLIC_ORIGIN if it should be")


class SignatureMalformed(SignInRefused):
    def __init__(self) -> None:
        super().__init__("the signature is not 0x and hex digits")


class WrongSignature(SignInRefused):
    def __init__(self, wallet: str) -> None:
        super().__init__(f"the signature was not made by {wallet}")


@dataclass(frozen=True, slots=True)
class SiweMessage:
    """Times stay in the text form that was signed; `siwe_text.parse` has checked that each is a moment."""

    domain: str  # RFC 3986 authority
    wallet: Wallet
    uri: str
    chain_id: int
    nonce: str
    issued_at: str
    scheme: str | None = None
    statement: str | None = None
    expiration_time: str | None = None
    not_before: str | None = None
    request_id: str | None = None  # may be empty, which is not the same as absent
    resources: tuple[str, ...] | None = None  # likewise


def check(message: SiweMessage, *, domain: str, uri: str, chain_id: int, nonce: str, now: datetime) -> None:
    """Everything about a message but its signature; `now` is timezone-aware.

    `uri` is the page's origin: its scheme is what an explicit scheme in the message must be.
    Raises: the class of the first check that fails, in the order of the list on top.
    """
    if message.domain != domain:
        raise WrongDomain(message.domain, domain)
    expected_scheme = uri.partition("://")[0]
    if message.scheme is not None and message.scheme != expected_scheme:
        raise WrongScheme(message.scheme, expected_scheme)
    if message.uri != uri:
        raise WrongUri(message.uri, uri)
    if message.chain_id != chain_id:
        raise WrongChain(message.chain_id, chain_id)
    if message.nonce != nonce:
        raise WrongNonce
    issued = _instant(message.issued_at, "Issued At")
    if issued > now + CLOCK_SKEW:
        raise IssuedInTheFuture(message.issued_at)
    if issued < now - MAX_AGE - CLOCK_SKEW:
        raise IssuedTooLongAgo(message.issued_at)
    if message.expiration_time is None:
        raise ExpirationMissing
    if _instant(message.expiration_time, "Expiration Time") <= now:
        raise MessageExpired(message.expiration_time)
    if message.not_before is not None and _instant(message.not_before, "Not Before") > now:
        raise MessageNotYetValid(message.not_before)


def _instant(text: str, part: str) -> datetime:
    moment = parse_instant(text)
    if moment is None:  # the message was not made by `parse`
        raise MessageMalformed(part, "is not an RFC 3339 date-time with an offset")
    return moment
