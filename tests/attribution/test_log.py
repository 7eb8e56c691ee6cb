import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution.log import (
    EMPTY_ROOT,
    Tree,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)
from tests.vectors.make import render

VECTORS = Path(__file__).parents[1] / "vectors"
LOG = [bytes([i]) * 32 for i in range(70)]


def split(size: int) -> int:
    return 1 << (size - 1).bit_length() - 1


def mth(leaves: list[bytes]) -> bytes:
    """RFC 9162, 2.1.1, as its text has it."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    k = split(len(leaves))
    return node_hash(mth(leaves[:k]), mth(leaves[k:]))


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 9162, 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    return [*path(m, leaves[:k]), mth(leaves[k:])] if m < k else [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    """RFC 9162, 2.1.4.1."""
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def test_the_empty_log_has_the_root_the_rfc_gives_it() -> None:
    assert root([]) == EMPTY_ROOT == mth([])


def test_roots_and_proofs_are_those_of_the_rfcs_own_recursion() -> None:
    for size in range(1, 34):
        log = LOG[:size]
        assert root(log) == mth(log)
        for index in range(size):
            assert inclusion_proof(log, index) == path(index, log)
        for old in range(1, size + 1):
            assert consistency_proof(log, old) == subproof(old, log, True)


def test_every_proof_is_accepted_where_it_belongs() -> None:
    for size in range(1, 34):
        tree = Tree.of(LOG[:size])
        for index in range(size):
            assert verify_inclusion(LOG[index], index, size, tree.inclusion_proof(index), tree.root())
        for old in range(1, size + 1):
            assert verify_consistency(old, mth(LOG[:old]), size, tree.root(), tree.consistency_proof(old))
        assert verify_consistency(0, EMPTY_ROOT, size, tree.root(), [])


@given(st.data())
def test_a_changed_proof_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 70))
    old = data.draw(st.integers(1, size - 1))
    tree, old_root = Tree.of(LOG[:size]), mth(LOG[:old])
    proof = tree.consistency_proof(old)
    place = data.draw(st.integers(0, len(proof) - 1))
    other = bytes(a ^ 1 for a in proof[place])
    for wrong in (
        [*proof[:place], other, *proof[place + 1 :]],
        [*proof[:place], *proof[place + 1 :]],
        [*proof, other],
        [*proof[:place], proof[place][:31], *proof[place + 1 :]],
    ):
        assert not verify_consistency(old, old_root, size, tree.root(), wrong)
    assert not verify_consistency(old, other, size, tree.root(), proof)
    assert not verify_consistency(old, old_root, size, other, proof)
    assert not verify_consistency(size, tree.root(), old, old_root, proof)


@given(st.data())
def test_a_receipt_is_found_at_its_place_only(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 70))
    index = data.draw(st.integers(0, size - 1))
    tree = Tree.of(LOG[:size])
    proof = tree.inclusion_proof(index)
    elsewhere = data.draw(st.integers(-3, 200).filter(lambda i: i != index))
    assert verify_inclusion(LOG[index], index, size, proof, tree.root())
    assert not verify_inclusion(LOG[index], elsewhere, size, proof, tree.root())
    assert not verify_inclusion(b"another", index, size, proof, tree.root())
    assert not verify_inclusion(LOG[index], index, size, [*proof, LOG[0]], tree.root())
    assert not verify_inclusion(LOG[index], index, size, proof[:-1], tree.root())


@given(st.lists(st.integers(0, 9), max_size=12))
def test_a_tree_that_grows_is_the_tree_that_was_built_at_once(steps: list[int]) -> None:
    grown, total = Tree(), 0
    for step in steps:
        grown.extend(leaf_hash(leaf) for leaf in (LOG * 2)[total : total + step])
        total += step
        whole = Tree.of((LOG * 2)[:total])
        assert (len(grown), grown.root()) == (total, whole.root())
        if total:
            assert grown.inclusion_proof(total - 1) == whole.inclusion_proof(total - 1)
            assert grown.consistency_proof(total // 2 + 1) == whole.consistency_proof(total // 2 + 1)


def test_a_hundred_thousand_receipts_are_no_recursion_and_no_quadratic_work() -> None:
    tree = Tree.of(i.to_bytes(32, "big") for i in range(100_000))
    assert len(tree.inclusion_proof(99_999)) <= 17
    leaf = (77_777).to_bytes(32, "big")
    assert verify_inclusion(leaf, 77_777, 100_000, tree.inclusion_proof(77_777), tree.root())


def test_what_is_not_in_the_log_has_no_proof() -> None:
    for index in (-1, 3):
        with pytest.raises(ValueError, match=f"no leaf {index} in a log of 3"):
            inclusion_proof(LOG[:3], index)
    for old in (0, 4):
        with pytest.raises(ValueError, match="did not grow"):
            consistency_proof(LOG[:3], old)


def test_the_vectors_that_the_contracts_are_tested_with_are_ours() -> None:
    for name, content in render().items():
        assert (VECTORS / name).read_text() == content, f"run python -m tests.vectors.make: {name} is stale"
    assert json.loads((VECTORS / "merkle.json").read_text())["logs"][0]["root"] == "0x" + EMPTY_ROOT.hex()
