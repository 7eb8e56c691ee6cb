"""`AccessRegistry` over the DatanetRegistry contract: one call at one block, never a copy."""

from backend.domain.consent import ConsentBasis, Terms
from backend.domain.errors import ChainUnavailable, NotFound, TransactionReverted
from backend.domain.types import DatanetId, Permission, PublishedVersion, Purpose, Wallet
from backend.drivers.chain.abi import number_topic
from backend.drivers.chain.connection import ChainConnection, RpcError
from backend.drivers.chain.logs import read_events
from backend.drivers.chain.permissions import permission_from_events
from backend.ports import ChainEvent

REGISTRY = "DatanetRegistry"
# Every event that `mayUse` depends on, besides `Transfer`.
CHANGES = (
    "PublicPurposesSet",
    "TermsSet",
    "TermsAccepted",
    "DatanetFrozen",
    "DatanetUnfrozen",
    "AccessGranted",
    "AccessRevoked",
)


class ContractAccessRegistry:
    """`AccessRegistry` as the DatanetRegistry contract has it. Nothing is cached: a revocation counts
    from the block that holds it."""

    def __init__(self, chain: ChainConnection) -> None:
        self._chain = chain

    async def may_use(self, wallet: Wallet, datanet: DatanetId, purpose: Purpose) -> Permission:
        try:
            block, (allowed,) = await self._chain.call_at_head(REGISTRY, "mayUse", wallet, datanet, int(purpose))
        except TransactionReverted as err:  # `mayUse` never reverts: what answers is not our registry
            raise ChainUnavailable(f"mayUse at {self._chain.contracts.datanet_registry} reverted") from err
        return Permission(wallet, datanet, purpose, bool(allowed), block)

    async def current_version(self, datanet: DatanetId) -> PublishedVersion:
        try:
            _, (found,) = await self._chain.call_at_head(REGISTRY, "datanetOf", datanet)
        except TransactionReverted as err:
            if err.error == "DatanetRegistryUnknownDatanet":
                raise NotFound(f"datanet {datanet}") from err
            raise
        owner, version, manifest_digest, records_root, licence_digest = found[:5]
        return PublishedVersion(datanet, owner, version, manifest_digest, records_root, licence_digest)

    async def consent_basis(self, datanet: DatanetId, grantee: Wallet, signer: Wallet) -> ConsentBasis:
        try:
            block, (about,) = await self._chain.call_at_head(REGISTRY, "datanetOf", datanet)
            owner, terms_version = about[0], about[5]
            (manages,) = await self._chain.call_at(block.hash, REGISTRY, "isManager", datanet, signer)
            (nonce,) = await self._chain.call_at(block.hash, REGISTRY, "nonceOf", datanet, grantee)
            (terms,) = await self._chain.call_at(block.hash, REGISTRY, "termsOf", datanet, terms_version)
        except TransactionReverted as err:
            if err.error == "DatanetRegistryUnknownDatanet":
                raise NotFound(f"datanet {datanet}") from err
            raise
        except RpcError as err:  # the block went away in between
            raise ChainUnavailable(str(err)) from err
        return ConsentBasis(signer == owner or manages, nonce, terms_version, Terms.of_chain(*terms).purposes)

    async def may_serve(self, model_id: int) -> bool:
        try:
            _, (served,) = await self._chain.call_at_head("ModelRegistry", "mayServe", model_id)
        except TransactionReverted as err:  # `mayServe` never reverts: what answers is not our registry
            raise ChainUnavailable(f"mayServe at {self._chain.contracts.model_registry} reverted") from err
        return bool(served)

    async def permission_at(self, wallet: Wallet, datanet: DatanetId, purpose: Purpose, block: int) -> Permission:
        """Raises: NotFound when the chain has no such block."""
        for _ in range(5):
            at = await self._chain.block(block)
            if at is None:
                raise NotFound(f"block {block}")
            abi = self._chain.artifacts[REGISTRY]
            changes = [abi.topic(name) for name in CHANGES]
            owners = await self._read(block, [abi.topic("Transfer"), None, None, number_topic(datanet)])
            events = owners + await self._read(block, [changes, number_topic(datanet)])
            events.sort(key=lambda event: (event.block.number, event.log_index))  # a sale ends the grants before it
            if await self._chain.block(block) == at:
                allowed = permission_from_events(events, wallet, datanet, purpose, at.timestamp)
                return Permission(wallet, datanet, purpose, allowed, at)
        raise ChainUnavailable("the chain is being reorganised")

    async def _read(self, last: int, topics: list[str | list[str] | None]) -> list[ChainEvent]:
        return await read_events(self._chain, 0, last, [REGISTRY], topics)
