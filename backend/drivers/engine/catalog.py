"""Which base models this machine has. Weights are safetensors folders; no code of a model is ever run."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from backend.domain.answers import ModelRef
from backend.domain.errors import InvalidValue, ModelUnavailable
from backend.domain.training import Method
from backend.drivers.engine.adapters import why_not_qlora
from backend.drivers.engine.bases import BUNDLED, KNOWN_BASES, KnownBase
from backend.drivers.engine.bundled import bundled_gguf, bundled_weights, why_not_bundled
from backend.ports import BaseModel


class LocalCatalog:
    """`ModelCatalog` over folders: `models_dir/<name>`, those named in `extra`, and a Hub cache if given.

    `models_dir` also keeps the bundled model once unpacked, and the digests of weights already hashed.
    """

    def __init__(self, models_dir: Path, extra: Mapping[str, Path], *, hub_cache: Path | None = None) -> None:
        self._models_dir = models_dir
        self._extra = dict(extra)
        self._hub_cache = hub_cache
        self._known = {base.name: base for base in KNOWN_BASES}

    def bases(self) -> list[BaseModel]:
        listed = [self._describe_known(base) for base in KNOWN_BASES if base.name not in self._extra]
        return [*(_describe_folder(name, folder) for name, folder in self._extra.items()), *listed]

    def resolve(self, name: str) -> ModelRef:
        """The revision is the SHA-256 of the weights as they were distributed: the safetensors files,
        or for the bundled model its GGUF. The first call for a name reads them all (seconds)."""
        if name == BUNDLED and name not in self._extra:
            gguf = bundled_gguf()
            if gguf is None:
                raise ModelUnavailable(f"{name}: {why_not_bundled()}")
            return ModelRef(name, self._digest([gguf]))
        return ModelRef(name, self._digest(_safetensors(self._folder(name))))

    def methods(self) -> dict[str, str | None]:
        """The first call tries 4-bit layers out, which loads torch (seconds)."""
        return {Method.LORA.value: None, Method.QLORA.value: self._why_not_qlora}

    def weights(self, name: str) -> Path:
        """The folder to load `name` from; unpacks the bundled model when it is not yet.
        Raises: as `resolve`."""
        if name == BUNDLED and name not in self._extra:
            return bundled_weights(self._models_dir)
        return self._folder(name)

    @cached_property
    def _why_not_qlora(self) -> str | None:
        return why_not_qlora()

    def _folder(self, name: str) -> Path:
        if name in self._extra:
            folder = self._extra[name]
            problem = _problem_with(folder)
            if problem:
                raise ModelUnavailable(f"{name}: {problem}")
            return folder
        if name not in self._known:
            names = ", ".join(base.name for base in self.bases() if base.available)
            raise InvalidValue("base_model", f"{name[:80]!r} is not in the catalogue; choose one of: {names}")
        found = self._find(self._known[name])
        if found is None:
            raise ModelUnavailable(f"{name}: {self._how_to_get(self._known[name])}")
        return found

    def _find(self, base: KnownBase) -> Path | None:
        candidates = [self._models_dir / base.name]
        if self._hub_cache is not None:
            snapshots = self._hub_cache / ("models--" + base.hub_id.replace("/", "--")) / "snapshots"
            candidates += sorted(snapshots.glob("*"))
        return next((folder for folder in candidates if _problem_with(folder) is None), None)

    def _how_to_get(self, base: KnownBase) -> str:
        return f"put the safetensors files of {base.hub_id} into {self._models_dir / base.name}"

    def _why_not(self, base: KnownBase) -> str | None:
        if base.name == BUNDLED:
            return why_not_bundled()
        return None if self._find(base) else self._how_to_get(base)

    def _describe_known(self, base: KnownBase) -> BaseModel:
        why_not = self._why_not(base)
        return BaseModel(
            base.name, base.title, base.family, base.parameters, base.context_tokens, base.licence,
            available=why_not is None, why_not=why_not,
        )  # fmt: skip

    def _digest(self, files: list[Path]) -> str:
        """SHA-256 in hex: of the one file, or over the digests of several in name order. Remembered
        for as long as the files' sizes and times stay as they are."""
        stamp = [[str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns] for f in files]
        key = hashlib.sha256(json.dumps([entry[0] for entry in stamp]).encode()).hexdigest()[:32]
        memo = self._models_dir / ".digests" / f"{key}.json"
        try:
            remembered = json.loads(memo.read_text())
            if remembered["files"] == stamp:
                return str(remembered["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # nothing remembered, or not readable: hash again
        digests = [_sha256(file) for file in files]
        digest = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
        _write_whole(memo, json.dumps({"files": stamp, "sha256": digest}))
        return digest


def _safetensors(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _problem_with(folder: Path) -> str | None:
    if not (folder / "config.json").is_file():
        return f"{folder} has no config.json; it is not the folder of a model"
    if not _safetensors(folder):
        return f"{folder} has no .safetensors file, and weights in other formats are not loaded"
    return None


def _describe_folder(name: str, folder: Path) -> BaseModel:
    problem = _problem_with(folder)
    config: dict[str, Any] = {}
    parameters = 0
    if problem is None:
        try:
            config = json.loads((folder / "config.json").read_text())
            config = config.get("text_config", config)  # multi-modal configs nest the language model's
            parameters = sum(_count_parameters(file) for file in _safetensors(folder))
        except (OSError, ValueError) as err:
            problem = f"{folder} cannot be read: {err}"
    return BaseModel(
        name, f"{name} (local folder)", str(config.get("model_type", "unknown")), parameters,
        int(config.get("max_position_embeddings", 0)), "see its folder",
        available=problem is None, why_not=problem,
    )  # fmt: skip


def _count_parameters(file: Path) -> int:
    """From the header alone: 8 bytes of length, then JSON that names each tensor's shape."""
    with file.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if length > 100_000_000:
            raise ValueError(f"{file.name} is not a safetensors file")
        header = json.loads(handle.read(length))
    total = 0
    for name, tensor in header.items():
        if name != "__metadata__":
            size = 1
            for dimension in tensor["shape"]:
                size *= dimension
            total += size
    return total


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _write_whole(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as handle:
        handle.write(text)
    os.replace(handle.name, path)
