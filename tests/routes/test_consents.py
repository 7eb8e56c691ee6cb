"""Consent over HTTP: drafted, signed, relayed, watched; terms and licences as pages read them."""

from dataclasses import replace
from typing import Any

import pytest

from backend.domain.consent import PLAIN_TERMS, Consent, SignedGrant, SignedRevocation
from backend.domain.types import DatanetId, Purpose, parse_purposes
from tests.routes.conftest import Site, error_of
from tests.services.content_fixtures import OWNER
from tests.services.world import BUILDER, STRANGER


def signature(site: Site, datanet: DatanetId, body: dict[str, Any]) -> str:
    purposes, nonce = parse_purposes(body["purposes"]), int(body["nonce"])
    consent: Consent = SignedRevocation(datanet, body["grantee"], purposes, nonce, body["deadline"])
    if body["kind"] == "grant":
        consent = SignedGrant(
            datanet, body["grantee"], purposes, body["expires_at"] or 0, body["terms_version"], nonce, body["deadline"]
        )
    return "0x" + site.world.signatures.sign_consent(OWNER, consent).hex()


async def test_an_owner_grants_and_revokes_by_signature_alone(site: Site, cardio: DatanetId) -> None:
    world = site.world
    async with site.visitor(OWNER) as owner:
        for kind, allowed in (("grant", True), ("revocation", False)):
            asked = {"kind": kind, "grantee": BUILDER, "purposes": ["train"]}
            drafted = (await owner.post(f"/api/datanets/{cardio}/consents/draft", json=asked)).json()
            assert drafted["typed_data"]["primaryType"] == ("Grant" if kind == "grant" else "Revocation")
            signed = {"consent": drafted["consent"], "signature": signature(site, cardio, drafted["consent"])}
            sent = await owner.post(f"/api/datanets/{cardio}/consents", json=signed)
            assert sent.status_code == 202
            reference = sent.json()["reference"]
            assert (await owner.get(f"/api/consents/{reference}")).json()["status"] == "queued"
            await world.settle()
            done = (await owner.get(f"/api/consents/{reference}")).json()
            assert (done["status"], done["problem"]) == ("mined", None)
            assert done["tx_hash"]
            assert (await world.chain.may_use(BUILDER, cardio, Purpose.TRAIN)).allowed == allowed


async def test_who_may_not_consent_is_told_so(site: Site, cardio: DatanetId) -> None:
    asked = {"kind": "grant", "grantee": BUILDER, "purposes": ["train"]}
    async with site.visitor() as anybody:
        assert error_of(await anybody.post(f"/api/datanets/{cardio}/consents/draft", json=asked))[0] == 401
    async with site.visitor(STRANGER) as stranger:
        refused = await stranger.post(f"/api/datanets/{cardio}/consents/draft", json=asked)
        assert error_of(refused) == (403, "AccessDenied")


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "gift"},
        {"grantee": "0x12"},
        {"purposes": ["read"]},
        {"purposes": []},
        {"expires_at": 1},
        {"expires_at": -1},
        {"surplus": 1},
    ],
)
async def test_a_draft_that_makes_no_sense_is_refused(site: Site, cardio: DatanetId, wrong: dict[str, Any]) -> None:
    asked = {"kind": "grant", "grantee": BUILDER, "purposes": ["train"]} | wrong
    async with site.visitor(OWNER) as owner:
        assert error_of(await owner.post(f"/api/datanets/{cardio}/consents/draft", json=asked))[0] == 400


@pytest.mark.parametrize(
    "wrong", [{"nonce": str(2**256)}, {"nonce": "-1"}, {"terms_version": None}, {"deadline": 2**48}, {"kind": "x"}]
)
async def test_a_signed_consent_that_makes_no_sense_is_refused(
    site: Site, cardio: DatanetId, wrong: dict[str, Any]
) -> None:
    asked = {"kind": "grant", "grantee": BUILDER, "purposes": ["train"]}
    async with site.visitor(OWNER) as owner:
        drafted = (await owner.post(f"/api/datanets/{cardio}/consents/draft", json=asked)).json()
        body = {"consent": drafted["consent"] | wrong, "signature": "0x" + "00" * 65}
        assert error_of(await owner.post(f"/api/datanets/{cardio}/consents", json=body))[0] == 400


async def test_terms_are_shown_and_a_resting_grant_is_marked(site: Site, cardio: DatanetId) -> None:
    world = site.world
    world.chain.grant(cardio, BUILDER, Purpose.TRAIN)
    async with site.visitor(OWNER) as owner:
        pinned = (await owner.post("/api/licences", json={"text": "Be kind."})).json()
        terms = replace(
            PLAIN_TERMS, licence_digest=pinned["licence_digest"], price_per_1000_answers=250, currency="EUR"
        )
        world.chain.set_terms(cardio, terms, pinned["licence_cid"])
        await world.follow()
        page = (await owner.get(f"/api/datanets/{cardio}")).json()
        assert page["terms"] == {
            "version": 2,
            **pinned,
            "purposes": ["train", "retrieve", "evaluate", "export"],
            "price_per_1000_answers": 2.5,
            "currency": "EUR",
            "keeps_models": False,
        }
        [grant] = page["grants"]
        assert (grant["terms_version"], grant["resting"], grant["live"]) == (1, True, False)
    async with site.visitor(BUILDER) as builder:
        page = (await builder.get(f"/api/datanets/{cardio}")).json()
        assert (page["my_purposes"], page["my_resting_purposes"]) == ([], ["train"])
        licence = await builder.get(f"/api/datanets/{cardio}/terms/2/licence")
        assert licence.json() == {"text": "Be kind."}
        assert error_of(await builder.get(f"/api/datanets/{cardio}/terms/9/licence")) == (404, "NotFound")
        world.chain.accept_terms(cardio, BUILDER)
        await world.follow()
        page = (await builder.get(f"/api/datanets/{cardio}")).json()
        assert (page["my_purposes"], page["my_resting_purposes"]) == (["train"], [])


async def test_a_freeze_a_manager_and_an_offer_are_shown(site: Site, cardio: DatanetId) -> None:
    world = site.world
    world.chain.set_manager(cardio, BUILDER)
    world.chain.execute(OWNER, "DatanetRegistry", "approve", STRANGER, cardio)
    world.chain.freeze(cardio)
    await world.follow()
    shown = {OWNER: (True, False, False), BUILDER: (False, True, False), STRANGER: (False, False, True)}
    for wallet, expected in shown.items():
        async with site.visitor(wallet) as client:
            page = (await client.get(f"/api/datanets/{cardio}")).json()
            assert (page["mine"], page["managed_by_me"], page["offered_to_me"]) == expected
            assert (page["frozen"], page["my_purposes"]) == (True, [])
            assert (page["managers"], page["offered_to"]) == ([BUILDER], STRANGER)


async def test_a_models_line_leads_to_its_data_and_back(site: Site, cardio: DatanetId) -> None:
    site.world.chain.grant(cardio, BUILDER, Purpose.TRAIN)
    run = await site.world.train(BUILDER, cardio)
    async with site.visitor() as anybody:
        model = (await anybody.get(f"/api/models/{run.model_id}")).json()
        assert model["datanets"] == [{"datanet_id": cardio, "version": 1, "terms_version": 1}]
        assert (model["parent_model_id"], model["child_model_ids"], model["may_serve"]) == (None, [], True)
        assert (model["provenance_digest"], model["provenance_cid"]) == (run.provenance_digest, run.provenance_cid)
        assert model["base_model"] == f"{run.spec.base_model}@{run.base_revision}"
        site.world.chain.revoke(cardio, BUILDER, Purpose.TRAIN)
        assert not (await anybody.get(f"/api/models/{run.model_id}")).json()["may_serve"]
        assert error_of(await anybody.get("/api/models/99")) == (404, "NotFound")
