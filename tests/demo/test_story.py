"""The demo's data: rows of a question-answering set become records, and what is wrong is named by its row."""

import json
from pathlib import Path
from typing import Any

import pytest

from backend.demo.story import first_question, read_rows
from backend.domain.errors import InvalidValue
from backend.domain.types import Wallet
from tests.services.content_fixtures import ALICE, BOB, OWNER

SAMPLE = Path(__file__).parents[1] / "data" / "pubmedqa_sample.jsonl"
ROW = {"question": "What thins blood?", "contexts": ["Warfarin.", "Aspirin."], "answer": "Both."}
TEAM: list[Wallet] = [OWNER, ALICE]


def written(tmp_path: Path, *rows: Any, text: str | None = None) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text(text if text is not None else "\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_rows_become_records_and_are_dealt_to_the_contributors_in_turn(tmp_path: Path) -> None:
    rows = read_rows(written(tmp_path, ROW, ROW, ROW), TEAM)
    assert rows[0] == {
        "instruction": "What thins blood?",
        "input": "Warfarin.\nAspirin.",
        "output": "Both.",
        "contributor": OWNER,
    }
    assert [row["contributor"] for row in rows] == [OWNER, ALICE, OWNER]


def test_a_row_that_names_its_contributor_keeps_it(tmp_path: Path) -> None:
    rows = read_rows(written(tmp_path, ROW | {"contributor": BOB.lower()}, ROW), TEAM)
    assert [row["contributor"] for row in rows] == [BOB, ALICE]


def test_contexts_may_be_one_text_and_blank_lines_do_not_count(tmp_path: Path) -> None:
    line = json.dumps(ROW | {"contexts": "Warfarin."})
    rows = read_rows(written(tmp_path, text=f"\n{line}\n\n  \n{line}"), TEAM)
    assert [(row["input"], row["contributor"]) for row in rows] == [("Warfarin.", OWNER), ("Warfarin.", ALICE)]


def test_a_line_separator_inside_a_text_does_not_end_the_row(tmp_path: Path) -> None:
    [row] = read_rows(written(tmp_path, ROW | {"answer": "one\u2028two\x85three"}), TEAM)
    assert row["output"] == "one\u2028two\x85three"


@pytest.mark.parametrize(
    "wrong",
    [
        {}, [], "text", 7, None, {**ROW, "contexts": None}, {**ROW, "contexts": [1]}, {**ROW, "contributor": "bob"},
        {**ROW, "contributor": 7}, {"question": "?", "contexts": []},
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_its_row(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(InvalidValue, match="--data: row 2"):
        read_rows(written(tmp_path, ROW, wrong), TEAM)


def test_a_file_that_is_not_there_or_not_text_or_empty_is_named(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "nothing", tmp_path, binary):
        with pytest.raises(InvalidValue, match="cannot read"):
            read_rows(path, TEAM)
    with pytest.raises(InvalidValue, match="has no rows"):
        read_rows(written(tmp_path, text=" \n\n"), TEAM)
    with pytest.raises(InvalidValue, match="row 1"):
        read_rows(written(tmp_path, text="{broken"), TEAM)


def test_the_question_asked_is_the_first_that_may_be(tmp_path: Path) -> None:
    empty, endless = ROW | {"question": " "}, ROW | {"question": "why? " * 1_000}
    assert first_question(read_rows(written(tmp_path, empty, endless, ROW), TEAM)) == ROW["question"]
    with pytest.raises(InvalidValue, match="no row has a question"):
        first_question(read_rows(written(tmp_path, empty, endless), TEAM))


def test_the_sample_that_comes_with_byline_reads() -> None:
    rows = read_rows(SAMPLE, TEAM)
    assert rows
    assert all(row["instruction"] and row["input"] and row["output"] for row in rows)
