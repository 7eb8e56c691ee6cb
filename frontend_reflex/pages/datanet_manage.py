"""The Manage tab: managers, freezing, and handing the datanet to somebody else."""

from typing import Any

import reflex as rx

from frontend_reflex.browser import field
from frontend_reflex.pages.datanet_acts import DATANET, ID, act
from frontend_reflex.ui import card, wallet_of

_NOBODY = "0x" + "00" * 20


def _manager(wallet: Any) -> rx.Component:
    remove = act(
        "setManager",
        [ID, wallet, False],
        label="Remove",
        testid="remove-manager",
        variant="soft",
        color="red",
        size="1",
    )
    return rx.flex(
        wallet_of(wallet),
        rx.spacer(),
        remove,
        align="center",
        spacing="3",
        wrap="wrap",
        key=wallet,
        class_name="by-row",
        custom_attrs={"data-testid": "manager", "data-manager": wallet},
    )


def _managers() -> rx.Component:
    form = act(
        "setManager",
        [ID, "$manager", True],
        label="Make manager",
        testid="add-manager",
        variant="soft",
        fields=[field("manager", "Wallet", "address", placeholder="0x…")],
    )
    return card(
        rx.cond(
            DATANET["managers"].length() > 0,
            rx.box(rx.foreach(DATANET["managers"], _manager), margin_bottom="20px"),
            rx.text("You have no manager.", size="2", color_scheme="gray", margin_bottom="16px"),
        ),
        form,
        heading="Managers",
        lead="A manager may let others in, take access away and freeze, as you may. Terms, managers and a handover "
        "stay your own decisions.",
    )


def _freeze() -> rx.Component:
    confirm = rx.alert_dialog.root(
        rx.alert_dialog.trigger(
            rx.button(
                rx.icon("snowflake", size=16),
                "Freeze…",
                color_scheme="red",
                custom_attrs={"data-testid": "freeze-open"},
            )
        ),
        rx.alert_dialog.content(
            rx.alert_dialog.title("Freeze this datanet?"),
            rx.alert_dialog.description(
                "From the next block on nobody can use it for anything, its owner included. Only the owner can undo "
                "this.",
                size="2",
                margin_bottom="16px",
            ),
            rx.flex(
                rx.alert_dialog.cancel(rx.button("Cancel", variant="soft", color_scheme="gray")),
                act("freeze", [ID], label="Freeze now", testid="freeze", color="red"),
                spacing="3",
                wrap="wrap",
            ),
            max_width="480px",
        ),
    )
    unfreeze = rx.cond(
        DATANET["mine"],
        act("unfreeze", [ID], label="Unfreeze", testid="unfreeze", variant="soft"),
        rx.text("Frozen. Only the owner can undo it.", size="2", color_scheme="gray"),
    )
    return card(
        rx.cond(DATANET["frozen"], unfreeze, confirm),
        heading=rx.cond(DATANET["frozen"], "Frozen", "Freeze"),
        lead="Stops every use by everybody at once, the owner's too. What was granted and published stays as it is, "
        "and counts again once the owner unfreezes.",
    )


def _hand_over() -> rx.Component:
    offer = act(
        "approve",
        ["$to", ID],
        label="Offer it",
        testid="offer",
        variant="soft",
        fields=[field("to", "New owner's wallet", "address", placeholder="0x…")],
    )
    offered = rx.flex(
        rx.text("Offered to", size="2"),
        wallet_of(DATANET["offered_to"]),
        rx.text("who has not accepted yet.", size="2", color_scheme="gray"),
        act("approve", [_NOBODY, ID], label="Take the offer back", testid="take-back", variant="soft", color="gray"),
        align="center",
        spacing="3",
        wrap="wrap",
        custom_attrs={"data-testid": "offered-to"},
    )
    return card(
        rx.cond(DATANET["offered_to"], offered, offer),
        heading="Hand over",
        lead="You offer, the new owner accepts. Until then nothing changes and you can take the offer back. Accepting "
        "ends every grant, request and manager of yours.",
    )


def manage() -> rx.Component:
    """For the owner, and the part of it that a manager may do."""
    return rx.grid(
        rx.cond(DATANET["mine"], _managers()),
        rx.vstack(_freeze(), rx.cond(DATANET["mine"], _hand_over()), spacing="4", align="stretch", width="100%"),
        columns=rx.breakpoints(initial="1", md="2"),
        spacing="4",
        align="start",
    )
