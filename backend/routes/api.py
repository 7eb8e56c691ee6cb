"""The HTTP API as one Litestar application: routes, their dependencies, errors, the OpenAPI document."""

import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from litestar import Litestar, Request, Response, Router
from litestar.connection import ASGIConnection
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.handlers import BaseRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin, SwaggerRenderPlugin
from litestar.static_files import create_static_files_router

from backend.domain.errors import AccessDenied, BylineError, NotFound, NotSignedIn
from backend.domain.types import Wallet
from backend.routes.answers import AnswerController
from backend.routes.consents import ConsentController
from backend.routes.datanets import DatanetController, DraftController
from backend.routes.errors import on_byline_error, on_http_exception, on_recursion, on_too_large, on_unexpected
from backend.routes.explorer import ExplorerController
from backend.routes.given import Given
from backend.routes.models import ModelController
from backend.routes.network import NetworkController
from backend.routes.receipts import ReceiptController
from backend.routes.sessions import COOKIE, SessionController, provide_session, provide_wallet
from backend.routes.training import TrainingController
from backend.services.signing_in import SigningIn

PREFIX = "/api"
SCHEMA = f"{PREFIX}/schema"
RECURSION_LIMIT = 1_000  # Python's own
FORM_BYTES = 2**20  # what a form may have around its file
BODY_BYTES = 2**19  # of any other request
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


async def provide_viewer(request: Request[Any, Any, Any], signing_in: Given[SigningIn]) -> Wallet | None:
    """The signed-in wallet where a page is public and shows its reader a little more."""
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    try:
        return (await signing_in.authenticate(token)).wallet
    except NotSignedIn:
        return None


def refuse_foreign_origin(origins: frozenset[str]) -> Any:
    """A browser says where a request that changes something comes from; other pages may not send any."""

    async def check(request: Request[Any, Any, Any]) -> Response[Any] | None:
        origin = request.headers.get("origin")
        if request.method not in SAFE_METHODS and origin is not None and origin not in origins:
            return on_byline_error(request, AccessDenied(f"requests from {origin[:100]} are not accepted here"))
        if "\0" in request.scope["path"]:  # Postgres has no text with one
            return on_byline_error(request, NotFound("a page whose address has a NUL"))
        return None

    return check


def signed_in(signing_in: SigningIn) -> Any:
    """A guard: it is asked before a byte of the body is read."""

    async def check(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        await signing_in.authenticate(connection.cookies.get(COOKIE, ""))

    return check


def create_api(
    dependencies: Mapping[str, Any],
    *,
    origins: frozenset[str],
    max_upload_bytes: int,
    assets: Path | None,
    lifespan: list[AbstractAsyncContextManager[None] | Any],
) -> Litestar:
    """`dependencies` are the services by the names the controllers ask for; `assets` is a folder with
    swagger-ui's files, so that the API's documentation loads nothing from elsewhere."""
    # py_ecc, which web3 brings, lifts the limit so far that a few kilobytes of brackets in a body overflow the
    # C stack of the JSON decoder and end the whole process.
    sys.setrecursionlimit(min(sys.getrecursionlimit(), RECURSION_LIMIT))

    uploads = Router(
        "/",
        route_handlers=[DraftController],
        guards=[signed_in(dependencies["signing_in"])],
        request_max_body_size=max_upload_bytes + FORM_BYTES,
    )

    def provided(value: Any) -> Provide:
        return Provide(lambda: value, sync_to_thread=False)

    handlers: list[Any] = [
        Router(
            PREFIX,
            route_handlers=[
                SessionController,
                NetworkController,
                DatanetController,
                uploads,
                ConsentController,
                ModelController,
                TrainingController,
                AnswerController,
                ReceiptController,
                ExplorerController,
            ],
        )
    ]
    plugins: list[OpenAPIRenderPlugin] = [JsonRenderPlugin()]  # none at all would mean Litestar's own, from CDNs
    if assets is not None and assets.is_dir():
        handlers.append(create_static_files_router(f"{SCHEMA}/assets", [assets], include_in_schema=False))
        plugins.append(
            SwaggerRenderPlugin(
                js_url=f"{SCHEMA}/assets/swagger-ui-bundle.js",
                css_url=f"{SCHEMA}/assets/swagger-ui.css",
                standalone_preset_js_url=f"{SCHEMA}/assets/swagger-ui-standalone-preset.js",
                path="/",
                favicon="<link rel='icon' href='/favicon.svg'>",
            )
        )
    return Litestar(
        route_handlers=handlers,
        dependencies={
            **{name: provided(value) for name, value in dependencies.items()},
            "session": Provide(provide_session),
            "wallet": Provide(provide_wallet),
            "viewer": Provide(provide_viewer),
            "now": Provide(dependencies["clock"], sync_to_thread=False),
        },
        exception_handlers={
            BylineError: on_byline_error,
            RequestEntityTooLarge: on_too_large(max_upload_bytes, BODY_BYTES),
            HTTPException: on_http_exception,
            RecursionError: on_recursion,
            Exception: on_unexpected,
        },
        before_request=refuse_foreign_origin(origins),
        request_max_body_size=BODY_BYTES,
        openapi_config=OpenAPIConfig(
            title="Byline",
            version="0.1.0",
            description="Fine-tune and query language models on data whose owners stay in control.",
            path=SCHEMA,
            render_plugins=plugins,
        ),
        lifespan=lifespan,
    )
