"""Models without a model: the twins of drivers/engine. Same answers for the same questions, in no time."""

import asyncio
import hashlib
import json
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.domain.answers import Generation, ModelRef
from backend.domain.errors import InvalidValue, ModelUnavailable, TrainingFailed
from backend.domain.training import Method, Progress, TrainedAdapter, TrainingSpec
from backend.ports import BaseModel, Message

_WORD = re.compile(r"\w+")
_PIECE = re.compile(r"\s*\S+|\s+$")


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _number(word: str) -> int:
    return int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")


class MemoryCatalog:
    """One base model that is here, one that is not."""

    def __init__(
        self, name: str = "tiny-llama", *, missing: str = "huge-llama", methods: Mapping[str, str | None] | None = None
    ) -> None:
        self._name = name
        self._missing = missing
        self._methods = dict(methods) if methods is not None else {method.value: None for method in Method}

    def bases(self) -> list[BaseModel]:
        return [
            BaseModel(self._name, "Tiny", "llama", 1_000_000, 512, "Apache-2.0", available=True, why_not=None),
            BaseModel(
                self._missing, "Huge", "llama", 70_000_000_000, 131_072, "Llama 3.1 Community Licence",
                available=False, why_not="put its safetensors files into the models folder",
            ),
        ]  # fmt: skip

    def resolve(self, name: str) -> ModelRef:
        if name == self._missing:
            raise ModelUnavailable(f"{name}: put its safetensors files into the models folder")
        if name != self._name:
            raise InvalidValue("base_model", f"{name[:80]!r} is not in the catalogue; choose one of: {self._name}")
        return ModelRef(name, hashlib.sha256(name.encode()).hexdigest())

    def methods(self) -> dict[str, str | None]:
        return dict(self._methods)


class MemoryLanguageModel:
    """Says what it was told to say. A token is a word with the space before it.

    An answer is likelier the more of its words its prompt has: ln 0.9 for each word that is there and
    ln 0.1 for each that is not.
    """

    def __init__(
        self, reply: str | Callable[[Sequence[Message]], str] = "It does [1].", *, context_tokens: int = 512
    ) -> None:
        self.reply = reply
        self.generated = 0  # generations begun
        self.tokens_generated = 0
        self.scored = 0  # prompts scored
        self._context_tokens = context_tokens

    async def stream(
        self,
        model: ModelRef,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        seed: int,
        enough: Callable[[], bool] = lambda: False,
    ) -> AsyncIterator[str | Generation]:
        self._check_room(messages, max_tokens)
        self.generated += 1
        reply = self.reply if isinstance(self.reply, str) else self.reply(messages)
        pieces: list[str] = []
        for piece in _PIECE.findall(reply)[:max_tokens]:
            await asyncio.sleep(0)
            if enough():
                break
            self.tokens_generated += 1
            pieces.append(piece)
            yield piece
        yield Generation("".join(pieces), tuple(_number(piece) for piece in pieces))

    async def log_probs(self, model: ModelRef, prompts: Sequence[Sequence[Message]], answer: Generation) -> list[float]:
        for prompt in prompts:
            self._check_room(prompt, len(answer.token_ids))
        self.scored += len(prompts)
        if not answer.token_ids:
            return [0.0] * len(prompts)
        said = _words(answer.text)
        known = [{word for message in prompt for word in _words(message["content"])} for prompt in prompts]
        return [sum(math.log(0.9 if word in words else 0.1) for word in said) for words in known]

    async def count_tokens(self, model: ModelRef, text: str) -> int:
        return len(_PIECE.findall(text))

    def _check_room(self, messages: Sequence[Message], answer_tokens: int) -> None:
        prompt = sum(len(_PIECE.findall(message["content"])) for message in messages)
        if prompt + answer_tokens > self._context_tokens:
            raise InvalidValue(
                "question",
                f"the prompt has {prompt} tokens and the answer may take {answer_tokens}, but the model reads "
                f"{self._context_tokens} in all; ask something shorter, use fewer sources, or allow a shorter answer",
            )


class MemoryEmbedder:
    """Texts that share words point the same way: each word adds one of `dimensions` axes, by its hash."""

    dimensions = 384

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        out = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in _words(text) or [""]:
                out[row, _number(word) % self.dimensions] += 1.0
        unit: NDArray[np.float32] = out / np.linalg.norm(out, axis=1, keepdims=True) if texts else out
        return unit.astype(np.float32)


class MemoryTrainer:
    """Writes an adapter's files with nothing learnt in them, one step after another.

    The loss falls evenly to a third: from 3, or from where the parent's ended. `fail_with` is what it says instead
    of finishing.
    """

    def __init__(self, *, fail_with: str | None = None) -> None:
        self.fail_with = fail_with
        self.trained: list[tuple[TrainingSpec, list[dict[str, Any]]]] = []

    async def train(
        self,
        spec: TrainingSpec,
        rows: Iterable[dict[str, Any]],
        directory: Path,
        *,
        parent: Path | None = None,
        on_progress: Callable[[Progress], Awaitable[None]],
        should_stop: Callable[[], Awaitable[bool]],
    ) -> TrainedAdapter | None:
        taken = list(rows)
        learnable = [row for row in taken if row.get("text") or row.get("output") or row.get("messages")]
        if not learnable:
            raise InvalidValue("rows", f"of {len(taken)} rows none has anything to learn")
        start = 3.0 if parent is None else await asyncio.to_thread(_end_of, parent, spec)
        self.trained.append((spec, taken))
        total = math.ceil(len(learnable) / spec.batch_size) * spec.epochs
        total = min(total, spec.max_steps) if spec.max_steps else total
        losses = [start - start * 2 / 3 * step / max(1, total - 1) for step in range(total)]
        for step, loss in enumerate(losses, start=1):
            await asyncio.sleep(0)
            if await should_stop():
                return None
            if self.fail_with is not None:
                raise TrainingFailed(self.fail_with)
            await on_progress(
                Progress(
                    step=step,
                    total_steps=total,
                    epoch=step / total * spec.epochs,
                    loss=loss,
                    learning_rate=spec.learning_rate,
                    gradient_norm=1.0,
                    tokens_per_second=100.0,
                    seconds_left=float(total - step),
                    seconds=float(step),
                )
            )
        adapter = directory / "adapter"
        await asyncio.to_thread(_write_adapter, adapter, spec, losses[-1])
        return TrainedAdapter(str(adapter), total, losses[0], losses[-1], 100.0, float(total), 64)


def _end_of(parent: Path, spec: TrainingSpec) -> float:
    config = json.loads((parent / "adapter_config.json").read_text())
    if (config["base_model_name_or_path"], config["r"]) != (spec.base_model, spec.rank):
        raise InvalidValue("parent_run_id", "its adapter is of another base model or rank; choose the same")
    return float(config["loss_last"])


def _write_adapter(adapter: Path, spec: TrainingSpec, loss_last: float) -> None:
    """Valid safetensors: 8 bytes of header length, the header, and one tensor drawn from the seed."""
    adapter.mkdir(parents=True, exist_ok=True)
    weights = np.random.default_rng(spec.seed).standard_normal(64, dtype=np.float32).tobytes()
    header = json.dumps({"lora": {"dtype": "F32", "shape": [64], "data_offsets": [0, len(weights)]}}).encode()
    (adapter / "adapter_model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + weights)
    config = {"base_model_name_or_path": spec.base_model, "peft_type": "LORA", "r": spec.rank, "loss_last": loss_last}
    (adapter / "adapter_config.json").write_text(json.dumps(config, sort_keys=True))
