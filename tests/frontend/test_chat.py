import pytest

from frontend_reflex.api import ApiRefusal, ServerEvent
from frontend_reflex.pages import chat_state
from frontend_reflex.pages.chat_state import Chat
from tests.frontend.conftest import ALICE, SECRET, Held, TwinApi, opened, run

PASSAGE = {
    "number": 1,
    "datanet_id": 3,
    "version": 1,
    "record_index": 0,
    "record_digest": "0x" + "11" * 32,
    "contributor": ALICE,
    "text": "Warfarin thins the blood.",
    "score": 0.03,
    "similarity": 0.7,
}
WHOLE: list[ServerEvent | ApiRefusal] = [
    ServerEvent("passages", [PASSAGE]),
    ServerEvent("token", {"text": "It "}),
    ServerEvent("token", {"text": "does [1]"}),
    ServerEvent("answer", {"text": "It does [1].", "cut": True}),
    ServerEvent("scoring", {"forwards": 4}),
    ServerEvent(
        "receipt",
        {"answer_id": "a", "receipt_digest": "0x" + "22" * 32, "shares_bps": {ALICE: 9000, "nobody": 1000}, "index": 0},
    ),
    ServerEvent("end", {}),
]
ASK = ("POST", "/answers")


@pytest.fixture
def chat(twin: TwinApi, monkeypatch: pytest.MonkeyPatch) -> Chat:
    monkeypatch.setattr(chat_state, "tab_is_open", lambda state: True)
    twin.answers["GET", "/answers"] = []
    state: Chat = opened(Chat())
    state.model, state.picked = "base:smollm2", [3]
    return state


async def test_an_answer_ends_with_its_sources_shares_and_receipt(chat: Chat, twin: TwinApi) -> None:
    twin.events[ASK] = list(WHOLE)
    await run(Chat.ask, Held(chat), {"question": "  Does it? "})
    assert (chat.stage, chat.text, chat.receipt) == ("done", "It does [1].", "0x" + "22" * 32)
    assert chat.cut
    assert [row["bps"] for row in chat.shares] == [9000, 1000]
    assert [piece["cites"] for piece in chat.segments] == [0, 1, 0]


async def test_the_question_is_asked_with_the_session_of_the_handshake(chat: Chat, twin: TwinApi) -> None:
    twin.events[ASK] = list(WHOLE)
    await run(Chat.ask, Held(chat), {"question": "Does it?"})
    session, method, path, body = twin.asked[0]
    assert (session, method, path) == (SECRET, "POST", "/answers")
    assert (body["model"], body["datanet_ids"]) == ({"base": "smollm2"}, [3])


async def test_a_tuned_model_is_named_by_its_run(chat: Chat, twin: TwinApi) -> None:
    chat.model = "run:r-1"
    twin.events[ASK] = list(WHOLE)
    await run(Chat.ask, Held(chat), {"question": "Does it?"})
    assert twin.asked[0][3]["model"] == {"run_id": "r-1"}


async def test_without_a_datanet_nothing_is_asked(chat: Chat, twin: TwinApi) -> None:
    chat.picked = []
    await run(Chat.ask, Held(chat), {"question": "Does it?"})
    assert twin.asked == []
    assert "datanet" in chat.refusal


async def test_a_refusal_is_shown_and_leaves_no_answer(chat: Chat, twin: TwinApi) -> None:
    twin.events[ASK] = [ApiRefusal(403, "AccessDenied", "You may not retrieve from datanet 3.")]
    await run(Chat.ask, Held(chat), {"question": "Does it?"})
    assert (chat.stage, chat.refusal, chat.text) == ("refused", "You may not retrieve from datanet 3.", "")


async def test_an_answer_that_breaks_off_is_not_called_done(chat: Chat, twin: TwinApi) -> None:
    twin.events[ASK] = WHOLE[:4]
    await run(Chat.ask, Held(chat), {"question": "Does it?"})
    assert chat.stage == "refused"
    assert "broke off" in chat.refusal


async def test_an_error_inside_the_stream_stays_on_the_screen(chat: Chat, twin: TwinApi) -> None:
    twin.events[ASK] = [
        WHOLE[0],
        ServerEvent("error", {"error": "X", "detail": "The model ran out of memory."}),
        WHOLE[-1],
    ]
    await run(Chat.ask, Held(chat), {"question": "Does it?"})
    assert (chat.stage, chat.refusal) == ("refused", "The model ran out of memory.")


async def test_who_stops_the_answer_gets_the_receipt_of_what_was_said(
    chat: Chat, twin: TwinApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_state, "_RECEIPT_SECONDS", 0)
    said = {"question": "Does it?", "text": "It does [1]", "receipt_digest": "0x" + "33" * 32}
    twin.answers["GET", "/answers"] = [said | {"answered_at": "2026-11-25T08:00:00Z", "shares_bps": {"nobody": 10_000}}]
    chat.question, chat.text, chat.stage = "Does it?", "It do", "answering"
    await run(Chat.stop, Held(chat))
    assert (chat.stage, chat.text, chat.receipt) == ("done", "It does [1]", said["receipt_digest"])
    twin.asked.clear()
    await run(Chat.stop, Held(chat))  # nothing to stop
    assert twin.asked == []


async def test_a_closed_tab_stops_listening(chat: Chat, twin: TwinApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_state, "tab_is_open", lambda state: False)
    twin.events[ASK] = list(WHOLE)
    await run(Chat.ask, Held(chat), {"question": "Does it?"})
    assert chat.receipt == ""
    assert [path for _, _, path, _ in twin.asked] == ["/answers"]
