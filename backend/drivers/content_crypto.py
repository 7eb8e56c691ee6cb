"""`ContentCipher`: AES-256-GCM in STREAM frames, data keys under RFC 3394 key wrap.

STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015) numbers the frames and marks the last one inside
the nonce, so that dropping, repeating, reordering or cutting frames fails like a forgery:

    "BYL1" ‖ prefix(7) ‖ frame…        nonce = prefix(7) ‖ frame number(4, big endian) ‖ last?(1)

The prefix is random; with one data key per version, and a shard per prefix, a nonce does not recur.
"""

import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from backend.domain.errors import ContentCorrupt, InvalidValue

_MAGIC = b"BYL1"
_PREFIX_BYTES = 7
_TAG_BYTES = 16
FRAME_BYTES = 1 << 20
KEY_BYTES = 32


class StreamCipher:
    """Args: kek: 32 bytes that wrap the data keys. Raises: InvalidValue for any other length."""

    def __init__(self, kek: bytes) -> None:
        if len(kek) != KEY_BYTES:
            raise InvalidValue("kek", f"a key-encryption key has {KEY_BYTES} bytes, not {len(kek)}")
        self._kek = kek

    def new_key(self) -> bytes:
        return os.urandom(KEY_BYTES)

    def wrap(self, key: bytes) -> bytes:
        return aes_key_wrap(self._kek, key)

    def unwrap(self, wrapped: bytes) -> bytes:
        """Raises: ContentCorrupt, also when the KEK is not the one that wrapped it."""
        try:
            return aes_key_unwrap(self._kek, wrapped)
        except InvalidUnwrap as err:
            raise ContentCorrupt("the data key does not open: it is damaged, or the server's key was changed") from err

    def encrypt(self, key: bytes, plain: bytes, *, header: bytes) -> bytes:
        prefix = os.urandom(_PREFIX_BYTES)
        frames, view = AESGCM(key), memoryview(plain)
        out = [_MAGIC + prefix]
        last = max(0, (len(plain) - 1) // FRAME_BYTES)  # nothing at all is still one frame
        for number in range(last + 1):
            frame = view[number * FRAME_BYTES : (number + 1) * FRAME_BYTES]
            out.append(frames.encrypt(_nonce(prefix, number, number == last), frame, _MAGIC + header))
        return b"".join(out)

    def decrypt(self, key: bytes, sealed: bytes, *, header: bytes) -> bytes:
        start, sealed_frame = len(_MAGIC) + _PREFIX_BYTES, FRAME_BYTES + _TAG_BYTES
        if len(sealed) < start + _TAG_BYTES or not sealed.startswith(_MAGIC):
            raise ContentCorrupt("it is not sealed content, or was cut short")
        prefix, view, frames = sealed[len(_MAGIC) : start], memoryview(sealed)[start:], AESGCM(key)
        last = (len(view) - 1) // sealed_frame
        out = []
        for number in range(last + 1):
            frame = view[number * sealed_frame : (number + 1) * sealed_frame]
            try:
                out.append(frames.decrypt(_nonce(prefix, number, number == last), frame, _MAGIC + header))
            except InvalidTag as err:
                raise ContentCorrupt(f"frame {number} of {last + 1} does not open under its key and header") from err
        return b"".join(out)


def _nonce(prefix: bytes, number: int, last: bool) -> bytes:
    return prefix + struct.pack(">IB", number, last)
