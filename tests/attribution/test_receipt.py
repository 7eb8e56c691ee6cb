import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution.log import node_hash
from attribution.receipt import JSON, TAGS, Receipt, ReceiptMalformed, canonical_json, redact, seal
from tests.attribution.sample import sample_fields

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_a_leaf_and_the_digest_are_the_hashes_the_format_describes() -> None:
    salts = [bytes([i]) * 32 for i in range(3)]
    fields: list[tuple[str, JSON]] = [("question", "é?"), ("seed", 7), ("model", {"b": 1, "a": None})]
    hashes = [
        hashlib.sha256(b"\x00" + salt + len(tag).to_bytes(2, "big") + tag.encode() + text).digest()
        for salt, (tag, _), text in zip(salts, fields, ['"é?"'.encode(), b"7", b'{"a":null,"b":1}'], strict=True)
    ]
    digest = node_hash(node_hash(hashes[0], hashes[1]), hashes[2])
    assert seal(fields, salts=salts).digest == "0x" + digest.hex()


def test_the_same_fields_never_give_the_same_digest_twice() -> None:
    assert seal([("question", "q")]).digest != seal([("question", "q")]).digest


@given(st.lists(st.tuples(st.sampled_from(["permission", "passage", "share"]), json_values), min_size=1, max_size=9))
def test_a_document_reads_back_as_what_was_sealed(fields: list[tuple[str, JSON]]) -> None:
    receipt = seal(fields)
    again = Receipt.from_document(receipt.to_document())
    assert again == receipt
    assert all(leaf.opens() for leaf in again.leaves)


@given(st.sets(st.integers(0, 20)))
async def test_whatever_is_withheld_the_digest_still_comes_out(hidden: set[int]) -> None:
    receipt = seal(await sample_fields())
    numbers = iter(range(len(receipt.leaves)))
    document = redact(receipt.to_document(), lambda tag, value: next(numbers) not in hidden)
    again = Receipt.from_document(document)
    assert again.digest == receipt.digest == document["digest"]
    assert sum(leaf.withheld for leaf in again.leaves) == len([i for i in hidden if i < len(receipt.leaves)])


async def test_a_contributor_can_be_shown_their_leaf_and_nothing_else() -> None:
    receipt = seal(await sample_fields())
    mine = receipt.values("share")[0]
    document = redact(receipt.to_document(), lambda tag, value: tag == "share" and value == mine)
    shown = [leaf for leaf in document["leaves"] if set(leaf) != {"hash"}]
    assert [leaf["value"] for leaf in shown] == [mine]
    assert "Warfarin" not in str(document)
    assert redact(document, lambda tag, value: True) == document


async def test_the_fields_stand_in_their_order() -> None:
    tags = [tag for tag, _ in await sample_fields()]
    assert list(dict.fromkeys(tags)) == list(TAGS)
    assert [tags.count(tag) for tag in ("permission", "passage", "share")] == [2, 4, 4]


@pytest.mark.parametrize("value", [1.5, float("nan"), b"x", {1: 2}, {"a": [0.0]}, "\ud800", 2**64, (1,)], ids=repr)
def test_a_value_without_a_canonical_form_is_refused_by_its_tag(value: Any) -> None:
    with pytest.raises(ReceiptMalformed) as caught:
        seal([("question", value)])
    assert caught.value.field == "question"


def test_nesting_has_a_limit_and_no_traceback() -> None:
    value: JSON = []
    for _ in range(5_000):
        value = [value]
    with pytest.raises(ReceiptMalformed, match="nested deeper"):
        canonical_json(value)


def test_only_permission_passage_and_share_may_repeat() -> None:
    seal([("share", 1), ("share", 1)])
    with pytest.raises(ReceiptMalformed) as caught:
        seal([("question", "a"), ("question", "b")])
    assert caught.value.field == "question"


Bend = Callable[[dict[str, Any], dict[str, Any]], object]

# The part that is named, and (document, its only leaf) → a document where that part is wrong.
BENT: list[tuple[str, Bend]] = [
    ("receipt", lambda document, leaf: []),
    ("receipt", lambda document, leaf: {**document, "extra": 1}),
    ("receipt", lambda document, leaf: {"schema": document["schema"], "leaves": document["leaves"]}),
    ("schema", lambda document, leaf: {**document, "schema": "byline.receipt/2"}),
    ("digest", lambda document, leaf: {**document, "digest": document["digest"][:-2]}),
    ("digest", lambda document, leaf: {**document, "digest": document["digest"].upper()}),
    ("leaves", lambda document, leaf: {**document, "leaves": []}),
    ("leaves", lambda document, leaf: {**document, "leaves": None}),
    ("leaves[0]", lambda document, leaf: {**document, "leaves": ["x"]}),
    ("leaves[0]", lambda document, leaf: {**document, "leaves": [{**leaf, "extra": 1}]}),
    ("leaves[0]", lambda document, leaf: {**document, "leaves": [{k: v for k, v in leaf.items() if k != "salt"}]}),
    ("leaves[0].tag", lambda document, leaf: {**document, "leaves": [{**leaf, "tag": 7}]}),
    ("leaves[0].salt (question)", lambda document, leaf: {**document, "leaves": [{**leaf, "salt": "0x12"}]}),
    ("leaves[0].hash (question)", lambda document, leaf: {**document, "leaves": [{**leaf, "hash": None}]}),
    ("leaves[0].hash", lambda document, leaf: {**document, "leaves": [{"hash": "0x" + "g" * 64}]}),
    ("leaves[0] (question)", lambda document, leaf: {**document, "leaves": [{**leaf, "value": 0.5}]}),
    ("question", lambda document, leaf: {**document, "leaves": [leaf, leaf]}),
]


@pytest.mark.parametrize(("field", "bend"), BENT, ids=[field for field, _ in BENT])
def test_a_malformed_document_is_refused_by_the_part_that_is_malformed(field: str, bend: Bend) -> None:
    document = seal([("question", "q")]).to_document()
    with pytest.raises(ReceiptMalformed) as caught:
        Receipt.from_document(bend(document, document["leaves"][0]))
    assert caught.value.field == field


def test_a_salt_of_another_length_is_refused() -> None:
    with pytest.raises(ReceiptMalformed, match="31 bytes"):
        seal([("question", "q")], salts=[bytes(31)])
