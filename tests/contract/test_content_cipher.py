"""`ContentCipher`: what is sealed opens whole, under its own key and header, or not at all."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.domain.errors import ContentCorrupt, InvalidValue
from backend.drivers.content_crypto import FRAME_BYTES, StreamCipher

HEADER = b'{"datanet":1,"version":2,"shard":3}'
SEALED_FRAME = FRAME_BYTES + 16
PREFIX = 11


@pytest.fixture
def cipher() -> StreamCipher:
    return StreamCipher(bytes(range(32)))


@pytest.mark.parametrize("size", [0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 3 * FRAME_BYTES])
def test_what_is_sealed_opens(cipher: StreamCipher, size: int) -> None:
    key, plain = cipher.new_key(), os.urandom(size)
    sealed = cipher.encrypt(key, plain, header=HEADER)
    assert len(plain) < 16 or plain[:16] not in sealed
    assert cipher.decrypt(key, sealed, header=HEADER) == plain


def test_sealing_twice_gives_different_bytes(cipher: StreamCipher) -> None:
    key = cipher.new_key()
    assert cipher.encrypt(key, b"same", header=HEADER) != cipher.encrypt(key, b"same", header=HEADER)


@given(cut=st.integers(min_value=1, max_value=200))
def test_cut_content_does_not_open(cut: int) -> None:
    cipher = StreamCipher(bytes(32))
    key = cipher.new_key()
    with pytest.raises(ContentCorrupt):
        cipher.decrypt(key, cipher.encrypt(key, bytes(170), header=HEADER)[:-cut], header=HEADER)


def test_a_missing_last_frame_is_noticed(cipher: StreamCipher) -> None:
    key = cipher.new_key()
    sealed = cipher.encrypt(key, bytes(2 * FRAME_BYTES), header=HEADER)
    with pytest.raises(ContentCorrupt):
        cipher.decrypt(key, sealed[: PREFIX + SEALED_FRAME], header=HEADER)


def test_swapped_frames_do_not_open(cipher: StreamCipher) -> None:
    key = cipher.new_key()
    sealed = cipher.encrypt(key, os.urandom(3 * FRAME_BYTES), header=HEADER)
    head, frames = sealed[:PREFIX], sealed[PREFIX:]
    first, second, rest = frames[:SEALED_FRAME], frames[SEALED_FRAME:][:SEALED_FRAME], frames[2 * SEALED_FRAME :]
    with pytest.raises(ContentCorrupt):
        cipher.decrypt(key, head + second + first + rest, header=HEADER)


@given(position=st.integers(min_value=0, max_value=126), bit=st.integers(min_value=0, max_value=7))
def test_no_bit_can_be_flipped(position: int, bit: int) -> None:
    cipher = StreamCipher(bytes(32))
    key = cipher.new_key()
    sealed = bytearray(cipher.encrypt(key, bytes(100), header=HEADER))
    assert len(sealed) == 127
    sealed[position] ^= 1 << bit
    with pytest.raises(ContentCorrupt):
        cipher.decrypt(key, bytes(sealed), header=HEADER)


def test_another_shard_s_header_does_not_open_it(cipher: StreamCipher) -> None:
    key = cipher.new_key()
    sealed = cipher.encrypt(key, b"mine", header=HEADER)
    with pytest.raises(ContentCorrupt):
        cipher.decrypt(key, sealed, header=HEADER.replace(b"3", b"4"))


def test_another_key_does_not_open_it(cipher: StreamCipher) -> None:
    sealed = cipher.encrypt(cipher.new_key(), b"mine", header=HEADER)
    with pytest.raises(ContentCorrupt):
        cipher.decrypt(cipher.new_key(), sealed, header=HEADER)


def test_a_wrapped_key_comes_back_and_hides_the_key(cipher: StreamCipher) -> None:
    key = cipher.new_key()
    wrapped = cipher.wrap(key)
    assert key not in wrapped
    assert cipher.unwrap(wrapped) == key


def test_a_damaged_wrapped_key_is_refused(cipher: StreamCipher) -> None:
    wrapped = cipher.wrap(cipher.new_key())
    for damaged in (wrapped[:-1], wrapped[:-8], bytes([wrapped[0] ^ 1]) + wrapped[1:], b""):
        with pytest.raises(ContentCorrupt):
            cipher.unwrap(damaged)


def test_another_server_s_key_does_not_unwrap_it(cipher: StreamCipher) -> None:
    with pytest.raises(ContentCorrupt, match="server's key"):
        StreamCipher(bytes(32)).unwrap(cipher.wrap(cipher.new_key()))


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_key_encryption_key_has_32_bytes(size: int) -> None:
    with pytest.raises(InvalidValue, match="32 bytes"):
        StreamCipher(bytes(size))
