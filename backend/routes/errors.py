"""The one table from an error to an HTTP status, and the one JSON shape errors have."""

import logging
from typing import Any

from litestar import Request, Response
from litestar.enums import RequestEncodingType
from litestar.exceptions import HTTPException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.status_codes import HTTP_500_INTERNAL_SERVER_ERROR

from backend.domain import errors
from backend.domain.uploads import WHAT_TO_DO

STATUS: dict[type[errors.BylineError], int] = {
    errors.InvalidValue: 400,
    errors.SignInRefused: 401,
    errors.NotSignedIn: 401,
    errors.AccessDenied: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.TransactionReverted: 409,
    errors.TooLarge: 413,
    errors.LimitReached: 429,
    errors.TrainingFailed: 500,
    errors.ContentCorrupt: 502,
    errors.Unavailable: 503,
}

INTERNAL_ERROR = {
    "error": "InternalError",
    "detail": "Byline itself failed; the server's log says more",
    "field": None,
}

log = logging.getLogger(__name__)


def status_of(error: errors.BylineError) -> int:
    """By the nearest ancestor in the table; a test keeps every error in it."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return HTTP_500_INTERNAL_SERVER_ERROR


def error_body(error: errors.BylineError) -> dict[str, Any]:
    body: dict[str, Any] = {
        "error": type(error).__name__,
        "detail": str(error),
        "field": getattr(error, "field", None),
    }
    if isinstance(error, errors.RejectedRows):
        body["problems"] = [{"row": p.row, "problem": p.problem} for p in error.problems[:200]]
    return body


def on_byline_error(_: Request[Any, Any, Any], error: errors.BylineError) -> Response[dict[str, Any]]:
    status = status_of(error)
    headers = {"Retry-After": "5"} if isinstance(error, errors.Unavailable) else None
    return Response(error_body(error), status_code=status, headers=headers)


def on_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    """Litestar's own refusals (unknown route, a body that does not parse) in the same shape."""
    if error.status_code >= HTTP_500_INTERNAL_SERVER_ERROR:
        return on_unexpected(request, error)
    problems = error.extra if isinstance(error.extra, list) else []
    where = [f"{p.get('key', 'body')}: {p.get('message', '')}" for p in problems if isinstance(p, dict)]
    detail = "; ".join(where) or error.detail
    field = next((str(p["key"]) for p in problems if isinstance(p, dict) and "key" in p), None)
    names = {400: "InvalidValue", 404: "NotFound", 405: "MethodNotAllowed"}
    name = names.get(error.status_code, type(error).__name__)
    return Response({"error": name, "detail": detail, "field": field}, status_code=error.status_code)


def on_too_large(max_upload_bytes: int, max_body_bytes: int) -> Any:
    """Litestar refuses a body by its Content-Length, or as soon as more than the limit came, and says only that."""

    def answer(request: Request[Any, Any, Any], _: RequestEntityTooLarge) -> Response[dict[str, Any]]:
        if request.content_type[0] == RequestEncodingType.MULTI_PART:
            detail = f"the file is over the limit of {max_upload_bytes:,} bytes; {WHAT_TO_DO}"
        else:
            detail = f"the request is over the limit of {max_body_bytes:,} bytes; shorten it"
        return on_byline_error(request, errors.TooLarge(detail))

    return answer


def on_recursion(request: Request[Any, Any, Any], _: RecursionError) -> Response[dict[str, Any]]:
    """Only what others send can be nested so deeply."""
    return on_byline_error(request, errors.InvalidValue("body", "is nested too deeply"))


def on_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    log.exception("%s %s", request.method, request.url.path, exc_info=error)
    return Response(INTERNAL_ERROR, status_code=500)
