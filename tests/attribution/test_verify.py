"""A receipt that an honest server made verifies; whatever is bent in it is refuted by its name."""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from attribution.attribute import Source
from attribution.receipt import JSON, TAGS, Leaf, Receipt, redact, seal
from attribution.verify import (
    ANYONE,
    Check,
    CheckpointSeen,
    CreditSeen,
    Evidence,
    ModelSeen,
    PermissionAsked,
    PermissionSeen,
    ReceiptMalformed,
    Unseen,
    Verdict,
    VersionAsked,
    VersionSeen,
    check_publisher,
    main,
    overall,
    parse_file,
    read_file,
    verify_receipt,
)
from tests.attribution.sample import (
    ALICE,
    ASKER,
    BOB,
    CHAIN_ID,
    CRONY,
    PUBLISHER,
    REGISTERED_BASE,
    SIZE,
    checkpoint_for,
    digest,
    evidence_for,
    file_of,
    sample,
    sample_attribution,
    sample_fields,
    with_values,
)


def named(checks: list[Check], verdict: Verdict) -> set[str]:
    return {check.name for check in checks if check.verdict is verdict}


def refuted_names(file: dict[str, Any], evidence: Evidence) -> set[str]:
    checks = verify_receipt(file, evidence)
    assert overall(checks) is Verdict.REFUTED
    return named(checks, Verdict.REFUTED)


def other(value: JSON) -> JSON:
    """A value of the same kind that says something else."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        if value.startswith("0x"):
            return value[:-1] + ("0" if value[-1] != "0" else "1")
        return value[:-2] + "1Z" if value.endswith("Z") else value + "x"
    return 1 if value is None else value


def flips(value: JSON) -> Iterator[JSON]:
    """`value` with one thing in it changed, for each thing in it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from ({**value, key: bent} for bent in flips(inner))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from ([*value[:i], bent, *value[i + 1 :]] for bent in flips(inner))
        if value:
            yield value[:-1]
    else:
        yield other(value)


async def test_an_honest_receipt_verifies_and_every_check_says_what_it_is_about() -> None:
    _, file, evidence = await sample()
    checks = verify_receipt(file, evidence)
    assert [check for check in checks if check.verdict is not Verdict.VERIFIED] == []
    assert overall(checks) is Verdict.VERIFIED
    assert {check.name for check in checks} >= {
        "receipt digest",
        "shares follow from scores",
        "shares sum to 10,000",
        "answer tokens",
        "inclusion proof",
        "checkpoint on chain",
        "permission: datanet 3 at block 42",
        "block hash: datanet 8 at block 42",
        "manifest of datanet 3 v1",
        "credited on chain",
        "model registered",
        "passages belong to permitted datanets",
        "records are in their versions",
        "each field in its place",
    }
    assert verify_receipt(read_file(json.dumps(file).encode()), evidence) == checks


async def test_what_to_look_up_is_what_the_receipt_says() -> None:
    receipt, file, _ = await sample()
    needed = parse_file(file).needed()
    assert needed.digest == receipt.digest
    assert needed.permissions == tuple(PermissionAsked(ASKER, d, "retrieve", 42) for d in (3, 8))
    assert needed.versions == (VersionAsked(3, 1), VersionAsked(8, 1))
    assert (needed.checkpoint_size, needed.chain_id) == (SIZE, CHAIN_ID)
    assert (needed.adapter_digest, needed.adapter_cid, needed.base_model) == (
        digest("adapter"),
        "bafyadapter",
        REGISTERED_BASE,
    )


async def test_every_field_changed_after_sealing_is_refuted_by_its_name() -> None:
    receipt, file, evidence = await sample()
    flipped = set()
    for place, leaf in enumerate(receipt.leaves):
        for value in flips(leaf.value):
            bent = copy.deepcopy(file)
            bent["receipt"]["leaves"][place]["value"] = value
            assert f"field {leaf.tag}" in refuted_names(bent, evidence), value
            flipped.add(leaf.tag)
    assert flipped == set(TAGS)


async def test_every_field_changed_and_sealed_again_with_its_salt_is_not_the_receipt_in_the_log() -> None:
    receipt, file, evidence = await sample()
    salts = [leaf.salt or b"" for leaf in receipt.leaves]
    for place, leaf in enumerate(receipt.leaves):
        for value in flips(leaf.value):
            fields = [(other_leaf.tag, other_leaf.value) for other_leaf in receipt.leaves]
            fields[place] = (leaf.tag, value)
            forged = {**file, "receipt": seal(fields, salts=salts).to_document()}
            assert "inclusion proof" in refuted_names(forged, evidence), value


async def test_each_part_of_a_leaf_and_the_digest_are_covered() -> None:
    _, file, evidence = await sample()
    for place, leaf in enumerate(file["receipt"]["leaves"]):
        for part in ("tag", "salt", "hash"):
            bent = copy.deepcopy(file)
            bent["receipt"]["leaves"][place][part] = other(leaf[part])
            assert refuted_names(bent, evidence)
    bent = copy.deepcopy(file)
    bent["receipt"]["digest"] = other(bent["receipt"]["digest"])
    assert refuted_names(bent, evidence) == {"receipt digest"}
    bent = copy.deepcopy(file)
    bent["receipt"]["leaves"].pop()
    assert {"receipt digest", "shares sum to 10,000", "each field in its place"} <= refuted_names(bent, evidence)
    bent["receipt"]["leaves"] = file["receipt"]["leaves"][::-1]
    assert "receipt digest" in refuted_names(bent, evidence)


FILE_FLIPS: list[tuple[str, str | None, str]] = [
    ("proof", "index", "inclusion proof"),
    ("proof", "size", "checkpoint on chain"),
    ("proof", "path", "inclusion proof"),
    ("anchored", "size", "checkpoint on chain"),
    ("anchored", "root", "checkpoint on chain"),
    ("ledger", None, "chain"),
    ("publisher", None, "chain"),
    ("chain_id", None, "chain"),
]


@pytest.mark.parametrize(("part", "key", "name"), FILE_FLIPS, ids=str)
async def test_every_part_of_the_file_around_the_receipt_is_refuted_by_its_name(
    part: str, key: str | None, name: str
) -> None:
    _, file, evidence = await sample()
    for bent in flips(file[part] if key is None else file[part][key]):
        changed = {**file, part: bent if key is None else {**file[part], key: bent}}
        assert name in refuted_names(changed, evidence)


# A server that lies and seals its lie: the receipt is well sealed and in the log, but contradicts itself.
Bend = Callable[[Any], object]
LIES: list[tuple[str, str, Bend]] = [
    ("shares follow from scores", "share", lambda v: v.update(share_bps=v["share_bps"] + 1)),
    ("shares sum to 10,000", "share", lambda v: v.update(share_bps=v["share_bps"] + 1)),
    ("shares follow from scores", "share", lambda v: v.update(contributor=ASKER)),
    ("shares follow from scores", "scores", lambda v: v["influence_micronats"].reverse()),
    ("influence follows from log-probabilities", "scores", lambda v: v["influence_micronats"].reverse()),
    ("influence follows from log-probabilities", "scores", lambda v: v["coalitions"].pop()),
    ("influence follows from log-probabilities", "scores", lambda v: v["coalitions"].append(v["coalitions"][0])),
    ("influence follows from log-probabilities", "scores", lambda v: v.update(method="leave-one-out")),
    ("shares follow from scores", "scores", lambda v: v["coalitions"][0].update(log_prob_micronats=-9)),
    ("answer tokens", "scores", lambda v: v.update(answer_tokens=8)),
    ("answer tokens", "answer_token_ids", lambda v: v.pop()),
    (
        "sources match passages",
        "scores",
        lambda v: v["sources"].append({"contributor": CRONY, "datanet_id": 99, "passages": []}),
    ),
    ("each field in its place", "counts", lambda v: v.update(passage=5)),
    ("each field in its place", "counts", lambda v: v.update(passage=5, share=3)),
    ("field counts", "counts", lambda v: v.pop("share")),
    ("sources match passages", "scores", lambda v: v["sources"][0].update(passages=[1])),
    ("sources match passages", "scores", lambda v: v["sources"][0].update(passages=[1, 3, 9])),
    ("sources match passages", "scores", lambda v: v["sources"][0].update(passages=[1, 2, 3])),
    ("sources match passages", "passage", lambda v: v.update(contributor=BOB)),
    ("sources match passages", "passage", lambda v: v.update(number=2)),
    ("passages belong to permitted datanets", "passage", lambda v: v.update(version=2)),
    ("passages belong to permitted datanets", "passage", lambda v: v.update(datanet_id=5)),
    ("records are in their versions", "passage", lambda v: v.update(contributor=BOB)),
    ("records are in their versions", "passage", lambda v: v.update(record_digest=digest("another"))),
    ("records are in their versions", "passage", lambda v: v.update(record_content=digest("another"))),
    ("records are in their versions", "passage", lambda v: v.update(record_index=v["record_index"] + 1)),
    ("records are in their versions", "passage", lambda v: v.update(records=v["record_index"])),
    ("records are in their versions", "passage", lambda v: v["path"].reverse()),
    ("records are in their versions", "passage", lambda v: v["path"].pop()),
    ("influence follows from log-probabilities", "scores", lambda v: v.update(efficiency_gap_micronats=9)),
    ("permission: datanet 3 at block 42", "permission", lambda v: v.update(allowed=False)),
    ("permission: datanet 3 at block 42", "permission", lambda v: v.update(purpose="train")),
    ("permission: datanet 3 at block 42", "permission", lambda v: v.update(wallet=BOB)),
    ("manifest of datanet 3 v1", "permission", lambda v: v.update(manifest_digest=digest("another"))),
    ("manifest of datanet 3 v1", "permission", lambda v: v.update(records_root=digest("another"))),
    ("chain", "chain", lambda v: v.update(publisher=ALICE)),
    ("model registered", "model", lambda v: v.update(adapter_cid="bafyanother")),
    ("model registered", "model", lambda v: v.update(adapter_digest=None)),
    ("field share", "share", lambda v: v.pop("share_bps")),
    ("field permission", "permission", lambda v: v.update(extra=1)),
    ("field scores", "scores", lambda v: v["coalitions"][0].update(log_prob_micronats=1)),
    ("each field in its place", "seed", lambda v: None),
    ("model registered", "model", lambda v: v.update(base="a base it was not tuned from")),
]


@pytest.mark.parametrize(("name", "tag", "bend"), LIES, ids=[f"{name} {i}" for i, (name, _, _) in enumerate(LIES)])
async def test_a_lie_that_was_sealed_and_anchored_contradicts_itself_or_the_chain(
    name: str, tag: str, bend: Bend
) -> None:
    fields = copy.deepcopy(await sample_fields())
    place = next(i for i, (name_, _) in enumerate(fields) if name_ == tag)
    bend(fields[place][1])
    if tag == "seed":
        del fields[place]
    receipt = seal(fields)
    _, _, honest = await sample()
    evidence = replace(honest, checkpoint=checkpoint_for(receipt))
    assert name in refuted_names(file_of(receipt), evidence)


async def test_a_share_dealt_to_a_wallet_that_did_not_give_the_record_is_refuted() -> None:
    """The server tells one story in passage, source, share and credit; the chain's records root tells another."""
    told = json.dumps(await sample_fields()).replace(BOB, ASKER)
    receipt = seal([(tag, value) for tag, value in json.loads(told)])
    evidence = evidence_for(receipt)
    assert refuted_names(file_of(receipt), evidence) == {"records are in their versions"}


async def test_fields_out_of_order_or_unknown_are_refuted() -> None:
    fields = await sample_fields()
    moved, added = [*fields[1:], fields[0]], [*fields, ("extra", 1)]
    for bent, names in ((moved, {"each field in its place"}), (added, {"each field in its place", "field extra"})):
        receipt = seal(bent)
        assert names <= refuted_names(file_of(receipt), evidence_for(receipt))


async def test_what_the_chain_says_against_the_receipt_refutes_it_by_name() -> None:
    _, file, honest = await sample()
    asked, version = PermissionAsked(ASKER, 3, "retrieve", 42), VersionAsked(3, 1)
    hash_42 = digest("block 42")
    credits = list(honest.credits) if not isinstance(honest.credits, Unseen) else []
    permission, manifest = "permission: datanet 3 at block 42", "manifest of datanet 3 v1"
    said: list[tuple[str, Evidence]] = [
        (permission, replace(honest, permissions={**honest.permissions, asked: PermissionSeen(False, hash_42)})),
        (manifest, replace(honest, versions={**honest.versions, version: None})),
        (
            manifest,
            replace(honest, versions={**honest.versions, version: VersionSeen(digest("x"), digest("records 3"))}),
        ),
        (
            manifest,
            replace(honest, versions={**honest.versions, version: VersionSeen(digest("manifest 3"), digest("x"))}),
        ),
        ("checkpoint on chain", replace(honest, checkpoint=None)),
        ("checkpoint on chain", replace(honest, checkpoint=CheckpointSeen(SIZE - 1, digest("x")))),
        ("checkpoint on chain", replace(honest, checkpoint=CheckpointSeen(SIZE, digest("x")))),
        ("inclusion proof", replace(honest, checkpoint=CheckpointSeen(SIZE, digest("x")))),
        ("credited on chain", replace(honest, credits=[])),
        ("credited on chain", replace(honest, credits=credits[:-1])),
        ("credited on chain", replace(honest, credits=[*credits, CreditSeen(BOB, 8, 1)])),
        ("credited on chain", replace(honest, credits=[*credits, credits[0]])),
        ("credited on chain", replace(honest, credits=[*credits, CreditSeen(CRONY, 99, 0)])),
        ("model registered", replace(honest, model=None)),
        ("model registered", replace(honest, model=ModelSeen(1, ASKER, "bafyanother", REGISTERED_BASE))),
        ("model registered", replace(honest, model=ModelSeen(1, ASKER, "bafyadapter", "another base"))),
    ]
    for name, evidence in said:
        assert name in refuted_names(file, evidence)


async def test_what_could_not_be_seen_is_unknown_with_its_reason_and_never_refuted() -> None:
    _, file, honest = await sample()
    down = Unseen("the node is down")
    for evidence, names in (
        (
            Evidence.none("the node is down"),
            {"chain id", "checkpoint on chain", "credited on chain", "model registered"},
        ),
        (replace(honest, checkpoint=down), {"checkpoint on chain"}),
        (replace(honest, credits=down), {"credited on chain"}),
        (replace(honest, model=down), {"model registered"}),
        (replace(honest, versions={}), {"manifest of datanet 3 v1", "manifest of datanet 8 v1"}),
        (replace(honest, permissions={}), {"permission: datanet 3 at block 42", "block hash: datanet 3 at block 42"}),
    ):
        checks = verify_receipt(file, evidence)
        assert overall(checks) is Verdict.UNKNOWN
        assert names <= named(checks, Verdict.UNKNOWN)
        assert not named(checks, Verdict.REFUTED)


async def test_what_another_chain_says_is_no_evidence_either_way() -> None:
    _, file, honest = await sample()
    checks = verify_receipt(file, replace(honest, chain_id=1, credits=[], model=None))
    assert overall(checks) is Verdict.UNKNOWN
    assert "chain id" in named(checks, Verdict.UNKNOWN)
    assert not named(checks, Verdict.REFUTED)


async def test_a_reorganised_block_with_the_same_permission_is_unknown_and_says_why() -> None:
    _, file, honest = await sample()
    asked = PermissionAsked(ASKER, 3, "retrieve", 42)
    seen = PermissionSeen(True, digest("another block 42"))
    checks = verify_receipt(file, replace(honest, permissions={**honest.permissions, asked: seen}))
    assert overall(checks) is Verdict.UNKNOWN
    assert [c.name for c in checks if "reorganised since" in c.detail] == ["block hash: datanet 3 at block 42"]


async def test_a_chain_that_does_not_reach_the_block_neither_allows_nor_refuses() -> None:
    _, file, honest = await sample()
    asked = PermissionAsked(ASKER, 3, "retrieve", 42)
    for allowed in (True, False):
        seen = {**honest.permissions, asked: PermissionSeen(allowed, None)}
        checks = verify_receipt(file, replace(honest, permissions=seen))
        assert overall(checks) is Verdict.UNKNOWN
        assert named(checks, Verdict.UNKNOWN) == {
            "permission: datanet 3 at block 42",
            "block hash: datanet 3 at block 42",
        }


async def test_a_second_passage_under_the_same_number_is_refuted_and_withholding_it_does_not_verify() -> None:
    fields = with_values(await sample_fields(), counts={"permission": 2, "passage": 5, "share": 4})
    last = max(i for i, (tag, _) in enumerate(fields) if tag == "passage")
    twin: Any = copy.deepcopy(fields[last][1])
    twin["text_sha256"] = digest("a text nobody saw")
    receipt = seal([*fields[:last], ("passage", twin), *fields[last:]])
    file, evidence = file_of(receipt), evidence_for(receipt)
    assert refuted_names(file, evidence) == {"sources match passages"}
    file["receipt"] = redact(file["receipt"], lambda tag, value: value != twin)
    checks = verify_receipt(file, evidence)
    assert overall(checks) is Verdict.UNKNOWN
    assert named(checks, Verdict.UNKNOWN) == {"sources match passages"}


async def test_a_log_seen_only_at_a_later_size_is_unknown() -> None:
    _, file, honest = await sample()
    checks = verify_receipt(file, replace(honest, checkpoint=CheckpointSeen(SIZE + 5, digest("later"))))
    assert named(checks, Verdict.UNKNOWN) == {"checkpoint on chain"}


async def test_a_receipt_that_is_not_anchored_yet_is_unknown_not_false() -> None:
    _, file, honest = await sample()
    checks = verify_receipt({**file, "proof": None, "anchored": None}, replace(honest, credits=[]))
    assert named(checks, Verdict.UNKNOWN) == {"inclusion proof", "checkpoint on chain", "credited on chain"}
    assert overall(checks) is Verdict.UNKNOWN


async def test_an_answer_from_no_datanet_by_a_base_model_verifies() -> None:
    kept = [(t, v) for t, v in await sample_fields() if t not in ("permission", "passage", "share", "scores", "model")]
    scores: JSON = {
        "method": "none",
        "answer_tokens": 7,
        "sources": [],
        "coalitions": [],
        "influence_micronats": [],
        "efficiency_gap_micronats": 0,
    }
    model: JSON = {"base": "b", "revision": "r", "run_id": None, "adapter_digest": None, "adapter_cid": None}
    fields = [*kept[:5], ("model", model), *kept[5:], ("scores", scores)]
    fields[1] = ("counts", {"permission": 0, "passage": 0, "share": 1})
    receipt = seal([*fields, ("share", {"contributor": "nobody", "datanet_id": 0, "share_bps": 10_000})])
    checks = verify_receipt(file_of(receipt), replace(evidence_for(receipt), model=None))
    assert overall(checks) is Verdict.VERIFIED


NEEDED_BY = {
    "schema": set(),
    "answered_at": set(),
    "counts": {"each field in its place", "sources match passages"},
    "asker": {"permission: datanet 3 at block 42", "permission: datanet 8 at block 42"},
    "prompt_template": set(),
    "question": set(),
    "answer": set(),
    "seed": set(),
    "chain": {"chain"},
    "model": {"model registered"},
    "answer_token_ids": {"answer tokens"},
    "permission": {"passages belong to permitted datanets", "records are in their versions"},
    "passage": {"sources match passages"},
    "share": {"shares follow from scores", "shares sum to 10,000", "credited on chain"},
    "scores": {
        "answer tokens",
        "sources match passages",
        "influence follows from log-probabilities",
        "shares follow from scores",
    },
}


@pytest.mark.parametrize("tag", TAGS)
async def test_a_withheld_field_leaves_open_only_the_checks_that_need_it(tag: str) -> None:
    _, file, evidence = await sample()
    redacted = {**file, "receipt": redact(file["receipt"], lambda shown, value: shown != tag)}
    checks = verify_receipt(redacted, evidence)
    assert named(checks, Verdict.UNKNOWN) == NEEDED_BY[tag]
    assert not named(checks, Verdict.REFUTED)
    assert overall(checks) is (Verdict.UNKNOWN if NEEDED_BY[tag] else Verdict.VERIFIED)


async def test_the_permission_of_another_wallet_is_not_taken_for_that_of_an_asker_who_is_withheld() -> None:
    receipt = seal(with_values(await sample_fields(), asker=BOB))
    file, evidence = file_of(receipt), evidence_for(receipt)
    permissions = {"permission: datanet 3 at block 42", "permission: datanet 8 at block 42"}
    assert refuted_names(file, evidence) == permissions
    file["receipt"] = redact(file["receipt"], lambda tag, value: tag != "asker")
    checks = verify_receipt(file, evidence)
    assert overall(checks) is Verdict.UNKNOWN
    assert {c.name for c in checks if "who asked is withheld" in c.detail} == permissions
    refusing = {asked: PermissionSeen(False, digest("block 42")) for asked in evidence.permissions}
    assert refuted_names(file, replace(evidence, permissions=refusing)) == permissions


@pytest.mark.parametrize("permissions", [2, 3], ids=["counted as they are", "the second counted as a permission"])
async def test_two_answers_under_one_digest_verify_for_nobody(permissions: int) -> None:
    """A server that shows each reader the answer they like, and withholds the other."""
    counts: JSON = {"permission": permissions, "passage": 4, "share": 4}
    first = list(seal(with_values(await sample_fields(), counts=counts)).leaves)
    place = next(i for i, leaf in enumerate(first) if leaf.tag == "answer")
    second = seal([("answer", "Aspirin does.")]).leaves[0]
    receipt = Receipt((*first[: place + 1], second, *first[place + 1 :]))
    evidence = evidence_for(receipt)
    for hidden in (place, place + 1):
        shown = [Leaf(leaf.hash) if i == hidden else leaf for i, leaf in enumerate(receipt.leaves)]
        one_answer = Receipt(tuple(shown))
        assert one_answer.digest == receipt.digest
        assert refuted_names(file_of(one_answer), evidence) == {"each field in its place"}
        without_counts = Receipt((shown[0], Leaf(shown[1].hash), *shown[2:]))
        checks = verify_receipt(file_of(without_counts), evidence)
        assert overall(checks) is Verdict.UNKNOWN
        assert "each field in its place" in named(checks, Verdict.UNKNOWN)


async def test_a_withheld_leaf_excuses_only_what_its_place_could_hold() -> None:
    fields = with_values(await sample_fields())
    scores: Any = dict(fields)["scores"]
    scores["sources"][0]["passages"].append(9)
    receipt = seal(fields)
    file = file_of(receipt)
    file["receipt"] = redact(file["receipt"], lambda tag, value: tag != "seed")
    assert refuted_names(file, evidence_for(receipt)) == {"sources match passages"}


@pytest.mark.parametrize("hidden", [{"seed"}, {"seed", "counts"}], ids=str)
async def test_withholding_a_leaf_does_not_excuse_a_credit_to_a_crony(hidden: set[str]) -> None:
    _, file, evidence = await sample()
    assert not isinstance(evidence.credits, Unseen)
    file["receipt"] = redact(file["receipt"], lambda tag, value: tag not in hidden)
    evidence = replace(evidence, credits=[*evidence.credits, CreditSeen(CRONY, 99, 9_000)])
    assert refuted_names(file, evidence) == {"credited on chain"}


async def test_credits_beyond_the_whole_or_to_a_share_that_is_shown_are_refuted_whatever_is_withheld() -> None:
    receipt, file, evidence = await sample()
    mine = receipt.values("share")[0]
    file["receipt"] = redact(file["receipt"], lambda tag, value: value == mine)
    assert not isinstance(evidence.credits, Unseen)
    left = 10_000 - sum(credit.share_bps for credit in evidence.credits)
    for extra, verdict in (
        (CreditSeen(CRONY, 99, left), Verdict.VERIFIED),
        (CreditSeen(CRONY, 99, left + 1), Verdict.REFUTED),
        (CreditSeen(mine["contributor"], mine["datanet_id"], 1), Verdict.REFUTED),
    ):
        checks = verify_receipt(file, replace(evidence, credits=[*evidence.credits, extra]))
        assert "credited on chain" in named(checks, verdict)


async def test_a_source_without_a_passage_is_refuted_however_well_its_numbers_come_out() -> None:
    """A crony through a datanet that permitted nothing and was not even asked: only the server's word leads there."""
    receipt = seal(await sample_fields(await sample_attribution(Source(CRONY, 99, ()))))
    crony = next(share for share in receipt.values("share") if share["contributor"] == CRONY)
    assert crony["share_bps"] > 1_000
    assert refuted_names(file_of(receipt), evidence_for(receipt)) == {"sources match passages"}


async def test_an_answer_with_text_but_no_tokens_is_refuted_and_not_all_nobodys() -> None:
    fields = await sample_fields(await sample_attribution(answer_tokens=0))
    for text, refuted in (("Warfarin does [1].", {"answer tokens"}), ("", set())):
        receipt = seal(with_values(fields, answer=text, answer_token_ids=[]))
        file, evidence = file_of(receipt), evidence_for(receipt)
        assert named(verify_receipt(file, evidence), Verdict.REFUTED) == refuted
        file["receipt"] = redact(file["receipt"], lambda tag, value: tag != "answer")
        assert named(verify_receipt(file, evidence), Verdict.UNKNOWN) == {"answer tokens"}


async def test_of_two_registrations_of_an_adapter_the_receipt_means_that_of_its_cid_and_base() -> None:
    _, file, _ = await sample()
    needed = parse_file(file).needed()
    lines = [
        ModelSeen(1, BOB, "bafyanother", REGISTERED_BASE),
        ModelSeen(2, BOB, "bafyadapter", "another base"),
        ModelSeen(3, ASKER, "bafyadapter", REGISTERED_BASE),
        ModelSeen(4, BOB, "bafyadapter", REGISTERED_BASE),
    ]
    assert needed.model_meant(lines) == lines[2]
    assert needed.model_meant(lines[:2]) == lines[1]
    assert needed.model_meant([]) is None


async def test_only_the_expected_publishers_log_counts() -> None:
    _, file, _ = await sample()
    parsed = parse_file(file)
    assert check_publisher(parsed, PUBLISHER.lower()).verdict is Verdict.VERIFIED
    another = check_publisher(parsed, ALICE)
    assert (another.name, another.verdict) == ("publisher", Verdict.REFUTED)
    assert another.detail == f"anchored by {PUBLISHER}, not by {ALICE}"
    anyone = check_publisher(parsed, ANYONE)
    assert anyone.verdict is Verdict.VERIFIED
    assert PUBLISHER in anyone.detail
    assert "--publisher" in anyone.detail


async def test_a_contributors_own_leaf_is_checked_against_the_credits() -> None:
    receipt, file, evidence = await sample()
    mine = receipt.values("share")[0]
    redacted = {**file, "receipt": redact(file["receipt"], lambda tag, value: value == mine)}
    assert "credited on chain" in named(verify_receipt(redacted, evidence), Verdict.VERIFIED)
    assert "credited on chain" in refuted_names(redacted, replace(evidence, credits=[]))


@pytest.mark.parametrize("part", ["receipt", "proof", "anchored", "chain_id", "ledger", "publisher"])
@pytest.mark.parametrize("value", [7.5, "x", [], {}, True, -1], ids=repr)
async def test_nonsense_in_the_file_is_one_refuted_check_that_names_it(part: str, value: object) -> None:
    _, file, evidence = await sample()
    (check,) = verify_receipt({**file, part: value}, evidence)
    assert check.verdict is Verdict.REFUTED
    assert part in check.name


async def test_a_missing_or_unknown_part_of_the_file_is_named() -> None:
    _, file, evidence = await sample()
    for part in file:
        (check,) = verify_receipt({k: v for k, v in file.items() if k != part}, evidence)
        assert (check.name, check.detail) == ("file", f"lacks {part!r}")
    (check,) = verify_receipt({**file, "extra": 1}, evidence)
    assert "extra" in check.detail


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.integers(0, 19), json_values)
async def test_no_value_anywhere_brings_a_traceback(place: int, value: Any) -> None:
    _, file, evidence = await sample()
    assume(json.dumps(value) != json.dumps(file["receipt"]["leaves"][place]["value"]))
    file["receipt"]["leaves"][place]["value"] = value
    assert overall(verify_receipt(file, evidence)) is Verdict.REFUTED


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"a": NaN}',
        b'{"a": 1, "a": 2}',
        b"[" * 100_000,
        b'{"a":' * 90_000,
        b"9" * 5_000,
        b"{} {}",
    ],
    ids=lambda raw: repr(raw[:12]),
)
def test_bytes_that_are_no_audit_file_are_refused_with_a_sentence(raw: bytes) -> None:
    with pytest.raises(ReceiptMalformed, match=r"^file: "):
        read_file(raw)


async def test_a_file_cut_short_anywhere_is_refused_with_a_sentence() -> None:
    _, file, _ = await sample()
    raw = json.dumps(file).encode()
    for end in range(0, len(raw), 97):
        with pytest.raises(ReceiptMalformed, match="is not JSON, or is cut short"):
            read_file(raw[:end])


async def test_alone_it_prints_its_checks_and_exits_by_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, file, _ = await sample()
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(file))
    assert main([str(path)]) == 2
    assert "unknown   checkpoint on chain: no chain was asked" in capsys.readouterr().out
    question = next(leaf for leaf in file["receipt"]["leaves"] if leaf["tag"] == "question")
    question["value"] = "What thickens blood?"
    path.write_text(json.dumps(file))
    assert main([str(path)]) == 1
    assert "refuted   field question: " in capsys.readouterr().out
    path.write_text("{")
    assert main([str(path)]) == 1
    assert main([]) == 2
    assert main([str(tmp_path / "absent.json")]) == 2


async def test_text_from_a_file_reaches_the_terminal_without_what_a_terminal_obeys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ESC clears the screen or moves the cursor; U+202E turns a line round, so that it reads as something else."""
    bad = "\x1b[2J\x1b[1;1Hverified\r\n\x9b2J\x7f\u202e\u2028\udc80"
    _, file, _ = await sample()
    model = next(leaf for leaf in file["receipt"]["leaves"] if leaf["tag"] == "model")
    model["value"] = {**model["value"], "base": bad[:-1], "run_id": None, "adapter_digest": None, "adapter_cid": None}
    path = tmp_path / "receipt.json"
    for forged in (file, {**file, bad: 1}, {**file, "receipt": {**file["receipt"], "schema": bad}}):
        path.write_text(json.dumps(forged))
        assert main([str(path)]) == 1
        printed = capsys.readouterr().out
        assert "2J" in printed
        assert [c for c in printed if c != "\n" and not c.isprintable()] == []
        assert all(line.startswith(("verified  ", "refuted   ", "unknown   ")) for line in printed.splitlines())


def test_a_checks_sentence_is_kept_as_it_is_where_it_is_printable() -> None:
    check = Check("records – ‖", Verdict.UNKNOWN, "Grüße: 10 % …")
    assert (check.name, check.detail) == ("records – ‖", "Grüße: 10 % …")


def test_no_checks_prove_nothing() -> None:
    assert overall([]) is Verdict.UNKNOWN
