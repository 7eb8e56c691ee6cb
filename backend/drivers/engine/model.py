"""Answering and scoring with a base model and the adapters on it, in this process."""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from backend.domain.answers import Generation, ModelRef
from backend.domain.errors import InvalidValue, ModelUnavailable
from backend.domain.prompt import REPETITION_PENALTY
from backend.drivers.engine.catalog import LocalCatalog
from backend.drivers.engine.encoding import Encoding, TextPieces
from backend.drivers.engine.environment import LOADING
from backend.drivers.engine.scoring import answer_log_probs
from backend.ports import Message

ADAPTERS_KEPT = 4
BATCH_TOKENS = 1_024  # on a CPU larger batches score no faster; padding only costs

T = TypeVar("T")


@dataclass(slots=True)
class _Loaded:
    """A base model in memory and the adapters on it, least recently used first."""

    ref: ModelRef
    network: Any  # the transformers model; a PeftModel around it once there is an adapter
    context_tokens: int
    stop_tokens: frozenset[int]
    adapters: OrderedDict[str, None] = field(default_factory=OrderedDict)


class TransformersLanguageModel:
    """`LanguageModel` on transformers and peft: one base model in memory, a few adapters on it.

    Weights are loaded by the first call that needs them. All work on the model is done by one thread,
    in order of arrival: the active adapter is a property of the whole model.

    float32 unless told otherwise: attribution is a difference of log-probabilities, and in bfloat16 the
    same prompt scores differently in another batch.
    """

    def __init__(
        self,
        catalog: LocalCatalog,
        adapter_path: Callable[[ModelRef], Awaitable[Path]],
        *,
        dtype: str = "float32",
        threads: int | None = None,
    ) -> None:
        """`adapter_path` fetches what `archive.unpack` left: it is asked for refs with an adapter only."""
        self._catalog = catalog
        self._adapter_path = adapter_path
        self._dtype = dtype
        self._threads = threads
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="language-model")
        self._loaded: _Loaded | None = None
        self._encodings: dict[str, Encoding] = {}
        self._encoding_lock = threading.Lock()
        self.tokens_generated = 0

    async def stream(
        self,
        model: ModelRef,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        seed: int,
        enough: Callable[[], bool] = lambda: False,
    ) -> AsyncIterator[str | Generation]:
        """Closing the iterator stops the generation within a token. The seed changes nothing: each token is
        the likeliest one.

        Raises: InvalidValue when prompt and answer do not fit the model's context; ModelUnavailable.
        """
        adapter = await self._adapter_of(model)
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[str | Generation | Exception] = asyncio.Queue()
        gone = threading.Event()

        def tell(piece: str | Generation | Exception) -> None:
            if not gone.is_set():
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        def work() -> None:
            try:
                for piece in self._generate(model, adapter, messages, max_tokens, lambda: gone.is_set() or enough()):
                    tell(piece)
            except Exception as err:  # noqa: BLE001 - it is raised again where the caller waits
                tell(err)

        job: Future[None] = self._worker.submit(work)
        try:
            while True:
                piece = await pieces.get()
                if isinstance(piece, Exception):
                    raise piece
                yield piece
                if isinstance(piece, Generation):
                    return
        finally:
            gone.set()
            job.cancel()

    async def log_probs(self, model: ModelRef, prompts: Sequence[Sequence[Message]], answer: Generation) -> list[float]:
        """The answer's own tokens, appended to each prompt's: nothing is tokenized again.

        Raises: InvalidValue when a prompt and the answer do not fit the context; ModelUnavailable.
        """
        adapter = await self._adapter_of(model)

        def work() -> list[float]:
            with self._using(model, adapter) as loaded:
                encoding = self._encoding(model)
                encoded = [encoding.prompt(prompt) for prompt in prompts]
                for ids in encoded:
                    _check_room(len(ids), len(answer.token_ids), loaded.context_tokens)
                return answer_log_probs(loaded.network, encoded, answer.token_ids, batch_tokens=BATCH_TOKENS)

        return await self._on_worker(work)

    async def count_tokens(self, model: ModelRef, text: str) -> int:
        return await asyncio.to_thread(lambda: self._encoding(model).count(text))

    async def load(self, model: ModelRef) -> None:
        """Do now what the first answer would wait for. Raises: ModelUnavailable."""
        adapter = await self._adapter_of(model)

        def work() -> None:
            with self._using(model, adapter):
                self._encoding(model)

        await self._on_worker(work)

    def close(self) -> None:
        """Wait for work at hand and let the weights go."""
        self._worker.shutdown(wait=True, cancel_futures=True)
        self._loaded = None

    async def _on_worker(self, work: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self._worker.submit(work))

    async def _adapter_of(self, model: ModelRef) -> Path | None:
        if model.run_id is None and model.adapter_digest is None:
            return None
        return await self._adapter_path(model)

    def _encoding(self, model: ModelRef) -> Encoding:
        with self._encoding_lock:
            if model.base not in self._encodings:
                folder = self._catalog.weights(model.base)
                try:
                    self._encodings[model.base] = Encoding(folder)
                except (OSError, ValueError) as err:
                    raise ModelUnavailable(f"{model.base}: its tokenizer cannot be read: {err}") from err
            return self._encodings[model.base]

    # --- on the worker thread ---------------------------------------------------------------------

    def _generate(
        self,
        model: ModelRef,
        adapter: Path | None,
        messages: Sequence[Message],
        max_tokens: int,
        enough: Callable[[], bool],
    ) -> Iterator[str | Generation]:
        import torch
        from transformers import DynamicCache, RepetitionPenaltyLogitsProcessor

        encoding = self._encoding(model)
        if enough():  # said while it waited for its turn: no weights are touched
            yield Generation("", ())
            return
        with self._using(model, adapter) as loaded, torch.inference_mode():
            network = loaded.network
            prompt = encoding.prompt(messages)
            _check_room(len(prompt), max_tokens, loaded.context_tokens)
            cache = DynamicCache(config=network.config)
            ids = torch.tensor([prompt], device=network.device)
            pieces, text = TextPieces(encoding), ""
            tokens: list[int] = []
            penalise = RepetitionPenaltyLogitsProcessor(REPETITION_PENALTY)
            while len(tokens) < max_tokens and not enough():
                logits = network(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
                seen = torch.tensor([prompt + tokens], device=network.device)
                token = int(penalise(seen, logits[:, -1].float()).argmax())
                if token in loaded.stop_tokens:
                    break
                self.tokens_generated += 1
                tokens.append(token)
                if piece := pieces.add(token):
                    text += piece
                    yield piece
                ids = torch.tensor([[token]], device=network.device)
            if rest := pieces.rest():
                text += rest
                yield rest
            yield Generation(text, tuple(tokens))

    @contextmanager
    def _using(self, model: ModelRef, adapter: Path | None) -> Iterator[_Loaded]:
        """The model with that adapter active, and no other."""
        loaded = self._base(model)
        if adapter is None:
            if loaded.adapters:
                with loaded.network.disable_adapter():
                    yield loaded
            else:
                yield loaded
            return
        name = str(model.adapter_digest or model.run_id).replace(".", "_")
        if name not in loaded.adapters:
            self._put_on(loaded, adapter, name)
        loaded.network.set_adapter(name, inference_mode=True)  # without it the LoRA weights become trainable again
        loaded.adapters.move_to_end(name)
        while len(loaded.adapters) > ADAPTERS_KEPT:
            oldest, _ = loaded.adapters.popitem(last=False)
            loaded.network.delete_adapter(oldest)
        yield loaded

    def _put_on(self, loaded: _Loaded, adapter: Path, name: str) -> None:
        from peft import PeftModel

        try:
            with LOADING:
                if isinstance(loaded.network, PeftModel):
                    loaded.network.load_adapter(adapter, adapter_name=name, is_trainable=False)
                else:
                    network = PeftModel.from_pretrained(loaded.network, adapter, adapter_name=name, is_trainable=False)
                    loaded.network = network
                loaded.network.eval()
        except Exception as err:
            self._loaded = None  # it may be half on: the base is loaded afresh
            raise ModelUnavailable(
                f"the adapter {name[:18]} does not fit {loaded.ref.base}: {type(err).__name__}: {err}"
            ) from err
        loaded.adapters[name] = None

    def _base(self, model: ModelRef) -> _Loaded:
        """Raises: ModelUnavailable, also when the weights here are others than the ref was made for."""
        now = self._catalog.resolve(model.base)
        if now.revision != model.revision:
            raise ModelUnavailable(f"{model.base} is not the revision {model.revision[:12]}… any more; choose it again")
        if self._loaded is None or self._loaded.ref != now:
            self._loaded = None  # room first: two models may not fit
            self._loaded = self._load(now)
        return self._loaded

    def _load(self, ref: ModelRef) -> _Loaded:
        import torch
        from transformers import AutoModelForCausalLM

        if self._threads:
            torch.set_num_threads(self._threads)
        folder = self._catalog.weights(ref.base)
        try:
            with LOADING:
                network: Any = AutoModelForCausalLM.from_pretrained(
                    folder,
                    dtype=getattr(torch, self._dtype),
                    use_safetensors=True,
                    trust_remote_code=False,
                    local_files_only=True,
                )
        except (OSError, ValueError, RuntimeError) as err:
            raise ModelUnavailable(f"{ref.base} cannot be loaded: {err}") from err
        network.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        stop = network.generation_config.eos_token_id
        stop_tokens = {*stop} if isinstance(stop, list) else {stop}
        stop_tokens.add(self._encoding(ref).end_of_text)
        config = network.config.get_text_config()
        return _Loaded(ref, network, int(config.max_position_embeddings), frozenset(stop_tokens - {None}))


def _check_room(prompt_tokens: int, answer_tokens: int, context_tokens: int) -> None:
    if prompt_tokens + answer_tokens > context_tokens:
        raise InvalidValue(
            "question",
            f"the prompt has {prompt_tokens} tokens and the answer may take {answer_tokens}, but the model reads "
            f"{context_tokens} in all; ask something shorter, use fewer sources, or allow a shorter answer",
        )
