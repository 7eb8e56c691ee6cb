"""Ask a question; the answer streams, the receipt follows."""

import json
import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any

from litestar import Controller, get, post
from litestar.params import JSONBody
from litestar.response import ServerSentEvent, ServerSentEventMessage
from msgspec import Meta, Struct

from backend.domain.answers import Answer, Question
from backend.domain.datanet import FoundPassage
from backend.domain.errors import BylineError
from backend.domain.types import DatanetId, RunId, Wallet
from backend.ports import AnswerLog
from backend.routes.errors import INTERNAL_ERROR, error_body
from backend.routes.given import Given
from backend.services.answering import (
    Answered,
    Answering,
    Event,
    ModelChoice,
    Receipted,
    Retrieved,
    Scoring,
    Token,
)

log = logging.getLogger(__name__)


class ModelRequest(Struct, frozen=True, forbid_unknown_fields=True):
    base: str | None = None
    run_id: Annotated[str, Meta(pattern=r"^[^\x00]{1,100}$")] | None = None


class QuestionRequest(Struct, frozen=True, forbid_unknown_fields=True):
    question: Annotated[str, Meta(min_length=1, max_length=4_000)]
    model: ModelRequest
    datanet_ids: Annotated[list[Annotated[int, Meta(ge=1, le=2**63 - 1)]], Meta(max_length=16)] = []
    max_tokens: Annotated[int, Meta(ge=1, le=512)] = 160
    seed: Annotated[int, Meta(ge=0, lt=2**31)] = 7


def passage_views(passages: tuple[FoundPassage, ...]) -> list[dict[str, Any]]:
    return [
        {
            "number": number,
            "datanet_id": found.passage.datanet,
            "version": found.passage.version,
            "record_index": found.passage.record_index,
            "record_digest": found.passage.record_digest,
            "contributor": found.passage.contributor,
            "text": found.passage.text,
            "score": found.score,
            "similarity": found.similarity,
        }
        for number, found in enumerate(passages, start=1)
    ]


def answer_view(answer: Answer) -> dict[str, Any]:
    return {
        "answer_id": answer.answer_id,
        "question": answer.question,
        "text": answer.text,
        "model": {
            "base": answer.model.base,
            "run_id": answer.model.run_id,
            "adapter_digest": answer.model.adapter_digest,
        },
        "shares_bps": dict(answer.shares_bps),
        "receipt_digest": answer.receipt_digest,
        "answered_at": answer.answered_at,
        "passages": passage_views(answer.passages),
    }


def _message(event: Event) -> tuple[str, Any]:
    match event:
        case Retrieved(passages):
            return "passages", passage_views(passages)
        case Token(text):
            return "token", {"text": text}
        case Answered(text, cut):
            return "answer", {"text": text, "cut": cut}
        case Scoring(sources):
            return "scoring", {"sources": sources}
        case Receipted(answer, receipt):
            return "receipt", {
                "answer_id": answer.answer_id,
                "receipt_digest": receipt.digest,
                "shares_bps": dict(answer.shares_bps),
                "index": receipt.index,
            }


async def _events(answering: Answering, question: Question) -> AsyncIterator[ServerSentEventMessage]:
    try:
        async for event in answering.answer(question):
            name, data = _message(event)
            yield ServerSentEventMessage(event=name, data=json.dumps(data))
    except BylineError as error:
        yield ServerSentEventMessage(event="error", data=json.dumps(error_body(error)))
    except Exception:  # the status was sent long ago: the stream itself has to say it
        log.exception("an answer to %s", question.asker)
        yield ServerSentEventMessage(event="error", data=json.dumps(INTERNAL_ERROR))
    yield ServerSentEventMessage(event="end", data="{}")


class AnswerController(Controller):
    path = "/answers"
    tags = ("Answers",)

    @post(summary="Ask a question of a model and of datanets you may use (an event stream)", status_code=200)
    async def create_answer(
        self,
        data: JSONBody[QuestionRequest],
        wallet: Given[Wallet],
        answering: Given[Answering],
    ) -> ServerSentEvent:
        choice = ModelChoice(data.model.base, RunId(data.model.run_id) if data.model.run_id else None)
        datanets = [DatanetId(d) for d in data.datanet_ids]
        question = await answering.ask(wallet, data.question, choice, datanets, data.max_tokens, data.seed)
        return ServerSentEvent(_events(answering, question))

    @get(summary="Your questions and their answers, newest first")
    async def list_answers(self, wallet: Given[Wallet], answer_log: Given[AnswerLog]) -> list[dict[str, Any]]:
        return [answer_view(answer) for answer in await answer_log.answers_of(wallet)]
