"""What surrounds every page: navigation, who is signed in, the footer."""

import reflex as rx

from frontend_reflex.session import Session
from frontend_reflex.ui import problem, sign_in

LINKS = (("Datanets", "/datanets"), ("Training", "/runs"), ("Chat", "/chat"), ("Receipts", "/receipts"))


def _logo() -> rx.Component:
    return rx.link(
        rx.hstack(
            rx.image(src="/logo.svg", width="28px", height="28px", alt=""),
            rx.text("Byline", size="5", weight="bold", letter_spacing="-0.02em"),
            align="center",
            spacing="2",
        ),
        href="/",
        underline="none",
        color="inherit",
        aria_label="Byline, home",
    )


def _nav_link(label: str, href: str) -> rx.Component:
    here = rx.State.router.url.path.startswith(href)
    return rx.link(
        label,
        href=href,
        underline="none",
        class_name=rx.cond(here, "by-nav by-nav-here", "by-nav"),
        custom_attrs={"data-testid": f"nav-{label.lower()}"},
    )


def _who() -> rx.Component:
    signed_in = rx.link(
        rx.button(
            rx.icon("circle-user-round", size=16),
            rx.el.span(Session.wallet[:6] + "…" + Session.wallet[38:], class_name="by-mono"),
            variant="soft",
            color_scheme="gray",
            class_name="by-nowrap",
            custom_attrs={"data-testid": "nav-account", "data-wallet": Session.wallet},
        ),
        href="/account",
        aria_label="Your account",
    )
    return rx.cond(
        Session.ready, rx.cond(Session.wallet != "", signed_in, sign_in()), rx.skeleton(width="96px", height="32px")
    )


def _menu() -> rx.Component:
    return rx.menu.root(
        rx.menu.trigger(
            rx.icon_button(
                rx.icon("menu", size=18),
                variant="soft",
                color_scheme="gray",
                aria_label="Menu",
                custom_attrs={"data-testid": "nav-menu"},
            )
        ),
        rx.menu.content(
            *[rx.menu.item(label, on_select=rx.redirect(href)) for label, href in LINKS],
            rx.menu.item("Explorer", on_select=rx.redirect("/explorer")),
            rx.menu.separator(),
            rx.menu.item("Account", on_select=rx.redirect("/account")),
        ),
    )


def _header() -> rx.Component:
    return rx.box(
        rx.hstack(
            _logo(),
            rx.hstack(
                *[_nav_link(*link) for link in LINKS],
                rx.cond(Session.network["embedded"], _nav_link("Explorer", "/explorer")),
                spacing="1",
                display=["none", "none", "flex"],
                margin_left="5",
            ),
            rx.spacer(),
            rx.cond(
                Session.network["embedded"],
                rx.tooltip(
                    rx.badge(
                        rx.icon("flask-conical", size=12),
                        "Local chain",
                        variant="surface",
                        color_scheme="amber",
                        display=["none", "none", "inline-flex"],
                    ),
                    content="This server runs its own chain, for trying Byline out.",
                ),
            ),
            rx.color_mode.button(variant="ghost", color_scheme="gray", size="1", aria_label="Light or dark"),
            _who(),
            rx.box(_menu(), display=["block", "block", "none"]),
            align="center",
            spacing="3",
            class_name="by-page",
            height="60px",
        ),
        class_name="by-header",
    )


def _footer() -> rx.Component:
    return rx.box(
        rx.flex(
            rx.text(
                "Permission on chain, data encrypted, every answer with its sources.", size="1", color_scheme="gray"
            ),
            rx.spacer(),
            rx.el.a(
                rx.text("Explorer", size="1", color_scheme="gray"),
                href=rx.cond(Session.network["explorer_url"], Session.network["explorer_url"].to(str), "/explorer"),
                class_name="by-quiet",
            ),
            rx.el.a(rx.text("API reference", size="1", color_scheme="gray"), href="/api/schema", class_name="by-quiet"),
            class_name="by-page",
            padding_y="20px",
            spacing="3",
            wrap="wrap",
        ),
        class_name="by-footer",
    )


def frame(*children: rx.Component) -> rx.Component:
    """A whole page."""
    return rx.box(
        _header(),
        rx.el.main(
            rx.cond(Session.problem != "", rx.box(problem(Session.problem, "page-problem"), margin_bottom="20px")),
            *children,
            class_name="by-page by-main",
        ),
        _footer(),
        class_name="by-frame",
    )
