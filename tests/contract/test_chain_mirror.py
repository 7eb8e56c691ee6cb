"""What every `ChainMirror` does. Histories are drawn from seeds: a mirror that followed branches and
came back must equal one that only ever saw the last branch."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from backend.domain.consent import PLAIN_TERMS, Terms
from backend.domain.datanet import Manifest, Shard
from backend.domain.errors import Conflict
from backend.domain.types import NO_WALLET, BlockRef, DatanetId, Digest, Purpose, Wallet
from backend.drivers.db.engine import Database
from backend.drivers.db.mirror import PgChainMirror
from backend.drivers.db.versions import PgVersionStore
from backend.drivers.memory.mirror import MemoryChainMirror
from backend.drivers.memory.versions import MemoryVersionStore
from backend.ports import ChainEvent, ChainMirror, DatanetRow, GrantRow, RequestRow, VersionRow, VersionStore

ALICE = Wallet("0x70997970C51812dc3A010C7d01b50e0d17dc79C8")
BOB = Wallet("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC")
CAROL = Wallet("0x90F79bf6EB2c4f870365E785982E1f101E93b906")
ONE, TWO = DatanetId(1), DatanetId(2)


@dataclass
class Stores:
    mirror: ChainMirror
    versions: VersionStore


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.integration)])
def stores(request: pytest.FixtureRequest) -> Stores:
    if request.param == "memory":
        versions = MemoryVersionStore()
        return Stores(MemoryChainMirror(versions), versions)
    database: Database = request.getfixturevalue("database")
    return Stores(PgChainMirror(database), PgVersionStore(database))


@pytest.fixture
def mirror(stores: Stores) -> ChainMirror:
    return stores.mirror


def digest(*parts: int) -> Digest:
    return Digest("0x" + "".join(f"{part:08x}" for part in parts).rjust(64, "0"))


def block(number: int, branch: int = 0) -> BlockRef:
    return BlockRef(number, digest(1, branch, number), 1_700_000_000 + number)


def event(at: BlockRef, log_index: int, kind: str, contract: str = "DatanetRegistry", /, **args: Any) -> ChainEvent:
    return ChainEvent(at, tx(at, log_index), log_index, contract, kind, args)


def tx(at: BlockRef, log_index: int) -> Digest:
    return digest(2, int(at.hash, 16) % 2**32, at.number, log_index)


def moved(at: BlockRef, log_index: int, source: Wallet, to: Wallet, token: int = 1, by: str = "DatanetRegistry") -> Any:
    args: dict[str, Any] = {"from": source, "to": to, "tokenId": token}
    return event(at, log_index, "Transfer", by, **args)


def created(at: BlockRef, log_index: int = 0, datanet: int = 1, owner: Wallet = ALICE, name: str = "cardio") -> Any:
    yield event(at, log_index, "DatanetCreated", datanetId=datanet, owner=owner, name=name)
    yield moved(at, log_index + 1, NO_WALLET, owner, datanet)


def terms(at: BlockRef, index: int, version: int = 1, purposes: int = 15) -> ChainEvent:
    return event(at, index, "TermsSet", datanetId=1, termsVersion=version, licenceDigest=digest(3), licenceCid="bafyl",
                 purposes=purposes, pricePer1000Answers=250, currency="0x455552", keepsModels=True)  # fmt: skip


def requested(at: BlockRef, index: int, who: Wallet, purposes: int = 3, message: str = "please") -> ChainEvent:
    return event(at, index, "AccessRequested", datanetId=1, requester=who, purposes=purposes, expiresAt=0,
                 termsVersion=1, message=message)  # fmt: skip


def granted(at: BlockRef, index: int, who: Wallet, purposes: int = 3, expires: int = 0, datanet: int = 1) -> ChainEvent:
    return event(at, index, "AccessGranted", datanetId=datanet, grantee=who, by=ALICE, purposes=purposes,
                 expiresAt=expires, termsVersion=1)  # fmt: skip


def revoked(at: BlockRef, index: int, who: Wallet, purposes: int, remaining: int) -> ChainEvent:
    return event(at, index, "AccessRevoked", datanetId=1, grantee=who, by=ALICE, purposes=purposes,
                 remaining=remaining)  # fmt: skip


def version_row(manifest_digest: Digest) -> VersionRow:
    shards = (Shard("bafyshard", 10, digest(4), 42, ALICE),)
    manifest = Manifest(20931, ALICE, ONE, 1, "text", 42, digest(5), shards)
    return VersionRow(ONE, 1, ALICE, manifest_digest, "bafym", manifest, b"key", "prepared", 0, datetime.now(UTC))


# --- what events add up to -----------------------------------------------------------------------


async def test_an_empty_mirror_has_no_tip_and_no_datanets(mirror: ChainMirror) -> None:
    assert await mirror.tip() is None
    assert await mirror.datanets() == []
    assert await mirror.datanet(ONE) is None


async def test_a_created_datanet_is_listed(mirror: ChainMirror) -> None:
    await mirror.append([*created(block(5))], block(9))
    when = datetime.fromtimestamp(1_700_000_005, UTC)
    expected = DatanetRow(
        datanet=ONE,
        owner=ALICE,
        name="cardio",
        version=0,
        manifest_digest=None,
        publisher=NO_WALLET,
        public_purposes=Purpose.NONE,
        terms_version=0,
        terms=PLAIN_TERMS,
        licence_cid="",
        frozen=False,
        offered_to=NO_WALLET,
        managers=(),
        created_at=when,
        block_number=5,
        records=0,
        passages=0,
    )
    assert await mirror.datanets() == [expected]
    assert await mirror.datanet(ONE) == expected
    assert await mirror.tip() == block(9)


async def test_a_published_version_brings_the_records_and_passages_we_know_of(stores: Stores) -> None:
    publish = event(block(6), 0, "VersionPublished", datanetId=1, version=1, manifestDigest=digest(77),
                    recordsRoot=digest(5), manifestCid="bafym")  # fmt: skip
    await stores.mirror.append([*created(block(5)), publish], block(6))
    unknown = await stores.mirror.datanet(ONE)
    await stores.versions.add_version(version_row(digest(77)))
    await stores.versions.set_status(digest(77), "indexed", 99)
    known = await stores.mirror.datanet(ONE)
    assert unknown is not None
    assert known is not None
    assert (unknown.version, unknown.manifest_digest, unknown.records, unknown.passages) == (1, digest(77), 0, 0)
    assert unknown.publisher == ALICE
    assert (known.records, known.passages) == (42, 99)


async def test_ownership_follows_the_token(mirror: ChainMirror) -> None:
    await mirror.append([*created(block(5)), moved(block(6), 0, ALICE, BOB)], block(6))
    row = await mirror.datanet(ONE)
    assert row is not None
    assert row.owner == BOB


async def test_a_sold_datanet_takes_no_grant_and_no_request_along(mirror: ChainMirror) -> None:
    purposes = event(block(5), 2, "PublicPurposesSet", datanetId=1, purposes=2)
    history = [*created(block(5)), purposes, *created(block(5), 3, datanet=2), granted(block(6), 0, BOB),
               granted(block(6), 1, BOB, datanet=2), requested(block(6), 2, CAROL)]  # fmt: skip
    await mirror.append([*history, moved(block(7), 0, ALICE, BOB), granted(block(7), 1, CAROL, 4)], block(7))
    assert [(g.grantee, g.purposes) for g in await mirror.grants_of(ONE)] == [(CAROL, Purpose.EVALUATE)]
    assert [g.datanet for g in await mirror.grants_to(BOB)] == [TWO]
    assert await mirror.requests_of(ONE) == []
    row = await mirror.datanet(ONE)
    assert row is not None
    assert row.public_purposes == Purpose.RETRIEVE
    await mirror.rewind(block(6))  # the sale never happened
    assert [g.grantee for g in await mirror.grants_of(ONE)] == [BOB]
    assert [r.requester for r in await mirror.requests_of(ONE)] == [CAROL]


async def test_public_purposes_are_the_last_ones_set(mirror: ChainMirror) -> None:
    sets = [event(block(6), i, "PublicPurposesSet", datanetId=1, purposes=p) for i, p in enumerate((3, 2))]
    await mirror.append([*created(block(5)), *sets], block(6))
    row = await mirror.datanet(ONE)
    assert row is not None
    assert row.public_purposes == Purpose.RETRIEVE


async def test_a_grant_replaces_what_the_grantee_held(mirror: ChainMirror) -> None:
    await mirror.append([*created(block(5)), granted(block(6), 0, BOB, 15), granted(block(7), 0, BOB, 2, 99)], block(7))
    expected = GrantRow(ONE, BOB, Purpose.RETRIEVE, 99, ALICE, 1, tx(block(7), 0), 7)
    assert await mirror.grants_of(ONE) == [expected]


async def test_a_partly_revoked_grant_keeps_the_rest(mirror: ChainMirror) -> None:
    history = [*created(block(5)), granted(block(6), 0, BOB, 3), revoked(block(7), 0, BOB, 1, 2)]
    await mirror.append(history, block(7))
    assert await mirror.grants_of(ONE) == [GrantRow(ONE, BOB, Purpose.RETRIEVE, 0, ALICE, 1, tx(block(6), 0), 6)]


async def test_a_revoked_grant_is_gone(mirror: ChainMirror) -> None:
    history = [*created(block(5)), granted(block(6), 0, BOB, 3), revoked(block(7), 0, BOB, 3, 0)]
    await mirror.append(history, block(7))
    assert await mirror.grants_of(ONE) == []
    assert await mirror.grants_to(BOB) == []


async def test_a_wallet_sees_its_grants_on_every_datanet(mirror: ChainMirror) -> None:
    history = [*created(block(5)), *created(block(6), datanet=2), granted(block(7), 0, BOB, 1, datanet=2),
               granted(block(7), 1, BOB, 2), granted(block(7), 2, CAROL, 4)]  # fmt: skip
    await mirror.append(history, block(7))
    assert [(g.datanet, g.purposes) for g in await mirror.grants_to(BOB)] == [(ONE, 2), (TWO, 1)]


async def test_a_request_waits_and_a_new_one_replaces_it(mirror: ChainMirror) -> None:
    await mirror.append([*created(block(5)), requested(block(6), 0, BOB, 1)], block(6))
    await mirror.append([requested(block(7), 0, BOB, 3, "again")], block(7))
    expected = RequestRow(ONE, BOB, Purpose.TRAIN | Purpose.RETRIEVE, 0, 1, "again", tx(block(7), 0), 7)
    assert await mirror.requests_of(ONE) == [expected]


async def test_a_grant_or_a_revocation_answers_the_request(mirror: ChainMirror) -> None:
    asked = [requested(block(6), 0, BOB), requested(block(6), 1, CAROL)]
    await mirror.append([*created(block(5)), *asked, granted(block(7), 0, BOB)], block(7))
    assert [r.requester for r in await mirror.requests_of(ONE)] == [CAROL]
    await mirror.append([revoked(block(8), 0, CAROL, 1, 0)], block(8))
    assert await mirror.requests_of(ONE) == []


async def test_new_terms_end_requests_and_a_grant_names_those_its_holder_accepted(mirror: ChainMirror) -> None:
    history = [*created(block(5)), terms(block(5), 2), granted(block(6), 0, BOB, 3), requested(block(6), 1, CAROL)]
    await mirror.append([*history, terms(block(7), 0, 2, 2)], block(7))
    row = await mirror.datanet(ONE)
    assert row is not None
    assert (row.terms_version, row.licence_cid) == (2, "bafyl")
    assert row.terms == Terms(digest(3), Purpose.RETRIEVE, 250, "EUR", True)
    assert await mirror.requests_of(ONE) == []
    assert [(g.purposes, g.terms_version) for g in await mirror.grants_of(ONE)] == [(3, 1)]
    accepted = event(block(8), 0, "TermsAccepted", datanetId=1, grantee=BOB, termsVersion=2, purposes=2)
    await mirror.append([accepted], block(8))
    assert [(g.purposes, g.terms_version) for g in await mirror.grants_of(ONE)] == [(2, 2)]


async def test_managers_an_offer_and_a_freeze_are_shown_and_a_sale_ends_the_first_two(mirror: ChainMirror) -> None:
    history = [
        *created(block(5)),
        event(block(6), 0, "ManagerSet", datanetId=1, manager=BOB, allowed=True),
        event(block(6), 1, "ManagerSet", datanetId=1, manager=CAROL, allowed=True),
        event(block(6), 2, "ManagerSet", datanetId=1, manager=BOB, allowed=False),
        event(block(6), 3, "Approval", owner=ALICE, approved=BOB, tokenId=1),
        event(block(6), 4, "DatanetFrozen", datanetId=1, by=CAROL),
    ]
    await mirror.append(history, block(6))
    row = await mirror.datanet(ONE)
    assert row is not None
    assert (row.managers, row.offered_to, row.frozen) == ((CAROL,), BOB, True)
    await mirror.append([moved(block(7), 0, ALICE, BOB)], block(7))
    row = await mirror.datanet(ONE)
    assert row is not None
    assert (row.managers, row.offered_to, row.frozen) == ((), NO_WALLET, True)
    await mirror.append([event(block(8), 0, "DatanetUnfrozen", datanetId=1)], block(8))
    row = await mirror.datanet(ONE)
    assert row is not None
    assert not row.frozen


@pytest.mark.parametrize("answer", ["RequestApproved", "RequestDenied", "RequestWithdrawn"])
async def test_an_answered_request_waits_no_more(mirror: ChainMirror, answer: str) -> None:
    waiting = [*created(block(5)), requested(block(6), 0, BOB), requested(block(6), 1, CAROL)]
    await mirror.append([*waiting, event(block(7), 0, answer, datanetId=1, requester=BOB, by=ALICE)], block(7))
    assert [r.requester for r in await mirror.requests_of(ONE)] == [CAROL]


async def test_a_text_no_database_takes_stops_nobody(mirror: ChainMirror) -> None:
    nasty = [*created(block(5), name="a\x00b"), requested(block(6), 0, BOB, message="\ud800 \x00 ok")]
    await mirror.append(nasty, block(6))
    row = await mirror.datanet(ONE)
    assert row is not None
    assert row.name == "a\ufffdb"
    assert [r.message for r in await mirror.requests_of(ONE)] == ["\ufffd \ufffd ok"]


async def test_numbers_as_large_as_solidity_allows_are_kept(mirror: ChainMirror) -> None:
    await mirror.append([*created(block(5)), granted(block(6), 0, BOB, 2**32 - 1, 2**48 - 1)], block(6))
    (grant,) = await mirror.grants_of(ONE)
    assert (int(grant.purposes), grant.expires_at) == (2**32 - 1, 2**48 - 1)


# --- raw events ----------------------------------------------------------------------------------


async def test_events_are_found_by_name_and_arguments_newest_first(mirror: ChainMirror) -> None:
    credited = [
        event(block(number), index, "Credited", "ReceiptLedger", contributor=who, datanetId=1, shareBps=2**255 + number)
        for number, index, who in ((3, 0, ALICE), (3, 1, BOB), (4, 0, ALICE))
    ]
    await mirror.append([*credited, *created(block(5))], block(5))
    assert await mirror.events_named("Credited", contributor=ALICE) == [credited[2], credited[0]]
    assert await mirror.events_named("Credited", limit=2) == [credited[2], credited[1]]
    assert await mirror.events_named("Credited", contributor=ALICE, datanetId=2) == []
    assert await mirror.events_named("Credited", nobody=ALICE) == []


async def test_another_contracts_event_changes_no_datanet(mirror: ChainMirror) -> None:
    stray = moved(block(6), 0, ALICE, BOB, by="ModelRegistry")
    await mirror.append([*created(block(5)), stray], block(6))
    row = await mirror.datanet(ONE)
    assert row is not None
    assert row.owner == ALICE


# --- blocks --------------------------------------------------------------------------------------


async def test_the_walk_back_offers_indexed_blocks_highest_first(mirror: ChainMirror) -> None:
    await mirror.append([*created(block(3))], block(5))
    await mirror.append([requested(block(7), 0, BOB)], block(8))
    assert await mirror.blocks_before(8, 10) == [block(7), block(5), block(3)]
    assert await mirror.blocks_before(8, 2) == [block(7), block(5)]


async def test_what_another_indexer_stored_meanwhile_is_stored_once(mirror: ChainMirror) -> None:
    history = [*created(block(5)), requested(block(6), 0, BOB), requested(block(8), 0, CAROL)]
    await mirror.append(history[:3], block(6))
    await mirror.append(history[:3], block(6))
    await mirror.append(history, block(9))
    await mirror.append([], block(4))
    assert len(await mirror.events_named("AccessRequested")) == 2
    assert await mirror.tip() == block(9)


async def test_another_branch_is_refused_until_the_mirror_is_rewound(mirror: ChainMirror) -> None:
    await mirror.append([*created(block(5))], block(6))
    with pytest.raises(Conflict):
        await mirror.append([requested(block(6, branch=1), 0, BOB)], block(8, branch=1))
    with pytest.raises(Conflict):
        await mirror.append([], block(6, branch=1))
    assert await mirror.tip() == block(6)
    assert await mirror.requests_of(ONE) == []


async def test_an_event_above_its_boundary_stores_nothing(mirror: ChainMirror) -> None:
    with pytest.raises(ValueError, match="boundary"):
        await mirror.append([*created(block(5))], block(4))
    assert await mirror.tip() is None


async def test_a_rewind_forgets_what_lay_above(mirror: ChainMirror) -> None:
    await mirror.append([*created(block(5)), granted(block(6), 0, BOB, 3)], block(6))
    await mirror.append([revoked(block(7), 0, BOB, 3, 0), *created(block(8), datanet=2)], block(9))
    await mirror.rewind(block(6))
    assert await mirror.tip() == block(6)
    assert [g.grantee for g in await mirror.grants_of(ONE)] == [BOB]
    assert await mirror.datanet(TWO) is None


async def test_a_rewind_to_a_block_of_another_branch_drops_ours_at_that_height(mirror: ChainMirror) -> None:
    await mirror.append([*created(block(5)), granted(block(6), 0, BOB, 3)], block(6))
    await mirror.rewind(block(6, branch=1))
    assert await mirror.tip() == block(6, branch=1)
    assert await mirror.grants_of(ONE) == []


async def test_a_rewind_to_nothing_forgets_everything(mirror: ChainMirror) -> None:
    await mirror.append([*created(block(0))], block(6))
    await mirror.rewind(None)
    assert await mirror.tip() is None
    assert await mirror.datanets() == []
    assert await mirror.events_named("DatanetCreated") == []


# --- the property --------------------------------------------------------------------------------


class Chain:
    """A chain that forks: draws plausible registry events, and knows its canonical ones."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self.branch = 0
        self.blocks: list[tuple[BlockRef, list[ChainEvent]]] = []

    def mine(self, count: int) -> None:
        for _ in range(count):
            at = block(len(self.blocks), self.branch)
            events: list[ChainEvent] = []
            self.blocks.append((at, events))
            for _ in range(self.draw.randrange(4)):
                events += list(self._something(at, len(events)))

    def fork(self, depth: int) -> None:
        self.branch += 1
        del self.blocks[max(0, len(self.blocks) - depth) :]

    def events(self, first: int = 0) -> list[ChainEvent]:
        return [event for at, events in self.blocks for event in events if at.number >= first]

    def _something(self, at: BlockRef, index: int) -> Iterator[ChainEvent]:
        who, other = self.draw.choice((ALICE, BOB, CAROL)), self.draw.choice((ALICE, BOB, CAROL))
        number, bits, left = self.draw.randrange(1, 4), self.draw.randrange(16), self.draw.randrange(16)
        kinds: dict[str, Callable[[], dict[str, Any]]] = {
            "AccessRequested": lambda: {"requester": who, "purposes": bits, "expiresAt": left, "termsVersion": 1,
                                        "message": f"m{left}"},
            "RequestApproved": lambda: {"requester": who, "by": other},
            "RequestDenied": lambda: {"requester": who, "by": other},
            "RequestWithdrawn": lambda: {"requester": who},
            "AccessGranted": lambda: {
                "grantee": who, "by": other, "purposes": bits, "expiresAt": left, "termsVersion": left,
            },
            "TermsSet": lambda: {
                "termsVersion": left, "licenceDigest": digest(left), "licenceCid": "bafy", "purposes": bits or 1,
                "pricePer1000Answers": left, "currency": "0x455552" if left else "0x000000", "keepsModels": bool(bits),
            },
            "TermsAccepted": lambda: {"grantee": who, "termsVersion": left, "purposes": bits or 1},
            "ManagerSet": lambda: {"manager": who, "allowed": bool(bits % 2)},
            "DatanetFrozen": lambda: {"by": who},
            "DatanetUnfrozen": dict,
            "AccessRevoked": lambda: {"grantee": who, "by": other, "purposes": bits, "remaining": left & bits},
            "PublicPurposesSet": lambda: {"purposes": bits},
            "VersionPublished": lambda: {"version": bits, "manifestDigest": digest(bits), "recordsRoot": digest(left),
                                         "manifestCid": "bafy"},
        }  # fmt: skip
        if not any(e.name == "DatanetCreated" and e.args["datanetId"] == number for e in self.events()):
            yield from created(at, index, number, who, f"datanet {number}")
        elif self.draw.random() < 0.07:
            yield moved(at, index, who, other, number)
        else:
            name = self.draw.choice([*sorted(kinds), "AccessGranted", "AccessGranted"])
            yield event(at, index, name, datanetId=number, **kinds[name]())


async def contents(mirror: ChainMirror) -> dict[str, Any]:
    numbers = [DatanetId(n) for n in range(1, 4)]
    names = ("DatanetCreated", "Transfer", "AccessGranted", "AccessRevoked", "AccessRequested", "VersionPublished")
    return {
        "tip": await mirror.tip(),
        "datanets": await mirror.datanets(),
        "grants": [await mirror.grants_of(n) for n in numbers],
        "requests": [await mirror.requests_of(n) for n in numbers],
        "held": [await mirror.grants_to(w) for w in (ALICE, BOB, CAROL)],
        "events": [await mirror.events_named(name) for name in names],
    }


@pytest.mark.parametrize("seed", range(10))
async def test_a_mirror_that_followed_branches_equals_one_indexed_from_block_0(mirror: ChainMirror, seed: int) -> None:
    chain = Chain(seed)
    for _ in range(8):
        chain.mine(chain.draw.randrange(1, 8))
        await _follow(mirror, chain)
        chain.fork(chain.draw.randrange(0, 6))
    chain.mine(30)  # more than any fork took: there is a higher head to follow
    await _follow(mirror, chain)

    fresh = MemoryChainMirror(MemoryVersionStore())
    await fresh.append(chain.events(), chain.blocks[-1][0])
    assert await contents(mirror) == await contents(fresh)
    assert any((await contents(mirror))["grants"])  # the seeds do draw something to compare

    await mirror.rewind(None)
    await mirror.append(chain.events(), chain.blocks[-1][0])
    assert await contents(mirror) == await contents(fresh)


async def _follow(mirror: ChainMirror, chain: Chain) -> None:
    """Back to a block both know, then forward in steps, as the indexer does."""
    canonical = {at.number: at for at, _ in chain.blocks}
    tip = await mirror.tip()
    if tip is not None and canonical.get(tip.number) != tip:
        shared = [b for b in await mirror.blocks_before(tip.number, 100) if canonical.get(b.number) == b]
        tip = shared[0] if shared else None
        await mirror.rewind(tip)
    first = 0 if tip is None else tip.number + 1
    while first < len(chain.blocks):
        last = min(len(chain.blocks) - 1, first + chain.draw.randrange(3))
        step = [event for event in chain.events(first) if event.block.number <= last]
        await mirror.append(step, chain.blocks[last][0])
        first = last + 1
