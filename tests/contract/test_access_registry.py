"""What every `AccessRegistry` does, on the chain in memory and on the contracts themselves."""

import random

import pytest

from backend.domain.errors import ChainUnavailable, NotFound, TransactionReverted
from backend.domain.mirror import datanet_of, fold
from backend.domain.types import NO_WALLET, DatanetId, Digest, Permission, Purpose
from tests.chain_fixtures import ChainHand, create_datanet

OWNER, READER, STRANGER, BUYER = 0, 1, 2, 3
TRAIN, RETRIEVE, EVALUATE, EXPORT = Purpose.TRAIN, Purpose.RETRIEVE, Purpose.EVALUATE, Purpose.EXPORT
MANIFEST, RECORDS = Digest("0x" + "ab" * 32), Digest("0x" + "cd" * 32)


async def allowed(chain: ChainHand, who: int, datanet: DatanetId, purpose: Purpose) -> bool:
    return (await chain.access.may_use(chain.wallets[who], datanet, purpose)).allowed


async def grant(
    chain: ChainHand, datanet: DatanetId, who: int, purposes: Purpose, expires_at: int = 0, by: int = OWNER
) -> None:
    await chain.send(by, "DatanetRegistry", "grant", datanet, chain.wallets[who], int(purposes), expires_at)


async def revoke(chain: ChainHand, datanet: DatanetId, who: int, purposes: Purpose, by: int = OWNER) -> None:
    await chain.send(by, "DatanetRegistry", "revoke", datanet, chain.wallets[who], int(purposes))


async def sell(chain: ChainHand, datanet: DatanetId, seller: int, buyer: int) -> int:
    """Returns: the block."""
    parties = chain.wallets[seller], chain.wallets[buyer]
    await chain.send(seller, "DatanetRegistry", "approve", parties[1], datanet)
    return (await chain.send(buyer, "DatanetRegistry", "transferFrom", *parties, datanet)).block.number


async def test_the_owner_may_do_everything_and_a_stranger_nothing(chain: ChainHand) -> None:
    datanet = await create_datanet(chain, OWNER)
    for purpose in (TRAIN, RETRIEVE, EVALUATE, EXPORT):
        assert await allowed(chain, OWNER, datanet, purpose)
        assert not await allowed(chain, STRANGER, datanet, purpose)


async def test_a_grant_allows_its_purposes_and_no_other(chain: ChainHand) -> None:
    datanet = await create_datanet(chain, OWNER)
    await grant(chain, datanet, READER, RETRIEVE | EVALUATE)
    assert await allowed(chain, READER, datanet, RETRIEVE)
    assert await allowed(chain, READER, datanet, RETRIEVE | EVALUATE)
    assert not await allowed(chain, READER, datanet, RETRIEVE | TRAIN)
    assert not await allowed(chain, STRANGER, datanet, RETRIEVE)


async def test_a_grant_replaces_the_one_before(chain: ChainHand) -> None:
    datanet = await create_datanet(chain, OWNER)
    await grant(chain, datanet, READER, RETRIEVE | EVALUATE)
    await grant(chain, datanet, READER, TRAIN)
    assert await allowed(chain, READER, datanet, TRAIN)
    assert not await allowed(chain, READER, datanet, RETRIEVE)


async def test_a_revocation_counts_from_its_block(chain: ChainHand) -> None:
    datanet = await create_datanet(chain, OWNER)
    await grant(chain, datanet, READER, RETRIEVE | TRAIN)
    before = await chain.access.may_use(chain.wallets[READER], datanet, RETRIEVE)
    await revoke(chain, datanet, READER, RETRIEVE)
    after = await chain.access.may_use(chain.wallets[READER], datanet, RETRIEVE)
    assert (before.allowed, after.allowed) == (True, False)
    assert before.block.number < after.block.number
    assert await allowed(chain, READER, datanet, TRAIN)


async def test_public_purposes_are_everybodys_until_closed(chain: ChainHand) -> None:
    datanet = await create_datanet(chain, OWNER, public=RETRIEVE)
    assert await allowed(chain, STRANGER, datanet, RETRIEVE)
    await grant(chain, datanet, READER, TRAIN)
    assert await allowed(chain, READER, datanet, RETRIEVE | TRAIN)  # bit by bit, public or granted
    await chain.send(OWNER, "DatanetRegistry", "setPublicPurposes", datanet, 0)
    assert not await allowed(chain, STRANGER, datanet, RETRIEVE)
    assert not await allowed(chain, READER, datanet, RETRIEVE)


async def test_an_approved_request_grants_and_a_denied_one_does_not(chain: ChainHand) -> None:
    datanet = await create_datanet(chain, OWNER)
    for who in (READER, STRANGER):
        await chain.send(who, "DatanetRegistry", "requestAccess", datanet, 1, int(RETRIEVE | TRAIN), 0, "please")
    await chain.send(OWNER, "DatanetRegistry", "approveRequest", datanet, chain.wallets[READER], int(RETRIEVE), 0)
    await chain.send(OWNER, "DatanetRegistry", "denyRequest", datanet, chain.wallets[STRANGER])
    assert await allowed(chain, READER, datanet, RETRIEVE)
    assert not await allowed(chain, READER, datanet, TRAIN)
    assert not await allowed(chain, STRANGER, datanet, RETRIEVE)


async def test_a_grant_ends_when_a_blocks_time_says_so_and_stays_true_of_the_time_before(chain: ChainHand) -> None:
    datanet = await create_datanet(chain, OWNER)
    expires_at = (await chain.events.head()).timestamp + 20
    await grant(chain, datanet, READER, RETRIEVE, expires_at)
    before = await chain.access.may_use(chain.wallets[READER], datanet, RETRIEVE)
    await chain.pass_seconds(21)
    after = await chain.access.may_use(chain.wallets[READER], datanet, RETRIEVE)
    assert (before.allowed, after.allowed) == (before.block.timestamp < expires_at, False)
    for seen in (before, after):
        assert await chain.access.permission_at(seen.wallet, datanet, RETRIEVE, seen.block.number) == seen


async def test_permission_follows_the_token(chain: ChainHand) -> None:
    datanet = await create_datanet(chain, OWNER)
    sold = await sell(chain, datanet, OWNER, READER)
    assert await allowed(chain, READER, datanet, EXPORT)
    assert not await allowed(chain, OWNER, datanet, EXPORT)
    assert (await chain.access.current_version(datanet)).owner == chain.wallets[READER]
    earlier = await chain.access.permission_at(chain.wallets[OWNER], datanet, EXPORT, sold - 1)
    assert earlier.allowed


async def test_a_sold_datanet_takes_nobody_along(chain: ChainHand) -> None:
    datanet = await create_datanet(chain, OWNER, public=EVALUATE)
    for who in (OWNER, READER, STRANGER):  # the seller lets in itself and a wallet nobody knows of
        await grant(chain, datanet, who, TRAIN | RETRIEVE)
    sold = await sell(chain, datanet, OWNER, BUYER)
    for who in (OWNER, READER, STRANGER):
        assert not await allowed(chain, who, datanet, TRAIN)
        assert not await allowed(chain, who, datanet, RETRIEVE)
        assert await allowed(chain, who, datanet, EVALUATE)  # public purposes are the datanet's own
        before, after = [
            await chain.access.permission_at(chain.wallets[who], datanet, TRAIN, block) for block in (sold - 1, sold)
        ]
        assert (before.allowed, after.allowed) == (True, False)
    await grant(chain, datanet, READER, RETRIEVE, by=BUYER)
    assert await allowed(chain, READER, datanet, RETRIEVE)
    assert not await allowed(chain, READER, datanet, TRAIN)


async def test_no_part_of_a_sellers_grant_comes_back(chain: ChainHand) -> None:
    """Neither by a partial revocation of the buyer's nor by selling the datanet back."""
    datanet = await create_datanet(chain, OWNER)
    await grant(chain, datanet, READER, TRAIN | RETRIEVE)
    await sell(chain, datanet, OWNER, BUYER)
    await revoke(chain, datanet, READER, TRAIN, by=BUYER)
    block = await sell(chain, datanet, BUYER, OWNER)
    for purpose in (TRAIN, RETRIEVE):
        assert not await allowed(chain, READER, datanet, purpose)
        for at in (block - 1, block):
            assert not (await chain.access.permission_at(chain.wallets[READER], datanet, purpose, at)).allowed


async def test_a_request_to_the_seller_is_not_the_buyers_to_approve(chain: ChainHand) -> None:
    datanet = await create_datanet(chain, OWNER)
    await chain.send(READER, "DatanetRegistry", "requestAccess", datanet, 1, int(TRAIN), 0, "dear seller")
    await sell(chain, datanet, OWNER, BUYER)
    yes = (BUYER, "DatanetRegistry", "approveRequest", datanet, chain.wallets[READER], int(TRAIN), 0)
    with pytest.raises(TransactionReverted, match="DatanetRegistryNoRequest"):
        await chain.send(*yes)
    await chain.send(READER, "DatanetRegistry", "requestAccess", datanet, 1, int(TRAIN), 0, "dear buyer")
    await chain.send(*yes)
    assert await allowed(chain, READER, datanet, TRAIN)


async def test_what_does_not_exist_is_not_allowed(chain: ChainHand) -> None:
    assert not await allowed(chain, OWNER, DatanetId(10**30), RETRIEVE)
    datanet = await create_datanet(chain, OWNER)
    assert not await allowed(chain, OWNER, datanet, Purpose.NONE)
    assert not await allowed(chain, OWNER, datanet, Purpose(16) | RETRIEVE)
    assert not (await chain.access.may_use(NO_WALLET, datanet, RETRIEVE)).allowed


async def test_an_answer_carries_the_block_it_was_read_at(chain: ChainHand) -> None:
    datanet = await create_datanet(chain, OWNER)
    permission = await chain.access.may_use(chain.wallets[OWNER], datanet, TRAIN)
    assert (permission.wallet, permission.datanet, permission.purpose) == (chain.wallets[OWNER], datanet, TRAIN)
    assert await chain.events.block(permission.block.number) == permission.block


async def test_a_new_datanet_has_no_version_and_then_the_published_one(chain: ChainHand) -> None:
    datanet = await create_datanet(chain, OWNER)
    assert (await chain.access.current_version(datanet)).version == 0
    await chain.send(OWNER, "DatanetRegistry", "publishVersion", datanet, 1, MANIFEST, RECORDS, "bafy")
    now = await chain.access.current_version(datanet)
    assert (now.owner, now.version, now.manifest_digest, now.records_root) == (
        chain.wallets[OWNER], 1, MANIFEST, RECORDS,
    )  # fmt: skip


async def test_an_unknown_datanet_or_block_is_not_found(chain: ChainHand) -> None:
    with pytest.raises(NotFound):
        await chain.access.current_version(DatanetId(10**30))
    beyond = (await chain.events.head()).number + 1_000
    with pytest.raises(NotFound):
        await chain.access.permission_at(chain.wallets[OWNER], DatanetId(1), TRAIN, beyond)


async def test_a_silent_chain_is_dont_know_and_never_no(chain: ChainHand) -> None:
    datanet = await create_datanet(chain, OWNER)
    await chain.cut()
    with pytest.raises(ChainUnavailable):
        await chain.access.may_use(chain.wallets[STRANGER], datanet, RETRIEVE)
    with pytest.raises(ChainUnavailable):
        await chain.access.current_version(datanet)
    with pytest.raises(ChainUnavailable):
        await chain.access.permission_at(chain.wallets[OWNER], datanet, RETRIEVE, 1)


@pytest.mark.parametrize("seed", range(3))
async def test_an_earlier_answer_is_recomputed_from_the_events_alone(chain: ChainHand, seed: int) -> None:
    """Over a random history with sales: what `mayUse` said at each block is what the events up to it add up to,
    and what the mirror shows at the end is what the chain says then."""
    dice = random.Random(seed)  # noqa: S311
    start = (await chain.events.head()).number + 1
    datanets = [await create_datanet(chain, OWNER, Purpose(dice.randrange(16))) for _ in range(2)]
    owners = dict.fromkeys(datanets, OWNER)
    seen: list[Permission] = []
    for _ in range(16):
        datanet, who = dice.choice(datanets), dice.randrange(3)
        wallet, purposes = chain.wallets[who], dice.randint(1, 15)
        later = (await chain.events.head()).timestamp + dice.choice([1_000, 10_000])
        act = dice.choice(["open", "revoke", "sell", "ask", "grant", "grant"])
        if act == "open":
            await chain.send(owners[datanet], "DatanetRegistry", "setPublicPurposes", datanet, dice.randrange(16))
        elif act == "revoke":
            await chain.send(owners[datanet], "DatanetRegistry", "revoke", datanet, wallet, purposes)
        elif act == "sell":  # to its own owner, too
            await sell(chain, datanet, owners[datanet], who)
            owners[datanet] = who
        elif act == "ask":
            await chain.send(who, "DatanetRegistry", "requestAccess", datanet, 1, purposes, 0, "")
            if dice.randrange(2):
                await chain.send(owners[datanet], "DatanetRegistry", "approveRequest", datanet, wallet, purposes, 0)
        else:
            expires_at = dice.choice([0, later])
            await chain.send(owners[datanet], "DatanetRegistry", "grant", datanet, wallet, purposes, expires_at)
        asked = Purpose(dice.randint(1, 15))
        seen += [await chain.access.may_use(chain.wallets[who], d, asked) for who in range(3) for d in datanets]
    assert {p.allowed for p in seen} == {True, False}
    for p in seen:
        assert await chain.access.permission_at(p.wallet, p.datanet, p.purpose, p.block.number) == p
    events = await chain.events.events(start, (await chain.events.head()).number)
    for datanet in datanets:
        mirrored = fold(datanet, [event for event in events if datanet_of(event) == datanet])
        assert mirrored is not None
        for wallet in chain.wallets[:3]:
            shown = mirrored.public_purposes | (mirrored.grants[wallet].purposes if wallet in mirrored.grants else 0)
            for purpose in (TRAIN, RETRIEVE, EVALUATE, EXPORT):
                said = (await chain.access.may_use(wallet, datanet, purpose)).allowed
                assert said == (wallet == mirrored.owner or bool(shown & purpose))
