"""Passages: small, whole sentences, nothing lost, the question kept with each piece."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution.log import root_from_inclusion
from attribution.records import record_digest
from backend.domain.chunking import PASSAGE_CHARS, index_passages, passage_texts
from backend.domain.datanet import Record
from backend.domain.manifest import records_root
from backend.domain.types import DatanetId, Wallet, digest_bytes, digest_of

WALLET = Wallet("0x2B5AD5c4795c026514f8317c7a215E218DcCD6cF")
SENTENCES = [f"Sentence number {i} says that warfarin interacts with compound {i * 7}." for i in range(60)]


def test_a_short_record_is_one_passage_with_question_context_and_answer() -> None:
    body = {"instruction": "What thins blood?", "input": "Warfarin is studied.", "output": "Warfarin."}
    assert passage_texts(body) == ["What thins blood?\n\nWarfarin is studied.\n\nWarfarin."]


def test_every_piece_of_a_long_record_carries_its_question_and_ends_with_a_sentence() -> None:
    texts = passage_texts({"instruction": "What thins blood?", "input": " ".join(SENTENCES), "output": "Warfarin."})
    assert len(texts) > 3
    for text in texts:
        assert text.startswith("What thins blood?\n\n")
        assert text.endswith(".")
        assert len(text) <= PASSAGE_CHARS


def test_neighbours_share_a_sentence_and_none_is_lost() -> None:
    texts = passage_texts({"text": " ".join(SENTENCES)})
    for sentence in SENTENCES:
        assert any(sentence in text for text in texts)
    for before, after in pairwise(texts):
        assert after.split(". ")[0] in before


def test_a_text_without_spaces_or_sentences_is_cut_all_the_same() -> None:
    texts = passage_texts({"text": "x" * 2000})
    assert "".join(texts) == "x" * 2000
    assert max(map(len, texts)) <= PASSAGE_CHARS


def test_a_chat_gives_an_exchange_a_passage() -> None:
    turns = [("system", "Be kind."), ("user", "Q1"), ("assistant", "A1"), ("user", "Q2"), ("assistant", "A2")]
    body = {"messages": [{"role": role, "content": content} for role, content in turns]}
    assert passage_texts(body) == ["Q1\n\nA1", "Q2\n\nA2"]


def test_quotation_marks_at_a_sentences_end_stay() -> None:
    assert passage_texts({"text": "He said “yes.” She left."}) == ["He said “yes.” She left."]


@given(
    text=st.text(st.characters(codec="utf-8"), min_size=1, max_size=3000).filter(str.strip),
    question=st.text(max_size=700),
)
def test_any_text_is_cut_small_and_keeps_every_character(text: str, question: str) -> None:
    bodies: list[dict[str, Any]] = [
        {"text": text.strip()},
        {"instruction": question or "q", "input": "", "output": text.strip()},
    ]
    for body in bodies:
        texts = passage_texts(body)
        assert texts
        assert texts == passage_texts(body)
        assert all(t.strip() and len(t) <= PASSAGE_CHARS for t in texts)
        assert {c for c in text if not c.isspace()} <= set("".join(texts))


@pytest.mark.parametrize("version", [1, 7])
def test_passages_know_their_record_its_digest_and_its_contributor(version: int) -> None:
    records = [
        Record({"text": "one"}, WALLET, "11" * 32),
        Record({"text": " ".join(SENTENCES)}, WALLET, "22" * 32),
        Record({"text": "three"}, WALLET, "33" * 32),
    ]
    passages = index_passages(records, DatanetId(3), version)
    assert {p.record_index for p in passages} == {0, 1, 2}
    assert all(p.record_digest == digest_of(records[p.record_index].leaf()) for p in passages)
    for p in passages:
        path = [digest_bytes(sibling) for sibling in p.membership.path]
        root = root_from_inclusion(digest_bytes(p.record_digest), p.record_index, p.membership.records, path)
        assert root is not None
        assert digest_of(root) == records_root(records)
        assert p.record_digest == digest_of(record_digest(p.contributor, digest_bytes(p.membership.content)))
    assert {(p.passage_id, p.datanet, p.version, p.contributor) for p in passages} == {(0, 3, version, WALLET)}
