import http.server
import threading
import time
from collections.abc import Iterator

import pytest

from frontend_reflex import api

EVENTS = (
    b'event: token\ndata: {"text": "a"}\n\nevent: token\ndata: {"text":\ndata: "b"}\n\n: ping\n\n'
    b"event: end\ndata: {}\n\n"
)


class _Neighbour(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/api/slow":
            time.sleep(0.3)
        replies = {
            "/api/slow": (200, b"{}"),
            "/api/cookie": (200, f'{{"cookie": "{self.headers.get("cookie", "")}"}}'.encode()),
            "/api/refused": (
                403,
                b'{"error": "AccessDenied", "detail": "You may not train on datanet 3.", "field": null}',
            ),
            "/api/broken": (502, b"<html>bad gateway</html>"),
            "/api/nothing": (204, b""),
            "/api/events": (200, EVENTS),
        }
        status, body = replies[self.path]
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def neighbour(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Neighbour) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("API_URL", f"http://127.0.0.1:{server.server_port}/api/")
        yield
        server.shutdown()
        thread.join()


def test_only_bylines_cookie_is_read_from_the_handshake() -> None:
    assert api.session_of("theme=dark; byline_session=s3cret; other=1") == "s3cret"
    assert api.session_of("theme=dark") == ""
    assert api.session_of("") == ""


@pytest.mark.usefixtures("neighbour")
async def test_the_users_own_session_goes_along() -> None:
    assert await api.call("s3cret", "GET", "/cookie") == {"cookie": "byline_session=s3cret"}
    assert await api.call("", "GET", "/cookie") == {"cookie": ""}


@pytest.mark.usefixtures("neighbour")
async def test_a_refusal_keeps_the_apis_sentence() -> None:
    with pytest.raises(api.ApiRefusal, match=r"You may not train on datanet 3\.") as caught:
        await api.call("s", "GET", "/refused")
    assert (caught.value.status, caught.value.error) == (403, "AccessDenied")


@pytest.mark.usefixtures("neighbour")
async def test_a_proxys_error_page_still_becomes_a_sentence() -> None:
    with pytest.raises(api.ApiRefusal, match="answered 502"):
        await api.call("s", "GET", "/broken")


@pytest.mark.usefixtures("neighbour")
async def test_no_content_is_none() -> None:
    assert await api.call("s", "GET", "/nothing") is None


@pytest.mark.usefixtures("neighbour")
async def test_events_arrive_whole_and_comments_do_not() -> None:
    async with api.stream("s", "GET", "/events") as events:
        heard = [(event.name, event.data) async for event in events]
    assert heard == [("token", {"text": "a"}), ("token", {"text": "b"}), ("end", {})]


@pytest.mark.usefixtures("neighbour")
async def test_a_refused_stream_says_why() -> None:
    with pytest.raises(api.ApiRefusal, match="may not train"):
        async with api.stream("s", "GET", "/refused"):
            pass


@pytest.mark.usefixtures("neighbour")
async def test_a_call_waits_as_long_as_its_caller_says() -> None:
    assert await api.call("s", "GET", "/slow", timeout_seconds=10) == {}
    with pytest.raises(api.ApiRefusal, match="did not answer in time"):
        await api.call("s", "GET", "/slow", timeout_seconds=0.05)


async def test_a_silent_neighbour_is_told_from_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_URL", "http://127.0.0.1:9/api")
    with pytest.raises(api.ApiRefusal, match="cannot be reached") as caught:
        await api.call("s", "GET", "/network")
    assert caught.value.status == 0
