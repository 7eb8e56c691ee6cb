"""What the tabs of a datanet share: the datanet itself, and its wallet actions."""

from typing import Any

import reflex as rx

from frontend_reflex.browser import action, consent, field
from frontend_reflex.pages.datanet_state import OneDatanet
from frontend_reflex.session import Session
from frontend_reflex.views import DatanetDetail

DATANET = OneDatanet.datanet.to(DatanetDetail)
ID = DATANET["datanet_id"]
TERMS = DATANET["terms"]
DECIDES = DATANET["mine"] | DATANET["managed_by_me"]  # for drawing; the chain itself checks


def act(function_name: str, args: list[Any], **props: Any) -> rx.Component:
    """A transaction of the visitor's wallet, after which the page is read again."""
    return action(
        function_name,
        args,
        network=Session.network,
        wallet=Session.wallet,
        on_confirmed=OneDatanet.changed,
        **props,
    )


def sign(kind: str, grantee: Any, purposes: Any, **props: Any) -> rx.Component:
    """A grant or revocation that the visitor signs and the server sends, after which the page is read again."""
    return consent(
        kind,
        ID,
        grantee,
        purposes,
        network=Session.network,
        wallet=Session.wallet,
        on_confirmed=OneDatanet.changed,
        **props,
    )


def until(label: str = "Until", **more: Any) -> dict[str, Any]:
    return field("until", label, "date", optional=True, help="Through the end of that day. Empty means no end.", **more)
