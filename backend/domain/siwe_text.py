"""The one text form of an EIP-4361 message: read strictly, written so that it reads back the same.

Stricter than the EIP's grammar where that lets one meaning be written in two ways (a chain id with
leading zeros, "t" for "T", port 0), so that `render(parse(text)) == text` for all that parses.
"""

from backend.domain.errors import InvalidValue
from backend.domain.siwe import MessageMalformed, SiweMessage
from backend.domain.siwe_grammar import (
    MAX_CHARACTERS,
    is_authority,
    is_nonce,
    is_request_id,
    is_scheme,
    is_statement,
    is_uri,
    parse_chain_id,
    parse_instant,
)
from backend.domain.types import Wallet, parse_wallet

HEADING = " wants you to sign in with your Ethereum account:"


class _Lines:
    """The message's lines, read once from the top: the order is part of the grammar."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._next = 0

    def take(self, part: str) -> str:
        if self._next == len(self._lines):
            raise MessageMalformed(part, "the message ends before it")
        self._next += 1
        return self._lines[self._next - 1]

    def take_empty(self, part: str) -> None:
        if self.take(part) != "":
            raise MessageMalformed(part, "an empty line is missing")

    def take_optional(self, label: str) -> str | None:
        if self._next < len(self._lines) and self._lines[self._next].startswith(label):
            return self.take(label).removeprefix(label)
        return None

    def take_labelled(self, label: str) -> str:
        value = self.take_optional(label)
        if value is None:
            found = self._lines[self._next] if self._next < len(self._lines) else "the end"
            raise MessageMalformed(label.rstrip(": "), f"{label!r} is expected, not {found[:60]!r}")
        return value

    def rest(self) -> list[str]:
        rest, self._next = self._lines[self._next :], len(self._lines)
        return rest


def _need(good: bool, part: str, problem: str) -> None:
    if not good:
        raise MessageMalformed(part, problem)


def _parse_wallet_line(line: str) -> Wallet:
    try:
        wallet = parse_wallet(line)
    except InvalidValue as err:
        raise MessageMalformed("address", "is not 0x and 40 hex digits") from err
    _need(wallet == line, "address", "is not written with its EIP-55 checksum")
    return wallet


def parse(text: str) -> SiweMessage:
    """Read one EIP-4361 message, all of it. Raises: MessageMalformed."""
    _need(len(text) <= MAX_CHARACTERS, "message", f"is longer than {MAX_CHARACTERS} characters")
    lines = _Lines(text)

    heading = lines.take("heading")
    _need(heading.endswith(HEADING), "heading", f"does not end in {HEADING!r}")
    scheme, separator, domain = heading.removesuffix(HEADING).rpartition("://")
    _need(not separator or is_scheme(scheme), "scheme", f"{scheme[:60]!r} is not a URI scheme")
    _need(is_authority(domain), "domain", f"{domain[:60]!r} is not an RFC 3986 authority with a host")

    wallet = _parse_wallet_line(lines.take("address"))
    lines.take_empty("line after the address")
    statement: str | None = lines.take("statement")
    if statement:
        _need(is_statement(statement), "statement", "has a character that EIP-4361 does not allow")
        lines.take_empty("line after the statement")

    uri = lines.take_labelled("URI: ")
    _need(is_uri(uri), "URI", f"{uri[:60]!r} is not an RFC 3986 URI")
    _need(lines.take_labelled("Version: ") == "1", "Version", "is not 1")
    chain_text = lines.take_labelled("Chain ID: ")
    chain_id = parse_chain_id(chain_text)
    if chain_id is None:
        raise MessageMalformed("Chain ID", f"{chain_text[:60]!r} is not a plain decimal number")
    nonce = lines.take_labelled("Nonce: ")
    _need(is_nonce(nonce), "Nonce", "is not 8 or more letters and digits")
    issued_at = lines.take_labelled("Issued At: ")
    _need(parse_instant(issued_at) is not None, "Issued At", "is not an RFC 3339 date-time with an offset")

    expiration_time = lines.take_optional("Expiration Time: ")
    not_before = lines.take_optional("Not Before: ")
    for part, moment in (("Expiration Time", expiration_time), ("Not Before", not_before)):
        good = moment is None or parse_instant(moment) is not None
        _need(good, part, "is not an RFC 3339 date-time with an offset")
    request_id = lines.take_optional("Request ID: ")
    _need(
        request_id is None or is_request_id(request_id), "Request ID", "has a character that is not an RFC 3986 pchar"
    )

    return SiweMessage(
        domain=domain,
        wallet=wallet,
        uri=uri,
        chain_id=chain_id,
        nonce=nonce,
        issued_at=issued_at,
        scheme=scheme if separator else None,
        statement=statement or None,
        expiration_time=expiration_time,
        not_before=not_before,
        request_id=request_id,
        resources=_parse_resources(lines.rest()),
    )


def _parse_resources(lines: list[str]) -> tuple[str, ...] | None:
    if not lines:
        return None
    _need(lines[0] == "Resources:", "end", f"{lines[0][:60]!r} is not expected here")
    for line in lines[1:]:
        _need(line.startswith("- ") and is_uri(line[2:]), "Resources", f"{line[:60]!r} is not '- ' and a URI")
    return tuple(line[2:] for line in lines[1:])


def render(message: SiweMessage) -> str:
    """The text a wallet signs. Raises: MessageMalformed for values no EIP-4361 text can carry."""
    scheme = f"{message.scheme}://" if message.scheme is not None else ""
    lines = [f"{scheme}{message.domain}{HEADING}", message.wallet, ""]
    if message.statement is not None:
        lines.append(message.statement)
    lines += [
        "",
        f"URI: {message.uri}",
        "Version: 1",
        f"Chain ID: {message.chain_id}",
        f"Nonce: {message.nonce}",
        f"Issued At: {message.issued_at}",
    ]
    for label, value in (
        ("Expiration Time", message.expiration_time),
        ("Not Before", message.not_before),
        ("Request ID", message.request_id),
    ):
        if value is not None:
            lines.append(f"{label}: {value}")
    if message.resources is not None:
        lines += ["Resources:", *(f"- {uri}" for uri in message.resources)]
    text = "\n".join(lines)
    if parse(text) != message:  # a line break inside a value would forge another message
        raise MessageMalformed("message", "a value would read back as something else")
    return text
