"""A record's place in its version, so that anyone can check it without seeing what the record says.

    content = SHA-256(0x00 ‖ salt (32 bytes) ‖ canonical JSON of the body)
    record  = SHA-256(0x01 ‖ contributor (20 bytes) ‖ content)

The records tree of a version (RFC 9162) has the records as its leaves and its root on chain. A receipt shows
`content`, which the salt keeps from being guessed, so its reader can tell whose record it is and that it is in the
version, and nothing else.
"""

import hashlib


def content_digest(salt: bytes, body: bytes) -> bytes:
    """`body` is the canonical JSON of what the record says."""
    return hashlib.sha256(b"\x00" + salt + body).digest()


def record_digest(contributor: str, content: bytes) -> bytes:
    """Raises: ValueError unless `contributor` is 0x and 40 hex digits."""
    wallet = bytes.fromhex(contributor.removeprefix("0x"))
    if len(wallet) != 20 or len(content) != 32:
        raise ValueError(f"a wallet has 20 bytes and a content digest 32, not {len(wallet)} and {len(content)}")
    return hashlib.sha256(b"\x01" + wallet + content).digest()
