"""An owner's yes and no by signature: relayed once, and refused before the chain would refuse it."""

from dataclasses import replace

import pytest

from backend.domain.consent import PLAIN_TERMS, Consent, SignedGrant
from backend.domain.errors import (
    AccessDenied,
    ChainUnavailable,
    Conflict,
    ContentCorrupt,
    InvalidValue,
    LimitReached,
    NotFound,
)
from backend.domain.types import DatanetId, Purpose, Wallet
from backend.services.consenting import CONSENT_SECONDS, RELAYS_PER_HOUR
from tests.services.content_fixtures import BOB, OWNER
from tests.services.world import BUILDER, STRANGER, World


@pytest.fixture
def cardio(world: World) -> DatanetId:
    return world.chain.create_datanet(OWNER, "cardio")


async def submit(world: World, consent: Consent, signer: Wallet = OWNER) -> str:
    return await world.consenting.submit(signer, consent, world.signatures.sign_consent(signer, consent))


async def may(world: World, datanet: DatanetId, purpose: Purpose = Purpose.TRAIN) -> bool:
    return (await world.chain.may_use(BUILDER, datanet, purpose)).allowed


async def test_a_signed_grant_is_relayed_and_counts(world: World, cardio: DatanetId) -> None:
    wanted = Purpose.TRAIN | Purpose.RETRIEVE
    consent = await world.consenting.grant(OWNER, cardio, BUILDER, wanted, 0)
    reference = await submit(world, consent)
    assert (await world.consenting.state(reference)).status == "queued"
    await world.settle()
    sent = await world.consenting.state(reference)
    assert (sent.status, sent.problem) == ("mined", None)
    assert await may(world, cardio)
    [granted] = world.events_named("AccessGranted")
    assert (granted["by"], granted["purposes"], granted["termsVersion"]) == (OWNER, wanted, 1)


async def test_the_same_consent_sent_twice_is_relayed_once(world: World, cardio: DatanetId) -> None:
    consent = await world.consenting.grant(OWNER, cardio, BUILDER, Purpose.TRAIN, 0)
    first = await submit(world, consent)
    await world.settle()
    assert await submit(world, consent) == first
    await world.settle()
    assert len(world.events_named("AccessGranted")) == 1


async def test_a_signed_revocation_is_relayed_and_counts(world: World, cardio: DatanetId) -> None:
    world.chain.grant(cardio, BUILDER, Purpose.TRAIN | Purpose.RETRIEVE)
    await submit(world, await world.consenting.revocation(OWNER, cardio, BUILDER, Purpose.TRAIN))
    await world.settle()
    assert not await may(world, cardio)
    assert await may(world, cardio, Purpose.RETRIEVE)


async def test_a_manager_consents_for_the_owner_and_a_stranger_does_not(world: World, cardio: DatanetId) -> None:
    world.chain.set_manager(cardio, BOB)
    await submit(world, await world.consenting.grant(BOB, cardio, BUILDER, Purpose.TRAIN, 0), BOB)
    await world.settle()
    assert await may(world, cardio)
    with pytest.raises(AccessDenied, match="neither the owner"):
        await world.consenting.grant(STRANGER, cardio, BUILDER, Purpose.TRAIN, 0)


async def test_what_changed_since_it_was_shown_is_a_conflict(world: World, cardio: DatanetId) -> None:
    consent = await world.consenting.grant(OWNER, cardio, BUILDER, Purpose.TRAIN, 0)
    world.chain.set_terms(cardio, PLAIN_TERMS)
    with pytest.raises(Conflict, match="look again"):
        await submit(world, consent)
    consent = await world.consenting.grant(OWNER, cardio, BUILDER, Purpose.TRAIN, 0)
    world.chain.revoke(cardio, BUILDER, Purpose.TRAIN)
    with pytest.raises(Conflict, match="look again"):
        await submit(world, consent)
    assert await world.outbox.unfinished() == []


async def test_overtaken_on_its_way_it_fails_by_the_contracts_own_word(world: World, cardio: DatanetId) -> None:
    reference = await submit(world, await world.consenting.grant(OWNER, cardio, BUILDER, Purpose.TRAIN, 0))
    world.chain.revoke(cardio, BUILDER, Purpose.TRAIN)
    await world.settle()
    sent = await world.consenting.state(reference)
    assert sent.status == "failed"
    assert "DatanetRegistryStaleNonce" in str(sent.problem)
    assert not await may(world, cardio)


async def test_somebody_elses_signature_is_refused(world: World, cardio: DatanetId) -> None:
    consent = await world.consenting.grant(OWNER, cardio, BUILDER, Purpose.TRAIN, 0)
    with pytest.raises(InvalidValue, match="signature"):
        await world.consenting.submit(OWNER, consent, world.signatures.sign_consent(STRANGER, consent))
    widened = replace(consent, purposes=Purpose.TRAIN | Purpose.EXPORT)
    with pytest.raises(InvalidValue, match="signature"):
        await world.consenting.submit(OWNER, widened, world.signatures.sign_consent(OWNER, consent))


async def test_a_deadline_that_passed_or_lies_far_ahead_is_refused(world: World, cardio: DatanetId) -> None:
    consent = await world.consenting.grant(OWNER, cardio, BUILDER, Purpose.TRAIN, 0)
    with pytest.raises(InvalidValue, match="deadline"):
        await submit(world, replace(consent, deadline=consent.deadline + 1))
    world.chain.advance(CONSENT_SECONDS)
    with pytest.raises(InvalidValue, match="deadline"):
        await submit(world, consent)


@pytest.mark.parametrize("purposes", [Purpose.NONE, Purpose.TRAIN | Purpose.EXPORT])
async def test_only_what_the_terms_offer_can_be_granted(world: World, purposes: Purpose) -> None:
    terms = replace(PLAIN_TERMS, purposes=Purpose.TRAIN | Purpose.RETRIEVE)
    datanet = world.chain.create_datanet(OWNER, "narrow", terms=terms)
    with pytest.raises(InvalidValue, match="train, retrieve"):
        await world.consenting.grant(OWNER, datanet, BUILDER, purposes, 0)


async def test_an_unknown_datanet_and_a_past_expiry_are_named(world: World, cardio: DatanetId) -> None:
    with pytest.raises(NotFound, match="datanet 77"):
        await world.consenting.grant(OWNER, DatanetId(77), BUILDER, Purpose.TRAIN, 0)
    with pytest.raises(InvalidValue, match="expires_at"):
        await world.consenting.grant(OWNER, cardio, BUILDER, Purpose.TRAIN, world.chain.now)


async def test_a_silent_chain_is_dont_know(world: World, cardio: DatanetId) -> None:
    consent = await world.consenting.grant(OWNER, cardio, BUILDER, Purpose.TRAIN, 0)
    world.chain.down = True
    with pytest.raises(ChainUnavailable):
        await submit(world, consent)
    assert await world.outbox.unfinished() == []


async def test_a_wallet_cannot_have_the_server_pay_without_end(world: World, cardio: DatanetId) -> None:
    for number in range(RELAYS_PER_HOUR):
        grantee = Wallet(f"0x{number + 1:040x}")
        await submit(world, await world.consenting.grant(OWNER, cardio, grantee, Purpose.TRAIN, 0))
    consent = await world.consenting.grant(OWNER, cardio, BUILDER, Purpose.TRAIN, 0)
    with pytest.raises(LimitReached, match="within the hour"):
        await submit(world, consent)
    world.chain.advance(3600)
    fresh = await world.consenting.grant(OWNER, cardio, BUILDER, Purpose.TRAIN, 0)
    assert isinstance(fresh, SignedGrant)
    await submit(world, fresh)


async def test_other_transactions_of_the_server_are_no_consents(world: World) -> None:
    with pytest.raises(NotFound):
        await world.consenting.state("anchor:1:0")


# --- licences -------------------------------------------------------------------------------------


async def test_a_licence_is_read_back_as_the_chain_has_it(world: World, cardio: DatanetId) -> None:
    text = "You may train. Du darfst lernen.\n"
    digest, cid = await world.licensing.pin(text)
    version = world.chain.set_terms(cardio, replace(PLAIN_TERMS, licence_digest=digest), cid)
    await world.follow()
    assert await world.licensing.text(cardio, version) == text
    with pytest.raises(NotFound, match="terms 1"):
        await world.licensing.text(cardio, 1)


async def test_a_licence_that_is_not_the_one_on_chain_is_refused(world: World, cardio: DatanetId) -> None:
    digest, _ = await world.licensing.pin("what was agreed")
    _, other = await world.licensing.pin("what was not")
    version = world.chain.set_terms(cardio, replace(PLAIN_TERMS, licence_digest=digest), other)
    await world.follow()
    with pytest.raises(ContentCorrupt, match="licence"):
        await world.licensing.text(cardio, version)


@pytest.mark.parametrize("text", ["", " \n", "x" * 200_001])
async def test_a_licence_has_some_text_and_not_too_much(world: World, text: str) -> None:
    with pytest.raises(InvalidValue, match="text"):
        await world.licensing.pin(text)
