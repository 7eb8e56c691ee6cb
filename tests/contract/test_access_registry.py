"""What every `AccessRegistry` does, on the chain in memory and on the contracts themselves."""

import random
from contextlib import suppress
from dataclasses import astuple, replace
from typing import Any

import pytest

from backend.domain.consent import PLAIN_TERMS, SignedGrant, SignedRevocation
from backend.domain.errors import ChainUnavailable, NotFound, TransactionReverted
from backend.domain.mirror import datanet_of, fold
from backend.domain.training import TrainingOrder
from backend.domain.types import ALL_PURPOSES, NO_WALLET, DatanetId, Digest, Permission, Purpose, digest_bytes
from tests.chain_fixtures import ChainHand, create_datanet

OWNER, READER, STRANGER, BUYER, MANAGER, RELAYER = 0, 1, 2, 3, 4, 5
FAR = 4_000_000_000  # Unix seconds
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


async def grant_by_signature(
    chain: ChainHand, datanet: DatanetId, signer: int, grantee: int, purposes: Purpose, relayer: int = RELAYER
) -> SignedGrant:
    wallets = chain.wallets
    basis = await chain.access.consent_basis(datanet, wallets[grantee], wallets[signer])
    consent = SignedGrant(datanet, wallets[grantee], purposes, 0, basis.terms_version, basis.nonce, FAR)
    signed = (astuple(consent), wallets[signer], chain.sign_consent(signer, consent))
    await chain.send(relayer, "DatanetRegistry", "grantBySignature", *signed)
    return consent


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
        await chain.access.consent_basis(datanet, chain.wallets[READER], chain.wallets[OWNER])
    with pytest.raises(ChainUnavailable):
        await chain.access.may_serve(1)
    with pytest.raises(ChainUnavailable):
        await chain.access.permission_at(chain.wallets[OWNER], datanet, RETRIEVE, 1)


# --- consent by signature, terms, managers, freezing ---------------------------------------------


async def test_a_signed_grant_counts_once_whoever_sends_it(chain: ChainHand) -> None:
    datanet = await create_datanet(chain, OWNER)
    consent = await grant_by_signature(chain, datanet, OWNER, READER, RETRIEVE, relayer=STRANGER)
    assert await allowed(chain, READER, datanet, RETRIEVE)
    assert not await allowed(chain, READER, datanet, TRAIN)
    assert await chain.verifier.is_valid_consent(consent, chain.wallets[OWNER], chain.sign_consent(OWNER, consent))
    again = (astuple(consent), chain.wallets[OWNER], chain.sign_consent(OWNER, consent))
    with pytest.raises(TransactionReverted, match="DatanetRegistryStaleNonce"):
        await chain.send(STRANGER, "DatanetRegistry", "grantBySignature", *again)


async def test_a_signed_revocation_takes_what_it_names(chain: ChainHand) -> None:
    datanet, reader = await create_datanet(chain, OWNER), chain.wallets[READER]
    await grant(chain, datanet, READER, RETRIEVE | TRAIN)
    basis = await chain.access.consent_basis(datanet, reader, chain.wallets[OWNER])
    consent = SignedRevocation(datanet, reader, TRAIN, basis.nonce, FAR)
    signed = (astuple(consent), chain.wallets[OWNER], chain.sign_consent(OWNER, consent))
    await chain.send(STRANGER, "DatanetRegistry", "revokeBySignature", *signed)
    assert await allowed(chain, READER, datanet, RETRIEVE)
    assert not await allowed(chain, READER, datanet, TRAIN)


async def test_only_the_owners_and_managers_signatures_count(chain: ChainHand) -> None:
    datanet, reader = await create_datanet(chain, OWNER), chain.wallets[READER]
    assert not (await chain.access.consent_basis(datanet, reader, chain.wallets[MANAGER])).signer_may_consent
    with pytest.raises(TransactionReverted, match="DatanetRegistryNotManager"):
        await grant_by_signature(chain, datanet, MANAGER, READER, RETRIEVE)
    await chain.send(OWNER, "DatanetRegistry", "setManager", datanet, chain.wallets[MANAGER], True)
    basis = await chain.access.consent_basis(datanet, reader, chain.wallets[MANAGER])
    assert (basis.signer_may_consent, basis.terms_version, basis.offered) == (True, 1, ALL_PURPOSES)
    await grant_by_signature(chain, datanet, MANAGER, READER, RETRIEVE)
    assert await allowed(chain, READER, datanet, RETRIEVE)
    consent = SignedGrant(datanet, reader, TRAIN, 0, 1, basis.nonce + 1, FAR)
    forged = (astuple(consent), chain.wallets[OWNER], chain.sign_consent(STRANGER, consent))
    with pytest.raises(TransactionReverted, match="DatanetRegistryInvalidSignature"):
        await chain.send(STRANGER, "DatanetRegistry", "grantBySignature", *forged)
    with pytest.raises(NotFound):
        await chain.access.consent_basis(DatanetId(10**9), reader, chain.wallets[OWNER])


async def test_new_terms_put_a_grant_to_rest_until_it_is_accepted(chain: ChainHand) -> None:
    datanet = await create_datanet(chain, OWNER)
    await grant(chain, datanet, READER, RETRIEVE | TRAIN)
    narrower = replace(PLAIN_TERMS, purposes=RETRIEVE)
    await chain.send(OWNER, "DatanetRegistry", "setTerms", datanet, 2, narrower.struct(), "bafyterms")
    assert not await allowed(chain, READER, datanet, RETRIEVE)
    with pytest.raises(TransactionReverted, match="DatanetRegistryStaleTerms"):
        await chain.send(READER, "DatanetRegistry", "acceptTerms", datanet, 1)
    await chain.send(READER, "DatanetRegistry", "acceptTerms", datanet, 2)
    assert await allowed(chain, READER, datanet, RETRIEVE)
    assert not await allowed(chain, READER, datanet, TRAIN)
    with pytest.raises(TransactionReverted, match="DatanetRegistryInvalidPurposes"):
        await grant(chain, datanet, READER, TRAIN)


async def test_a_frozen_datanet_is_nobodys_to_use(chain: ChainHand) -> None:
    datanet = await create_datanet(chain, OWNER, RETRIEVE)
    await grant(chain, datanet, READER, TRAIN)
    frozen = await chain.send(OWNER, "DatanetRegistry", "freeze", datanet)
    for who, purpose in ((OWNER, TRAIN), (READER, TRAIN), (STRANGER, RETRIEVE)):
        assert not await allowed(chain, who, datanet, purpose)
        at = await chain.access.permission_at(chain.wallets[who], datanet, purpose, frozen.block.number)
        assert not at.allowed
    await chain.send(OWNER, "DatanetRegistry", "unfreeze", datanet)
    assert await allowed(chain, READER, datanet, TRAIN)


async def test_a_model_is_served_as_the_terms_it_was_registered_under_say(chain: ChainHand) -> None:
    served = {}
    for keeps in (True, False):
        datanet = await create_datanet(chain, OWNER)
        terms = replace(PLAIN_TERMS, keeps_models=keeps)
        await chain.send(OWNER, "DatanetRegistry", "setTerms", datanet, 2, terms.struct(), "")
        await chain.send(OWNER, "DatanetRegistry", "publishVersion", datanet, 1, MANIFEST, RECORDS, "bafy")
        await grant(chain, datanet, READER, TRAIN)
        order = TrainingOrder(chain.wallets[READER], (datanet,), (1,), 0, RECORDS, 2**150 + datanet, FAR)
        struct = (order.trainer, (datanet,), (1,), 0, digest_bytes(RECORDS), order.nonce, FAR)
        result = (digest_bytes(MANIFEST), "bafy", "base@1", digest_bytes(RECORDS), "bafyp")
        sent = (struct, chain.sign_order(READER, order), result)
        mined = await chain.send(RELAYER, "ModelRegistry", "register", *sent)
        (registered,) = [
            e
            for e in await chain.events.events(mined.block.number, mined.block.number)
            if e.name == "ModelRegistered" and e.tx_hash == mined.hash
        ]
        model_id = registered.args["modelId"]
        assert await chain.access.may_serve(model_id)
        await revoke(chain, datanet, READER, TRAIN)
        served[keeps] = await chain.access.may_serve(model_id)
    assert served == {True: True, False: False}
    assert not await chain.access.may_serve(10**9)


@pytest.mark.parametrize("seed", range(3))
async def test_an_earlier_answer_is_recomputed_from_the_events_alone(  # noqa: PLR0912 - one branch an act
    chain: ChainHand, seed: int
) -> None:
    """Over a random history with sales: what `mayUse` said at each block is what the events up to it add up to,
    and what the mirror shows at the end is what the chain says then."""
    dice = random.Random(seed)  # noqa: S311
    start = (await chain.events.head()).number + 1
    datanets = [await create_datanet(chain, OWNER, Purpose(dice.randrange(16))) for _ in range(2)]
    owners = dict.fromkeys(datanets, OWNER)
    terms = dict.fromkeys(datanets, 1)
    seen: list[Permission] = []

    async def send(who: int, function: str, *args: Any) -> None:
        await chain.send(who, "DatanetRegistry", function, *args)

    for _ in range(20):
        datanet, who = dice.choice(datanets), dice.randrange(3)
        owner, wallet, purposes = owners[datanet], chain.wallets[who], dice.randint(1, 15)
        later = (await chain.events.head()).timestamp + dice.choice([1_000, 10_000])
        match dice.choice(["open", "revoke", "sell", "ask", "grant", "grant", "signed", "terms", "accept", "freeze"]):
            case "open":
                await send(owner, "setPublicPurposes", datanet, dice.randrange(16))
            case "revoke":
                await send(owner, "revoke", datanet, wallet, purposes)
            case "sell":  # to its own owner, too
                await sell(chain, datanet, owner, who)
                owners[datanet] = who
            case "ask":
                await send(who, "requestAccess", datanet, terms[datanet], purposes, 0, "")
                if dice.randrange(2):
                    await send(owner, "approveRequest", datanet, wallet, purposes, 0)
            case "grant":
                await send(owner, "grant", datanet, wallet, purposes, dice.choice([0, later]))
            case "signed":
                await grant_by_signature(chain, datanet, owner, who, Purpose(purposes))
            case "terms":
                terms[datanet] += 1
                await send(owner, "setTerms", datanet, terms[datanet], PLAIN_TERMS.struct(), "bafyterms")
            case "accept":
                with suppress(TransactionReverted):  # who holds nothing has nothing to go on with
                    await send(who, "acceptTerms", datanet, terms[datanet])
            case "freeze":
                await send(owner, "freeze", datanet)
                seen.append(await chain.access.may_use(chain.wallets[owner], datanet, TRAIN))
                await send(owner, "unfreeze", datanet)
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
            held = mirrored.grants.get(wallet)
            accepted = held is not None and held.terms_version == mirrored.terms_version
            shown = mirrored.public_purposes | (held.purposes if held and accepted else 0)
            for purpose in (TRAIN, RETRIEVE, EVALUATE, EXPORT):
                said = (await chain.access.may_use(wallet, datanet, purpose)).allowed
                assert said == (wallet == mirrored.owner or bool(shown & purpose))
