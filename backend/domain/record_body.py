"""What one row may be, and how it becomes a record's body.

Accepted: chat (`messages`, or `conversations` as ShareGPT writes them), alpaca (`instruction`,
`input`, `output`), a question with its contexts and answer (kept as alpaca), and `text`.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from backend.domain.json_text import BadJson, parse_json

MAX_ROW_CHARS = 200_000
KINDS = ("messages", "alpaca", "text")
_SHAREGPT_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
_NAMES = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}


class RowRefused(ValueError):
    """This row cannot be used; the message says why, to the person whose file it is."""


def missing_column(columns: Sequence[str]) -> str | None:
    """What a table with these columns lacks to have rows of any kind; None when it lacks nothing."""
    present = set(columns)
    if present & {"messages", "conversations", "text"}:
        return None
    if "instruction" in present:
        return None if "output" in present else "the column output is missing beside instruction"
    if "question" in present:
        return None if "answer" in present else "the column answer is missing beside question"
    shown = ", ".join(columns[:8]) or "none"
    return f"no column messages, instruction + output, question + answer, or text (it has: {shown})"


def body_of(row: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """(kind, body) with strings only, all fit for JSON and for Postgres. Raises: RowRefused."""
    row = {name: value for name, value in row.items() if value is not None}  # null says the same as absent
    if all(value == "" for value in row.values()):
        raise RowRefused("the row is empty")
    if (problem := missing_column(list(row))) is not None:
        raise RowRefused(problem)
    if "messages" in row or "conversations" in row:
        kind, body = "messages", _chat(row)
    elif "instruction" in row:
        kind, body = "alpaca", _alpaca(row, "instruction", _text(row, "input", optional=True), "output")
    elif "question" in row:
        kind, body = "alpaca", _alpaca(row, "question", _contexts(row), "answer")
    else:
        kind, body = "text", {"text": _text(row, "text")}
    length = sum(len(text) for text in texts_of(body))
    if length > MAX_ROW_CHARS:
        raise RowRefused(f"the row has {length:,} characters; the limit is {MAX_ROW_CHARS:,}")
    return kind, body


def texts_of(body: Mapping[str, Any]) -> list[str]:
    """Every text of a body, in reading order."""
    if "messages" in body:
        return [message["content"] for message in body["messages"]]
    return [body[name] for name in ("instruction", "input", "output", "text") if body.get(name)]


def json_value(text: str) -> Any:
    """Raises: RowRefused."""
    try:
        return parse_json(text)
    except BadJson as err:
        raise RowRefused(str(err)) from err


def named(value: object) -> str:
    return "nothing" if value is None else _NAMES.get(type(value), f"a {type(value).__name__}")


def clean(value: object, name: str) -> str:
    """`value` as text that UTF-8, JSON and Postgres can all hold. Raises: RowRefused."""
    if not isinstance(value, str):
        raise RowRefused(f"{name} is {named(value)}, not text")
    if "\0" in value:
        raise RowRefused(f"{name} contains a zero character")
    try:
        value.encode()
    except UnicodeEncodeError as err:
        raise RowRefused(f"{name} is not UTF-8 text at character {err.start + 1}; save the file as UTF-8") from err
    return value


def _text(row: Mapping[str, Any], name: str, *, optional: bool = False) -> str:
    value = row.get(name)
    if optional and value is None:
        return ""
    text = clean(value, name).strip()
    if not text and not optional:
        raise RowRefused(f"{name} is empty")
    return text


def _alpaca(row: Mapping[str, Any], instruction: str, given: str, output: str) -> dict[str, Any]:
    return {"instruction": _text(row, instruction), "input": given, "output": _text(row, output)}


def _contexts(row: Mapping[str, Any]) -> str:
    name = "contexts" if "contexts" in row else "context"
    value = row.get(name)
    if isinstance(value, str) and value.lstrip().startswith("["):  # a table's cell holding a JSON list
        with suppress(RowRefused):  # or a text that happens to begin with a bracket
            value = json_value(value)
    if isinstance(value, list):
        return "\n\n".join(clean(part, f"{name} {number}").strip() for number, part in enumerate(value, 1))
    return _text(row, name, optional=True)


def _chat(row: Mapping[str, Any]) -> dict[str, Any]:
    name = "messages" if "messages" in row else "conversations"
    turns = row[name]
    if isinstance(turns, str):
        turns = json_value(turns)
    if not isinstance(turns, list) or not turns:
        raise RowRefused(f"{name} is {named(turns) if turns else 'empty'}, not a list of turns")
    messages = [_turn(turn, f"{name} {number}", name) for number, turn in enumerate(turns, 1)]
    if not any(message["role"] == "assistant" for message in messages):
        raise RowRefused(f"{name} have no assistant turn: there is nothing to learn from")
    return {"messages": messages}


def _turn(turn: object, where: str, name: str) -> dict[str, str]:
    if not isinstance(turn, dict):
        raise RowRefused(f"{where} is {named(turn)}, not an object")
    role_key, text_key = ("role", "content") if name == "messages" else ("from", "value")
    role = clean(turn.get(role_key), f"{where}: {role_key}")
    known = {r: r for r in ("system", "user", "assistant")} if name == "messages" else _SHAREGPT_ROLES
    if role not in known:
        raise RowRefused(f"{where}: {role_key} {role[:40]!r} is none of {', '.join(known)}")
    content = clean(turn.get(text_key), f"{where}: {text_key}").strip()
    if not content:
        raise RowRefused(f"{where}: {text_key} is empty")
    return {"role": known[role], "content": content}
