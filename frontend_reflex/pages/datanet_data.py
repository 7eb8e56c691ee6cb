"""The Data tab: published versions, and for the owner the way from a file to the next one."""

from typing import Any

import reflex as rx

from frontend_reflex.browser import action, short, upload_draft, when
from frontend_reflex.pages.datanet_state import OneDatanet
from frontend_reflex.session import Session
from frontend_reflex.ui import card, empty, fact, facts, note, problem, problem_if, status_badge, wallet_of
from frontend_reflex.views import DatanetDetail, Draft, Indexing, Version

_DATANET = OneDatanet.datanet.to(DatanetDetail)
_DRAFT = OneDatanet.draft.to(Draft)
_PREPARED = OneDatanet.prepared.to(Version)
_INDEXING = OneDatanet.indexing.to(Indexing)


def _contributors(rows: Any) -> rx.Component:
    return rx.flex(
        rx.foreach(
            rows,
            lambda one: rx.flex(
                wallet_of(one["wallet"]),
                rx.text(one["records"], " rows", size="2", color_scheme="gray"),
                spacing="2",
                align="center",
            ),
        ),
        spacing="4",
        wrap="wrap",
    )


def _why(version: Any) -> rx.Component:
    """Why a version is not indexed, and what comes next."""
    reason = version["problem"].to(str)
    return rx.cond(
        version["problem"],
        rx.box(
            rx.cond(
                version["status"] == "corrupt",
                problem(
                    "This version cannot be indexed: " + reason + ". Its owner can upload the data again and publish "
                    "it as the next version.",
                    "version-corrupt",
                ),
                note(
                    "This version is " + reason + ". Byline itself tries again every second. If this lasts, run "
                    "byline doctor on the server to see what is down.",
                    icon="hourglass",
                    color="amber",
                    testid="version-waiting",
                ),
            ),
            margin_top="14px",
            overflow_wrap="anywhere",
        ),
    )


def _publish_action(version: Any, testid: str, size: str = "2") -> rx.Component:
    return action(
        "publishVersion",
        [
            version["datanet_id"],
            version["version"],
            version["manifest_digest"],
            version["records_root"],
            version["manifest_cid"],
        ],
        label="Publish on chain",
        size=size,
        testid=testid,
        network=Session.network,
        wallet=Session.wallet,
        on_confirmed=lambda tx_hash, block: OneDatanet.published(version["version"], tx_hash, block),  # type: ignore[misc]  # a handler, to mypy no callable
    )


def _version(row: Any) -> rx.Component:
    return rx.box(
        rx.flex(
            rx.text("Version ", row["version"], size="3", weight="bold"),
            status_badge(row["status"]),
            rx.spacer(),
            rx.text(when(row["created_at"]), size="2", color_scheme="gray"),
            align="center",
            spacing="3",
            wrap="wrap",
            margin_bottom="14px",
        ),
        facts(
            fact("Records", row["records"].to(str)),
            fact("Passages", row["passages"].to(str)),
            fact("Content digest", short(row["manifest_digest"])),
            fact("IPFS manifest", short(row["manifest_cid"])),
        ),
        rx.box(fact("Contributors", _contributors(row["contributors"])), margin_top="14px"),
        _why(row),
        rx.cond(
            OneDatanet.publishable.contains(row["manifest_digest"]),
            rx.box(_publish_action(row, "publish-prepared"), margin_top="14px"),
        ),
        key=row["manifest_digest"],
        class_name="by-row",
        custom_attrs={"data-testid": "version", "data-version": row["version"], "data-status": row["status"]},
    )


def _versions() -> rx.Component:
    nothing = empty("file-stack", "No version yet", "Once its owner publishes data, its versions are listed here.")
    return card(
        rx.cond(_DATANET["versions"].length() > 0, rx.box(rx.foreach(_DATANET["versions"], _version)), nothing),
        heading="Versions",
        lead="Each version is encrypted, kept on IPFS, and sealed on chain by the digest of its manifest.",
    )


def _preview() -> rx.Component:
    row_problem = lambda one: rx.text("Row ", one["row"], ": ", one["problem"], size="2")  # noqa: E731
    bad = rx.box(
        note(
            _DRAFT["problems_total"].to(str) + " of " + _DRAFT["rows_total"].to(str) + " rows cannot be used.",
            icon="triangle-alert",
            color="amber",
            testid="draft-problems",
        ),
        rx.scroll_area(
            rx.vstack(rx.foreach(_DRAFT["problems"], row_problem), spacing="1"),
            max_height="160px",
            margin_y="12px",
            type="auto",
        ),
        rx.radio_group.root(
            rx.flex(
                rx.text(
                    rx.radio_group.item(value="skip", custom_attrs={"data-testid": "bad-rows-skip"}),
                    " Leave these rows out and keep the rest",
                    as_="label",
                    size="2",
                ),
                rx.text(
                    rx.radio_group.item(value="refuse", custom_attrs={"data-testid": "bad-rows-refuse"}),
                    " Refuse the whole file",
                    as_="label",
                    size="2",
                ),
                direction="column",
                spacing="2",
            ),
            value=OneDatanet.on_bad_row,
            on_change=OneDatanet.choose_bad_rows,
        ),
    )
    table = rx.box(
        rx.table.root(
            rx.table.header(
                rx.table.row(
                    rx.table.column_header_cell("Row"),
                    rx.table.column_header_cell("Contributor"),
                    rx.table.column_header_cell("Text"),
                )
            ),
            rx.table.body(
                rx.foreach(
                    _DRAFT["preview"],
                    lambda one: rx.table.row(
                        rx.table.cell(one["row"]),
                        rx.table.cell(wallet_of(one["contributor"])),
                        rx.table.cell(rx.text(one["text"], size="2", style={"max_width": "60ch", "min_width": "32ch"})),
                    ),
                )
            ),
            size="1",
            variant="ghost",
        ),
        class_name="by-scroll",
        max_height="340px",
        overflow_y="auto",
        custom_attrs={"data-testid": "draft-preview"},
    )
    return rx.vstack(
        facts(
            fact("File", _DRAFT["filename"]),
            fact("Read as", _DRAFT["format"]),
            fact("Good rows", _DRAFT["rows_good"].to(str) + " of " + _DRAFT["rows_total"].to(str)),
            fact("Columns", _DRAFT["columns"].join(", ")),
        ),
        fact("Contributors", _contributors(_DRAFT["contributors"])),
        rx.cond(_DRAFT["problems_total"] > 0, bad),
        table,
        spacing="4",
        align="stretch",
        width="100%",
        custom_attrs={"data-testid": "draft"},
    )


def _buttons() -> rx.Component:
    ready = rx.vstack(
        note(
            "Encrypted and pinned: "
            + _PREPARED["records"].to(str)
            + " records. Your signature makes it version "
            + _PREPARED["version"].to(str)
            + ".",
            icon="lock-keyhole",
            color="teal",
            testid="prepared",
        ),
        _publish_action(_PREPARED, "publish-version", size="3"),
        spacing="3",
        align="start",
    )
    prepare = rx.flex(
        rx.button(
            "Encrypt and prepare",
            size="3",
            on_click=OneDatanet.prepare,
            loading=OneDatanet.preparing,
            custom_attrs={"data-testid": "prepare-version"},
        ),
        rx.button(
            "Choose another file",
            size="3",
            variant="soft",
            color_scheme="gray",
            on_click=OneDatanet.discard,
            custom_attrs={"data-testid": "discard-draft"},
        ),
        spacing="3",
        wrap="wrap",
    )
    return rx.cond(OneDatanet.prepared, ready, prepare)


def _indexing() -> rx.Component:
    icon = rx.match(
        _INDEXING["status"],
        ("indexed", rx.icon("circle-check", color="var(--green-9)")),
        ("corrupt", rx.icon("circle-x", color="var(--red-9)")),
        rx.spinner(),
    )
    words = rx.match(
        _INDEXING["status"],
        ("indexed", " is published"),
        ("corrupt", " cannot be indexed"),
        " is being indexed",
    )
    return rx.hstack(
        icon,
        rx.box(
            rx.text("Version ", _INDEXING["version"], words, size="3", weight="medium"),
            rx.text(_INDEXING["passages"], " passages can be searched so far.", size="2", color_scheme="gray"),
            _why(_INDEXING),
        ),
        spacing="3",
        align="center",
        custom_attrs={"data-testid": "indexing", "data-status": _INDEXING["status"]},
    )


def _publish() -> rx.Component:
    chosen = rx.vstack(_preview(), _buttons(), spacing="5", align="stretch")
    return card(
        rx.cond(OneDatanet.indexing, rx.box(_indexing(), margin_bottom="20px")),
        rx.cond(
            OneDatanet.draft,
            chosen,
            upload_draft(
                datanet_id=_DATANET["datanet_id"],
                max_bytes=Session.network["max_upload_bytes"],
                on_draft=OneDatanet.drafted,
                testid="upload",
            ),
        ),
        rx.box(problem_if(OneDatanet.upload_problem, "upload-problem"), margin_top="12px"),
        heading=rx.cond(_DATANET["version"] > 0, "Publish the next version", "Publish the first version"),
        lead="Nothing is public until you sign: the file is checked first, then encrypted and pinned.",
    )


def data() -> rx.Component:
    return rx.vstack(rx.cond(_DATANET["mine"], _publish()), _versions(), spacing="4", align="stretch")
