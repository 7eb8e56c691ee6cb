"""The prompt: plain, numbered, and steady under ablation."""

from backend.domain.prompt import build_messages, prompt_digest


def test_leaving_a_source_out_keeps_the_numbers_of_the_others() -> None:
    [message] = build_messages("Why?", {3: "third", 1: "first"})
    assert message["role"] == "user"
    assert message["content"].index("[1] first") < message["content"].index("[3] third")
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
    assert prompt_digest() == "0xf1b8a30a595f6124387359616032dbae71884e633532f6a445b163e7e9857258"
