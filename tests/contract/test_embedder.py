"""What every `Embedder` promises."""

import numpy as np
import pytest

from backend.drivers.engine.embedder import MiniLmEmbedder
from backend.drivers.memory.engine import MemoryEmbedder
from backend.ports import Embedder

TEXTS = ["Aspirin thins the blood.", "The Rhône flows through Lyon.", "Warfarin and the blood. " * 40, "x", ""]


@pytest.fixture(scope="module", params=["memory", pytest.param("minilm", marks=pytest.mark.integration)])
def embedder(request: pytest.FixtureRequest) -> Embedder:
    return MemoryEmbedder() if request.param == "memory" else MiniLmEmbedder()


async def test_each_text_becomes_a_vector_of_unit_length(embedder: Embedder) -> None:
    vectors = await embedder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.dimensions)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)


async def test_no_texts_are_no_vectors(embedder: Embedder) -> None:
    assert (await embedder.embed([])).shape == (0, embedder.dimensions)


async def test_a_text_has_one_vector_in_any_company(embedder: Embedder) -> None:
    together = await embedder.embed(TEXTS)
    backwards = await embedder.embed(TEXTS[::-1])
    alone = np.concatenate([await embedder.embed([text]) for text in TEXTS])
    assert backwards[::-1] == pytest.approx(together, abs=1e-4)
    assert alone == pytest.approx(together, abs=1e-4)


async def test_a_question_is_nearest_to_the_text_about_it(embedder: Embedder) -> None:
    question, *texts = await embedder.embed(["What thins the blood?", *TEXTS[:2]])
    assert question @ texts[0] > question @ texts[1]
