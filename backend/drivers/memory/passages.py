"""`PassageIndex` in memory: every permitted passage looked at, in numpy."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from backend.domain.datanet import FoundPassage, Passage
from backend.domain.types import DatanetId

_CANDIDATES = 50
_WORD = re.compile(r"\w{3,}")


class MemoryPassageIndex:
    """Cosine similarity and shared words, fused by reciprocal rank (k = 60)."""

    def __init__(self) -> None:
        self._datanets: dict[DatanetId, list[tuple[Passage, NDArray[np.float32]]]] = {}
        self._next_id = 1

    async def replace(
        self, datanet: DatanetId, version: int, passages: Sequence[Passage], vectors: NDArray[np.float32]
    ) -> None:
        if len(vectors) != len(passages) or not np.isfinite(vectors).all():
            raise ValueError(f"{len(passages)} passages need as many finite vectors: {vectors.shape}")
        first = self._next_id
        self._next_id += len(passages)
        self._datanets[datanet] = [
            (replace(passage, passage_id=passage_id, datanet=datanet, version=version), vector)
            for passage_id, (passage, vector) in enumerate(zip(passages, vectors, strict=True), start=first)
        ]

    async def search(
        self, datanets: Sequence[DatanetId], question: str, vector: NDArray[np.float32], *, limit: int
    ) -> list[FoundPassage]:
        permitted = [entry for datanet in sorted(set(datanets)) for entry in self._datanets.get(datanet, [])]
        similarities = [_cosine(vector, embedding) for _, embedding in permitted]
        nearest = sorted(range(len(permitted)), key=lambda i: -similarities[i])[:_CANDIDATES]
        words = _words(question)
        shared = [len(words & _words(passage.text)) for passage, _ in permitted]
        matching = sorted((i for i in range(len(permitted)) if shared[i]), key=lambda i: -shared[i])[:_CANDIDATES]
        scores: dict[int, float] = {}
        for ranking in (nearest, matching):
            for place, i in enumerate(ranking, start=1):
                scores[i] = scores.get(i, 0.0) + 1 / (60 + place)
        best = sorted(scores, key=lambda i: (-scores[i], -similarities[i]))[: max(limit, 0)]
        return [FoundPassage(permitted[i][0], scores[i], similarities[i]) for i in best]

    async def count(self, datanet: DatanetId) -> int:
        return len(self._datanets.get(datanet, []))


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths else 0.0
