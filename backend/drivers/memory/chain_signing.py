"""Signatures and the receipt ledger on a `MemoryChain`."""

import hashlib
from typing import Any

from backend.domain.answers import Checkpoint
from backend.domain.consent import Consent, consent_message
from backend.domain.training import TrainingOrder
from backend.domain.types import Digest, Wallet
from backend.drivers.memory.chain import MemoryChain
from backend.drivers.memory.chain_contracts import order_signature
from backend.drivers.memory.chain_registry import NO_DIGEST, consent_signature
from backend.ports import ChainEvent, MinedTransaction


class MemorySignatureVerifier:
    """A signature is a hash that only `sign_message` and `sign_order` here make."""

    def __init__(self, chain: MemoryChain) -> None:
        self._chain = chain

    def sign_message(self, wallet: Wallet, message: str) -> bytes:
        return (hashlib.sha512(f"{wallet}:{message}".encode()).digest() + b"\x1b")[:65]

    def sign_order(self, order: TrainingOrder) -> bytes:
        return order_signature(order)

    async def is_valid(self, wallet: Wallet, message: str, signature: bytes) -> bool:
        if signature == self.sign_message(wallet, message):
            return True
        self._chain.check_up()  # as with a real one: only the chain knows whether this is a contract wallet's
        return False

    async def is_valid_order(self, order: TrainingOrder, signature: bytes) -> bool:
        if signature == self.sign_order(order):
            return True
        self._chain.check_up()
        return False

    def sign_consent(self, signer: Wallet, consent: Consent) -> bytes:
        return consent_signature(consent, signer)

    async def is_valid_consent(self, consent: Consent, signer: Wallet, signature: bytes) -> bool:
        if signature == self.sign_consent(signer, consent):
            return True
        self._chain.check_up()
        return False

    def consent_typed_data(self, consent: Consent) -> dict[str, Any]:
        return {"types": {}, **consent_message(consent, self._chain.chain_id, "0xmemory")}

    def order_typed_data(self, order: TrainingOrder) -> dict[str, Any]:
        return {
            "types": {},
            "primaryType": "TrainingOrder",
            "domain": {"name": "Byline ModelRegistry", "version": "1", "chainId": self._chain.chain_id},
            "message": {
                "trainer": order.trainer,
                "datanetIds": [str(datanet) for datanet in order.datanets],
                "versions": list(order.versions),
                "parentModelId": str(order.parent_model_id),
                "configDigest": order.config_digest,
                "nonce": str(order.nonce),
                "deadline": str(order.deadline),
            },
        }


class MemoryReceiptLedger:
    """`ReceiptLedger` on a `MemoryChain`."""

    def __init__(self, chain: MemoryChain, publisher: Wallet) -> None:
        self._chain = chain
        self._publisher = publisher

    async def checkpoint(self) -> Checkpoint:
        head = (await self._chain.head()).number
        size, root = self._chain.blocks[head].state.checkpoints.get(self._publisher, (0, NO_DIGEST))
        event = await self._anchored(size) if size else None
        return Checkpoint(size, root, event.tx_hash if event else None, event.block.number if event else None)

    async def anchoring_of(self, receipt: Digest, size: int) -> MinedTransaction | None:
        event = await self._anchored(size)
        return self._chain.find_mined(event.tx_hash) if event else None

    async def _anchored(self, size: int) -> ChainEvent | None:
        wanted = {"publisher": self._publisher, "size": size}
        events = await self._chain.events(0, (await self._chain.head()).number)
        found = [e for e in events if e.name == "CheckpointAnchored" and wanted.items() <= e.args.items()]
        return found[-1] if found else None
