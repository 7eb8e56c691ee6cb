"""What the explorer's pages hold: one document of the API each."""

from typing import Any
from urllib.parse import quote

import reflex as rx

from frontend_reflex import api
from frontend_reflex.explorer_views import Address, Block, Datanet, Found, Transaction
from frontend_reflex.session import call, route_argument
from frontend_reflex.words import ether, percent

PLACES = {"block": "block", "transaction": "tx", "address": "address", "datanet": "datanet"}
_BLOCKS = 20


def place_of(found: Found) -> str:
    return f"/explorer/{PLACES[found['kind']]}/{found['key']}"


def query(state: rx.State, name: str) -> str:
    return str(state.router.url.query_parameters.get(name, "") or "")


def _with_value(lines: Any) -> list[dict[str, Any]]:
    return [{**line, "value": "" if line["value_wei"] == "0" else ether(line["value_wei"])} for line in lines]


class Chain(rx.State):
    """The latest blocks, and what a search found."""

    blocks: list[Block] = []
    head: int = 0
    older: str = ""  # where the next page is; "" at the first block
    asked: str = ""
    found: list[dict[str, str]] = []
    problem: str = ""
    loaded: bool = False

    @rx.event
    async def load(self) -> Any:
        self.asked, self.found, self.problem, self.loaded = query(self, "q"), [], "", False
        before = query(self, "before")
        try:
            if self.asked:
                results: list[Found] = (await call(self, "GET", f"/explorer/search?q={quote(self.asked)}"))["results"]
                if len(results) == 1:
                    return rx.redirect(place_of(results[0]), replace=True)
                self.found = [{"label": one["label"], "href": place_of(one)} for one in results]
            page = f"&before={quote(before)}" if before else ""
            document = await call(self, "GET", f"/explorer/blocks?limit={_BLOCKS}{page}")
            self.blocks, self.head = document["blocks"], document["head"]
            last = self.blocks[-1]["number"] if self.blocks else 0
            self.older = f"/explorer?before={last}" if last > 0 else ""
        except api.ApiRefusal as refusal:
            self.problem = refusal.detail
        self.loaded = True
        return None

    @rx.event
    def search(self, form: dict[str, Any]) -> Any:
        asked = str(form.get("q", "")).strip()
        return rx.redirect(f"/explorer?q={quote(asked)}") if asked else None


class OneBlock(rx.State):
    block: Block | None = None
    transactions: list[dict[str, Any]] = []
    base_fee: str = ""
    problem: str = ""

    @rx.event
    async def load(self) -> None:
        self.block, self.problem = None, ""
        try:
            found: Block = await call(self, "GET", f"/explorer/blocks/{quote(route_argument(self, 'explored_block'))}")
        except api.ApiRefusal as refusal:
            self.problem = refusal.detail
            return
        self.block, self.base_fee = found, ether(found["base_fee_wei"])
        self.transactions = _with_value(found["transactions"])


class OneTransaction(rx.State):
    transaction: Transaction | None = None
    sums: dict[str, str] = {}
    problem: str = ""

    @rx.event
    async def load(self) -> None:
        self.transaction, self.problem = None, ""
        path = f"/explorer/transactions/{quote(route_argument(self, 'explored_tx'))}"
        try:
            found: Transaction = await call(self, "GET", path)
        except api.ApiRefusal as refusal:
            self.problem = refusal.detail
            return
        self.transaction = found
        self.sums = {
            "value": ether(found["value_wei"]),
            "fee": ether(found["fee_wei"]),
            "price": ether(found["gas_price_wei"]),
        }


class OneAddress(rx.State):
    page: Address | None = None
    balance: str = ""
    transactions: list[dict[str, Any]] = []
    totals: list[dict[str, Any]] = []
    older: str = ""
    problem: str = ""

    @rx.event
    async def load(self) -> None:
        self.page, self.problem = None, ""
        address, before = quote(route_argument(self, "explored_address")), query(self, "before")
        try:
            found: Address = await call(
                self, "GET", f"/explorer/addresses/{address}" + (f"?before={quote(before)}" if before else "")
            )
        except api.ApiRefusal as refusal:
            self.problem = refusal.detail
            return
        self.page, self.balance = found, ether(found["account"]["balance_wei"])
        self.transactions = _with_value(found["transactions"]["rows"])
        self.totals = [
            {**total, "average": percent(round(total["share_bps"] / total["answers"]))}
            for total in found["credit_totals"]
        ]
        older = found["transactions"]["next_before"]
        self.older = f"/explorer/address/{address}?before={older}" if older else ""


class OneToken(rx.State):
    datanet: Datanet | None = None
    problem: str = ""

    @rx.event
    async def load(self) -> None:
        self.datanet, self.problem = None, ""
        try:
            self.datanet = await call(
                self, "GET", f"/explorer/datanets/{quote(route_argument(self, 'explored_datanet'))}"
            )
        except api.ApiRefusal as refusal:
            self.problem = refusal.detail
