"""`RpcGateway`: JSON-RPC bytes through to the node, for the browser's reads and signed transactions."""

from aiohttp import ClientError, ClientSession, ClientTimeout

from backend.domain.errors import ChainUnavailable


class HttpRpcGateway:
    def __init__(self, rpc_url: str, timeout_seconds: float = 20.0) -> None:
        self._rpc_url = rpc_url
        self._timeout = ClientTimeout(total=timeout_seconds)
        self._session: ClientSession | None = None

    async def forward(self, body: bytes) -> bytes:
        """The route decides which methods may pass. A node's own errors come back as they are."""
        if self._session is None:
            self._session = ClientSession(timeout=self._timeout, headers={"content-type": "application/json"})
        try:
            async with self._session.post(self._rpc_url, data=body) as response:
                return await response.read()
        except (ClientError, OSError, TimeoutError) as err:
            raise ChainUnavailable(f"forwarding a call: {type(err).__name__}") from err

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
