"""The prompt: plain, numbered, and steady under ablation."""

from backend.domain.prompt import build_messages, prompt_digest


def test_the_best_source_stands_next_to_the_answer() -> None:
    [message] = build_messages("Why?", {1: "first", 2: "second", 3: "third"})
    places = [message["content"].index(part) for part in ("Why?", "[3] third", "[2] second", "[1] first")]
    assert places == sorted(places)


def test_leaving_a_source_out_keeps_the_numbers_of_the_others() -> None:
    [message] = build_messages("Why?", {3: "third", 1: "first"})
    assert message["role"] == "user"
    assert message["content"].index("[3] third") < message["content"].index("[1] first")
    assert "[2]" not in message["content"]


def test_without_sources_the_question_is_asked_plainly() -> None:
    [message] = build_messages("Why is the sky blue?", {})
    assert "Why is the sky blue?" in message["content"]
    assert "[1]" not in message["content"]
    assert "source" not in message["content"]


def test_braces_in_what_people_write_are_only_text() -> None:
    [message] = build_messages("What is {sources}?", {1: "{question} {text} {number}"})
    assert message["content"].count("{sources}") == 1
    assert "[1] {question} {text} {number}" in message["content"]


def test_a_changed_template_must_be_noticed() -> None:
    # Receipts carry this digest. If this fails, the template changed: give it a new version.
    assert prompt_digest() == "0x02f5e47cda04fe4405d9ec02ac0f9a5172af471d2e58f9c260253eabe26ce551"
