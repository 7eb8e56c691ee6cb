"""Signing in, datanets, receipts, account; and that every page can be drawn."""

from typing import Any

import pytest

from frontend_reflex import api
from frontend_reflex import app as web
from frontend_reflex.api import ApiRefusal
from frontend_reflex.pages import datanet_data, datanet_state
from frontend_reflex.pages import receipt as receipt_page
from frontend_reflex.pages.account import Account, browser_name
from frontend_reflex.pages.datanet_state import OneDatanet
from frontend_reflex.pages.receipt import OneReceipt, readable
from frontend_reflex.session import Session, mirrored
from frontend_reflex.ui import block_hash_link, block_link, digest_link, token_link, tx_link, wallet_of
from tests.frontend.conftest import ALICE, SECRET, Held, TwinApi, opened, run

NETWORK = {"chain_id": 20931, "contracts": {}, "indexed_block": 7}
PREPARED = {
    "datanet_id": 3,
    "version": 2,
    "manifest_digest": "0x" + "11" * 32,
    "manifest_cid": "bafy",
    "records_root": "0x" + "22" * 32,
    "records": 9,
    "status": "prepared",
}


def a_datanet(*versions: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"datanet_id": 3, "mine": True, "version": 1, "versions": list(versions), **more}


def test_every_page_can_be_drawn() -> None:
    routes = {}
    for page in web.PAGES:
        name = page.__name__.rsplit(".", 1)[-1]
        draw = getattr(page, "index" if name == "home" else name)
        routes[name] = str(draw())
    assert set(routes) == {
        *("home", "datanets", "datanet", "runs", "run_new", "run", "chat", "receipts", "receipt", "account"),
        *("explorer", "explorer_block", "explorer_tx", "explorer_address", "explorer_datanet"),
    }
    assert "WalletAction" in routes["datanet"]
    assert "LineChart" in routes["run"]
    for name in ("home", "datanets", "datanet", "chat", "receipt", "account"):
        assert '"/address/"' in routes[name]
    assert "max_upload_bytes" in routes["datanet"]


def href_of(drawn: Any) -> str:
    [href] = [prop for prop in drawn.render()["props"] if prop.startswith(("href:", "to:"))]
    return str(href)


@pytest.mark.parametrize(
    ("drawn", "theirs", "ours"),
    [
        (wallet_of(ALICE), '"/address/"', '"/explorer/address/"'),
        (tx_link("0x11"), '"/tx/"', '"/explorer/tx/"'),
        (block_link(7), '"/block/"', '"/explorer/block/"'),
        (block_hash_link("0x11"), '"/block/"', '"/explorer/block/"'),
        (token_link(3), '"/token/"', '"/explorer/datanet/"'),
    ],
)
def test_what_is_on_chain_is_linked_to_the_configured_explorer_and_else_to_our_own(
    drawn: Any, theirs: str, ours: str
) -> None:
    href = href_of(drawn)
    asked, answers = href.split(" ? ", 1)
    with_one, without = answers.rsplit(" : ", 1)
    assert "explorer_url" in asked
    assert (theirs in with_one, ours in without) == (True, True), href


def test_a_digest_is_looked_for_by_our_own_search() -> None:
    assert "/explorer?q=" in href_of(digest_link("0x11"))


def test_no_other_origin_may_open_the_socket() -> None:
    assert web.app.sio is not None
    assert web.app.sio.eio.cors_allowed_origins is None  # engine.io: same origin only
    allowed = web.app.sio.eio._cors_allowed_origins({"wsgi.url_scheme": "http", "HTTP_HOST": "byline.test:81"})
    assert allowed == ["http://byline.test:81"]


async def test_the_wallet_comes_from_the_api_not_from_the_browser(twin: TwinApi) -> None:
    twin.answers["GET", "/network"] = NETWORK
    twin.answers["GET", "/sessions/current"] = {"wallet": ALICE}
    state: Session = opened(Session())
    await run(Session.load, state)
    assert (state.wallet, state.ready, state.problem) == (ALICE, True, "")


async def test_an_ended_session_is_signed_out_without_alarm(twin: TwinApi) -> None:
    twin.answers["GET", "/network"] = NETWORK
    twin.answers["GET", "/sessions/current"] = ApiRefusal(401, "NotSignedIn", "Sign in first.")
    state: Session = opened(Session())
    state.wallet = ALICE
    await run(Session.load, state)
    assert (state.wallet, state.problem) == ("", "")


async def test_a_silent_chain_is_said_on_every_page(twin: TwinApi) -> None:
    twin.answers["GET", "/network"] = ApiRefusal(503, "ChainUnavailable", "The chain does not answer.")
    state: Session = opened(Session(), cookie="")
    await run(Session.load, state)
    assert state.problem == "The chain does not answer."


async def test_the_mirror_is_awaited_up_to_the_block(twin: TwinApi, monkeypatch: pytest.MonkeyPatch) -> None:
    twin.answers["GET", "/network"] = NETWORK
    monkeypatch.setattr("frontend_reflex.session._MIRROR_PATIENCE_SECONDS", 0.01)
    state = opened(Session())
    assert await mirrored(state, 7)
    assert not await mirrored(state, 8)


async def test_a_draft_is_prepared_by_its_id_with_the_owners_choice(twin: TwinApi) -> None:
    twin.answers["POST", "/datanets/3/versions"] = PREPARED
    state: OneDatanet = opened(OneDatanet(), datanet_id="3")
    await run(OneDatanet.drafted, state, {"draft_id": "d-1", "contributors": [{"wallet": ALICE, "records": 9_999}]})
    await run(OneDatanet.choose_bad_rows, state, "refuse")
    await run(OneDatanet.prepare, Held(state))
    assert twin.asked[-1] == (SECRET, "POST", "/datanets/3/versions", {"draft_id": "d-1", "on_bad_row": "refuse"})
    assert twin.patience == [600.0]  # a large file takes minutes
    assert (state.prepared, state.preparing) == (PREPARED, False)


async def test_a_version_prepared_while_the_page_was_reloaded_is_in_the_list(twin: TwinApi) -> None:
    twin.answers["POST", "/datanets/3/versions"] = PREPARED
    twin.answers["GET", "/datanets/3"] = a_datanet(PREPARED)
    state: OneDatanet = opened(OneDatanet(), datanet_id="3")
    await run(OneDatanet.drafted, state, {"draft_id": "d-1"})
    twin.while_asked = lambda: setattr(state, "draft", None)  # as `load` does
    await run(OneDatanet.prepare, Held(state))
    assert (state.prepared, state.preparing) == (None, False)
    assert state.publishable == [PREPARED["manifest_digest"]]


@pytest.mark.parametrize(
    ("datanet", "change", "offered"),
    [
        ({}, {}, True),
        ({"mine": False}, {}, False),
        ({"version": 2}, {}, False),  # the number is taken: the chain would refuse
        ({"version": 0}, {}, False),
        ({}, {"status": "published"}, False),
    ],
)
async def test_the_owner_may_publish_a_prepared_version_from_the_list_after_a_reload(
    twin: TwinApi, datanet: dict[str, Any], change: dict[str, Any], offered: bool
) -> None:
    twin.answers["GET", "/datanets/3"] = a_datanet(PREPARED | change, **datanet)
    state: OneDatanet = opened(OneDatanet(), datanet_id="3")
    await run(OneDatanet.load, state)
    assert state.publishable == ([PREPARED["manifest_digest"]] if offered else [])


async def test_a_version_is_not_offered_twice(twin: TwinApi) -> None:
    other = PREPARED | {"manifest_digest": "0x" + "33" * 32}
    twin.answers["GET", "/datanets/3"] = a_datanet(PREPARED, other)
    state: OneDatanet = opened(OneDatanet(), datanet_id="3")
    await run(OneDatanet.load, state)
    state.prepared = dict(PREPARED)  # type: ignore[assignment]  # the upload card offers it
    assert state.publishable == [other["manifest_digest"]]
    state.indexing = {"version": 2, "status": "published", "passages": 0, "problem": None}  # either of them was sent
    assert state.publishable == []


async def test_bad_rows_that_refuse_the_file_are_said_next_to_it(twin: TwinApi) -> None:
    twin.answers["POST", "/datanets/3/versions"] = ApiRefusal(400, "InvalidValue", "Row 17: output is empty.")
    state: OneDatanet = opened(OneDatanet(), datanet_id="3")
    await run(OneDatanet.drafted, state, {"draft_id": "d-1"})
    await run(OneDatanet.prepare, Held(state))
    assert (state.upload_problem, state.prepared, state.preparing) == ("Row 17: output is empty.", None, False)


async def test_a_published_version_is_followed_until_it_can_be_searched(
    twin: TwinApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datanet_state, "tab_is_open", lambda state: True)
    monkeypatch.setattr(datanet_state, "_INDEXING_POLL_SECONDS", 0.0)
    seen: list[str] = []

    async def call(state: Any, method: str, path: str, body: Any = None) -> Any:
        seen.append(path)
        if path == "/datanets/3":
            return {"datanet_id": 3}
        if len(seen) == 1:
            raise ApiRefusal(404, "NotFound", "There is no version 2 of datanet 3.")
        return {"version": 2, "status": "published" if len(seen) == 2 else "indexed", "passages": 40}

    monkeypatch.setattr(datanet_state, "call", call)
    state: OneDatanet = opened(OneDatanet(), datanet_id="3")
    state.prepared = dict(PREPARED)  # type: ignore[assignment]  # as the API returns it
    await run(OneDatanet.published, Held(state), 2, "0xhash", 7)
    assert seen == ["/datanets/3/versions/2"] * 3 + ["/datanets/3"]
    assert state.indexing is not None
    assert (state.indexing["status"], state.upload_problem) == ("indexed", "")
    assert state.prepared is None


async def test_a_version_that_cannot_be_indexed_is_not_waited_for(
    twin: TwinApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datanet_state, "tab_is_open", lambda state: True)
    monkeypatch.setattr(datanet_state, "_INDEXING_PATIENCE_SECONDS", 0.1)
    refused = {"version": 2, "status": "corrupt", "passages": 0, "problem": "content is not what was pinned"}
    twin.answers["GET", "/datanets/3/versions/2"] = refused
    twin.answers["GET", "/datanets/3"] = a_datanet(PREPARED | refused)
    state: OneDatanet = opened(OneDatanet(), datanet_id="3")
    await run(OneDatanet.published, Held(state), 2, "0xhash", 7)
    assert [path for _, _, path, _ in twin.asked] == ["/datanets/3/versions/2", "/datanets/3"]
    assert state.indexing == refused


async def test_a_version_that_waits_too_long_is_not_shown_as_being_indexed(
    twin: TwinApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datanet_state, "tab_is_open", lambda state: True)
    monkeypatch.setattr(datanet_state, "_INDEXING_PATIENCE_SECONDS", 0.0)
    twin.answers["GET", "/datanets/3"] = a_datanet()
    state: OneDatanet = opened(OneDatanet(), datanet_id="3")
    await run(OneDatanet.published, Held(state), 2, "0xhash", 7)
    assert state.indexing is None
    assert "Version 2 is not indexed yet" in state.upload_problem


def test_a_version_that_is_not_indexed_says_why_and_what_next() -> None:
    drawn = str(datanet_data.data())
    for testid in ("version-corrupt", "version-waiting"):
        assert drawn.count(testid) == 2  # in the list, and where the publication is followed
    for said in ("it as the next version", "tries again every second"):
        assert said in drawn
    assert "publish-prepared" in drawn
    assert "publishable" in drawn


async def test_a_receipt_is_looked_at_until_it_is_anchored(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = iter(("pending", "pending", "anchored"))

    async def call(_: str, __: str, path: str, *___: Any, **____: Any) -> dict[str, Any] | None:
        return None if path.endswith("/inclusion") else {"status": next(seen), "checks": []}

    monkeypatch.setattr(api, "call", call)
    monkeypatch.setattr(receipt_page, "tab_is_open", lambda state: True)
    monkeypatch.setattr(receipt_page, "_LOOK_SECONDS", 0)
    state: OneReceipt = opened(OneReceipt(), digest="0x1")
    await run(OneReceipt.follow, Held(state))
    assert state.receipt is not None
    assert (state.receipt["status"], list(seen)) == ("anchored", [])


async def test_a_receipt_shows_what_this_wallet_may_see(twin: TwinApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipt_page, "tab_is_open", lambda state: True)
    digest = "0x" + "33" * 32
    twin.answers["GET", f"/receipts/{digest}"] = {
        "digest": digest,
        "status": "anchored",
        "checks": [],
        "verdict": "verified",
        "document": {"leaves": [{"tag": "question", "value": "Why?"}, {"tag": "passage", "value": {}}]},
        "shares_bps": {ALICE: 10_000},
    }
    twin.answers["GET", f"/receipts/{digest}/inclusion"] = {
        "ledger": ALICE, "publisher": ALICE, "receipt": digest, "index": 4, "proof": ["0x1", "0x2"], "size": 5,
    }  # fmt: skip
    state: OneReceipt = opened(OneReceipt(), digest=digest)
    await run(OneReceipt.follow, Held(state))
    assert [row["who"] for row in state.shares] == [ALICE]
    assert state.facts == [{"name": "Question", "value": "Why?"}]
    assert [row["name"] for row in state.inclusion] == ["publisher", "receipt", "index", "proof"]
    assert state.inclusion[-1]["value"] == "[0x1,0x2]"
    del twin.answers["GET", f"/receipts/{digest}/inclusion"]
    await run(OneReceipt.follow, Held(state))
    assert state.receipt is not None  # the chain may be down: the receipt is there all the same
    assert state.inclusion == []


def test_a_redacted_receipt_says_how_much_is_withheld() -> None:
    assert readable(None) == []
    document = {
        "leaves": [{"hash": "0x1"}, {"tag": "model", "value": {"base": "small", "run_id": None}}, {"hash": "0x2"}]
    }
    assert readable(document) == [
        {"name": "Model", "value": "base: small"},
        {"name": "Withheld from you", "value": "2 fields: sealed, and checked by their hashes"},
    ]


async def test_ending_a_session_that_is_not_ours_shows_the_refusal(twin: TwinApi) -> None:
    twin.answers["DELETE", "/sessions/s-2"] = ApiRefusal(404, "NotFound", "You have no session s-2.")
    state: Account = opened(Account())
    await run(Account.revoke, state, "s-2")
    assert state.problem == "You have no session s-2."


def test_browsers_are_named_for_people() -> None:
    chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
    assert browser_name(chrome) == "Chrome on Linux"
    assert browser_name("byline-demo/1") == "byline-demo/1"
    assert browser_name("") == "Unknown program"
