"""Sign in with a wallet, see where one is signed in, sign out."""

from datetime import datetime
from typing import Annotated, Any

from litestar import Controller, Request, Response, delete, get, post
from litestar.datastructures import Cookie
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from backend.domain.types import Wallet, parse_wallet
from backend.ports import Session
from backend.routes.given import Given
from backend.services.signing_in import SigningIn

COOKIE = "byline_session"


class ChallengeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    address: Annotated[str, Meta(max_length=42)]


class ChallengeView(Struct, frozen=True):
    message: str
    nonce: str
    expires_at: datetime


class SignInRequest(Struct, frozen=True, forbid_unknown_fields=True):
    message: Annotated[str, Meta(max_length=4_000)]
    signature: Annotated[str, Meta(max_length=20_000)]  # a counterfactual contract wallet's is long


class SessionView(Struct, frozen=True):
    session_id: str
    wallet: str
    chain_id: int
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    user_agent: str
    current: bool

    @classmethod
    def of(cls, session: Session, current: str | None) -> "SessionView":
        return cls(
            session.session_id,
            session.wallet,
            session.chain_id,
            session.created_at,
            session.last_seen_at,
            session.expires_at,
            session.user_agent,
            session.session_id == current,
        )


async def provide_session(request: Request[Any, Any, Any], signing_in: Given[SigningIn]) -> Session:
    """Raises: NotSignedIn."""
    return await signing_in.authenticate(request.cookies.get(COOKIE, ""))


async def provide_wallet(session: Given[Session]) -> Wallet:
    return session.wallet


def origin_of(request: Request[Any, Any, Any], public_origin: str) -> str:
    """The page's origin: browsers send it with every POST; other clients are taken at the public one."""
    return request.headers.get("origin") or public_origin


class SessionController(Controller):
    path = "/sessions"
    tags = ("Sign-in",)

    @post("/challenges", summary="The message a wallet has to sign")
    async def create_challenge(
        self,
        data: JSONBody[ChallengeRequest],
        request: Request[Any, Any, Any],
        signing_in: Given[SigningIn],
        public_origin: Given[str],
    ) -> ChallengeView:
        challenge = await signing_in.challenge(parse_wallet(data.address), origin_of(request, public_origin))
        return ChallengeView(challenge.message, challenge.nonce, challenge.expires_at)

    @post(summary="Sign in: the signed message becomes a session cookie")
    async def create_session(
        self,
        data: JSONBody[SignInRequest],
        request: Request[Any, Any, Any],
        signing_in: Given[SigningIn],
        public_origin: Given[str],
    ) -> Response[SessionView]:
        token, session = await signing_in.sign_in(
            data.message, data.signature, origin_of(request, public_origin), request.headers.get("user-agent", "")
        )
        seconds = int((session.expires_at - session.created_at).total_seconds())
        cookie = Cookie(
            COOKIE,
            "/",
            token,
            max_age=seconds,
            httponly=True,
            samesite="lax",
            secure=public_origin.startswith("https://"),
        )
        return Response(SessionView.of(session, session.session_id), cookies=[cookie])

    @get("/current", summary="Who is signed in here")
    async def current_session(self, session: Given[Session]) -> SessionView:
        return SessionView.of(session, session.session_id)

    @get(summary="Everywhere this wallet is signed in")
    async def list_sessions(self, session: Given[Session], signing_in: Given[SigningIn]) -> list[SessionView]:
        return [SessionView.of(s, session.session_id) for s in await signing_in.sessions(session.wallet)]

    @delete("/current", summary="Sign out")
    async def sign_out(self, request: Request[Any, Any, Any], signing_in: Given[SigningIn]) -> Response[None]:
        await signing_in.sign_out(request.cookies.get(COOKIE, ""))
        response: Response[None] = Response(None, status_code=204)
        response.delete_cookie(COOKIE, path="/")
        return response

    @delete("/{session_id:str}", summary="End one of one's sessions")
    async def revoke_session(
        self,
        session_id: FromPath[str],
        session: Given[Session],
        signing_in: Given[SigningIn],
    ) -> None:
        await signing_in.revoke(session.wallet, session_id)
