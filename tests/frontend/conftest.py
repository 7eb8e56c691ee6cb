"""The web app's states, against a twin of the HTTP API that answers from a table."""

import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

# Without it, importing a page would write links into the package's assets folder.
os.environ.setdefault("REFLEX_BACKEND_ONLY", "true")
os.environ.setdefault("REFLEX_TELEMETRY_ENABLED", "false")

from frontend_reflex import api
from frontend_reflex.serving import ROOT

ALICE = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
SECRET = "the-session-of-alice"


@dataclass
class TwinApi:
    """Answers `(method, path)` with a document or an ApiRefusal, and remembers who asked what."""

    answers: dict[tuple[str, str], Any] = field(default_factory=dict)
    events: dict[tuple[str, str], list[api.ServerEvent | api.ApiRefusal]] = field(default_factory=dict)
    asked: list[tuple[str, str, str, Any]] = field(default_factory=list)
    patience: list[float] = field(default_factory=list)  # seconds each call would have waited
    while_asked: Callable[[], None] = lambda: None

    async def call(
        self,
        session: str,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        timeout_seconds: float = 60.0,
    ) -> Any:
        self.asked.append((session, method, path, body))
        self.patience.append(timeout_seconds)
        self.while_asked()
        answer = self.answers.get((method, path), api.ApiRefusal(404, "NotFound", f"There is no {path}."))
        if isinstance(answer, Exception):
            raise answer
        return answer

    @contextlib.asynccontextmanager
    async def stream(
        self, session: str, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> AsyncIterator[AsyncIterator[api.ServerEvent]]:
        self.asked.append((session, method, path, body))
        yield self._events(self.events[(method, path)])

    async def _events(self, events: list[api.ServerEvent | api.ApiRefusal]) -> AsyncIterator[api.ServerEvent]:
        for event in events:
            if isinstance(event, Exception):
                raise event
            yield event


@pytest.fixture(autouse=True)
def in_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reflex reads its configuration from the working directory."""
    monkeypatch.chdir(ROOT)


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> TwinApi:
    twin = TwinApi()
    monkeypatch.setattr(api, "call", twin.call)
    monkeypatch.setattr(api, "stream", twin.stream)
    return twin


class Held:
    """A background handler's view of a state: `async with` holds it. Nothing else runs meanwhile."""

    def __init__(self, state: Any) -> None:
        object.__setattr__(self, "_state", state)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._state, name, value)

    async def __aenter__(self) -> "Held":
        return self

    async def __aexit__(self, *failure: object) -> None:
        return None


def opened(state: Any, path: str = "/", cookie: str = f"byline_session={SECRET}", **arguments: str) -> Any:
    """`state` as a page at `path` sees it, in a browser that sent `cookie` with its handshake."""
    from reflex.istate.data import RouterData

    state.router = RouterData.from_router_data({"headers": {"cookie": cookie}, "pathname": path, "asPath": path})
    for name, value in arguments.items():
        object.__setattr__(state, name, value)
    return state


async def run(handler: Any, state: Any, *arguments: Any) -> None:
    """Run an event handler to its end, whether it is a coroutine or yields updates on its way."""
    outcome = handler.fn(state, *arguments)
    if hasattr(outcome, "__aiter__"):
        async for _ in outcome:
            pass
    elif hasattr(outcome, "__await__"):
        await outcome
