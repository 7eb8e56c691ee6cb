"""Reflex reads this from its working directory, both at build and when serving."""

import reflex as rx

config = rx.Config(
    app_name="frontend_reflex",
    app_module_import="frontend_reflex.app",
    telemetry_enabled=False,
    # Baked into the bundle; `build.py` rewrites it to the page's own origin.
    api_url="http://localhost:8000",
    # No other origin may read anything; the websocket is same-origin (see app.py).
    cors_allowed_origins=[],
    show_built_with_reflex=False,
    state_manager_mode=rx.constants.StateManagerMode.MEMORY,
    frontend_lazy_bundled_libraries=True,
    plugins=[
        rx.plugins.RadixThemesPlugin(
            theme=rx.theme(
                appearance="inherit", accent_color="teal", gray_color="slate", radius="medium", scaling="100%"
            )
        )
    ],
    disable_plugins=[rx.plugins.SitemapPlugin],
)
