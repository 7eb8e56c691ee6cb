"""The Access tab: who asked, who may, and the owner's decisions as transactions of the owner's wallet."""

from typing import Any

import reflex as rx

from frontend_reflex.browser import action, field, when
from frontend_reflex.pages.datanet_state import OneDatanet
from frontend_reflex.session import Session
from frontend_reflex.ui import block_link, card, members_only, note, purpose_badges, tx_link, wallet_of
from frontend_reflex.views import DatanetDetail

_DATANET = OneDatanet.datanet.to(DatanetDetail)
_ID = _DATANET["datanet_id"]


def _act(function_name: str, args: list[Any], **props: Any) -> rx.Component:
    return action(
        function_name,
        args,
        network=Session.network,
        wallet=Session.wallet,
        on_confirmed=OneDatanet.access_changed,
        **props,
    )


def _until(label: str = "Until") -> dict[str, Any]:
    return field("until", label, "date", optional=True, help="Through the end of that day. Empty means no end.")


def _request_row(row: Any) -> rx.Component:
    approve = _act(
        "approveRequest",
        [_ID, row["requester"], "$purposes", "$until"],
        label="Approve and grant",
        testid="approve",
        fields=[
            field("purposes", "Grant", "purposes", options=row["purposes"], value=row["purposes"]),
            field("until", "Until", "date", optional=True, value=row["expires_at"], help="Empty means no end."),
        ],
    )
    deny = _act("denyRequest", [_ID, row["requester"]], label="Deny", testid="deny", variant="soft", color="red")
    return rx.box(
        rx.flex(
            wallet_of(row["requester"]),
            purpose_badges(row["purposes"]),
            rx.text(
                "until ", when(row["expires_at"], empty="further notice", date_only=True), size="2", color_scheme="gray"
            ),
            spacing="3",
            align="center",
            wrap="wrap",
        ),
        rx.text(
            "asked in ",
            tx_link(row["tx_hash"]),
            " of block ",
            block_link(row["block_number"]),
            size="1",
            color_scheme="gray",
            margin_top="6px",
        ),
        rx.cond(
            row["message"] != "",
            rx.text("“", row["message"], "”", size="3", margin_top="10px", overflow_wrap="anywhere"),
        ),
        rx.cond(
            _DATANET["mine"],
            rx.flex(rx.box(approve, flex="1 1 320px"), deny, spacing="4", wrap="wrap", margin_top="16px"),
            rx.cond(
                row["requester"] == Session.wallet,
                rx.box(
                    _act(
                        "withdrawRequest",
                        [_ID],
                        label="Withdraw",
                        testid="withdraw",
                        variant="soft",
                        color="gray",
                        size="1",
                    ),
                    margin_top="12px",
                ),
            ),
        ),
        key=row["requester"],
        class_name="by-row",
        custom_attrs={"data-testid": "request", "data-requester": row["requester"]},
    )


def _grant_row(row: Any) -> rx.Component:
    revoke = _act(
        "revoke",
        [_ID, row["grantee"], row["purposes"]],
        label="Revoke",
        testid="revoke",
        variant="soft",
        color="red",
        size="1",
    )
    return rx.flex(
        rx.box(wallet_of(row["grantee"]), flex="1 1 150px"),
        rx.box(purpose_badges(row["purposes"]), flex="1 1 150px"),
        rx.box(
            rx.text(
                "until ", when(row["expires_at"], empty="further notice", date_only=True), size="2", color_scheme="gray"
            ),
            flex="1 1 130px",
        ),
        rx.text(
            "in ", tx_link(row["tx_hash"]), " of block ", block_link(row["block_number"]), size="1", color_scheme="gray"
        ),
        rx.box(
            rx.cond(row["live"], rx.cond(_DATANET["mine"], revoke), rx.badge("ended", color_scheme="gray")),
            min_width="80px",
        ),
        align="center",
        spacing="3",
        wrap="wrap",
        key=row["grantee"],
        class_name="by-row",
        custom_attrs={"data-testid": "grant", "data-grantee": row["grantee"], "data-live": row["live"]},
    )


def _requests() -> rx.Component:
    return card(
        rx.cond(
            _DATANET["requests"].length() > 0,
            rx.box(rx.foreach(_DATANET["requests"], _request_row), custom_attrs={"data-testid": "requests"}),
            rx.text("No one is waiting for an answer.", size="2", color_scheme="gray"),
        ),
        heading="Requests",
        lead="Each decision is a transaction that the owner signs.",
    )


def _grants() -> rx.Component:
    return card(
        rx.cond(
            _DATANET["grants"].length() > 0,
            rx.box(rx.foreach(_DATANET["grants"], _grant_row), custom_attrs={"data-testid": "grants"}),
            rx.text("No wallet holds a grant. The owner may always use the data.", size="2", color_scheme="gray"),
        ),
        heading="Who may use it",
        lead="As the chain says. A grant ends by itself at its date; a revocation counts from its block.",
    )


def _grant_form() -> rx.Component:
    form = _act(
        "grant",
        [_ID, "$grantee", "$purposes", "$until"],
        label="Grant access",
        testid="grant-access",
        fields=[
            field("grantee", "Wallet", "address", placeholder="0x…"),
            field("purposes", "For", "purposes", value=["retrieve"]),
            _until(),
        ],
    )
    return card(form, heading="Grant without a request", lead="Replaces what this wallet held before.")


def _public_form() -> rx.Component:
    form = _act(
        "setPublicPurposes",
        [_ID, "$purposes"],
        label="Save",
        testid="set-public",
        variant="soft",
        fields=[field("purposes", "Anyone may", "purposes", optional=True, value=_DATANET["public_purposes"])],
    )
    return card(form, heading="Open to everyone", lead="These purposes need no grant.")


def _request_form() -> rx.Component:
    form = _act(
        "requestAccess",
        [_ID, "$purposes", "$until", "$message"],
        label="Send request",
        testid="request-access",
        fields=[
            field("purposes", "What for", "purposes", value=["train", "retrieve"]),
            _until("Until (optional)"),
            field(
                "message",
                "Message to the owner",
                "textarea",
                optional=True,
                max_bytes=280,
                help="Public, on chain. 280 bytes.",
            ),
        ],
    )
    mine = _DATANET["my_purposes"].length() > 0
    return card(
        rx.cond(
            mine,
            rx.box(
                note("You already hold some access. A new grant replaces it.", icon="key-round"), margin_bottom="16px"
            ),
        ),
        members_only(form, "A request is a transaction from your wallet."),
        heading="Ask for access",
        lead="The owner sees your request and approves all of it, part of it, or none.",
    )


def access() -> rx.Component:
    owner_side = rx.vstack(_grant_form(), _public_form(), spacing="4", width="100%")
    return rx.grid(
        rx.vstack(_requests(), _grants(), spacing="4", width="100%", min_width="0", align="stretch"),
        rx.cond(_DATANET["mine"], owner_side, _request_form()),
        columns=rx.breakpoints(initial="1", md="3fr 2fr"),
        spacing="4",
        align="start",
    )
