"""/explorer/tx/[explored_tx] : one transaction, its call and events in the contracts' own words."""

from typing import Any

import reflex as rx

from frontend_reflex.browser import copy_button, short, when
from frontend_reflex.explorer_views import Decoded, EventSeen, Failure, Transaction
from frontend_reflex.pages.explorer_parts import found_or_not, page, said, section
from frontend_reflex.pages.explorer_state import OneTransaction
from frontend_reflex.session import Session
from frontend_reflex.ui import block_link, card, fact, facts, note, status_badge, wallet_of

_TX = OneTransaction.transaction.to(Transaction)


def _facts() -> rx.Component:
    sums = OneTransaction.sums
    block = _TX["block"].to(dict[str, Any])
    to = rx.cond(
        _TX["to"],
        wallet_of(_TX["to"]),
        rx.flex("a new contract", rx.cond(_TX["created"], wallet_of(_TX["created"])), spacing="2", wrap="wrap"),
    )
    return card(
        rx.box(fact("Hash", short(_TX["hash"], whole=True, testid="tx-hash")), margin_bottom="16px"),
        facts(
            fact(
                "Block",
                rx.cond(
                    _TX["block"],
                    rx.text(
                        block_link(block["number"]),
                        rx.el.span(" · ", _TX["confirmations"], " confirmations", class_name="by-faint"),
                        as_="span",
                    ),
                    "none yet",
                ),
            ),
            fact("Time", when(block["timestamp"].to(int), empty="not mined")),
            fact("From", wallet_of(_TX["sender"])),
            fact(
                "To",
                rx.flex(
                    rx.cond(_TX["contract"], rx.badge(_TX["contract"].to(str), variant="surface", color_scheme="gray")),
                    to,
                    spacing="2",
                    wrap="wrap",
                    align="center",
                ),
            ),
            fact("Value", sums["value"]),
            fact("Fee", sums["fee"]),
            fact(
                "Gas used",
                rx.cond(
                    _TX["gas_used"],
                    rx.text(_TX["gas_used"].to(str), " of ", _TX["gas_limit"], class_name="by-number"),
                    "—",
                ),
            ),
            fact("Gas price", sums["price"]),
            fact("Nonce", rx.text(_TX["nonce"], class_name="by-number")),
            columns=rx.breakpoints(initial="1", xs="2", md="4"),
        ),
    )


def _failure() -> rx.Component:
    failure = _TX["failure"].to(Failure)
    when_found = rx.cond(
        failure["replayed_at"],
        rx.cond(
            failure["exact"],
            rx.fragment("Found by running it again on the state of block ", failure["replayed_at"], "."),
            rx.fragment(
                "Found by running it again on the state of block ",
                failure["replayed_at"],
                ": the state of its own time is gone, and the reason then may have been another.",
            ),
        ),
    )
    return rx.cond(
        _TX["failure"],
        card(
            rx.cond(
                failure["decoded"],
                said(failure["decoded"].to(Decoded), "failure"),
                note(failure["message"], icon="triangle-alert", color="red", testid="failure-unknown"),
            ),
            rx.text(when_found, size="1", color_scheme="gray", margin_top="12px"),
            heading="Why it failed",
        ),
    )


def _raw(data: Any) -> rx.Component:
    return rx.el.details(
        rx.el.summary("Raw data"),
        rx.flex(
            rx.el.code(data, class_name="by-raw", custom_attrs={"data-testid": "raw"}),
            copy_button(value=data, label="Copy the raw data"),
            spacing="2",
            align="start",
            margin_top="10px",
        ),
        class_name="by-details",
    )


def _call() -> rx.Component:
    unknown = rx.cond(
        _TX["input"] == "0x",
        "No call: a transfer of ether.",
        "Not a call of one of Byline's contracts, so its data is shown as it is.",
    )
    return card(
        rx.cond(
            _TX["call"],
            said(_TX["call"].to(Decoded), "call"),
            rx.text(rx.cond(_TX["to"], unknown, "It creates a contract."), size="2", color_scheme="gray"),
        ),
        rx.cond(_TX["input"] != "0x", _raw(_TX["input"])),
        heading="What it calls",
    )


def _event(event: Any) -> rx.Component:
    raw = rx.box(
        rx.flex(rx.text("Event of", size="2", color_scheme="gray"), wallet_of(event["address"]), spacing="2"),
        rx.foreach(event["topics"], lambda topic: rx.el.code(topic, class_name="by-raw", display="block")),
        rx.el.code(event["data"], class_name="by-raw"),
    )
    return rx.box(
        rx.cond(event["decoded"], said(event["decoded"].to(Decoded), "event"), raw),
        class_name="by-row",
    )


@rx.page(
    route="/explorer/tx/[explored_tx]",
    title="Transaction · Explorer · Byline",
    on_load=[Session.load, OneTransaction.load],
)
def explorer_tx() -> rx.Component:
    content = rx.vstack(
        _facts(),
        _failure(),
        _call(),
        section("Events", _TX["events"].to(list[EventSeen]), _event, "It left no event.", "tx-events"),
        spacing="4",
        align="stretch",
    )
    lead = rx.flex(
        status_badge(_TX["status"], custom_attrs={"data-testid": "tx-status", "data-status": _TX["status"]}),
        rx.badge(_TX["method"], variant="soft", class_name="by-method"),
        spacing="2",
    )
    return page(
        "Transaction",
        rx.cond(OneTransaction.transaction, lead, rx.fragment()),
        found_or_not(OneTransaction.transaction, OneTransaction.problem, content),
    )
