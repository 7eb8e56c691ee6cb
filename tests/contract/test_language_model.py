"""What every `LanguageModel` promises."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import cast

import pytest

from backend.domain.answers import Generation, ModelRef
from backend.domain.errors import InvalidValue
from backend.domain.prompt import build_messages
from backend.drivers.engine.model import TransformersLanguageModel
from backend.drivers.memory.engine import MemoryCatalog, MemoryLanguageModel
from backend.ports import Message
from tests.model_fixtures import TINY, no_adapter

Model = MemoryLanguageModel | TransformersLanguageModel
PASSAGES = {
    1: "Warfarin thins blood by blocking vitamin K.",
    2: "Bananas hold potassium. " * 8,
    3: "Lyon lies on the Rhône.",
}
QUESTION = build_messages("What thins blood?", PASSAGES)
PROMPTS = [
    QUESTION,
    build_messages("What thins blood?", {}),
    build_messages("What thins blood?", {1: PASSAGES[1]}),
    build_messages("What thins blood?", {2: PASSAGES[2], 3: PASSAGES[3]}),
    build_messages("What thins blood?", {3: PASSAGES[3]}),
]


@pytest.fixture(params=["memory", pytest.param("transformers", marks=pytest.mark.integration)])
async def model_and_ref(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Model, ModelRef]]:
    if request.param == "memory":
        reply = "Warfarin thins blood [1]. " + "And so it goes on, and on. " * 20
        yield MemoryLanguageModel(reply), MemoryCatalog(TINY).resolve(TINY)
        return
    catalog = request.getfixturevalue("tiny_catalog")
    model = TransformersLanguageModel(catalog, no_adapter)
    yield model, catalog.resolve(TINY)
    model.close()


async def answer(
    model: Model, ref: ModelRef, messages: Sequence[Message], max_tokens: int = 12
) -> tuple[str, Generation]:
    pieces = [piece async for piece in model.stream(ref, messages, max_tokens=max_tokens, seed=7)]
    assert isinstance(pieces[-1], Generation)
    text = [piece for piece in pieces if isinstance(piece, str)]
    assert len(text) == len(pieces) - 1
    return "".join(text), pieces[-1]


async def test_the_pieces_are_the_text_of_the_generation(model_and_ref: tuple[Model, ModelRef]) -> None:
    text, generation = await answer(*model_and_ref, QUESTION)
    assert text == generation.text != ""
    assert generation.token_ids


async def test_the_same_question_gets_the_same_answer(model_and_ref: tuple[Model, ModelRef]) -> None:
    assert await answer(*model_and_ref, QUESTION) == await answer(*model_and_ref, QUESTION)


async def test_an_answer_has_at_most_the_tokens_asked_for(model_and_ref: tuple[Model, ModelRef]) -> None:
    _, generation = await answer(*model_and_ref, QUESTION, max_tokens=3)
    assert len(generation.token_ids) == 3


async def test_a_prompt_beyond_the_context_is_refused_with_the_limit(model_and_ref: tuple[Model, ModelRef]) -> None:
    model, ref = model_and_ref
    with pytest.raises(InvalidValue, match="512"):
        await answer(model, ref, build_messages("why? " * 600, {}))
    with pytest.raises(InvalidValue, match="512"):
        await model.log_probs(ref, [build_messages("why? " * 600, {})], Generation("so", (1,)))
    with pytest.raises(InvalidValue, match="512"):
        await answer(model, ref, QUESTION, max_tokens=500)


async def test_a_reader_who_leaves_stops_the_generation(model_and_ref: tuple[Model, ModelRef]) -> None:
    model, ref = model_and_ref
    stream = cast(AsyncGenerator[str | Generation, None], model.stream(ref, QUESTION, max_tokens=100, seed=7))
    assert isinstance(await anext(stream), str)
    await stream.aclose()
    after_leaving = model.tokens_generated
    _, generation = await answer(model, ref, QUESTION, max_tokens=2)  # waits for what is still at work
    assert model.tokens_generated - after_leaving - len(generation.token_ids) <= 5


async def test_enough_ends_the_text_and_what_was_said_is_its_generation(model_and_ref: tuple[Model, ModelRef]) -> None:
    model, ref = model_and_ref
    heard: list[str | Generation] = []
    async for piece in model.stream(ref, QUESTION, max_tokens=100, seed=7, enough=lambda: len(heard) >= 3):
        heard.append(piece)
    *text, generation = heard
    assert isinstance(generation, Generation)
    assert 3 <= len(generation.token_ids) < 100
    assert "".join(str(piece) for piece in text) == generation.text
    unheard = [piece async for piece in model.stream(ref, QUESTION, max_tokens=9, seed=7, enough=lambda: True)]
    assert unheard == [Generation("", ())]


async def test_each_prompt_gets_one_log_probability(model_and_ref: tuple[Model, ModelRef]) -> None:
    model, ref = model_and_ref
    _, generation = await answer(model, ref, QUESTION)
    scores = await model.log_probs(ref, PROMPTS, generation)
    assert len(scores) == len(PROMPTS)
    assert all(-1e6 < score < 0 for score in scores)
    assert max(scores) - min(scores) > 1e-3
    assert await model.log_probs(ref, [], generation) == []


async def test_scores_do_not_depend_on_company_or_order(model_and_ref: tuple[Model, ModelRef]) -> None:
    model, ref = model_and_ref
    _, generation = await answer(model, ref, QUESTION)
    together = await model.log_probs(ref, PROMPTS, generation)
    backwards = await model.log_probs(ref, PROMPTS[::-1], generation)
    alone = [(await model.log_probs(ref, [prompt], generation))[0] for prompt in PROMPTS]
    assert backwards[::-1] == pytest.approx(together, abs=1e-3)
    assert alone == pytest.approx(together, abs=1e-3)


async def test_an_empty_answer_is_certain(model_and_ref: tuple[Model, ModelRef]) -> None:
    model, ref = model_and_ref
    assert await model.log_probs(ref, PROMPTS[:2], Generation("", ())) == [0.0, 0.0]


async def test_tokens_are_counted(model_and_ref: tuple[Model, ModelRef]) -> None:
    model, ref = model_and_ref
    assert await model.count_tokens(ref, "") == 0
    assert await model.count_tokens(ref, "one two three four") == 4
