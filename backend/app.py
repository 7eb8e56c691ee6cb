"""The web process: the API and the web app on one port. `python -m backend.app`.

The two meet only here, as ASGI applications side by side: /api is Litestar's, the rest is Reflex's.
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from litestar import Litestar

from backend.domain.errors import BylineError
from backend.routes.api import PREFIX, create_api
from backend.settings import Settings, load_settings
from backend.system import System, open_system

log = logging.getLogger("byline.web")

Asgi = Callable[[Any, Any, Any], Any]

ROOT = Path(__file__).parents[1]
SWAGGER = ROOT / "node_modules" / "swagger-ui-dist"
WARM_UP_AFTER_SECONDS = 8.0
TAKE_UP_SECONDS = 15.0
FINISH_SECONDS = 10.0  # the supervisor gives the web process more
IMMUTABLE = b"public, max-age=31536000, immutable"


def api_of(system: System) -> Litestar:
    """The API over this system's services."""

    @asynccontextmanager
    async def warm_up(_: Litestar) -> AsyncIterator[None]:
        """Load the model while people read the first page."""
        task = asyncio.create_task(_warm(system, datetime.now(UTC)))
        yield
        task.cancel()
        await system.answering.finish(FINISH_SECONDS)

    return create_api(
        system.dependencies(clock=lambda: int(time.time())),
        origins=system.settings.origins,
        max_upload_bytes=system.settings.max_upload_bytes,
        assets=SWAGGER,
        lifespan=[warm_up],
    )


async def _warm(system: System, began: datetime) -> None:
    """A while after the start: loading takes the processor that the first pages and sign-ins want. Then the answers
    are ended that the process before this one left unfinished."""
    await asyncio.sleep(WARM_UP_AFTER_SECONDS)
    try:
        await system.warm_up()
    except BylineError as error:
        log.warning("the model is not ready: %s", error)
    said = ""
    while True:
        try:
            if ended := await system.answering.take_up(began):
                log.info("%d answers that were left unfinished have their receipts now", ended)
            return
        except BylineError as error:
            if str(error) != said:
                log.warning("answers wait to be ended: %s", error)
                said = str(error)
            await asyncio.sleep(TAKE_UP_SECONDS)


def side_by_side(api: Litestar, web: Asgi) -> Asgi:
    """One ASGI application of two; both lifespans run, the API's around the other's."""

    async def lifespan(scope: Any, receive: Any, send: Any) -> None:
        async with AsyncExitStack() as stack:

            async def forward(message: Any) -> None:
                if message["type"] == "lifespan.shutdown.complete":
                    await stack.aclose()
                await send(message)

            await stack.enter_async_context(api.lifespan())
            await web(scope, receive, forward)

    async def dispatch(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await lifespan(scope, receive, send)
        elif scope["path"] == PREFIX or scope["path"].startswith(PREFIX + "/"):
            await api(scope, receive, send)
        else:
            await web(scope, receive, _cacheable(scope["path"], send))

    return dispatch


def _cacheable(path: str, send: Any) -> Any:
    """Files with a hash in their name never change: browsers may keep them."""
    if not path.startswith("/assets/"):
        return send

    async def forward(message: Any) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            message["headers"] = [*message["headers"], (b"cache-control", IMMUTABLE)]
        await send(message)

    return forward


def pages(settings: Settings) -> Asgi:
    """The exported web app; it reaches the API over HTTP like any other client."""
    os.environ["API_URL"] = f"http://127.0.0.1:{settings.port}{PREFIX}"
    os.environ["PUBLIC_ORIGIN"] = settings.public_origin
    from frontend_reflex.serving import web_app

    asgi: Asgi = web_app()
    return asgi


async def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings = load_settings()
    async with open_system(settings) as system:
        application = side_by_side(api_of(system), pages(settings))
        config = uvicorn.Config(
            application,
            host=settings.host,
            port=settings.port,
            log_level="warning",
            ws_ping_interval=None,
            timeout_graceful_shutdown=3,  # an open event stream would wait for its run to end
        )
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    asyncio.run(main())
