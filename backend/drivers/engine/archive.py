"""An adapter as one byte string: what is pinned, and what its digest on chain is a digest of."""

import hashlib
import io
import shutil
import tarfile
from pathlib import Path

from backend.domain.errors import ContentCorrupt, TooLarge
from backend.domain.types import Digest, digest_of
from backend.drivers.engine.adapters import ADAPTER_FILES

MAX_ADAPTER_BYTES = 2 * 1024**3


def pack(directory: Path) -> bytes:
    """A tar that is a function of the files' bytes alone: no times, no owners, names in order.
    Raises: FileNotFoundError."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(ADAPTER_FILES):
            content = (directory / name).read_bytes()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o644
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def digest(archive: bytes) -> Digest:
    return digest_of(hashlib.sha256(archive).digest())


def unpack(archive: bytes, directory: Path, *, max_bytes: int = MAX_ADAPTER_BYTES) -> None:
    """Make `directory` hold exactly the adapter's files, whole or not at all.
    Raises: ContentCorrupt for anything but those regular files, each once; TooLarge."""
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            for member in tar:
                if member.name not in ADAPTER_FILES or not member.isreg() or member.name in contents:
                    raise ContentCorrupt(f"an adapter archive with a member {member.name[:80]!r}")
                if member.size > max_bytes:
                    raise TooLarge(f"{member.name} is {member.size} bytes; an adapter may have {max_bytes}")
                stream = tar.extractfile(member)
                contents[member.name] = stream.read() if stream else b""
    except tarfile.TarError as err:
        raise ContentCorrupt(f"an adapter archive that is not a tar: {err}") from err
    if set(contents) != set(ADAPTER_FILES):
        raise ContentCorrupt(f"an adapter archive without {', '.join(sorted(set(ADAPTER_FILES) - set(contents)))}")
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = directory.with_name(f".{directory.name}.partial")
    for left in (partial, directory):
        if left.exists():
            shutil.rmtree(left)
    partial.mkdir()
    for name, content in contents.items():
        (partial / name).write_bytes(content)
    partial.rename(directory)
