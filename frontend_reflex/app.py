"""The web app: every page is imported here, which is what registers it."""

import reflex as rx

from frontend_reflex.pages import (
    account,
    chat,
    datanet,
    datanets,
    explorer,
    explorer_address,
    explorer_block,
    explorer_datanet,
    explorer_tx,
    home,
    receipt,
    receipts,
    run,
    run_new,
    runs,
)

PAGES = (
    *(home, datanets, datanet, runs, run_new, run, chat, receipts, receipt, account),
    *(explorer, explorer_block, explorer_tx, explorer_address, explorer_datanet),
)

app = rx.App(
    stylesheets=["/byline.css"],
    head_components=[rx.el.link(rel="icon", href="/favicon.svg", type="image/svg+xml")],
)

# Reflex would accept a fixed list of origins only. None makes the socket server compare a handshake's
# Origin with the address it was sent to, so pages work on any host and port, and no other site gets in.
app.sio.eio.cors_allowed_origins = None
