from typing import Any

import pytest

from frontend_reflex.api import ApiRefusal, ServerEvent
from frontend_reflex.pages import run as run_page
from frontend_reflex.pages import run_new, run_state
from frontend_reflex.pages.run_new_state import NewRun, number
from frontend_reflex.pages.run_state import MAX_POINTS, OneRun, thinned, timeline
from frontend_reflex.views import Point
from tests.frontend.conftest import Held, TwinApi, opened, run


def a_run(status: str = "training", **more: Any) -> dict[str, Any]:
    return {"run_id": "r-1", "status": status, "started_at": "2026-01-01T00:00:00Z", "problem": None, **more}


def progress(step: int, loss: float) -> ServerEvent:
    data = {
        "step": step,
        "total_steps": 20,
        "loss": loss,
        "learning_rate": 1e-4,
        "tokens_per_second": 9.6,
        "seconds_left": 61.0,
    }
    return ServerEvent("progress", data)


@pytest.fixture
def watching(twin: TwinApi, monkeypatch: pytest.MonkeyPatch) -> OneRun:
    monkeypatch.setattr(run_state, "tab_is_open", lambda state: True)
    monkeypatch.setattr(run_state, "_BATCH_SECONDS", 0.0)
    state: OneRun = opened(OneRun(), run_id="r-1")
    return state


EVENTS = ("GET", "/training-runs/r-1/events?after_step=0")


async def test_a_run_is_followed_to_its_end(watching: OneRun, twin: TwinApi) -> None:
    twin.events[EVENTS] = [
        ServerEvent("run", a_run()),
        progress(1, 3.0),
        progress(2, 2.5),
        ServerEvent("run", a_run("done")),
        ServerEvent("end", {}),
    ]
    await run(OneRun.watch, Held(watching))
    assert [(p["step"], p["loss"]) for p in watching.points] == [(1, 3.0), (2, 2.5)]
    assert watching.run is not None
    assert watching.run["status"] == "done"
    assert (watching.step, watching.total_steps, watching.time_left) == (2, 20, "1 min 1 s")


async def test_a_step_that_comes_twice_is_drawn_once(watching: OneRun, twin: TwinApi) -> None:
    twin.events[EVENTS] = [progress(1, 3.0), progress(1, 3.0), progress(2, 2.0), ServerEvent("end", {})]
    await run(OneRun.watch, Held(watching))
    assert [p["step"] for p in watching.points] == [1, 2]


async def test_a_page_that_is_reloaded_goes_on_from_the_last_step_drawn(watching: OneRun, twin: TwinApi) -> None:
    twin.events[EVENTS] = [ServerEvent("run", a_run()), progress(1, 3.0), ServerEvent("end", {})]
    await run(OneRun.watch, Held(watching))
    twin.events[AFTER_ONE] = [progress(2, 2.5), ServerEvent("run", a_run("done")), ServerEvent("end", {})]
    await run(OneRun.watch, Held(watching))
    assert [p["step"] for p in watching.points] == [1, 2]


async def test_another_run_starts_with_an_empty_page(watching: OneRun, twin: TwinApi) -> None:
    twin.events[EVENTS] = [ServerEvent("run", a_run()), progress(1, 3.0), ServerEvent("end", {})]
    await run(OneRun.watch, Held(watching))
    twin.events["GET", "/training-runs/r-2/events?after_step=0"] = [
        ServerEvent("run", a_run() | {"run_id": "r-2"}),
        progress(1, 9.0),
        ServerEvent("end", {}),
    ]
    await run(OneRun.watch, Held(opened(watching, run_id="r-2")))
    assert [p["loss"] for p in watching.points] == [9.0]


UNREACHABLE = ApiRefusal(0, "ApiUnreachable", "Byline's API cannot be reached.")
AFTER_ONE = ("GET", "/training-runs/r-1/events?after_step=1")


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made: nobody waits here."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(run_state, "_pause", sleep)
    return pauses


@pytest.mark.parametrize(
    "breaks",
    [[UNREACHABLE], [ServerEvent("error", {"error": "DatabaseUnavailable", "detail": "It is down."})], []],
    ids=["connection", "error event", "closed"],
)
async def test_a_stream_that_breaks_is_taken_up_again_after_the_last_step_seen(
    watching: OneRun, twin: TwinApi, slept: list[float], breaks: list[Any]
) -> None:
    twin.events[EVENTS] = [ServerEvent("run", a_run()), progress(1, 3.0), *breaks]
    twin.events[AFTER_ONE] = [progress(2, 2.5), ServerEvent("run", a_run("done")), ServerEvent("end", {})]
    await run(OneRun.watch, Held(watching))
    assert [p["step"] for p in watching.points] == [1, 2]
    assert watching.run is not None
    assert watching.run["status"] == "done"
    assert (watching.problem, watching.reconnecting, slept) == ("", False, [1.0])


async def test_a_stream_that_stays_broken_is_given_up_with_what_to_do(
    watching: OneRun, twin: TwinApi, slept: list[float]
) -> None:
    twin.events[EVENTS] = [ServerEvent("run", a_run()), progress(1, 3.0), UNREACHABLE]
    twin.events[AFTER_ONE] = [ServerEvent("error", {"error": "DatabaseUnavailable", "detail": "the database is down"})]
    await run(OneRun.watch, Held(watching))
    assert [path for _, _, path, _ in twin.asked[1:]] == [AFTER_ONE[1]] * len(slept)
    assert slept == sorted(slept)
    assert 60 < sum(slept) < 300
    assert "(the database is down)" in watching.problem
    assert "reload it" in watching.problem
    assert not watching.reconnecting


async def test_while_it_reconnects_a_page_says_so_and_after_it_is_left_it_stops(
    watching: OneRun, twin: TwinApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    async def leave(seconds: float) -> None:
        seen.append(watching.reconnecting)
        if len(seen) == 2:
            await run(OneRun.stop, watching)

    monkeypatch.setattr(run_state, "_pause", leave)
    twin.events[EVENTS] = [UNREACHABLE]
    await run(OneRun.watch, Held(watching))
    assert seen == [True, True]
    assert watching.problem == ""


async def test_what_the_api_refuses_is_not_asked_for_again(watching: OneRun, twin: TwinApi, slept: list[float]) -> None:
    twin.events[EVENTS] = [ServerEvent("run", a_run()), ApiRefusal(401, "NotSignedIn", "you are not signed in")]
    await run(OneRun.watch, Held(watching))
    assert slept == []
    assert "you are not signed in" in watching.problem


async def test_a_run_that_is_not_there_keeps_the_apis_words(
    watching: OneRun, twin: TwinApi, slept: list[float]
) -> None:
    twin.events[EVENTS] = [ApiRefusal(404, "NotFound", "run r-1 was not found")]
    await run(OneRun.watch, Held(watching))
    assert (watching.problem, slept) == ("run r-1 was not found", [])


def test_the_run_page_draws_what_became_of_its_stream() -> None:
    drawn = str(run_page.run())
    assert "run-reconnecting" in drawn
    assert "run-problem" in drawn


async def test_without_a_session_no_stream_is_opened(watching: OneRun, twin: TwinApi) -> None:
    await run(OneRun.watch, Held(opened(watching, cookie="", run_id="r-1")))
    assert twin.asked == []


def test_the_loss_is_said_as_means_of_the_first_and_the_last_fifth() -> None:
    state: OneRun = OneRun()
    state.points = [Point(step=i, loss=float(10 - i), learning_rate=1.0) for i in range(10)]
    assert state.losses == "9.500 → 1.500"
    state.points = state.points[:1]
    assert state.losses == "10.000 → 10.000"


def test_long_curves_are_thinned_but_keep_their_ends() -> None:
    points = [Point(step=i, loss=1.0, learning_rate=1.0) for i in range(5 * MAX_POINTS)]
    kept = thinned(points)
    assert len(kept) <= MAX_POINTS
    assert (kept[0], kept[-1]) == (points[0], points[-1])


@pytest.mark.parametrize(
    ("status", "started", "states"),
    [
        ("queued", False, ["now", "ahead", "ahead", "ahead", "ahead"]),
        ("storing", True, ["past", "past", "past", "now", "ahead"]),
        ("done", True, ["past"] * 5),
        ("refused", False, ["past", "stopped", "ahead", "ahead", "ahead"]),
        ("failed", True, ["past", "past", "stopped", "ahead", "ahead"]),
    ],
)
def test_the_timeline_shows_where_a_run_stands(status: str, started: bool, states: list[str]) -> None:
    assert [row["state"] for row in timeline(status, started)] == states


CATALOG = {
    "bases": [
        {"name": "big", "title": "Big", "parameters": 7e9, "available": False, "why_not": "too big"},
        {"name": "small", "title": "Small", "parameters": 1e8, "available": True, "why_not": None},
    ],
    "methods": [{"name": "lora", "available": True, "why_not": None}],
    "settings": [
        {"name": "learning_rate", "default": 2e-4, "minimum": 1e-6, "maximum": 0.1, "explanation": "How far."},
        {"name": "rank", "default": 16, "minimum": 1, "maximum": 256, "explanation": "How wide."},
    ],
    "tuned": [],
}
DATANETS = [
    {"datanet_id": 1, "name": "Mine", "version": 1, "records": 12, "my_purposes": ["train"]},
    {"datanet_id": 2, "name": "Read only", "version": 1, "records": 12, "my_purposes": ["retrieve"]},
    {"datanet_id": 3, "name": "Empty", "version": 0, "records": 0, "my_purposes": ["train"]},
]
FORM = {"learning_rate": "0.001", "rank": "8"}


@pytest.fixture
async def new_run(twin: TwinApi) -> NewRun:
    twin.answers["GET", "/models"] = CATALOG
    twin.answers["GET", "/datanets"] = DATANETS
    state: NewRun = opened(NewRun())
    await run(NewRun.load, state)
    return state


def test_only_published_datanets_with_the_train_purpose_are_offered(new_run: NewRun) -> None:
    assert [row["datanet_id"] for row in new_run.datanets] == [1]
    assert new_run.base == "small"


async def test_what_is_signed_and_started_is_what_was_checked(new_run: NewRun, twin: TwinApi) -> None:
    order = {"trainer": "0x", "datanet_ids": [1], "versions": [1], "config_digest": "0x1", "nonce": "7", "deadline": 9}
    twin.answers["POST", "/training-orders"] = {"order": order, "typed_data": {"types": {}}, "records": 12}
    twin.answers["POST", "/training-runs"] = {"run_id": "r-9"}
    await run(NewRun.pick, new_run, 1, True)
    await run(NewRun.check, new_run, FORM)
    await run(NewRun.signed, new_run, "0xsigned")
    spec = {
        "base_model": "small",
        "datanet_ids": [1],
        "method": "lora",
        "parent_run_id": None,
        "learning_rate": 0.001,
        "rank": 8,
    }
    assert twin.asked[-2][3] == spec
    assert twin.asked[-1][3] == {"spec": spec, "order": order, "signature": "0xsigned"}


def a_model(run_id: str, base: str, model_id: int | None, rank: int) -> dict[str, Any]:
    return {"run_id": run_id, "title": f"{base} tuned", "base": base, "model_id": model_id, "rank": rank}


async def test_a_run_starts_from_a_registered_model_of_that_base_with_its_rank(new_run: NewRun, twin: TwinApi) -> None:
    tuned = [a_model("r-1", "small", 4, 32), a_model("r-2", "big", 5, 4), a_model("r-3", "small", None, 4)]
    twin.answers["GET", "/models"] = CATALOG | {"tuned": tuned}
    twin.answers["POST", "/training-orders"] = {
        "order": {"versions": [1], "config_digest": "0x1"},
        "typed_data": {},
        "records": 1,
    }
    await run(NewRun.load, new_run)
    assert [(one["id"], one["title"]) for one in new_run.starts] == [
        ("base", "The base model itself"),
        ("r-1", "Model № 4: small tuned"),
    ]
    await run(NewRun.pick, new_run, 1, True)
    await run(NewRun.choose_start, new_run, "r-1")
    await run(NewRun.check, new_run, {"learning_rate": "0.001"})  # its rank is not asked for
    assert (twin.asked[-1][3]["parent_run_id"], twin.asked[-1][3]["rank"]) == ("r-1", 32)
    assert new_run.start_title == "Model № 4: small tuned"
    await run(NewRun.choose_start, new_run, "base")
    assert new_run.order_text == {}  # what was checked is not what would be signed
    await run(NewRun.choose_start, new_run, "r-1")
    await run(NewRun.choose_base, new_run, "big")
    assert (new_run.start, new_run.parent_rank) == ("base", 0)


def test_the_pages_offer_a_start_and_name_the_parent() -> None:
    assert "start-from" in str(run_new.run_new())
    assert "run-parent" in str(run_page.run())


async def test_a_change_after_the_check_voids_the_order(new_run: NewRun, twin: TwinApi) -> None:
    twin.answers["POST", "/training-orders"] = {
        "order": {"versions": [1], "config_digest": "0x1"},
        "typed_data": {},
        "records": 1,
    }
    await run(NewRun.pick, new_run, 1, True)
    await run(NewRun.check, new_run, FORM)
    await run(NewRun.choose_method, new_run, "qlora")
    await run(NewRun.signed, new_run, "0xsigned")
    assert twin.asked[-1][2] == "/training-orders"


async def test_a_refused_order_says_why_and_offers_nothing_to_sign(new_run: NewRun, twin: TwinApi) -> None:
    twin.answers["POST", "/training-orders"] = ApiRefusal(403, "AccessDenied", "You may not train on datanet 1.")
    await run(NewRun.pick, new_run, 1, True)
    await run(NewRun.check, new_run, FORM)
    assert (new_run.problem, new_run.order_text) == ("You may not train on datanet 1.", {})


def test_a_setting_that_is_no_number_is_named() -> None:
    with pytest.raises(ValueError, match="Learning rate: 'fast' is not a number"):
        number("learning_rate", "fast")
    with pytest.raises(ValueError, match="Batch size: this must be a whole number"):
        number("batch_size", "2.5")
