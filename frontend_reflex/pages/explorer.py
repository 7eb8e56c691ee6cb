"""/explorer : the latest blocks of the chain, the contracts on it, and a search over all of it."""

from typing import Any

import reflex as rx

from frontend_reflex.browser import short, when
from frontend_reflex.pages.explorer_parts import contracts, page
from frontend_reflex.pages.explorer_state import Chain
from frontend_reflex.session import Session
from frontend_reflex.ui import block_link, card, empty, explored, note, problem, waiting


def _block(block: Any) -> rx.Component:
    number = rx.el.span(block_link(block["number"]), font_weight="600")
    return rx.box(
        number,
        rx.box(short(block["hash"], href=explored("block", block["hash"])), class_name="by-wide"),
        rx.text(when(block["timestamp"], relative=True), size="2", color_scheme="gray"),
        rx.text(
            block["transaction_count"],
            rx.cond(block["transaction_count"] == 1, " transaction", " transactions"),
            size="2",
            color_scheme=rx.cond(block["transaction_count"] > 0, "teal", "gray"),
        ),
        rx.text(block["gas_used"].to_string(), " gas", size="2", color_scheme="gray", class_name="by-number by-wide"),
        class_name="by-row by-block",
        custom_attrs={"data-testid": "block-row", "data-number": block["number"]},
    )


def _results() -> rx.Component:
    row = rx.foreach(
        Chain.found,
        lambda one: rx.box(
            rx.link(one["label"], href=one["href"], overflow_wrap="anywhere"),
            class_name="by-row",
            custom_attrs={"data-testid": "found"},
        ),
    )
    nothing = empty(
        "search-x",
        "The chain has nothing by that name",
        "Looked for a block, a transaction, and for an event that names it.",
        testid="found-nothing",
    )
    return rx.cond(
        Chain.asked != "",
        card(
            rx.cond(Chain.found.length() > 0, rx.box(row), nothing),
            heading="Search",
            lead=rx.fragment("For “", rx.el.span(Chain.asked, class_name="by-mono by-break"), "”"),
        ),
    )


@rx.page(route="/explorer", title="Explorer · Byline", on_load=[Session.load, Chain.load])
def explorer() -> rx.Component:
    elsewhere = rx.cond(
        Session.network["explorer_url"],
        note(
            rx.fragment(
                "This chain has an explorer of its own: ",
                rx.el.a(
                    Session.network["explorer_url"], href=Session.network["explorer_url"].to(str), class_name="by-link"
                ),
            ),
            icon="external-link",
        ),
    )
    older = rx.cond(
        Chain.older != "",
        rx.el.a(
            rx.button("Older blocks", variant="soft", size="2"),
            href=Chain.older,
            custom_attrs={"data-testid": "older-blocks"},
        ),
    )
    newest = rx.el.a(rx.button("Newest", variant="soft", color_scheme="gray", size="2"), href="/explorer")
    blocks = card(
        rx.cond(Chain.loaded, rx.box(rx.foreach(Chain.blocks, _block)), waiting(6)),
        rx.flex(newest, older, spacing="2", margin_top="16px"),
        heading="Blocks",
    )
    return page(
        "The chain",
        rx.fragment("Chain ", Session.network["chain_id"], ", block ", Chain.head, ". Read from the node itself."),
        elsewhere,
        rx.cond(Chain.problem != "", problem(Chain.problem, "explorer-problem")),
        rx.cond(Chain.loaded, _results()),
        card(
            rx.grid(contracts(), columns=rx.breakpoints(initial="1", sm="3"), spacing="4"),
            heading="Byline's contracts",
        ),
        blocks,
    )
