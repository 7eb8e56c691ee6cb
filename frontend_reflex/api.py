"""The only way out of the web app: Byline's HTTP API, called with the user's own session cookie."""

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any

import httpx

SESSION_COOKIE = "byline_session"
_CONNECT_SECONDS = 5.0


class ApiRefusal(Exception):
    """The API said no, or could not be reached (`status` 0). `detail` is a sentence for a person."""

    def __init__(self, status: int, error: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.error = error
        self.detail = detail


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event of a text/event-stream, its data already parsed."""

    name: str
    data: Any


def api_url() -> str:
    return os.environ.get("API_URL", "http://127.0.0.1:8000/api").rstrip("/")


def session_of(cookie_header: str) -> str:
    """The session's secret from a Cookie header, or "" without one."""
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(cookie_header)
    except CookieError:
        return ""
    return jar[SESSION_COOKIE].value if SESSION_COOKIE in jar else ""


def _client(session: str, timeout: httpx.Timeout) -> httpx.AsyncClient:
    cookies = {SESSION_COOKIE: session} if session else {}
    # Environment proxies are for the outside world; the API is a neighbour.
    return httpx.AsyncClient(cookies=cookies, timeout=timeout, trust_env=False)


def refusal(status: int, body: bytes) -> ApiRefusal:
    """Read the API's error document; a reply that is none still becomes a sentence."""
    try:
        document = json.loads(body)
        detail = str(document["detail"])
    except (ValueError, KeyError, TypeError):
        return ApiRefusal(status, "Unexpected", f"The server answered {status} without saying why. Try again.")
    return ApiRefusal(status, str(document.get("error", "")), detail)


def _unreachable(err: httpx.HTTPError) -> ApiRefusal:
    why = "did not answer in time" if isinstance(err, httpx.TimeoutException) else "cannot be reached"
    return ApiRefusal(0, "ApiUnreachable", f"Byline's API {why}. Nothing was lost; try again in a moment.")


async def call(
    session: str, method: str, path: str, body: Mapping[str, Any] | None = None, *, timeout_seconds: float = 60.0
) -> Any:
    """One request; returns the parsed JSON, or None when there is no content. Raises: ApiRefusal."""
    try:
        async with _client(session, httpx.Timeout(timeout_seconds, connect=_CONNECT_SECONDS)) as client:
            reply = await client.request(method, api_url() + path, json=body)
    except httpx.HTTPError as err:
        raise _unreachable(err) from err
    if reply.status_code >= 400:
        raise refusal(reply.status_code, reply.content)
    return reply.json() if reply.content else None


@asynccontextmanager
async def stream(
    session: str, method: str, path: str, body: Mapping[str, Any] | None = None
) -> AsyncIterator[AsyncIterator[ServerEvent]]:
    """Open an event stream; leaving the block closes it.

    Raises: ApiRefusal, also while iterating, when the API refuses or the connection breaks.
    """
    timeout = httpx.Timeout(None, connect=_CONNECT_SECONDS)  # a stream may be silent for as long as a model thinks
    try:
        async with (
            _client(session, timeout) as client,
            client.stream(method, api_url() + path, json=body, headers={"accept": "text/event-stream"}) as reply,
        ):
            if reply.status_code >= 400:
                raise refusal(reply.status_code, await reply.aread())
            yield _events(reply.aiter_lines())
    except httpx.HTTPError as err:
        raise _unreachable(err) from err


async def _events(lines: AsyncIterator[str]) -> AsyncIterator[ServerEvent]:
    name, data = "message", list[str]()
    async for line in lines:
        if line.startswith("event:"):
            name = line[6:].strip()
        elif line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line:
            if data:
                yield ServerEvent(name, json.loads("\n".join(data)))
            name, data = "message", []
