"""/explorer/block/[explored_block] : one block and its transactions."""

import reflex as rx

from frontend_reflex.browser import short, when
from frontend_reflex.explorer_views import Block
from frontend_reflex.pages.explorer_parts import found_or_not, page, section, transaction_row
from frontend_reflex.pages.explorer_state import OneBlock
from frontend_reflex.session import Session
from frontend_reflex.ui import block_hash_link, card, fact, facts, wallet_of

_BLOCK = OneBlock.block.to(Block)


def _facts() -> rx.Component:
    return card(
        rx.box(fact("Hash", short(_BLOCK["hash"], whole=True, testid="block-hash")), margin_bottom="16px"),
        facts(
            fact("Time", when(_BLOCK["timestamp"])),
            fact("After", rx.cond(_BLOCK["number"] > 0, block_hash_link(_BLOCK["parent_hash"]), "nothing: the first")),
            fact("Made by", wallet_of(_BLOCK["miner"])),
            fact("Gas used", rx.text(_BLOCK["gas_used"], " of ", _BLOCK["gas_limit"], class_name="by-number")),
            fact("Base fee", OneBlock.base_fee),
            fact("Size", rx.text(_BLOCK["size_bytes"], " bytes", class_name="by-number")),
            columns=rx.breakpoints(initial="1", xs="2", md="3"),
        ),
    )


@rx.page(
    route="/explorer/block/[explored_block]", title="Block · Explorer · Byline", on_load=[Session.load, OneBlock.load]
)
def explorer_block() -> rx.Component:
    content = rx.vstack(
        _facts(),
        section("Transactions", OneBlock.transactions, transaction_row, "There is none in this block.", "block-txs"),
        spacing="4",
        align="stretch",
    )
    return page(
        rx.cond(OneBlock.block, "Block " + _BLOCK["number"].to(str), "Block"),
        rx.cond(OneBlock.block, rx.fragment(when(_BLOCK["timestamp"], relative=True)), rx.fragment()),
        found_or_not(OneBlock.block, OneBlock.problem, content),
    )
