"""The check that follows slither, without slither: a finding that nobody answered is named."""

from collections import Counter

from tests.slither import ANSWERS, answers, differences, findings

CLOCK = {
    "check": "timestamp",
    "elements": [
        {
            "type": "node",
            "name": "a == b",
            "type_specific_fields": {
                "parent": {
                    "type": "function",
                    "name": "mayUse",
                    "type_specific_fields": {"parent": {"type": "contract", "name": "DatanetRegistry"}},
                }
            },
        }
    ],
}
ROW = "| timestamp | `DatanetRegistry.mayUse` | 1 | A term ends at a second. |\n"


def report(*found: object) -> dict[str, object]:
    return {"results": {"detectors": list(found)}}


def test_a_finding_is_named_by_detector_and_function() -> None:
    assert findings(report(CLOCK)) == Counter({("timestamp", "DatanetRegistry.mayUse"): 1})


def test_without_findings_slither_leaves_the_list_out() -> None:
    assert findings({"results": {}}) == Counter()


def test_an_answered_finding_is_no_difference() -> None:
    assert differences(findings(report(CLOCK)), answers(ROW)) == []


def test_a_new_finding_is_named_even_where_another_was_answered() -> None:
    found = findings(report(CLOCK, CLOCK))
    assert differences(found, answers(ROW)) == ["timestamp at DatanetRegistry.mayUse: found 2, answered 1"]


def test_an_answer_that_says_nothing_is_none() -> None:
    blank = ROW.replace("A term ends at a second.", "")
    assert differences(findings(report(CLOCK)), answers(blank)) != []


def test_an_answer_whose_finding_is_gone_is_named() -> None:
    assert differences(Counter(), answers(ROW)) == ["timestamp at DatanetRegistry.mayUse: found 0, answered 1"]


def test_every_row_of_the_document_is_understood() -> None:
    rows = [line for line in ANSWERS.read_text().splitlines() if line.startswith("| ") and "detector" not in line]
    assert len(answers(ANSWERS.read_text())) == len(rows) > 0
