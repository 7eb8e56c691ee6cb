"""The explorer's pages: what they ask of the API, and how they say it."""

from typing import Any

import pytest

from frontend_reflex.api import ApiRefusal
from frontend_reflex.pages.explorer_state import Chain, OneAddress, OneBlock, OneToken, OneTransaction, place_of
from tests.frontend.conftest import ALICE, TwinApi, opened, run

HASH = "0x" + "ab" * 32
BLOCKS = {"head": 40, "blocks": [{"number": 40}, {"number": 21}]}
LINE = {"hash": HASH, "value_wei": "0"}
PAGE = {
    "account": {"balance_wei": "1500000000000000000"},
    "credit_totals": [{"datanet_id": 1, "ours": True, "answers": 2, "share_bps": 2_500}],
    "transactions": {"rows": [LINE, LINE | {"value_wei": "1000000000"}], "next_before": 300},
}


@pytest.mark.parametrize("path", ["/explorer", "/explorer?before=41"])
async def test_blocks_are_paged(twin: TwinApi, path: str) -> None:
    asked = "/explorer/blocks?limit=20" + ("&before=41" if "before" in path else "")
    twin.answers["GET", asked] = BLOCKS
    state: Chain = opened(Chain(), path=path, cookie="")
    await run(Chain.load, state)
    assert [block["number"] for block in state.blocks] == [40, 21]
    assert (state.head, state.older, state.problem) == (40, "/explorer?before=21", "")


async def test_a_search_goes_where_it_leads(twin: TwinApi) -> None:
    found = [{"kind": "transaction", "key": HASH, "label": "Transaction"}]
    twin.answers["GET", f"/explorer/search?q={HASH}"] = {"results": found}
    state: Chain = opened(Chain(), path=f"/explorer?q={HASH}", cookie="")
    outcome = await Chain.load.fn(state)  # type: ignore[attr-defined]  # an event handler, once declared
    assert f"/explorer/tx/{HASH}" in str(outcome.args)
    assert state.found == []


async def test_a_search_with_several_answers_lists_them(twin: TwinApi) -> None:
    found = [{"kind": "block", "key": "1", "label": "Block 1"}, {"kind": "datanet", "key": "1", "label": "Datanet 1"}]
    twin.answers["GET", "/explorer/search?q=1"] = {"results": found}
    twin.answers["GET", "/explorer/blocks?limit=20"] = BLOCKS
    state: Chain = opened(Chain(), path="/explorer?q=1", cookie="")
    await run(Chain.load, state)
    assert [one["href"] for one in state.found] == ["/explorer/block/1", "/explorer/datanet/1"]
    assert state.loaded


async def test_a_search_for_nonsense_says_what_may_be_asked(twin: TwinApi) -> None:
    twin.answers["GET", "/explorer/search?q=car%26dio"] = ApiRefusal(400, "InvalidValue", "q: is no hash")
    state: Chain = opened(Chain(), path="/explorer?q=car%26dio", cookie="")
    await run(Chain.load, state)
    assert (state.problem, state.found) == ("q: is no hash", [])


def test_every_kind_that_is_found_has_its_page() -> None:
    kinds = ("block", "transaction", "address", "datanet")
    places = [place_of({"kind": kind, "key": "1", "label": ""}) for kind in kinds]
    assert places == ["/explorer/block/1", "/explorer/tx/1", "/explorer/address/1", "/explorer/datanet/1"]


async def test_an_address_says_sums_for_people_and_where_older_ones_are(twin: TwinApi) -> None:
    twin.answers["GET", f"/explorer/addresses/{ALICE}"] = PAGE
    state: OneAddress = opened(OneAddress(), explored_address=ALICE)
    await run(OneAddress.load, state)
    assert state.balance == "1.5 ETH"
    assert [row["value"] for row in state.transactions] == ["", "1 gwei"]
    assert [total["average"] for total in state.totals] == ["12.5 %"]
    assert state.older == f"/explorer/address/{ALICE}?before=300"


@pytest.mark.parametrize(
    ("state", "argument", "path"),
    [
        (OneBlock, "explored_block", f"/explorer/blocks/{HASH}"),
        (OneTransaction, "explored_tx", f"/explorer/transactions/{HASH}"),
        (OneAddress, "explored_address", f"/explorer/addresses/{HASH}"),
        (OneToken, "explored_datanet", f"/explorer/datanets/{HASH}"),
    ],
)
async def test_what_is_not_there_is_said(twin: TwinApi, state: Any, argument: str, path: str) -> None:
    twin.answers["GET", path] = ApiRefusal(404, "NotFound", "it was not found")
    page = opened(state(), **{argument: HASH})
    await run(state.load, page)
    assert page.problem == "it was not found"
