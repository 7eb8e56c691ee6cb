"""The parts pages are made of: cards, notices, facts, shares, empty and waiting states."""

from typing import Any

import reflex as rx

from frontend_reflex.browser import SignIn, short
from frontend_reflex.session import Session


def sign_in(label: str = "Sign in", **props: Any) -> rx.Component:
    return SignIn.create(network=Session.network, label=label, **props)


def title(heading: Any, lead: Any = None, *actions: rx.Component) -> rx.Component:
    """A page's heading, one line under it, its main actions to the right."""
    return rx.flex(
        rx.box(
            rx.heading(heading, size="7", as_="h1", weight="bold", letter_spacing="-0.02em"),
            rx.text(lead, size="3", color_scheme="gray", margin_top="6px", max_width="78ch")
            if lead is not None
            else rx.fragment(),
        ),
        rx.flex(*actions, spacing="2", align="center", wrap="wrap") if actions else rx.fragment(),
        spacing="4",
        wrap="wrap",
        align="center",
        justify="between",
        margin_bottom="28px",
    )


def card(*children: rx.Component, heading: Any = None, lead: Any = None, **props: Any) -> rx.Component:
    head = []
    if heading is not None:
        head.append(rx.heading(heading, size="4", as_="h2", weight="bold"))
    if lead is not None:
        head.append(rx.text(lead, size="2", color_scheme="gray", max_width="68ch"))
    top = [rx.vstack(*head, spacing="1", margin_bottom="16px")] if head else []
    return rx.box(*top, *children, class_name="by-card", **props)


def problem(text: Any, testid: str) -> rx.Component:
    """An error, as the API says it, next to what caused it."""
    return rx.callout(
        text, icon="triangle-alert", color_scheme="red", size="1", role="alert", custom_attrs={"data-testid": testid}
    )


def problem_if(text: Any, testid: str) -> rx.Component:
    return rx.cond(text != "", problem(text, testid))


def note(text: Any, *, icon: str = "info", color: str = "gray", testid: str = "") -> rx.Component:
    return rx.callout(
        text, icon=icon, color_scheme=color, size="1", custom_attrs={"data-testid": testid} if testid else {}
    )


def empty(icon: str, heading: str, lead: str, *actions: rx.Component, testid: str = "empty") -> rx.Component:
    """Nothing here yet, and what to do about it."""
    return rx.vstack(
        rx.box(rx.icon(icon, size=26, stroke_width=1.5), class_name="by-empty-icon"),
        rx.text(heading, size="4", weight="bold"),
        rx.text(lead, size="2", color_scheme="gray", align="center", max_width="46ch", overflow_wrap="anywhere"),
        *actions,
        align="center",
        spacing="3",
        class_name="by-empty",
        custom_attrs={"data-testid": testid},
    )


def waiting(rows: int = 3) -> rx.Component:
    return rx.vstack(*[rx.skeleton(height="56px", width="100%") for _ in range(rows)], spacing="3", width="100%")


def members_only(content: rx.Component, why: str) -> rx.Component:
    """`content` for a signed-in wallet; for anyone else the way in. The API refuses by itself all the same."""
    invite = empty(
        "lock-keyhole", "Sign in to continue", why, sign_in(size="3", testid="signin-here"), testid="members-only"
    )
    return rx.cond(Session.ready, rx.cond(Session.wallet != "", content, card(invite)), waiting())


def purpose_badges(purposes: Any, none: str = "none") -> rx.Component:
    return rx.cond(
        purposes.length() > 0,
        rx.flex(rx.foreach(purposes, lambda p: rx.badge(p, variant="soft", size="1")), spacing="1", wrap="wrap"),
        rx.text(none, size="2", color_scheme="gray"),
    )


_STATUS = {
    "done": "green",
    "anchored": "green",
    "verified": "green",
    "indexed": "green",
    "failed": "red",
    "corrupt": "red",
    "refused": "red",
    "refuted": "red",
    "cancelled": "gray",
    "queued": "gray",
    "training": "blue",
    "preparing": "blue",
    "storing": "blue",
    "pending": "amber",
    "prepared": "amber",
    "published": "blue",
    "stale": "gray",
    "unknown": "amber",
    "success": "green",
    "live": "green",
}


def status_badge(status: Any, **props: Any) -> rx.Component:
    color = rx.match(status, *_STATUS.items(), "teal")
    return rx.badge(status, color_scheme=color, variant="soft", radius="full", **props)


def fact(label: Any, value: Any) -> rx.Component:
    """One labelled value of a fact sheet."""
    return rx.box(
        rx.text(label, size="1", color_scheme="gray", margin_bottom="2px"),
        rx.box(value, font_size="14px", overflow_wrap="anywhere"),
        min_width="0",
    )


def facts(*items: rx.Component, columns: Any = None) -> rx.Component:
    return rx.grid(*items, columns=columns or rx.breakpoints(initial="2", sm="3", md="4"), spacing="4", width="100%")


def explored(kind: str, value: Any) -> Any:
    """Where one may look a "tx", an "address" or a "block" up: at the configured explorer, else at our own."""
    explorer, shown = Session.network["explorer_url"], rx.Var.create(value).to(str)
    return rx.cond(explorer, explorer.to(str) + f"/{kind}/" + shown, f"/explorer/{kind}/" + shown)


def _explored_datanet(datanet: Any) -> Any:
    """A datanet is an ERC-721 token of the registry."""
    explorer, shown = Session.network["explorer_url"], rx.Var.create(datanet).to(str)
    registry = Session.network["contracts"].to(dict[str, str])["DatanetRegistry"]
    theirs = explorer.to(str) + "/token/" + registry + "?a=" + shown
    return rx.cond(explorer, theirs, "/explorer/datanet/" + shown)


def wallet_of(address: Any, **props: Any) -> rx.Component:
    """An address, linked to the explorer: not for use inside a link or a button."""
    return short(address, mine=Session.wallet, href=explored("address", address), **props)


def tx_link(tx_hash: Any, **props: Any) -> rx.Component:
    return short(tx_hash, href=explored("tx", tx_hash), **props)


def block_link(number: Any) -> rx.Component:
    return rx.el.a(number, href=explored("block", number), class_name="by-link by-number")


def block_depth(row: Any) -> rx.Component:
    """The block something is in, and how firm that is: final, or how many blocks say so by now."""
    return rx.el.span(
        block_link(row["block_number"]),
        rx.el.span(
            " · ",
            rx.cond(row["final"], "final", row["confirmations"].to(str) + " deep"),
            class_name="by-faint",
            title="How many blocks stand on it; a final one is not taken back any more",
            custom_attrs={"data-testid": "depth"},
        ),
    )


def block_hash_link(block_hash: Any) -> rx.Component:
    return short(block_hash, href=explored("block", block_hash))


def token_link(datanet: Any) -> rx.Component:
    """A datanet's number, as the chain has it."""
    return rx.el.a("#", datanet, href=_explored_datanet(datanet), class_name="by-link by-number")


def digest_link(digest: Any, **props: Any) -> rx.Component:
    """A receipt's or an adapter's digest: our own search knows which transaction names it."""
    return short(digest, href="/explorer?q=" + rx.Var.create(digest).to(str), **props)


def share_bars(shares: Any, testid: str = "shares") -> rx.Component:
    """Who an answer rests on: one bar each, largest first, what nobody explains last."""

    def row(share: Any) -> rx.Component:
        nobody = share["who"] == "nobody"
        return rx.box(
            rx.flex(
                rx.cond(
                    nobody,
                    rx.text("The model itself, no contributor", size="2", color_scheme="gray"),
                    wallet_of(share["who"]),
                ),
                rx.spacer(),
                rx.text(share["percent"], size="2", weight="medium", class_name="by-number"),
                align="center",
                spacing="3",
            ),
            rx.box(
                rx.box(
                    width=(share["bps"] / 100).to(str) + "%",
                    class_name=rx.cond(nobody, "by-bar-fill by-bar-nobody", "by-bar-fill"),
                ),
                class_name="by-bar",
            ),
            width="100%",
            custom_attrs={"data-testid": "share", "data-who": share["who"], "data-bps": share["bps"]},
        )

    return rx.vstack(rx.foreach(shares, row), spacing="3", width="100%", custom_attrs={"data-testid": testid})
