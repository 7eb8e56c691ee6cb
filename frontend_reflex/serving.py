"""The web app as one ASGI callable, from the exported bundle: no Node, no compiler, any working directory."""

import contextlib
import logging
import os
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
BUNDLE = ROOT / ".web" / "build" / "client"

# Reflex's own switches. The two with leading underscores are internal to reflex==0.10.1:
# the browser journey in tests/e2e is what notices when they change.
_ENVIRONMENT = {
    "__REFLEX_SKIP_COMPILE": "true",
    "__REFLEX_MOUNT_FRONTEND_COMPILED_APP": "true",
    "REFLEX_ENV_MODE": "prod",
    "REFLEX_BACKEND_ONLY": "true",
    "REFLEX_TELEMETRY_ENABLED": "false",
    "REFLEX_CHECK_LATEST_VERSION": "false",
    "REFLEX_WEB_WORKDIR": str(ROOT / ".web"),
}


class BundleMissing(Exception):
    """The pages were never exported."""


def web_app() -> Any:
    """Build the ASGI application (http, websocket and lifespan) that serves every page.

    The caller must run its lifespan: without it no event of any page is processed.
    Reflex looks for `rxconfig.py` in the working directory, so this changes into the package's
    folder while loading and comes back.
    Raises: BundleMissing, with the command that exports the pages.
    """
    if not (BUNDLE / "index.html").is_file():
        raise BundleMissing("The web pages are not built: run `python -m frontend_reflex.build` first.")
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with contextlib.chdir(ROOT):
        from frontend_reflex.app import app

        return app()
