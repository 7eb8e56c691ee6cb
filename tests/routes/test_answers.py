"""Answers over HTTP: refused before the stream begins, or streamed in order to the receipt."""

from typing import Any

import pytest

from backend.domain.errors import DatabaseUnavailable
from backend.domain.types import DatanetId, Purpose
from backend.drivers.memory.answers import MemoryAnswerLog
from tests.routes.conftest import Site, error_of, sse
from tests.services.content_fixtures import ALICE, BOB, OWNER
from tests.services.world import ANSWER, BASE, BOTH, BUILDER

QUESTION: dict[str, Any] = {"question": "What thins blood?", "model": {"base": BASE}}


async def test_an_answer_streams_in_order_to_its_receipt(site: Site, cardio: DatanetId) -> None:
    async with site.visitor(OWNER) as client:
        response = await client.post("/api/answers", json=QUESTION | {"datanet_ids": [cardio]})
        assert (response.status_code, response.headers["content-type"].split(";")[0]) == (200, "text/event-stream")
        events = sse(response)
        assert [name for name, _ in events] == [
            "passages", "token", "token", "answer", "scoring", "receipt", "end",
        ]  # fmt: skip
        said = dict(events)
        assert "".join(data["text"] for name, data in events if name == "token") == ANSWER == said["answer"]["text"]
        assert [p["number"] for p in said["passages"]] == [1, 2]
        assert {p["contributor"] for p in said["passages"]} == {BOB, ALICE}
        assert sum(said["receipt"]["shares_bps"].values()) == 10_000
        [kept] = (await client.get("/api/answers")).json()
        assert (kept["answer_id"], kept["text"]) == (said["receipt"]["answer_id"], ANSWER)
        assert kept["shares_bps"] == said["receipt"]["shares_bps"]


async def test_a_refusal_is_plain_json_before_any_stream(site: Site, cardio: DatanetId) -> None:
    body = QUESTION | {"datanet_ids": [cardio]}
    async with site.visitor(BUILDER) as client:
        refused = await client.post("/api/answers", json=body)
        assert error_of(refused) == (403, "AccessDenied")
        assert refused.headers["content-type"].split(";")[0] == "application/json"
        site.world.chain.grant(cardio, BUILDER, Purpose.RETRIEVE)
        site.world.chain.down = True
        assert error_of(await client.post("/api/answers", json=body)) == (503, "ChainUnavailable")
        site.world.chain.down = False
        missing = await client.post("/api/answers", json=body | {"model": {"base": "huge-llama"}})
        assert error_of(missing) == (503, "ModelUnavailable")
        assert (await client.post("/api/answers", json=body)).status_code == 200
    assert site.world.model.generated == 1


async def test_who_is_not_signed_in_asks_in_vain(site: Site, cardio: DatanetId) -> None:
    async with site.visitor() as client:
        assert error_of(await client.post("/api/answers", json=QUESTION)) == (401, "NotSignedIn")
    assert site.world.model.generated == 0


async def test_somebody_elses_run_is_not_found(site: Site, cardio: DatanetId) -> None:
    site.world.chain.grant(cardio, BUILDER, BOTH)
    run = await site.world.train(BUILDER, cardio)
    async with site.visitor(OWNER) as client:
        refused = await client.post("/api/answers", json=QUESTION | {"model": {"run_id": run.run_id}})
        assert error_of(refused) == (404, "NotFound")


class FailingLog(MemoryAnswerLog):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def append(self, *_: Any) -> Any:
        raise self.error


@pytest.mark.parametrize(
    ("error", "name"),
    [(DatabaseUnavailable("answers"), "DatabaseUnavailable"), (ZeroDivisionError("secret"), "InternalError")],
)
async def test_what_fails_within_the_stream_is_said_in_the_stream(
    site: Site, cardio: DatanetId, error: Exception, name: str
) -> None:
    site.world.answer_log = FailingLog(error)
    site.world.restart()
    async with site.visitor(OWNER) as client:
        response = await client.post("/api/answers", json=QUESTION | {"datanet_ids": [cardio]})
    events = sse(response)
    assert [event for event, _ in events][-3:] == ["scoring", "error", "end"]
    assert dict(events)["error"]["error"] == name
    assert "secret" not in response.text


async def test_answers_are_the_askers_alone(site: Site, cardio: DatanetId) -> None:
    await site.world.ask(OWNER, "What thins blood?", cardio)
    async with site.visitor(BUILDER) as client:
        assert (await client.get("/api/answers")).json() == []
