"""What the explorer's pages are made of: the search, lists of transactions and events, decoded arguments."""

from typing import Any

import reflex as rx

from frontend_reflex.browser import when
from frontend_reflex.explorer_views import Argument, EventLine
from frontend_reflex.frame import frame
from frontend_reflex.pages.explorer_state import Chain
from frontend_reflex.session import Session
from frontend_reflex.ui import (
    block_link,
    card,
    digest_link,
    empty,
    explored,
    purpose_badges,
    status_badge,
    token_link,
    tx_link,
    waiting,
    wallet_of,
)


def search() -> rx.Component:
    return rx.form(
        rx.flex(
            rx.el.input(
                name="q",
                placeholder="Transaction, block, address, digest, or #3 for a datanet",
                aria_label="Search the chain",
                auto_complete="off",
                spell_check=False,
                class_name="by-input by-search",
                custom_attrs={"data-testid": "explorer-search"},
            ),
            rx.button("Search", type="submit", size="3", custom_attrs={"data-testid": "explorer-go"}),
            spacing="2",
            align="center",
        ),
        on_submit=Chain.search,
        width="100%",
        max_width="640px",
    )


def page(heading: Any, lead: Any, *children: rx.Component) -> rx.Component:
    """An explorer's page: where one is, the search, then what was found."""
    return frame(
        rx.flex(
            rx.box(
                rx.link("Explorer", href="/explorer", size="2", class_name="by-quiet"),
                rx.heading(heading, size="7", as_="h1", weight="bold", letter_spacing="-0.02em", margin_top="2px"),
                rx.box(lead, font_size="14px", color="var(--gray-11)", margin_top="6px"),
                min_width="0",
            ),
            rx.box(search(), flex="1 1 340px", max_width="560px"),
            spacing="4",
            wrap="wrap",
            align="end",
            justify="between",
            margin_bottom="28px",
        ),
        rx.vstack(*children, spacing="4", align="stretch"),
    )


def found_or_not(found: Any, problem: Any, content: rx.Component) -> rx.Component:
    missing = card(empty("search-x", "Nothing to show", problem, testid="explorer-problem"))
    return rx.cond(found, content, rx.cond(problem != "", missing, waiting()))


def section(heading: str, rows: Any, draw: Any, nothing: str, testid: str, lead: Any = None) -> rx.Component:
    return card(
        rx.cond(
            rows.length() > 0,
            rx.box(rx.foreach(rows, draw), custom_attrs={"data-testid": testid}),
            rx.text(nothing, size="2", color_scheme="gray"),
        ),
        heading=heading,
        lead=lead,
    )


def transaction_row(line: Any) -> rx.Component:
    """One line of a list; on a phone two columns."""
    method = rx.flex(
        rx.box(
            class_name=rx.cond(line["succeeded"] == False, "by-dot by-dot-bad", "by-dot"),  # noqa: E712
            title=rx.cond(line["succeeded"] == False, "failed", "succeeded"),  # noqa: E712
        ),
        rx.badge(line["method"].to(str), variant="soft", class_name="by-method"),
        spacing="2",
        align="center",
        min_width="0",
    )
    return rx.box(
        method,
        tx_link(line["hash"].to(str)),
        rx.text("block ", block_link(line["block_number"].to(int)), size="2", color_scheme="gray"),
        rx.text(when(line["timestamp"].to(int), relative=True), size="2", color_scheme="gray"),
        rx.flex(rx.text("from", size="1", color_scheme="gray"), wallet_of(line["sender"].to(str)), class_name="by-way"),
        rx.flex(
            rx.text("to", size="1", color_scheme="gray"),
            rx.cond(
                line["contract"],
                rx.el.a(line["contract"].to(str), href=explored("address", line["to"]), class_name="by-link"),
                rx.cond(line["to"], wallet_of(line["to"].to(str)), rx.text("a new contract", size="2")),
            ),
            class_name="by-way",
        ),
        rx.cond(line["value"].to(str) != "", rx.text(line["value"].to(str), size="2", class_name="by-number")),
        class_name="by-row by-tx",
        custom_attrs={"data-testid": "tx-row", "data-method": line["method"], "data-hash": line["hash"]},
    )


def value_of(argument: Any) -> rx.Component:
    """An argument as people say it, linked to where it leads."""
    said = rx.match(
        argument["kind"],
        ("address", wallet_of(argument["value"])),
        ("datanet", token_link(argument["value"])),
        ("digest", rx.cond(argument["text"] == "none", "none", digest_link(argument["value"]))),
        ("purposes", purpose_badges(argument["text"].to(str).split(", "))),
        ("bytes", rx.el.span(argument["text"], title=argument["value"], class_name="by-mono")),
        rx.el.span(rx.cond(argument["text"] != "", argument["text"], "—")),
    )
    return rx.box(said, overflow_wrap="anywhere", min_width="0")


def _argument(argument: Any) -> rx.Component:
    return rx.box(
        rx.box(
            rx.text(argument["name"], size="2", class_name="by-mono"),
            rx.text(argument["type"], size="1", color_scheme="gray", class_name="by-mono"),
            overflow_wrap="anywhere",
            min_width="0",
        ),
        rx.box(
            value_of(argument),
            rx.cond(
                argument["notice"] != "", rx.text(argument["notice"], size="1", color_scheme="gray", margin_top="3px")
            ),
            min_width="0",
            font_size="14px",
        ),
        class_name="by-argument",
        custom_attrs={"data-testid": "argument", "data-name": argument["name"], "data-value": argument["value"]},
    )


def argument_table(arguments: Any) -> rx.Component:
    return rx.box(rx.foreach(arguments.to(list[Argument]), _argument), class_name="by-arguments")


def said(decoded: Any, testid: str) -> rx.Component:
    """A call, an event or a refusal: what the contract's author says of it, then its arguments."""
    return rx.box(
        rx.flex(
            rx.badge(decoded["contract"], variant="surface", color_scheme="gray"),
            rx.text(decoded["name"], size="3", weight="bold", class_name="by-mono"),
            spacing="2",
            align="center",
            wrap="wrap",
        ),
        rx.cond(decoded["notice"] != "", rx.text(decoded["notice"], size="3", margin_top="8px", max_width="78ch")),
        rx.text(
            decoded["signature"],
            size="1",
            color_scheme="gray",
            class_name="by-mono",
            margin_top="6px",
            overflow_wrap="anywhere",
        ),
        argument_table(decoded["arguments"]),
        custom_attrs={"data-testid": testid, "data-name": decoded["name"]},
    )


def _short_argument(argument: Any) -> rx.Component:
    return rx.flex(
        rx.text(argument["name"], size="1", color_scheme="gray"),
        rx.box(value_of(argument), font_size="14px"),
        spacing="2",
        align="center",
        min_width="0",
    )


def event_row(line: Any) -> rx.Component:
    """An event in a list: its name, what it says, where it happened."""
    event = line.to(EventLine)
    return rx.box(
        rx.flex(
            rx.badge(event["name"], variant="soft", class_name="by-method"),
            tx_link(event["tx_hash"]),
            rx.spacer(),
            rx.text("block ", block_link(event["block_number"]), size="2", color_scheme="gray"),
            rx.text(when(event["timestamp"], relative=True), size="2", color_scheme="gray"),
            spacing="3",
            align="center",
            wrap="wrap",
        ),
        rx.flex(
            rx.foreach(event["arguments"], _short_argument), spacing="4", wrap="wrap", margin_top="8px", row_gap="6px"
        ),
        class_name="by-row",
        custom_attrs={"data-testid": "event-row", "data-name": event["name"]},
    )


def grant_row(line: Any) -> rx.Component:
    return rx.flex(
        token_link(line["datanet_id"]),
        rx.flex(rx.text("to", size="1", color_scheme="gray"), wallet_of(line["grantee"]), class_name="by-way"),
        rx.flex(rx.text("by", size="1", color_scheme="gray"), wallet_of(line["granted_by"]), class_name="by-way"),
        purpose_badges(line["purposes"], "nothing any more"),
        rx.text("until ", when(line["expires_at"], empty="further notice", date_only=True), size="2"),
        rx.spacer(),
        rx.text("block ", block_link(line["block_number"]), size="2", color_scheme="gray"),
        tx_link(line["tx_hash"]),
        rx.cond(line["live"], status_badge("live"), rx.badge("ended", color_scheme="gray", radius="full")),
        spacing="3",
        align="center",
        wrap="wrap",
        class_name="by-row",
        custom_attrs={"data-testid": "grant-row", "data-live": line["live"]},
    )


def contracts() -> rx.Component:
    """The three addresses that everything here is about."""
    return rx.foreach(
        Session.network["contracts"].to(dict[str, str]),
        lambda held: rx.box(
            rx.text(held[0], size="1", color_scheme="gray", margin_bottom="2px"), wallet_of(held[1]), min_width="0"
        ),
    )
