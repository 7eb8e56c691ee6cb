"""What the explorer's pages show, put together from the chain alone: nothing here has seen our database."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from backend.domain.errors import InvalidValue, NotFound
from backend.domain.explorer import BlockSeen, TransactionLine, TransactionSeen, loose_arguments
from backend.domain.explorer_pages import (
    AddressPage,
    CreditTotal,
    DatanetPage,
    EventLine,
    GrantLine,
    ModelLine,
    OwnedDatanet,
    TransactionsPage,
)
from backend.domain.types import (
    ALL_PURPOSES,
    DatanetId,
    Digest,
    Purpose,
    Wallet,
    parse_digest,
    purpose_names,
)
from backend.ports import ChainEvent, ChainExplorer, ContractCall

REGISTRY, MODELS = "DatanetRegistry", "ModelRegistry"
MOST_BLOCKS = 50
MOST_ROWS = 50  # of each list; totals count all
MOST_GRANTS = 100  # each takes a few questions to the node


@dataclass(frozen=True, slots=True)
class Exploring:
    explorer: ChainExplorer
    publisher: Wallet
    span_blocks: int  # how many blocks one page of an address's transactions reads

    # --- blocks and transactions --------------------------------------------------------------

    async def blocks(self, before: int | None, limit: int) -> tuple[int, list[BlockSeen]]:
        """(latest block's number, blocks below `before`, newest first)."""
        if not 1 <= limit <= MOST_BLOCKS:
            raise InvalidValue("limit", f"is 1 to {MOST_BLOCKS}")
        head = await self.explorer.head()
        top = head if before is None else min(before - 1, head)
        numbers = range(top, max(top - limit, -1), -1)
        return head, await self.explorer.blocks(numbers, transactions=False)

    async def block(self, which: str) -> BlockSeen:
        """By number or hash, with its transactions. Raises: InvalidValue, NotFound."""
        if which.isdecimal() and len(which) < 20:
            found = next(iter(await self.explorer.blocks([int(which)], transactions=True)), None)
        else:
            found = await self.explorer.block_named(parse_digest(which))
        if found is None:
            raise NotFound(f"block {which}")
        return replace(found, transactions=await self._with_outcome(found.transactions))

    async def transaction(self, tx_hash: Digest) -> TransactionSeen:
        """Raises: NotFound."""
        found = await self.explorer.transaction(tx_hash)
        if found is None:
            raise NotFound(f"transaction {tx_hash}")
        return found

    async def _with_outcome(self, lines: Sequence[TransactionLine]) -> tuple[TransactionLine, ...]:
        done = await self.explorer.succeeded([line.hash for line in lines])
        return tuple(replace(line, succeeded=done.get(line.hash)) for line in lines)

    # --- an address ---------------------------------------------------------------------------

    async def address(self, address: Wallet, before: int | None) -> AddressPage:
        account = await self.explorer.account(address)
        about = self.explorer.about(account.contract) if account.contract else None
        events = await self.explorer.events_naming(address)
        held = [e for e in events if e.name == "AccessGranted" and e.args["grantee"] == address]
        given = [e for e in events if e.name == "AccessGranted" and e.args["by"] == address]
        credits = [e for e in events if e.name == "Credited" and e.args["contributor"] == address]
        of_ours = await self.explorer.events_of(account.contract) if account.contract else []
        return AddressPage(
            account=account,
            about=about,
            datanets=_owned(events, address),
            grants_held=await self._grants(held),
            grants_given=await self._grants(given),
            credits=_lines(credits),
            credit_totals=await self._totals(credits),
            models=_lines([e for e in events if e.name == "ModelRegistered" and e.args["trainer"] == address]),
            checkpoints=_lines(
                [e for e in events if e.name == "CheckpointAnchored" and e.args["publisher"] == address]
            ),
            transactions=await self._transactions(address, [*events, *of_ours], before),
        )

    async def _transactions(
        self, address: Wallet, events: Sequence[ChainEvent], before: int | None
    ) -> TransactionsPage:
        """Of `span_blocks` blocks below `before`, each read whole: a node knows no list of them by address. What
        events name is added, and where a span holds nothing they say where to look next."""
        top = await self.explorer.head()
        last = top if before is None else max(min(before - 1, top), 0)
        known = {e.tx_hash for e in events}
        for _ in range(2):
            first = max(last - self.span_blocks + 1, 0)
            blocks = await self.explorer.blocks(range(last, first - 1, -1), transactions=True)
            rows = [
                line
                for block in blocks
                for line in reversed(block.transactions)
                if address in (line.sender, line.to) or line.hash in known
            ]
            earlier = [e.block.number for e in events if e.block.number < first]
            if rows or not earlier:
                break
            last = max(earlier)
        shown = rows[:MOST_ROWS]
        if len(rows) > len(shown):  # a block is on one page only
            shown = [r for r in rows if r.block_number >= shown[-1].block_number]
            first = shown[-1].block_number
        return TransactionsPage(await self._with_outcome(shown), first, last, first if first > 0 else None)

    async def _totals(self, credits: Sequence[ChainEvent]) -> tuple[CreditTotal, ...]:
        if not credits:
            return ()
        by_us = {e.tx_hash for e in await self.explorer.events_naming(self.publisher) if e.name == "CheckpointAnchored"}
        sums: dict[tuple[int, bool], tuple[int, int]] = {}
        for credit in credits:
            key = int(credit.args["datanetId"]), credit.tx_hash in by_us
            answers, bps = sums.get(key, (0, 0))
            sums[key] = answers + 1, bps + int(credit.args["shareBps"])
        return tuple(CreditTotal(*key, *sums[key]) for key in sorted(sums))

    async def _grants(self, granted: Sequence[ChainEvent]) -> tuple[GrantLine, ...]:
        """Newest first, one for each datanet and grantee, as the registry has it now."""
        newest = {(e.args["datanetId"], e.args["grantee"]): e for e in granted}
        chosen = sorted(newest.values(), key=_place, reverse=True)[:MOST_GRANTS]
        purposes = [p for p in Purpose if p & ALL_PURPOSES]
        calls = []
        for event in chosen:
            datanet, grantee = event.args["datanetId"], event.args["grantee"]
            calls.append(ContractCall(REGISTRY, "grantOf", (datanet, grantee)))
            calls += [ContractCall(REGISTRY, "mayUse", (grantee, datanet, int(p))) for p in purposes]
        answers = await self.explorer.views(calls)
        (latest,) = await self.explorer.blocks([await self.explorer.head()], transactions=False)
        lines = []
        for number, event in enumerate(chosen):
            grant, *may = answers[number * (len(purposes) + 1) : (number + 1) * (len(purposes) + 1)]
            held = int((grant or {}).get("purposes", 0))
            expires_at = int((grant or {}).get("expiresAt", 0)) or None
            allowed = sum(int(p) for p, said in zip(purposes, may, strict=True) if said and any(said.values()))
            live = bool(held & allowed) and (expires_at is None or expires_at > latest.timestamp)
            said = purpose_names(held & allowed if live else held)
            grantee, by = event.args["grantee"], event.args["by"]
            lines.append(
                GrantLine(
                    event.args["datanetId"], grantee, by, tuple(said), expires_at, live, event.tx_hash,
                    event.block.number,
                )
            )  # fmt: skip
        return tuple(lines)

    # --- a datanet ----------------------------------------------------------------------------

    async def datanet(self, datanet: DatanetId) -> DatanetPage:
        """Raises: NotFound."""
        (now,) = await self.explorer.views([ContractCall(REGISTRY, "datanetOf", (datanet,))])
        if now is None:
            raise NotFound(f"datanet {datanet}")
        named = await self.explorer.events_naming(datanet)
        events = [e for e in named if datanet in (e.args.get("datanetId"), e.args.get("tokenId"))]
        created = next((e for e in events if e.name == "DatanetCreated"), None)
        terms = next((e for e in reversed(events) if e.name == "TermsSet"), created)
        said = [a for a in loose_arguments(terms.args if terms else {}) if a.name not in ("datanetId", "owner", "name")]
        return DatanetPage(
            datanet_id=datanet,
            name=created.args["name"] if created else None,
            owner=now["owner"],
            now=loose_arguments(now),
            terms=tuple(said),
            versions=_lines([e for e in events if e.name == "VersionPublished"]),
            grants=await self._grants([e for e in events if e.name == "AccessGranted"]),
            models=await self._models([e for e in events if e.name == "ModelTrainedOn"]),
            activity=_lines(events),
        )

    async def _models(self, trained: Sequence[ChainEvent]) -> tuple[ModelLine, ...]:
        chosen = sorted(trained, key=_place, reverse=True)[:MOST_ROWS]
        answers = await self.explorer.views([ContractCall(MODELS, "modelOf", (e.args["modelId"],)) for e in chosen])
        return tuple(
            ModelLine(
                event.args["modelId"],
                model["trainer"],
                model["adapterDigest"],
                model.get("baseModel"),
                event.tx_hash,
                event.block.number,
            )
            for event, model in zip(chosen, answers, strict=True)
            if model is not None
        )


def _place(event: ChainEvent) -> tuple[int, int]:
    return event.block.number, event.log_index


def _lines(events: Sequence[ChainEvent]) -> tuple[EventLine, ...]:
    """The newest, newest first."""
    return tuple(
        EventLine(e.contract, e.name, loose_arguments(e.args), e.tx_hash, e.block.number, e.block.timestamp)
        for e in sorted(events, key=_place, reverse=True)[:MOST_ROWS]
    )


def _owned(events: Sequence[ChainEvent], address: Wallet) -> tuple[OwnedDatanet, ...]:
    """Each transfer to or from an address names it, so the last one of a token says whether it still is there."""
    names = {e.args["datanetId"]: str(e.args["name"]) for e in events if e.name == "DatanetCreated"}
    last = {e.args["tokenId"]: e for e in events if e.name == "Transfer"}
    return tuple(
        OwnedDatanet(token, names.get(token), e.block.number, e.tx_hash)
        for token, e in sorted(last.items())
        if e.args["to"] == address
    )
