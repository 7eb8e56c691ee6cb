"""/explorer/datanet/[explored_datanet] : a datanet as the contracts have it, whoever asks."""

from typing import Any

import reflex as rx

from frontend_reflex.explorer_views import Argument, Datanet
from frontend_reflex.pages.explorer_parts import event_row, found_or_not, grant_row, page, section, value_of
from frontend_reflex.pages.explorer_state import OneToken
from frontend_reflex.session import Session
from frontend_reflex.ui import block_link, card, digest_link, fact, facts, tx_link, wallet_of

_DATANET = OneToken.datanet.to(Datanet)


def _said(arguments: Any) -> rx.Component:
    return rx.grid(
        rx.foreach(arguments.to(list[Argument]), lambda one: fact(one["name"], value_of(one))),
        columns=rx.breakpoints(initial="2", sm="3", md="4"),
        spacing="4",
    )


def _model(row: Any) -> rx.Component:
    return rx.box(
        facts(
            fact("Model", rx.text("№ ", row["model_id"], weight="medium")),
            fact("Trained by", wallet_of(row["trainer"])),
            fact("Adapter", digest_link(row["adapter_digest"])),
            fact("Registered", rx.flex(tx_link(row["tx_hash"]), block_link(row["block_number"]), spacing="2")),
        ),
        class_name="by-row",
        custom_attrs={"data-testid": "model-row"},
    )


@rx.page(
    route="/explorer/datanet/[explored_datanet]",
    title="Datanet · Explorer · Byline",
    on_load=[Session.load, OneToken.load],
)
def explorer_datanet() -> rx.Component:
    content = rx.vstack(
        card(_said(_DATANET["now"]), heading="What the registry says", custom_attrs={"data-testid": "datanet-now"}),
        rx.cond(_DATANET["terms"].length() > 0, card(_said(_DATANET["terms"]), heading="Terms")),
        section("Versions", _DATANET["versions"], event_row, "None was published yet.", "datanet-versions"),
        section("Grants", _DATANET["grants"], grant_row, "No wallet holds one.", "datanet-grants"),
        section("Models trained on it", _DATANET["models"], _model, "None is registered.", "datanet-models"),
        section("All that happened", _DATANET["activity"], event_row, "Nothing.", "datanet-activity"),
        spacing="4",
        align="stretch",
    )
    lead = rx.flex(
        "owned by ",
        wallet_of(_DATANET["owner"]),
        rx.link("Open it in Byline", href="/datanets/" + _DATANET["datanet_id"].to(str), size="2"),
        spacing="2",
        align="center",
        wrap="wrap",
    )
    return page(
        rx.cond(
            OneToken.datanet,
            rx.cond(_DATANET["name"], _DATANET["name"].to(str), "Datanet " + _DATANET["datanet_id"].to(str)),
            "Datanet",
        ),
        rx.cond(OneToken.datanet, lead, rx.fragment()),
        found_or_not(OneToken.datanet, OneToken.problem, content),
    )
