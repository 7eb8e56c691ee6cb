"""Signing in over HTTP: the cookie, where it counts, and how it ends."""

from backend.routes.sessions import COOKIE
from tests.routes.conftest import Site, error_of
from tests.services.content_fixtures import ALICE
from tests.services.world import BUILDER

PRIVATE = [
    ("GET", "/api/sessions"), ("GET", "/api/sessions/current"), ("DELETE", "/api/sessions/abc"),
    ("GET", "/api/models"), ("GET", "/api/training-runs"), ("GET", "/api/training-runs/abc"),
    ("GET", "/api/training-runs/abc/events"), ("POST", "/api/training-runs/abc/cancel"),
    ("GET", "/api/answers"), ("GET", "/api/receipts"),
]  # fmt: skip


async def test_a_signed_challenge_becomes_a_session_cookie_that_scripts_cannot_read(site: Site) -> None:
    async with site.visitor() as client:
        signed_in = await site.sign_in(client, BUILDER)
        assert signed_in.status_code == 201
        assert signed_in.json()["wallet"] == BUILDER
        attributes = {part.strip().lower() for part in signed_in.headers["set-cookie"].split(";")}
        assert {"httponly", "samesite=lax", "path=/", "max-age=3600"} <= attributes
        assert "secure" not in attributes
        assert client.cookies[COOKIE] not in signed_in.text
        current = (await client.get("/api/sessions/current")).json()
        assert (current["wallet"], current["current"]) == (BUILDER, True)


async def test_over_https_the_cookie_is_secure(site: Site) -> None:
    site.public_origin = "https://byline.example"
    async with site.visitor() as client:
        assert "secure" in (await site.sign_in(client, BUILDER)).headers["set-cookie"].lower()


async def test_signing_out_ends_the_session_and_clears_the_cookie(site: Site) -> None:
    async with site.visitor(BUILDER) as client:
        token = client.cookies[COOKIE]
        signed_out = await client.delete("/api/sessions/current")
        assert signed_out.status_code == 204
        assert COOKIE not in client.cookies
        client.cookies.set(COOKIE, token)
        assert error_of(await client.get("/api/sessions/current")) == (401, "NotSignedIn")


async def test_a_session_revoked_elsewhere_is_over_here(site: Site) -> None:
    async with site.visitor(BUILDER) as here, site.visitor(BUILDER) as there:
        listed = (await there.get("/api/sessions")).json()
        assert [s["current"] for s in listed].count(True) == 1
        other = next(s["session_id"] for s in listed if not s["current"])
        assert (await there.delete(f"/api/sessions/{other}")).status_code == 204
        assert error_of(await here.get("/api/answers")) == (401, "NotSignedIn")
        assert (await there.get("/api/answers")).status_code == 200


async def test_nobody_ends_anothers_session(site: Site) -> None:
    async with site.visitor(BUILDER) as builder, site.visitor(ALICE) as alice:
        [session] = (await builder.get("/api/sessions")).json()
        assert error_of(await alice.delete(f"/api/sessions/{session['session_id']}")) == (404, "NotFound")
        assert (await builder.get("/api/sessions/current")).status_code == 200


async def test_a_session_ends_by_itself(site: Site) -> None:
    async with site.visitor(BUILDER) as client:
        site.pass_hours(1)
        assert error_of(await client.get("/api/answers")) == (401, "NotSignedIn")


async def test_who_is_not_signed_in_is_told_so(site: Site) -> None:
    async with site.visitor() as client:
        for method, path in PRIVATE:
            assert error_of(await client.request(method, path)) == (401, "NotSignedIn"), path
        client.cookies.set(COOKIE, "made-up")
        for method, path in PRIVATE:
            assert error_of(await client.request(method, path)) == (401, "NotSignedIn"), path


async def test_a_wrong_signature_opens_no_session(site: Site) -> None:
    async with site.visitor() as client:
        message = (await client.post("/api/sessions/challenges", json={"address": BUILDER})).json()["message"]
        signature = "0x" + site.world.signatures.sign_message(ALICE, message).hex()
        refused = await client.post("/api/sessions", json={"message": message, "signature": signature})
        assert error_of(refused) == (401, "WrongSignature")
        assert "set-cookie" not in refused.headers


async def test_a_challenge_serves_once(site: Site) -> None:
    async with site.visitor() as client:
        message = (await client.post("/api/sessions/challenges", json={"address": BUILDER})).json()["message"]
        body = {"message": message, "signature": "0x" + site.world.signatures.sign_message(BUILDER, message).hex()}
        assert (await client.post("/api/sessions", json=body)).status_code == 201
        assert error_of(await client.post("/api/sessions", json=body)) == (401, "UnknownNonce")


FOREIGN = ("https://evil.example", "null", "http://localhost:8001", "http://localhost:8000.evil")
CHANGES = (
    ("POST", "/api/sessions/challenges"),
    ("DELETE", "/api/sessions/current"),
    ("POST", "/api/answers"),
    ("POST", "/api/network/rpc"),
)


async def test_a_foreign_page_may_change_nothing(site: Site) -> None:
    async with site.visitor(BUILDER) as client:
        for origin in FOREIGN:
            for method, path in CHANGES:
                refused = await client.request(method, path, headers={"origin": origin}, json={"address": BUILDER})
                assert error_of(refused) == (403, "AccessDenied")
            assert (await client.get("/api/sessions/current", headers={"origin": origin})).status_code == 200


async def test_our_own_page_may(site: Site) -> None:
    async with site.visitor() as client:
        asked = await client.post(
            "/api/sessions/challenges", json={"address": BUILDER}, headers={"origin": site.public_origin}
        )
        assert asked.status_code == 201


async def test_an_address_that_is_none_is_named(site: Site) -> None:
    async with site.visitor() as client:
        for address in ("", "0x12", "builder.eth", "0x" + "g" * 40, 7, None):
            refused = await client.post("/api/sessions/challenges", json={"address": address})
            assert error_of(refused) == (400, "InvalidValue")
            assert refused.json()["field"] in ("wallet", "address")
