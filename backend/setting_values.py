"""What a setting's value may be: each function gives the value in its one form or raises ValueError."""

import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from backend.domain.errors import InvalidValue
from backend.domain.types import Wallet, parse_wallet

COMPONENTS = ("postgres", "chain", "ipfs")
DEMO_PEOPLE = 5
_SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def with_scheme(*schemes: str) -> Callable[[str], str]:
    def check(url: str) -> str:
        if urlsplit(url).scheme not in schemes:
            raise ValueError("wrong scheme")
        return url

    return check


def web_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or (parts.port == 0):
        raise ValueError("not an http(s) URL")
    return url


def ipfs_api(text: str) -> str:
    return text if re.fullmatch(r"/[a-z0-9]+(/[^/\s]+)+", text) else web_url(text)


def origin(text: str) -> str:
    """As a browser writes an Origin header: lower case, no path, no default port."""
    parts = urlsplit(web_url(text))
    if parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("more than an origin")
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port not in (None, default) else "")


def address(text: str) -> Wallet:
    try:
        return parse_wallet(text)
    except InvalidValue as err:
        raise ValueError(err.problem) from err


def private_key(text: str) -> str:
    digits = text.removeprefix("0x").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits) or not 0 < int(digits, 16) < _SECP256K1_ORDER:
        raise ValueError("not a key")
    return "0x" + digits


def words(value: Any) -> Any:
    """Comma-separated in the environment, a list in byline.toml."""
    return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


def named_folders(value: Any) -> Any:
    """`name=folder,…` in the environment, a table in byline.toml."""
    if isinstance(value, str):
        value = dict(pair.split("=", 1) for pair in words(value))
    if not isinstance(value, dict) or not all(isinstance(f, str | Path) and n and f for n, f in value.items()):
        raise ValueError("not names and folders")
    return {name.strip(): Path(folder).expanduser().absolute() for name, folder in value.items()}


def components(names: tuple[str, ...]) -> tuple[str, ...]:
    if not set(names) <= set(COMPONENTS):
        raise ValueError("unknown component")
    return names


def demo_keys(keys: tuple[str, ...]) -> tuple[str, ...]:
    if len(keys) not in (0, DEMO_PEOPLE):
        raise ValueError("not a key for each")
    return tuple(private_key(key) for key in keys)


def new_private_key() -> str:
    return f"0x{1 + secrets.randbelow(_SECP256K1_ORDER - 1):064x}"


def without_secrets(url: str) -> str:
    """A URL fit to be shown: no password, no query, and no path (API keys live there) but a database's name."""
    parts = urlsplit(url)
    if not parts.scheme:
        return url  # a multiaddr
    user = f"{parts.username}@" if parts.username and parts.scheme.startswith("postgres") else ""
    place = parts.netloc.rpartition("@")[2]
    path = parts.path if parts.scheme.startswith("postgres") or len(parts.path) <= 1 else "/…"
    return urlunsplit((parts.scheme, user + place, path, "", ""))
