"""The words every floor shares: wallets, digests, purposes, blocks.

Text forms are fixed here so that no two floors disagree: a wallet is EIP-55 checksummed, a digest
is `0x` and 64 lower-case hex digits, a datanet id is the ERC-721 token id of its registry.
"""

import re
from dataclasses import dataclass
from enum import IntFlag
from typing import NewType

from eth_utils.address import is_hex_address, to_checksum_address

from backend.domain.errors import InvalidValue

Wallet = NewType("Wallet", str)
Digest = NewType("Digest", str)
DatanetId = NewType("DatanetId", int)
RunId = NewType("RunId", str)

NO_WALLET = Wallet("0x0000000000000000000000000000000000000000")

_DIGEST = re.compile(r"0x[0-9a-f]{64}")


class Purpose(IntFlag):
    """What a wallet may do with a datanet; the same bits as `DatanetRegistry`."""

    NONE = 0
    TRAIN = 1
    RETRIEVE = 2
    EVALUATE = 4
    EXPORT = 8


ALL_PURPOSES = Purpose.TRAIN | Purpose.RETRIEVE | Purpose.EVALUATE | Purpose.EXPORT


def purpose_names(purposes: int) -> list[str]:
    """Lower-case names of the set bits, in bit order: 3 → ["train", "retrieve"]."""
    return [str(p.name).lower() for p in Purpose if p and purposes & p]


def parse_purposes(names: list[str]) -> Purpose:
    """Inverse of `purpose_names`. Raises: InvalidValue naming the unknown word."""
    out = Purpose.NONE
    for name in names:
        try:
            out |= Purpose[name.upper()]
        except KeyError:
            allowed = ", ".join(purpose_names(ALL_PURPOSES))
            raise InvalidValue("purpose", f"{name!r} is none of {allowed}") from None
    return out


def parse_wallet(text: str) -> Wallet:
    """Any casing of a 20-byte hex address → EIP-55. Raises: InvalidValue."""
    if not is_hex_address(text) or not text.startswith("0x"):
        raise InvalidValue("wallet", f"{text[:60]!r} is not a 0x… address of 40 hex digits")
    return Wallet(str(to_checksum_address(text)))


def parse_digest(text: str) -> Digest:
    """Raises: InvalidValue unless `text` is 0x and 64 hex digits."""
    lowered = text.lower()
    if not _DIGEST.fullmatch(lowered):
        raise InvalidValue("digest", f"{text[:80]!r} is not 0x and 64 hex digits")
    return Digest(lowered)


def digest_of(raw: bytes) -> Digest:
    """32 raw bytes → text form."""
    if len(raw) != 32:
        raise ValueError(f"a digest has 32 bytes, not {len(raw)}")
    return Digest("0x" + raw.hex())


def digest_bytes(digest: Digest) -> bytes:
    return bytes.fromhex(digest[2:])


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A block as it was seen: a later reorganisation may give the number another hash."""

    number: int
    hash: Digest
    timestamp: int  # Unix seconds, UTC


@dataclass(frozen=True, slots=True)
class Permission:
    """The registry's answer to one question at one block: evidence for the receipt or the run."""

    wallet: Wallet
    datanet: DatanetId
    purpose: Purpose
    allowed: bool
    block: BlockRef


@dataclass(frozen=True, slots=True)
class PublishedVersion:
    """What the chain says is the current version of a datanet; `version` 0 means none yet."""

    datanet: DatanetId
    owner: Wallet
    version: int
    manifest_digest: Digest
    records_root: Digest
    licence_digest: Digest  # of the terms of now; zero for none
