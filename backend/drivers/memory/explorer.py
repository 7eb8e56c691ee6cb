"""`ChainExplorer` on a `MemoryChain`. Its contracts have no sources: nothing is said beside a name."""

from collections.abc import Mapping, Sequence
from typing import Any

from backend.domain.errors import TransactionReverted
from backend.domain.explorer import (
    ZERO_DIGEST,
    AbiEntry,
    AccountSeen,
    Argument,
    BlockSeen,
    ContractAbout,
    Decoded,
    EventSeen,
    Failure,
    TransactionLine,
    TransactionSeen,
    loose_arguments,
    one,
)
from backend.domain.types import NO_WALLET, DatanetId, Digest, Purpose, Wallet
from backend.drivers.memory.chain import MemoryBlock, MemoryChain
from backend.ports import ChainEvent, ContractCall

GAS = 21_000
PARAMETERS = {
    "grant": ("datanetId uint256", "grantee address", "purposes uint32", "expiresAt uint48"),
    "revoke": ("datanetId uint256", "grantee address", "purposes uint32"),
    "setPublicPurposes": ("datanetId uint256", "purposes uint32"),
}


class MemoryChainExplorer:
    def __init__(self, chain: MemoryChain, contracts: Mapping[str, Wallet]) -> None:
        """`contracts`: the addresses that this chain's contracts are taken to have, by name."""
        self._chain = chain
        self._contracts = dict(contracts)

    async def head(self) -> int:
        self._chain.check_up()
        return len(self._chain.blocks) - 1

    async def blocks(self, numbers: Sequence[int], *, transactions: bool) -> list[BlockSeen]:
        self._chain.check_up()
        blocks = self._chain.blocks
        return [self._block(blocks[n], transactions) for n in numbers if 0 <= n < len(blocks)]

    async def block_named(self, block_hash: Digest) -> BlockSeen | None:
        self._chain.check_up()
        found = [block for block in self._chain.blocks if block.ref.hash == block_hash]
        return self._block(found[0], True) if found else None

    def _block(self, block: MemoryBlock, transactions: bool) -> BlockSeen:
        ref = block.ref
        parent = self._chain.blocks[ref.number - 1].ref.hash if ref.number else Digest(ZERO_DIGEST)
        lines = [self._line(block, tx_hash, index) for index, tx_hash in enumerate(block.calls)] if transactions else []
        return BlockSeen(
            ref.number, ref.hash, ref.timestamp, parent, NO_WALLET, GAS * len(block.calls), 30_000_000, "0", 0,
            len(block.calls), tuple(lines),
        )  # fmt: skip

    def _line(self, block: MemoryBlock, tx_hash: Digest, index: int) -> TransactionLine:
        sender, call = block.calls[tx_hash]
        to = self._contracts.get(call.contract, NO_WALLET)
        number, timestamp = block.ref.number, block.ref.timestamp
        return TransactionLine(tx_hash, number, timestamp, index, sender, to, call.contract, call.function, "0")

    async def succeeded(self, hashes: Sequence[Digest]) -> dict[Digest, bool]:
        self._chain.check_up()
        found = {tx_hash: done for block in self._chain.blocks for tx_hash, done in block.transactions.items()}
        return {tx_hash: found[tx_hash] for tx_hash in hashes if tx_hash in found}

    async def transaction(self, tx_hash: Digest) -> TransactionSeen | None:
        self._chain.check_up()
        block = next((block for block in self._chain.blocks if tx_hash in block.calls), None)
        if block is None:
            return None
        sender, call = block.calls[tx_hash]
        done = block.transactions[tx_hash]
        return TransactionSeen(
            hash=tx_hash,
            status="success" if done else "failed",
            block=block.ref,
            confirmations=len(self._chain.blocks) - block.ref.number,
            sender=sender,
            to=self._contracts.get(call.contract, NO_WALLET),
            created=None,
            contract=call.contract,
            method=call.function,
            value_wei="0",
            fee_wei="0",
            gas_price_wei="0",
            gas_used=GAS,
            gas_limit=GAS,
            nonce=block.nonces.get(sender, 1) - 1,
            input="0x",
            call=self._decoded(call),
            events=tuple(self._event(event) for event in block.events if event.tx_hash == tx_hash),
            failure=None if done else self._failure(sender, call, block.ref.number - 1),
        )

    def _decoded(self, call: ContractCall) -> Decoded:
        known = [parameter.split() for parameter in PARAMETERS.get(call.function, ())]
        rows = tuple(one(name, kind, value) for (name, kind), value in zip(known, call.args, strict=False))
        signature = f"{call.function}({','.join(kind for _, kind in known)})"
        return Decoded(call.contract, call.function, signature, "", rows)

    def _event(self, event: ChainEvent) -> EventSeen:
        said = Decoded(event.contract, event.name, f"{event.name}()", "", loose_arguments(event.args))
        return EventSeen(event.log_index, self._contracts.get(event.contract, NO_WALLET), said, (), "0x")

    def _failure(self, sender: Wallet, call: ContractCall, before: int) -> Failure:
        try:
            self._chain.simulate(sender, call)
        except TransactionReverted as refusal:
            said = Decoded(call.contract, refusal.error, f"{refusal.error}()", "", ())
            return Failure(said, str(refusal), before, True)
        return Failure(None, "the state it ran on is gone", None, False)

    async def account(self, address: Wallet) -> AccountSeen:
        self._chain.check_up()
        name = next((name for name, held in self._contracts.items() if held == address), None)
        sent = self._chain.nonce_of(address)
        if name is None:
            return AccountSeen(address, "wallet", None, "0", sent, 0, None, None)
        return AccountSeen(address, "ours", name, "0", sent, 1, Digest(ZERO_DIGEST), True)

    def about(self, contract: str) -> ContractAbout:
        entries = []
        for name, given in PARAMETERS.items():
            rows = [Argument(word, kind, "", "", "") for word, kind in map(str.split, given)]
            entries.append(AbiEntry("function", name, f"{name}()", "", "nonpayable", tuple(rows)))
        return ContractAbout(contract, "", "", tuple(entries) if contract == "DatanetRegistry" else ())

    async def events_naming(self, value: Wallet | Digest | int) -> list[ChainEvent]:
        self._chain.check_up()
        plain = ("purposes", "remaining", "expiresAt", "shareBps", "root", "manifestDigest", "recordsRoot", "message")
        return [
            event
            for block in self._chain.blocks
            for event in block.events
            if any(held == value and name not in plain for name, held in event.args.items())
        ]

    async def events_of(self, contract: str) -> list[ChainEvent]:
        self._chain.check_up()
        return [event for block in self._chain.blocks for event in block.events if event.contract == contract]

    async def views(self, calls: Sequence[ContractCall]) -> list[dict[str, Any] | None]:
        return [await self._view(call.function, *call.args) for call in calls]

    async def _view(self, function: str, *args: Any) -> dict[str, Any] | None:
        """From the events alone, so that it owes nothing to how the twin keeps its state."""
        if function == "mayUse":
            wallet, datanet, purposes = args
            return {"": (await self._chain.may_use(wallet, DatanetId(datanet), Purpose(purposes))).allowed}
        if function == "modelOf":
            made = [e.args for e in await self.events_of("ModelRegistry") if e.name == "ModelRegistered"]
            return next((dict(model) for model in made if model["modelId"] == args[0]), None)
        events = [e for e in await self.events_of("DatanetRegistry") if e.args.get("datanetId") == args[0]]
        if function == "grantOf":
            held = {"purposes": 0, "expiresAt": 0}
            for event in events:
                if event.args.get("grantee") == args[1] and event.name == "AccessGranted":
                    held = {key: event.args[key] for key in held}
                if event.args.get("grantee") == args[1] and event.name == "AccessRevoked":
                    held["purposes"] = event.args["remaining"]
            return held
        if not events or function != "datanetOf":
            return None
        moved = [e for e in await self.events_of("DatanetRegistry") if e.args.get("tokenId") == args[0]]
        published = [e.args["version"] for e in events if e.name == "VersionPublished"]
        return {"owner": moved[-1].args["to"], "version": max(published, default=0)}
