"""The words of an EIP-4361 message, as its ABNF and the RFCs it cites define them.

Every pattern is ASCII only and matched against the whole value, so no value can hold a line break,
a control character or a look-alike letter.
"""

import re
from datetime import datetime, timedelta, timezone
from ipaddress import AddressValueError, IPv6Address

MAX_CHARACTERS = 8_192  # far above any real message; bounds the work an anonymous caller can ask for

_UNRESERVED = r"A-Za-z0-9\-._~"
_SUB_DELIMS = r"!$&'()*+,;="
_ESCAPE = r"%[0-9A-Fa-f]{2}"
_PCHAR = rf"(?:[{_UNRESERVED}{_SUB_DELIMS}:@]|{_ESCAPE})"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")
_STATEMENT = re.compile(rf"[{_UNRESERVED}{_SUB_DELIMS}:/?#\[\]@ ]+")
_REQUEST_ID = re.compile(rf"{_PCHAR}*")
_NONCE = re.compile(r"[A-Za-z0-9]{8,}")
_CHAIN_ID = re.compile(r"[1-9][0-9]{0,31}")  # no leading zero: one chain, one spelling
_AUTHORITY = re.compile(
    rf"(?:(?:[{_UNRESERVED}{_SUB_DELIMS}:]|{_ESCAPE})*@)?"
    rf"(?P<host>\[(?P<literal>[^\]]*)\]|(?:[{_UNRESERVED}{_SUB_DELIMS}]|{_ESCAPE})*)"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_IP_FUTURE = re.compile(rf"[vV][0-9A-Fa-f]+\.[{_UNRESERVED}{_SUB_DELIMS}:]+")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]+")  # ipaddress also takes a %zone, RFC 3986 does not
_URI = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*):"
    rf"(?://(?P<authority>[^/?#]*)(?:/{_PCHAR}*)*|/(?:{_PCHAR}+(?:/{_PCHAR}*)*)?|{_PCHAR}+(?:/{_PCHAR}*)*|)"
    rf"(?:\?(?:{_PCHAR}|[/?])*)?"
    rf"(?:#(?:{_PCHAR}|[/?])*)?"
)
_INSTANT = re.compile(
    r"(?P<second>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.(?P<fraction>[0-9]{1,32}))?"
    r"(?:Z|(?P<sign>[+\-])(?P<hours>[01][0-9]|2[0-3]):(?P<minutes>[0-5][0-9]))"
)


def is_scheme(text: str) -> bool:
    return _SCHEME.fullmatch(text) is not None


def is_statement(text: str) -> bool:
    return _STATEMENT.fullmatch(text) is not None


def is_request_id(text: str) -> bool:
    return _REQUEST_ID.fullmatch(text) is not None


def is_nonce(text: str) -> bool:
    return _NONCE.fullmatch(text) is not None


def is_authority(text: str) -> bool:
    """RFC 3986 section 3.2 with a host that is not empty and a port that a socket can have."""
    return bool(text) and _authority(text, may_be_empty=False)


def is_uri(text: str) -> bool:
    """RFC 3986 section 3: absolute, so a scheme is needed."""
    match = _URI.fullmatch(text)
    if match is None:
        return False
    authority = match["authority"]
    return authority is None or _authority(authority, may_be_empty=True)


def _authority(text: str, *, may_be_empty: bool) -> bool:
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return False
    if not match["host"]:
        return may_be_empty and not text  # "file:///x" has none at all; "https://:80" is refused
    if match["port"] is not None and not 0 < int(match["port"]) <= 65_535:
        return False
    literal = match["literal"]
    return literal is None or _IP_FUTURE.fullmatch(literal) is not None or _is_ipv6(literal)


def _is_ipv6(text: str) -> bool:
    if not _IPV6.fullmatch(text):
        return False
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True


def parse_chain_id(text: str) -> int | None:
    return int(text) if _CHAIN_ID.fullmatch(text) else None


def parse_instant(text: str) -> datetime | None:
    """RFC 3339 `date-time`, capital T and Z; None unless it is a moment that exists.

    A leap second (:60) is refused: datetime has none. Fractions are cut at microseconds.
    """
    match = _INSTANT.fullmatch(text)
    if match is None:
        return None
    offset = timedelta(hours=int(match["hours"] or 0), minutes=int(match["minutes"] or 0))
    zone = timezone(-offset if match["sign"] == "-" else offset)
    try:
        second = datetime.strptime(match["second"], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=zone)
    except ValueError:
        return None
    return second.replace(microsecond=int((match["fraction"] or "0")[:6].ljust(6, "0")))
