"""`TransformersLanguageModel` beyond the contract: adapters, revisions, and scores against plain arithmetic."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.domain.answers import Generation, ModelRef
from backend.domain.errors import ModelUnavailable
from backend.domain.types import Digest
from backend.drivers.engine.adapters import load_for_training, save_adapter
from backend.drivers.engine.catalog import LocalCatalog
from backend.drivers.engine.embedder import MiniLmEmbedder
from backend.drivers.engine.encoding import Encoding
from backend.drivers.engine.environment import LOADING
from backend.drivers.engine.model import ADAPTERS_KEPT, TransformersLanguageModel
from tests.contract.test_language_model import PROMPTS, QUESTION
from tests.model_fixtures import TINY, no_adapter

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings(
        "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
    ),  # peft 0.21 asks for it
]

ANSWER = Generation("Warfarin.", (2, 57, 3310, 2, 30))  # 2 is both end and pad token


@pytest.fixture(scope="module")
def adapters(tiny_catalog: LocalCatalog, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Number → an adapter whose weights are random, not zero."""
    import torch

    made: dict[int, Path] = {}

    def make(number: int) -> Path:
        if number not in made:
            torch.manual_seed(number)
            with LOADING:
                model = load_for_training(tiny_catalog.weights(TINY), quantised=False, attention="eager", rank=2)
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(parameter, std=0.3)
            made[number] = tmp_path_factory.mktemp("adapter") / "adapter"
            save_adapter(model, TINY, made[number])
        return made[number]

    return make


@pytest.fixture
async def model(
    tiny_catalog: LocalCatalog, adapters: Callable[[int], Path]
) -> AsyncIterator[TransformersLanguageModel]:
    async def fetch(ref: ModelRef) -> Path:
        return adapters(int(str(ref.adapter_digest), 16))

    made = TransformersLanguageModel(tiny_catalog, fetch)
    yield made
    made.close()


def tuned(ref: ModelRef, number: int) -> ModelRef:
    return replace(ref, adapter_digest=Digest(f"0x{number:064x}"))


async def test_scores_are_those_of_one_plain_forward(
    model: TransformersLanguageModel, tiny_catalog: LocalCatalog
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    folder = tiny_catalog.weights(TINY)
    plain: Any = AutoModelForCausalLM.from_pretrained(folder)
    plain.eval()
    encoding = Encoding(folder)
    expected = []
    for prompt in PROMPTS:
        ids = encoding.prompt(prompt)
        with torch.no_grad():
            nats = plain(torch.tensor([[*ids, *ANSWER.token_ids]])).logits[0].double().log_softmax(-1)
        expected.append(sum(float(nats[len(ids) - 1 + i, token]) for i, token in enumerate(ANSWER.token_ids)))
    assert await model.log_probs(tiny_catalog.resolve(TINY), PROMPTS, ANSWER) == pytest.approx(expected, abs=1e-3)


async def test_each_answer_is_of_the_model_that_was_asked(
    model: TransformersLanguageModel, tiny_catalog: LocalCatalog
) -> None:
    base = tiny_catalog.resolve(TINY)

    async def score(ref: ModelRef) -> float:
        return (await model.log_probs(ref, [QUESTION], ANSWER))[0]

    numbers = range(1, ADAPTERS_KEPT + 2)  # one more than are kept
    alone = await score(base)
    first = [await score(tuned(base, number)) for number in numbers]
    assert len({round(nats, 3) for nats in [alone, *first]}) == len(first) + 1
    assert await score(base) == pytest.approx(alone, abs=1e-4)
    assert [await score(tuned(base, number)) for number in numbers] == pytest.approx(first, abs=1e-4)
    at_once = await asyncio.gather(score(base), *(score(tuned(base, number)) for number in reversed(numbers)))
    assert at_once == pytest.approx([alone, *reversed(first)], abs=1e-4)


async def test_questions_at_the_same_time_do_not_mix(
    model: TransformersLanguageModel, tiny_catalog: LocalCatalog
) -> None:
    base = tiny_catalog.resolve(TINY)

    async def answer(ref: ModelRef) -> Any:
        return [piece async for piece in model.stream(ref, QUESTION, max_tokens=8, seed=0)][-1]

    refs = [base, tuned(base, 1), tuned(base, 2)]
    assert await asyncio.gather(*map(answer, refs)) == [await answer(ref) for ref in refs]


async def test_models_loaded_at_the_same_time_are_whole(tiny_catalog: LocalCatalog) -> None:
    """transformers loads one model at a time: two at once left each other's weights out."""
    base = tiny_catalog.resolve(TINY)
    models = [TransformersLanguageModel(tiny_catalog, no_adapter) for _ in range(4)]
    embedder = MiniLmEmbedder()
    embedding = asyncio.create_task(embedder.embed(["blood"]))
    scores = await asyncio.gather(*(model.log_probs(base, [QUESTION], ANSWER) for model in models))
    vectors = await embedding
    assert [score[0] for score in scores] == pytest.approx([scores[0][0]] * len(models), abs=1e-4)
    assert vectors == pytest.approx(await embedder.embed(["blood"]))
    for model in models:
        model.close()


async def test_weights_that_changed_are_not_used_under_the_old_name(
    model: TransformersLanguageModel, tiny_catalog: LocalCatalog
) -> None:
    other = replace(tiny_catalog.resolve(TINY), revision="00" * 32)
    with pytest.raises(ModelUnavailable, match="revision"):
        await model.log_probs(other, [QUESTION], ANSWER)
    with pytest.raises(ModelUnavailable, match="revision"):
        await anext(model.stream(other, QUESTION, max_tokens=8, seed=0))


async def test_an_adapter_that_is_damaged_is_unavailable_and_the_base_still_answers(
    tiny_catalog: LocalCatalog, tmp_path: Path
) -> None:
    async def damaged(ref: ModelRef) -> Path:
        (tmp_path / "adapter_config.json").write_text("{}")
        return tmp_path

    model = TransformersLanguageModel(tiny_catalog, damaged)
    base = tiny_catalog.resolve(TINY)
    before = await model.log_probs(base, [QUESTION], ANSWER)
    with pytest.raises(ModelUnavailable, match="does not fit"):
        await model.log_probs(tuned(base, 1), [QUESTION], ANSWER)
    assert await model.log_probs(base, [QUESTION], ANSWER) == pytest.approx(before, abs=1e-4)
    model.close()
