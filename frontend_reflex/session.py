"""Who is looking and at which chain: the state every page shares."""

import asyncio
import importlib
import time
from typing import Any

import reflex as rx

from frontend_reflex import api
from frontend_reflex.views import Health, Network

NO_NETWORK: Network = {
    "chain_id": 0,
    "embedded": False,
    "explorer_url": None,
    "rpc_path": None,
    "contracts": {},
    "publisher": "",
    "test_wallets": False,
    "head": {"number": 0, "timestamp": 0},
    "indexed_block": 0,
    "max_upload_bytes": 0,
}
_MIRROR_PATIENCE_SECONDS = 30.0


def secret(state: rx.State) -> str:
    """The session's secret as the browser sent it with the websocket's handshake; never an event's argument."""
    return api.session_of(str(state.router.headers.cookie or ""))


async def call(state: rx.State, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """The API in the name of whoever holds this page's cookie. Raises: api.ApiRefusal."""
    return await api.call(secret(state), method, path, body)


def route_argument(state: rx.State, name: str) -> str:
    """A dynamic part of the page's address, e.g. the id in /runs/[run_id]; "" on other pages."""
    return str(getattr(state, name, "") or "")


def tab_is_open(state: rx.State) -> bool:
    """Whether the tab of this state still listens; a background task that outlives it must stop."""
    app = importlib.import_module("frontend_reflex.app").app
    return state.router.session.client_token in app.event_namespace.token_to_sid


async def mirrored(state: rx.State, block: int) -> bool:
    """Wait until the API's mirror has read `block`, so that what is shown next contains it."""
    deadline = time.monotonic() + _MIRROR_PATIENCE_SECONDS
    while time.monotonic() < deadline:
        network: Network = await call(state, "GET", "/network")
        if (network["indexed_block"] or 0) >= block:
            return True
        await asyncio.sleep(0.4)
    return False


class Session(rx.State):
    """Read from the API at every page load; what the browser claims about itself is not asked."""

    wallet: str = ""
    network: Network = NO_NETWORK
    health: Health = {"status": "", "components": []}
    ready: bool = False
    problem: str = ""

    @rx.event
    async def load(self) -> None:
        self.problem = ""
        self.network, self.wallet = await asyncio.gather(self._read_network(), self._read_wallet())
        self.ready = True

    async def _read_network(self) -> Network:
        try:
            network: Network = await call(self, "GET", "/network")
        except api.ApiRefusal as refusal:
            self.problem = refusal.detail
            return NO_NETWORK
        return network

    async def _read_wallet(self) -> str:
        if not secret(self):
            return ""
        try:
            return str((await call(self, "GET", "/sessions/current"))["wallet"])
        except api.ApiRefusal as refusal:
            if refusal.status != 401:
                self.problem = refusal.detail
            return ""
