"""`EvidenceSource` on a `MemoryChain`: what an auditor would see there, and nothing from Byline's own copies."""

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
from backend.domain.types import DatanetId, Wallet, parse_purposes
from backend.drivers.memory.chain import MemoryChain
from backend.ports import ChainEvent


class MemoryEvidence:
    """`registry` and `ledger` are the addresses that this chain's contracts are taken to have."""

    def __init__(self, chain: MemoryChain, registry: Wallet, ledger: Wallet) -> None:
        self._chain = chain
        self._registry = registry
        self._ledger = ledger

    async def gather(self, needed: Needed) -> Evidence:
        try:
            self._chain.check_up()
        except BylineError as err:
            return Evidence.none(str(err))
        if needed.chain_id != self._chain.chain_id:
            return Evidence.none(f"the receipt is of chain {needed.chain_id}, this auditor's is {self._chain.chain_id}")
        if needed.registry not in (None, self._registry) or needed.ledger != self._ledger:
            return Evidence.none(
                f"the receipt names registry {needed.registry} and ledger {needed.ledger}, this auditor looks at "
                f"{self._registry} and {self._ledger}"
            )
        anchored = [e for e in self._events("CheckpointAnchored") if e.args["publisher"] == needed.publisher]
        return Evidence(
            chain_id=self._chain.chain_id,
            checkpoint=_checkpoint(anchored, needed.checkpoint_size),
            permissions={asked: await self._permission(asked) for asked in needed.permissions},
            versions={asked: self._version(asked) for asked in needed.versions},
            credits=self._credits(needed.digest, anchored),
            model=self._model(needed),
        )

    async def _permission(self, asked: PermissionAsked) -> PermissionSeen | Unseen:
        if await self._chain.block(asked.block_number) is None:
            return PermissionSeen(False, None)
        try:
            purpose = parse_purposes([asked.purpose])
        except BylineError as err:
            return Unseen(str(err))
        permission = await self._chain.permission_at(
            Wallet(asked.wallet), DatanetId(asked.datanet_id), purpose, asked.block_number
        )
        return PermissionSeen(permission.allowed, permission.block.hash)

    def _version(self, asked: VersionAsked) -> VersionSeen | None:
        found = self._chain.blocks[-1].state.datanets.get(asked.datanet_id)
        if found is None or not 1 <= asked.version <= len(found.versions):
            return None
        manifest, root, _ = found.versions[asked.version - 1]
        return VersionSeen(manifest, root)

    def _credits(self, digest: str, anchored: list[ChainEvent]) -> list[CreditSeen]:
        """Anyone may emit a `Credited`: only those in a transaction of the publisher's own count."""
        by_publisher = {event.tx_hash for event in anchored}
        return [
            CreditSeen(str(e.args["contributor"]), int(e.args["datanetId"]), int(e.args["shareBps"]))
            for e in self._events("Credited")
            if e.args["receipt"] == digest and e.tx_hash in by_publisher
        ]

    def _model(self, needed: Needed) -> ModelSeen | None:
        if needed.adapter_digest is None:
            return None
        lines = [e.args for e in self._events("ModelRegistered") if e.args["adapterDigest"] == needed.adapter_digest]
        return needed.model_meant(
            [ModelSeen(a["modelId"], a["trainer"], a["adapterCid"], a["baseModel"]) for a in lines]
        )

    def _events(self, name: str) -> list[ChainEvent]:
        return [event for block in self._chain.blocks for event in block.events if event.name == name]


def _checkpoint(anchored: list[ChainEvent], size: int | None) -> CheckpointSeen | None:
    exact = [event for event in anchored if event.args["size"] == size]
    found = (exact or anchored)[-1:]
    return CheckpointSeen(int(found[0].args["size"]), str(found[0].args["root"])) if found else None
