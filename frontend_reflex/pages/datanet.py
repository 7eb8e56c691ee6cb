"""/datanets/[datanet_id] : one datanet, for its owner and for those who want to use it."""

from typing import Any

import reflex as rx

from frontend_reflex.frame import frame
from frontend_reflex.pages.datanet_access import access
from frontend_reflex.pages.datanet_acts import DECIDES
from frontend_reflex.pages.datanet_data import data
from frontend_reflex.pages.datanet_manage import manage
from frontend_reflex.pages.datanet_notices import notices
from frontend_reflex.pages.datanet_state import OneDatanet
from frontend_reflex.pages.datanet_terms import terms
from frontend_reflex.session import Session
from frontend_reflex.ui import (
    block_depth,
    card,
    digest_link,
    empty,
    fact,
    facts,
    problem_if,
    purpose_badges,
    title,
    token_link,
    tx_link,
    waiting,
    wallet_of,
)
from frontend_reflex.views import DatanetDetail

_DATANET = OneDatanet.datanet.to(DatanetDetail)


def _header() -> rx.Component:
    use = rx.flex(
        rx.cond(
            _DATANET["my_purposes"].contains("train"),
            rx.link(
                rx.button("Train on it", variant="soft", custom_attrs={"data-testid": "go-train"}), href="/runs/new"
            ),
        ),
        rx.cond(
            _DATANET["my_purposes"].contains("retrieve"),
            rx.link(rx.button("Ask it", variant="soft", custom_attrs={"data-testid": "go-chat"}), href="/chat"),
        ),
        spacing="2",
    )
    frozen = rx.text("not use it while it is frozen", size="2", color_scheme="gray")
    yours = purpose_badges(_DATANET["my_purposes"], "not use it yet")
    everyones = purpose_badges(_DATANET["public_purposes"], "not use it")
    return rx.box(
        title(_DATANET["name"], rx.fragment("Datanet ", token_link(_DATANET["datanet_id"])), use),
        card(
            facts(
                fact("Owner", wallet_of(_DATANET["owner"])),
                fact("On chain since block", block_depth(_DATANET)),
                fact(
                    "Current version",
                    rx.cond(_DATANET["version"] > 0, _DATANET["version"].to(str), "nothing published yet"),
                ),
                fact("You may", rx.cond(_DATANET["frozen"], frozen, yours)),
                fact("Everyone may", rx.cond(_DATANET["frozen"], frozen, everyones)),
            )
        ),
        margin_bottom="20px",
        custom_attrs={"data-testid": "datanet", "data-id": _DATANET["datanet_id"]},
    )


def _model(row: Any) -> rx.Component:
    return rx.box(
        facts(
            fact("Model", rx.text("№ ", row["model_id"], weight="medium")),
            fact("Trained by", wallet_of(row["trainer"])),
            fact("From", row["base_model"]),
            fact("On version", row["version"].to(str)),
            fact("Adapter", digest_link(row["adapter_digest"])),
            fact("Registered in", rx.flex(tx_link(row["tx_hash"]), block_depth(row), spacing="2", wrap="wrap")),
        ),
        class_name="by-row",
        custom_attrs={"data-testid": "trained-model"},
    )


def _models() -> rx.Component:
    nothing = empty(
        "brain", "No model yet", "Models trained on this datanet appear here when they are registered on chain."
    )
    return card(
        rx.cond(_DATANET["models"].length() > 0, rx.box(rx.foreach(_DATANET["models"], _model)), nothing),
        heading="Models trained on it",
        lead="The registry takes a model only when its trainer held the train purpose for every datanet it names.",
    )


def _tab(label: str, value: str) -> rx.Component:
    return rx.tabs.trigger(label, value=value, custom_attrs={"data-testid": f"tab-{value}"})


@rx.page(route="/datanets/[datanet_id]", title="Datanet · Byline", on_load=[Session.load, OneDatanet.load])
def datanet() -> rx.Component:
    requests = _DATANET["requests"].length()
    access_label = rx.cond(requests > 0, "Access (" + requests.to(str) + ")", "Access")
    tabs = rx.tabs.root(
        rx.tabs.list(
            _tab("Data", "data"),
            rx.tabs.trigger(access_label, value="access", custom_attrs={"data-testid": "tab-access"}),
            _tab("Terms", "terms"),
            _tab("Models", "models"),
            rx.cond(DECIDES, _tab("Manage", "manage")),
            margin_bottom="20px",
        ),
        rx.tabs.content(data(), value="data"),
        rx.tabs.content(access(), value="access"),
        rx.tabs.content(terms(), value="terms"),
        rx.tabs.content(_models(), value="models"),
        rx.tabs.content(rx.cond(DECIDES, manage()), value="manage"),
        value=OneDatanet.tab,
        on_change=OneDatanet.show,
    )
    return frame(
        problem_if(OneDatanet.problem, "datanet-problem"),
        rx.cond(OneDatanet.datanet, rx.box(_header(), notices(), tabs), rx.cond(OneDatanet.problem == "", waiting())),
    )
