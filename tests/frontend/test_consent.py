"""Terms as a page reads them, and where a visitor's own part in a datanet is shown."""

import re
from typing import Any

import pytest

from frontend_reflex.api import ApiRefusal
from frontend_reflex.pages import datanet_access, datanet_terms
from frontend_reflex.pages.account import Account
from frontend_reflex.pages.datanet_state import OneDatanet
from frontend_reflex.pages.datanets import Datanets
from frontend_reflex.words import price
from tests.frontend.conftest import Held, TwinApi, opened, run

TERMS = {"version": 2, "licence_cid": "bafy", "price_per_1000_answers": 12.5, "currency": "EUR"}
LICENCE = ("GET", "/datanets/3/terms/2/licence")


def a_datanet(number: int = 3, **more: Any) -> dict[str, Any]:
    none_of_mine = {"mine": False, "managed_by_me": False, "offered_to_me": False, "my_resting_purposes": []}
    return {"datanet_id": number, "terms": TERMS, "my_purposes": [], **none_of_mine, **more}


@pytest.fixture
async def page(twin: TwinApi) -> OneDatanet:
    twin.answers["GET", "/datanets/3"] = a_datanet()
    twin.answers["GET", "/network"] = {"indexed_block": 9}
    twin.answers[LICENCE] = {"text": "Research only."}
    state: OneDatanet = opened(OneDatanet(), datanet_id="3")
    await run(OneDatanet.load, state)
    return state


def times_read(twin: TwinApi) -> int:
    return sum((method, path) == LICENCE for _, method, path, _ in twin.asked)


def test_a_price_is_information_in_its_currency() -> None:
    assert price(12.5, "EUR") == "12.50 EUR per 1,000 answers"
    assert price(None, None) == price(0, "EUR") == "none named"


async def test_a_licence_is_read_when_somebody_opens_it_and_once(page: OneDatanet, twin: TwinApi) -> None:
    await run(OneDatanet.open_licence, page, False)
    assert (page.licence_read, times_read(twin)) == (False, 0)
    await run(OneDatanet.open_licence, page, True)
    await run(OneDatanet.open_licence, page, True)
    assert (page.licence, page.licence_read, times_read(twin)) == ("Research only.", True, 1)


async def test_terms_without_a_licence_ask_for_none(page: OneDatanet, twin: TwinApi) -> None:
    assert page.datanet is not None
    page.datanet["terms"] = {**TERMS, "licence_cid": None}  # type: ignore[typeddict-item]
    await run(OneDatanet.open_terms, page, True)
    assert (page.licence, page.licence_read, times_read(twin)) == ("", True, 0)


async def test_new_terms_are_not_written_over_a_licence_that_cannot_be_read(page: OneDatanet, twin: TwinApi) -> None:
    twin.answers[LICENCE] = ApiRefusal(503, "ContentUnavailable", "IPFS does not answer.")
    await run(OneDatanet.open_terms, page, True)
    assert (page.licence_read, page.licence_problem) == (False, "IPFS does not answer.")
    form = str(datanet_terms.terms())
    assert form.index("licence_read") < form.index('"set-terms"')  # what the form waits for


async def test_the_form_for_new_terms_starts_from_the_present_ones(page: OneDatanet) -> None:
    await run(OneDatanet.open_terms, page, True)
    assert (page.setting_terms, page.licence, page.price_field) == (True, "Research only.", ["12.50", "EUR"])


async def test_once_terms_are_set_the_form_closes_and_the_licence_is_that_of_now(
    page: OneDatanet, twin: TwinApi
) -> None:
    await run(OneDatanet.open_terms, page, True)
    twin.answers["GET", "/datanets/3"] = a_datanet(terms={**TERMS, "version": 3, "price_per_1000_answers": None})
    twin.answers["GET", "/datanets/3/terms/3/licence"] = {"text": "For everyone."}
    await run(OneDatanet.changed, Held(page), "0xhash", 9)
    assert (page.setting_terms, page.licence, page.price, page.price_field) == (False, "", "none named", ["", "EUR"])
    await run(OneDatanet.open_licence, page, True)
    assert page.licence == "For everyone."


def test_a_yes_and_a_taking_back_are_signed_and_a_no_is_sent() -> None:
    drawn = re.findall(r'(WalletConsent|WalletAction),\{.*?testid:"([\w-]+)"', str(datanet_access.access()))
    by_wallet_part = {part: {testid for found, testid in drawn if found == part} for part, _ in drawn}
    assert by_wallet_part == {
        "WalletConsent": {"approve", "change", "revoke", "grant-access"},
        "WalletAction": {"deny", "withdraw", "set-public", "request-access"},
    }


async def test_what_i_manage_or_was_offered_counts_as_mine_in_the_list(twin: TwinApi) -> None:
    twin.answers["GET", "/datanets"] = [
        a_datanet(1),
        a_datanet(2, mine=True),
        a_datanet(3, managed_by_me=True),
        a_datanet(4, offered_to_me=True),
    ]
    state: Datanets = opened(Datanets())
    await run(Datanets.load, state)
    await run(Datanets.choose, state, "mine")
    assert [row["datanet_id"] for row in state.shown] == [2, 3, 4]


async def test_the_account_lists_what_waits_for_this_wallet(twin: TwinApi) -> None:
    twin.answers["GET", "/sessions"] = twin.answers["GET", "/receipts"] = []
    twin.answers["GET", "/datanets"] = [
        a_datanet(1, my_purposes=["retrieve"]),
        a_datanet(2, offered_to_me=True),
        a_datanet(3, my_resting_purposes=["train"]),
    ]
    state: Account = opened(Account())
    await run(Account.load, state)
    assert [row["datanet_id"] for row in state.datanets] == [2, 3]
