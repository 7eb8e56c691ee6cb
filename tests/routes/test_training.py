"""Training over HTTP: order, signature, run, and a stream that can be taken up again."""

import asyncio
from typing import Any

import pytest

from backend.domain.errors import DatabaseUnavailable
from backend.domain.training import SETTINGS, Progress, RunStatus
from backend.domain.types import DatanetId, Purpose, RunId
from backend.drivers.memory.runs import MemoryRunStore
from backend.routes.training import OrderBody
from tests.routes.conftest import Site, error_of, sse
from tests.services.content_fixtures import OWNER
from tests.services.world import BASE, BUILDER, ROWS


@pytest.fixture
async def granted(site: Site, cardio: DatanetId) -> DatanetId:
    site.world.chain.grant(cardio, BUILDER, Purpose.TRAIN)
    return cardio


def body_of(datanet: DatanetId, **settings: Any) -> dict[str, Any]:
    return {"base_model": BASE, "datanet_ids": [datanet], "batch_size": 1, "epochs": 3, **settings}


async def started(site: Site, client: Any, datanet: DatanetId, **changes: Any) -> Any:
    """The answer to a start with the order as signed, or with `changes` to what is sent."""
    wanted = body_of(datanet)
    order = (await client.post("/api/training-orders", json=wanted)).json()["order"]
    signature = "0x" + site.world.signatures.sign_order(order_of(order)).hex()
    return await client.post(
        "/api/training-runs", json={"spec": wanted, "order": order, "signature": signature} | changes
    )


def order_of(body: dict[str, Any]) -> Any:
    return OrderBody(**body).to_order()


async def test_an_order_is_signed_and_its_run_is_done(site: Site, granted: DatanetId) -> None:
    async with site.visitor(BUILDER) as client:
        order = (await client.post("/api/training-orders", json=body_of(granted))).json()
        assert order["typed_data"]["message"]["nonce"] == order["order"]["nonce"]
        assert isinstance(order["order"]["nonce"], str)
        response = await started(site, client, granted)
        assert response.status_code == 202
        run_id = response.json()["run_id"]
        queued = (await client.get(f"/api/training-runs/{run_id}")).json()
        assert (queued["status"], queued["queue_position"], queued["permissions"]) == ("queued", 0, [])
        await site.world.training.run(run_id)
        await site.world.settle()
        done = (await client.get(f"/api/training-runs/{run_id}")).json()
        assert (done["status"], done["model_id"], done["queue_position"]) == ("done", 1, None)
        assert [(p["datanet_id"], p["purpose"], p["allowed"]) for p in done["permissions"]] == [
            (granted, "train", True)
        ]
        assert [run["run_id"] for run in (await client.get("/api/training-runs")).json()] == [run_id]
        tuned = (await client.get("/api/models")).json()["tuned"]
        assert [(model["run_id"], model["base"]) for model in tuned] == [(run_id, BASE)]


async def test_a_run_goes_on_from_ones_own_model_and_says_so(site: Site, granted: DatanetId) -> None:
    parent = await site.world.train(BUILDER, granted, rank=16)
    theirs = await site.world.train(OWNER, granted, rank=16)
    async with site.visitor(BUILDER) as client:
        wanted = body_of(granted, parent_run_id=parent.run_id)
        order = (await client.post("/api/training-orders", json=wanted)).json()["order"]
        assert order["parent_model_id"] == parent.model_id
        signature = "0x" + site.world.signatures.sign_order(order_of(order)).hex()
        body = {"spec": wanted, "order": order, "signature": signature}
        run_id = (await client.post("/api/training-runs", json=body)).json()["run_id"]
        await site.world.training.run(run_id)
        await site.world.settle()
        run = (await client.get(f"/api/training-runs/{run_id}")).json()
        assert (run["status"], run["parent_model_id"]) == ("done", parent.model_id)
        assert run["spec"]["parent_run_id"] == parent.run_id
        tuned = {model["run_id"]: model for model in (await client.get("/api/models")).json()["tuned"]}
        first, second = tuned[parent.run_id], tuned[run_id]
        assert (first["parent_model_id"], first["title"]) == (None, f"{BASE} tuned on datanet {granted}")
        assert (second["parent_model_id"], second["rank"]) == (parent.model_id, 16)
        assert second["title"] == f"{BASE}, model {parent.model_id}, tuned on datanet {granted}"
        for no_parent in (theirs.run_id, "nothing", "\0", ""):
            refused = await client.post("/api/training-orders", json=body_of(granted, parent_run_id=no_parent))
            assert (error_of(refused), refused.json()["field"]) == ((400, "InvalidValue"), "parent_run_id")


async def test_without_a_grant_there_is_no_order(site: Site, cardio: DatanetId) -> None:
    async with site.visitor(BUILDER) as client:
        assert error_of(await client.post("/api/training-orders", json=body_of(cardio))) == (403, "AccessDenied")


async def test_what_was_altered_after_the_order_is_named(site: Site, granted: DatanetId) -> None:
    async with site.visitor(BUILDER) as client:
        altered = await started(site, client, granted, spec=body_of(granted, epochs=4))
        assert (error_of(altered), altered.json()["field"]) == ((400, "InvalidValue"), "order.config_digest")
        unsigned = await started(site, client, granted, signature="0x" + "00" * 65)
        assert (error_of(unsigned), unsigned.json()["field"]) == ((400, "InvalidValue"), "signature")
        for signature in ("", "0x", "0x0", "00"):
            assert (await started(site, client, granted, signature=signature)).json()["field"] == "signature"
    async with site.visitor(OWNER) as owner, site.visitor(BUILDER) as builder:
        order = (await builder.post("/api/training-orders", json=body_of(granted))).json()["order"]
        signature = "0x" + site.world.signatures.sign_order(order_of(order)).hex()
        stolen = await owner.post(
            "/api/training-runs", json={"spec": body_of(granted), "order": order, "signature": signature}
        )
        assert (error_of(stolen), stolen.json()["field"]) == ((400, "InvalidValue"), "order.trainer")
    assert site.world.runs.queued == []


async def test_a_new_version_since_the_order_is_409(site: Site, granted: DatanetId) -> None:
    async with site.visitor(BUILDER) as client:
        order = (await client.post("/api/training-orders", json=body_of(granted))).json()["order"]
        await site.world.publish_version(granted, ROWS)
        signature = "0x" + site.world.signatures.sign_order(order_of(order)).hex()
        body = {"spec": body_of(granted), "order": order, "signature": signature}
        assert error_of(await client.post("/api/training-runs", json=body)) == (409, "Conflict")


async def test_a_stream_shows_a_run_from_its_queue_to_its_end(site: Site, granted: DatanetId) -> None:
    run = await site.world.start(BUILDER, granted)

    async def work() -> None:
        while not site.world.runs.is_watched(run.run_id):  # the reader is there first
            await asyncio.sleep(0)
        await site.world.training.run(run.run_id)
        await site.world.settle()

    async with site.visitor(BUILDER) as client:
        async with asyncio.timeout(30), asyncio.TaskGroup() as both:
            reading = both.create_task(client.get(f"/api/training-runs/{run.run_id}/events"))
            both.create_task(work())
        events = sse(reading.result())
    assert [data["step"] for name, data in events if name == "progress"] == [1, 2, 3, 4]
    statuses = [data["status"] for name, data in events if name == "run"]
    assert (statuses[0], statuses[-1]) == ("queued", "done")
    assert events[-1] == ("end", {})


async def test_a_stream_taken_up_again_has_every_step_once(site: Site, granted: DatanetId) -> None:
    run = await site.world.train(BUILDER, granted)
    seen: list[int] = []
    async with site.visitor(BUILDER) as client:
        for after, expected in ((0, [1, 2, 3, 4]), (2, [3, 4]), (4, []), (99, [])):
            events = sse(await client.get(f"/api/training-runs/{run.run_id}/events?after_step={after}"))
            seen = [data["step"] for name, data in events if name == "progress"]
            assert seen == expected
            assert [name for name, _ in events][-2:] == ["run", "end"]
            assert events[-2][1]["status"] == "done"


class BreakingStore:
    """A run store with one step, which wakes the reader; `progress` fails from the second look on."""

    def __init__(self, runs: MemoryRunStore, error: Exception) -> None:
        self._runs, self._error, self._looks = runs, error, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runs, name)

    async def progress(self, run_id: RunId, after_step: int = 0) -> list[Progress]:
        self._looks += 1
        if self._looks > 1:
            raise self._error
        await self._runs.add_progress(run_id, Progress(1, 4, 0.1, 2.0, 1e-4, 1.0, 9.0, 3.0, 1.0))
        return await self._runs.progress(run_id, after_step)


@pytest.mark.parametrize(
    ("error", "name"),
    [(DatabaseUnavailable("runs"), "DatabaseUnavailable"), (ZeroDivisionError("secret"), "InternalError")],
)
async def test_a_stream_that_breaks_says_why_and_does_not_call_the_run_ended(
    site: Site, granted: DatanetId, error: Exception, name: str
) -> None:
    run = await site.world.start(BUILDER, granted)
    site.instead["runs"] = BreakingStore(site.world.runs, error)
    async with site.visitor(BUILDER) as client:
        response = await client.get(f"/api/training-runs/{run.run_id}/events")
    events = sse(response)
    assert [event for event, _ in events] == ["progress", "run", "error"]
    assert events[-1][1]["error"] == name
    assert events[-1][1]["detail"]
    assert "secret" not in response.text


async def test_a_run_is_its_builders_alone(site: Site, granted: DatanetId) -> None:
    run = await site.world.start(BUILDER, granted)
    async with site.visitor(OWNER) as client:
        for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel")):
            answer = await client.request(method, f"/api/training-runs/{run.run_id}{path}")
            assert error_of(answer) == (404, "NotFound")
        assert (await client.get("/api/training-runs")).json() == []
    assert (await site.world.run_of(run.run_id)).status is RunStatus.QUEUED


async def test_a_queued_run_is_cancelled_once(site: Site, granted: DatanetId) -> None:
    run = await site.world.start(BUILDER, granted)
    async with site.visitor(BUILDER) as client:
        cancelled = await client.post(f"/api/training-runs/{run.run_id}/cancel")
        assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")
        assert error_of(await client.post(f"/api/training-runs/{run.run_id}/cancel")) == (409, "Conflict")


async def test_models_say_what_is_here_and_what_to_do_for_the_rest(site: Site) -> None:
    async with site.visitor(BUILDER) as client:
        models = (await client.get("/api/models")).json()
    assert [(base["name"], base["available"]) for base in models["bases"]] == [(BASE, True), ("huge-llama", False)]
    assert models["bases"][1]["why_not"]
    assert {setting["name"] for setting in models["settings"]} == set(SETTINGS)
    assert models["tuned"] == []
