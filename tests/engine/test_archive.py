"""An adapter's archive: one byte string per adapter, and nothing else gets out of one."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from backend.domain.errors import ContentCorrupt, TooLarge
from backend.drivers.engine.archive import digest, pack, unpack

FILES = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"weights"}


def adapter(directory: Path) -> Path:
    directory.mkdir()
    for name, content in FILES.items():
        (directory / name).write_bytes(content)
    return directory


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_what_was_packed_comes_out_again(tmp_path: Path) -> None:
    unpack(pack(adapter(tmp_path / "a")), tmp_path / "deep" / "b")
    assert {path.name: path.read_bytes() for path in (tmp_path / "deep" / "b").iterdir()} == FILES


def test_the_digest_depends_on_the_bytes_alone(tmp_path: Path) -> None:
    one, other = adapter(tmp_path / "a"), adapter(tmp_path / "b")
    os.utime(other / "adapter_config.json", (0, 0))
    (other / "adapter_config.json").chmod(0o600)
    (other / "README.md").write_text("left out")
    assert pack(one) == pack(other)
    (other / "adapter_model.safetensors").write_bytes(b"Weights")
    assert digest(pack(one)) != digest(pack(other))


def test_unpacking_replaces_what_was_there(tmp_path: Path) -> None:
    stale = adapter(tmp_path / "b")
    (stale / "extra").write_text("old")
    unpack(pack(adapter(tmp_path / "a")), stale)
    assert {path.name for path in stale.iterdir()} == set(FILES)


def test_nothing_but_an_adapter_is_unpacked(tmp_path: Path) -> None:
    whole = [(tarfile.TarInfo(name), content) for name, content in FILES.items()]
    link = tarfile.TarInfo("adapter_config.json")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    for hostile in (
        tar((tarfile.TarInfo("../escaped"), b"x"), *whole),
        tar((tarfile.TarInfo("/tmp/escaped"), b"x"), *whole),
        tar((link, b"")),
        tar(*whole, whole[0]),
        tar(whole[0]),
        b"not a tar",
        b"",
    ):
        with pytest.raises(ContentCorrupt):
            unpack(hostile, tmp_path / "out" / "adapter")
    assert list(tmp_path.iterdir()) == []


def test_an_adapter_over_the_limit_is_not_unpacked(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="7 bytes"):
        unpack(pack(adapter(tmp_path / "a")), tmp_path / "b", max_bytes=6)
    assert not (tmp_path / "b").exists()
