"""Every error has a status and the one shape; what breaks shows nobody its insides."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from litestar.exceptions import HTTPException

from backend.domain import errors, siwe
from backend.domain.types import DatanetId
from backend.routes.api import BODY_BYTES, FORM_BYTES
from backend.routes.errors import STATUS, error_body, status_of
from tests.routes.conftest import MAX_UPLOAD_BYTES, Site, error_of
from tests.services.content_fixtures import OWNER
from tests.services.world import BUILDER

SUBJECTS = (errors, siwe)  # where subclasses are defined: importing them makes them known


def every_error(root: type[errors.BylineError]) -> Iterator[type[errors.BylineError]]:
    for kind in root.__subclasses__():
        yield kind
        yield from every_error(kind)


ERRORS = sorted(set(every_error(errors.BylineError)), key=lambda kind: kind.__qualname__)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_status(kind: type[errors.BylineError]) -> None:
    assert any(ancestor in STATUS for ancestor in kind.__mro__), f"{kind} would be an unexplained 500"


def test_the_statuses_are_those_of_the_contract() -> None:
    wanted: dict[errors.BylineError, int] = {
        errors.InvalidValue("a", "b"): 400,
        errors.UnreadableFile("x"): 400,
        errors.NotSignedIn(): 401,
        siwe.UnknownNonce(): 401,
        errors.AccessDenied("x"): 403,
        errors.NotFound("x"): 404,
        errors.Conflict("x"): 409,
        errors.TransactionReverted("x"): 409,
        errors.TooLarge("x"): 413,
        errors.ContentCorrupt("x"): 502,
        errors.ChainUnavailable("x"): 503,
        errors.ContentUnavailable("x"): 503,
        errors.DatabaseUnavailable("x"): 503,
        errors.ModelUnavailable("x"): 503,
    }
    assert {type(error): status_of(error) for error in wanted} == {type(e): s for e, s in wanted.items()}


def test_rejected_rows_come_with_the_first_two_hundred() -> None:
    rejected = errors.RejectedRows([errors.RowProblem(n, "is empty") for n in range(1, 301)])
    body = error_body(rejected)
    assert (body["error"], body["field"], len(body["problems"])) == ("RejectedRows", "rows", 200)
    assert body["problems"][0] == {"row": 1, "problem": "is empty"}


class Failing:
    """A service whose every method raises."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        async def fail(*_: Any, **__: Any) -> None:
            raise self._error

        return fail


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.AccessDenied("no"), (403, "AccessDenied")),
        (errors.NotFound("it"), (404, "NotFound")),
        (errors.Conflict("moved on"), (409, "Conflict")),
        (errors.TooLarge("too much"), (413, "TooLarge")),
        (errors.DatabaseUnavailable("x"), (503, "DatabaseUnavailable")),
        (ZeroDivisionError("secret detail"), (500, "InternalError")),
        (HTTPException(status_code=500, detail="secret detail"), (500, "InternalError")),
    ],
)
async def test_what_a_service_raises_becomes_its_answer(
    site: Site, error: Exception, expected: tuple[int, str], caplog: pytest.LogCaptureFixture
) -> None:
    site.instead["mirror"] = Failing(error)
    async with site.visitor() as client:
        answer = await client.get("/api/datanets")
    assert error_of(answer) == expected
    assert "secret" not in answer.text
    if expected[0] == 503:
        assert int(answer.headers["retry-after"]) > 0


async def test_a_silent_chain_is_503_and_says_try_again(site: Site) -> None:
    site.world.chain.down = True
    async with site.visitor() as client:
        answer = await client.get("/api/network")
    assert error_of(answer) == (503, "ChainUnavailable")
    assert "try again" in answer.json()["detail"]


ABSENT = [
    ("/api/nothing", (404, "NotFound")),
    ("/api/datanets/x", (404, "NotFound")),
    ("/api/datanets/1", (404, "NotFound")),
]


async def test_what_is_not_there_is_404_in_the_same_shape(site: Site) -> None:
    async with site.visitor() as client:
        for path, expected in ABSENT:
            assert error_of(await client.get(path)) == expected


async def test_a_method_that_is_not_there_is_405_in_the_same_shape(site: Site) -> None:
    async with site.visitor() as client:
        assert error_of(await client.put("/api/datanets")) == (405, "MethodNotAllowed")


QUESTION = {"question": "?", "model": {"base": "tiny-llama"}, "datanet_ids": []}
SPEC = {"base_model": "tiny-llama", "datanet_ids": [1]}


WRONG = [
    ("/api/answers", QUESTION | {"question": ""}, "question"),
    ("/api/answers", QUESTION | {"question": "x" * 4_001}, "question"),
    ("/api/answers", QUESTION | {"question": " "}, "question"),
    ("/api/answers", QUESTION | {"max_tokens": 0}, "max_tokens"),
    ("/api/answers", QUESTION | {"max_tokens": "many"}, "max_tokens"),
    ("/api/answers", QUESTION | {"seed": -1}, "seed"),
    ("/api/answers", QUESTION | {"datanet_ids": list(range(1, 18))}, "datanet_ids"),
    ("/api/answers", QUESTION | {"model": {}}, "model"),
    ("/api/training-orders", SPEC | {"method": "magic"}, "method"),
    ("/api/training-orders", SPEC | {"rank": 0}, "rank"),
    ("/api/training-orders", SPEC | {"learning_rate": 7}, "learning_rate"),
    ("/api/training-orders", SPEC | {"learning_rate": "high"}, "learning_rate"),
    ("/api/training-orders", SPEC | {"datanet_ids": [1, 1]}, "datanet_ids"),
    ("/api/training-orders", SPEC | {"datanet_ids": []}, "datanet_ids"),
    ("/api/training-orders", SPEC | {"base_model": "unknown"}, "base_model"),
    ("/api/sessions/challenges", {"address": 1}, "address"),
]


async def test_a_value_that_is_wrong_is_named(site: Site) -> None:
    async with site.visitor(BUILDER) as client:
        for path, body, field in WRONG:
            refused = await client.post(path, json=body)
            assert error_of(refused) == (400, "InvalidValue")
            assert refused.json()["field"] == field


UNKNOWN = [
    ("/api/answers", QUESTION | {"as_wallet": "0x1"}),
    ("/api/answers", QUESTION | {"model": {"base": "tiny-llama", "adapter": "x"}}),
    ("/api/training-orders", SPEC | {"wallet": "0x1"}),
    ("/api/training-runs", {"spec": SPEC, "order": {}, "signature": "0x00", "wallet": "0x1"}),
    ("/api/sessions/challenges", {"address": BUILDER, "chain_id": 1}),
    ("/api/sessions", {"message": "x", "signature": "0x00", "wallet": BUILDER}),
]


async def test_a_field_nobody_knows_is_refused(site: Site) -> None:
    async with site.visitor(BUILDER) as client:
        for path, body in UNKNOWN:
            assert error_of(await client.post(path, json=body)) == (400, "InvalidValue")


NO_REQUESTS = (b"", b"{", b"[]", b"\xff", b"null", b'"text"', b"[" * 100_000, b'{"a":' * 100_000)


async def test_a_body_that_is_no_request_is_400_and_ends_no_process(site: Site) -> None:
    async with site.visitor(BUILDER) as client:
        for content in NO_REQUESTS:
            for path in ("/api/answers", "/api/training-orders", "/api/sessions/challenges", "/api/network/rpc"):
                refused = await client.post(path, content=content, headers={"content-type": "application/json"})
                assert error_of(refused) == (400, "InvalidValue")


LIMIT = MAX_UPLOAD_BYTES + FORM_BYTES


async def unsent() -> AsyncIterator[bytes]:
    """A body of which nobody may ask for a byte."""
    pytest.fail("it was read")
    yield b""


async def test_a_file_over_the_limit_is_413_with_the_limit_and_what_to_do(site: Site, cardio: DatanetId) -> None:
    path = f"/api/datanets/{cardio}/drafts"
    declared = {"content-type": "multipart/form-data; boundary=x", "content-length": str(10**9)}
    async with site.visitor(OWNER) as owner:
        for refused in (
            await owner.post(path, files={"file": ("rows.jsonl", b"x" * LIMIT)}),
            await owner.post(path, content=unsent(), headers=declared),
        ):
            assert error_of(refused) == (413, "TooLarge")
            assert refused.json()["detail"] == (
                "the file is over the limit of 20,000 bytes; split it and publish each part as a datanet of its own, "
                "or raise MAX_UPLOAD_BYTES on the server"
            )


async def test_a_stranger_s_file_is_not_even_read(site: Site, cardio: DatanetId) -> None:
    declared = {"content-type": "multipart/form-data; boundary=x", "content-length": "15000"}
    async with site.visitor() as stranger:
        refused = await stranger.post(f"/api/datanets/{cardio}/drafts", content=unsent(), headers=declared)
    assert error_of(refused) == (401, "NotSignedIn")


async def test_a_name_with_a_nul_is_nobody_s(site: Site) -> None:
    async with site.visitor(BUILDER) as client:
        for method, path in (("GET", "/training-runs/a%00b"), ("DELETE", "/sessions/%00"), ("GET", "/receipts/%00")):
            assert error_of(await client.request(method, f"/api{path}")) == (404, "NotFound")
        for path, body in (
            ("/api/answers", QUESTION | {"model": {"run_id": "a\0b"}}),
            ("/api/datanets/1/versions", {"draft_id": "a\0b"}),
        ):
            assert error_of(await client.post(path, json=body)) == (400, "InvalidValue")


async def test_any_other_body_over_the_limit_is_413_with_the_limit(site: Site) -> None:
    body = json.dumps({"address": "x" * BODY_BYTES}).encode()
    as_json = {"content-type": "application/json"}
    async with site.visitor() as client:
        for path in ("/api/sessions/challenges", "/api/network/rpc"):
            for content, headers in ((body, as_json), (unsent(), as_json | {"content-length": str(10**9)})):
                refused = await client.post(path, content=content, headers=headers)
                assert error_of(refused) == (413, "TooLarge")
                assert refused.json()["detail"] == f"the request is over the limit of {BODY_BYTES:,} bytes; shorten it"
