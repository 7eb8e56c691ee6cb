"""What an auditor has to see, read from the chain itself and never from Byline's mirror of it."""

from collections.abc import Awaitable, Sequence
from typing import TypeVar

from attribution.evidence import (
    CheckpointSeen,
    CreditSeen,
    Evidence,
    ModelSeen,
    Needed,
    PermissionAsked,
    PermissionSeen,
    Unseen,
    VersionAsked,
    VersionSeen,
)
from backend.domain.errors import BylineError
from backend.domain.types import DatanetId, Digest, Wallet, parse_purposes
from backend.drivers.chain.abi import digest_topic, number_topic, wallet_topic
from backend.drivers.chain.access import ContractAccessRegistry
from backend.drivers.chain.audit import Web3AuditReader
from backend.drivers.chain.connection import ChainConnection
from backend.drivers.chain.logs import read_events
from backend.ports import ChainEvent

LEDGER = "ReceiptLedger"

Seen = TypeVar("Seen")


class ChainEvidence:
    """Looks up what `Needed` names, in the contracts of this connection only: a receipt that names other
    contracts stays "could not tell" until the auditor points Byline at those."""

    def __init__(self, chain: ChainConnection) -> None:
        self._chain = chain
        self._audit = Web3AuditReader(chain)
        self._access = ContractAccessRegistry(chain)

    async def gather(self, needed: Needed) -> Evidence:
        """Never raises for what could not be seen: that is `Unseen`, with the reason."""
        try:
            await self._chain.check_chain_id()
        except BylineError as err:
            return Evidence.none(str(err))
        if needed.chain_id != self._chain.chain_id:
            return Evidence.none(f"the receipt is of chain {needed.chain_id}, this auditor's is {self._chain.chain_id}")
        ours = self._chain.contracts
        if needed.registry not in (None, ours.datanet_registry) or needed.ledger != ours.receipt_ledger:
            return Evidence.none(
                f"the receipt names registry {needed.registry} and ledger {needed.ledger}, this auditor looks at "
                f"{ours.datanet_registry} and {ours.receipt_ledger}; set REGISTRY_ADDRESS and LEDGER_ADDRESS"
            )
        return Evidence(
            chain_id=self._chain.chain_id,
            checkpoint=await _seen(self._checkpoint(needed)),
            permissions={asked: await _seen(self._permission(asked)) for asked in needed.permissions},
            versions={asked: await _seen(self._version(asked)) for asked in needed.versions},
            credits=await _seen(self._credits(needed)),
            model=await _seen(self._model(needed)),
        )

    async def _checkpoint(self, needed: Needed) -> CheckpointSeen | None:
        topics: list[str | list[str] | None] = [
            self._chain.artifacts[LEDGER].topic("CheckpointAnchored"),
            wallet_topic(Wallet(needed.publisher)),
        ]
        if needed.checkpoint_size is not None:
            exact = [*topics, number_topic(needed.checkpoint_size)]
            if events := await self._events(exact):
                return CheckpointSeen(int(events[-1].args["size"]), str(events[-1].args["root"]))
        if events := await self._events(topics):
            return CheckpointSeen(int(events[-1].args["size"]), str(events[-1].args["root"]))
        return None

    async def _events(self, topics: Sequence[str | list[str] | None]) -> list[ChainEvent]:
        return await read_events(self._chain, 0, (await self._chain.newest_block()).number, [LEDGER], topics)

    async def _permission(self, asked: PermissionAsked) -> PermissionSeen:
        block = await self._chain.block(asked.block_number)
        if block is None:
            return PermissionSeen(False, None)
        permission = await self._access.permission_at(
            Wallet(asked.wallet), DatanetId(asked.datanet_id), parse_purposes([asked.purpose]), asked.block_number
        )
        return PermissionSeen(permission.allowed, permission.block.hash)

    async def _version(self, asked: VersionAsked) -> VersionSeen | None:
        found = await self._audit.version_on_chain(DatanetId(asked.datanet_id), asked.version)
        return VersionSeen(found[0], found[1]) if found else None

    async def _credits(self, needed: Needed) -> list[CreditSeen]:
        """Anyone may emit a `Credited`: only those in a transaction of the publisher's own count."""
        topics = [self._chain.artifacts[LEDGER].topic("Credited"), None, None, digest_topic(Digest(needed.digest))]
        credits = await self._events(topics)
        by_publisher = {
            event.tx_hash
            for event in await self._events(
                [self._chain.artifacts[LEDGER].topic("CheckpointAnchored"), wallet_topic(Wallet(needed.publisher))]
            )
        }
        return [
            CreditSeen(str(e.args["contributor"]), int(e.args["datanetId"]), int(e.args["shareBps"]))
            for e in credits
            if e.tx_hash in by_publisher
        ]

    async def _model(self, needed: Needed) -> ModelSeen | None:
        if needed.adapter_digest is None:
            return None
        lines = [e.args for e in await self._audit.model_by_adapter(Digest(needed.adapter_digest))]
        return needed.model_meant(
            [ModelSeen(a["modelId"], a["trainer"], a["adapterCid"], a["baseModel"]) for a in lines]
        )


async def _seen(look: Awaitable[Seen]) -> Seen | Unseen:
    try:
        return await look
    except BylineError as err:
        return Unseen(str(err))
