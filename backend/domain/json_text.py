"""Parsing JSON that a stranger wrote.

`json.loads` leaves deep nesting to the interpreter's recursion limit, and py_ecc (which web3 brings)
raises that limit to 100,000: there a line of 100,000 brackets ends the process with a segmentation
fault. So the depth is counted before anything recurses.
"""

import json
import re
from typing import Any

MAX_DEPTH = 64
# A string always matches, closed or not: the scan stays linear whatever it is given.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+\\?+"?+|[\[\]{}]', re.DOTALL)


class BadJson(ValueError):
    """The message says what is wrong, and where if the parser knows."""


def parse_json(text: str) -> Any:
    """RFC 8259 and no more: no repeated key, no NaN, no deeper than MAX_DEPTH. Raises: BadJson."""
    if is_too_deep(text):
        raise BadJson("not usable JSON: it is nested too deeply")
    try:
        return json.loads(text, object_pairs_hook=_once_each, parse_constant=_no_constant)
    except BadJson:
        raise
    except json.JSONDecodeError as err:
        raise BadJson(f"not JSON: {err.msg} (line {err.lineno}, column {err.colno})") from err
    except ValueError as err:  # a number of thousands of digits
        raise BadJson(f"not usable JSON: {str(err)[:100]}") from err


def is_too_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    depth = 0
    for token in _TOKEN.finditer(text):
        first = text[token.start()]
        if first in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif first in "]}":
            depth -= 1
    return False


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in pairs:
        if key in out:
            raise BadJson(f"not usable JSON: {key[:60]!r} is given twice")
        out[key] = value
    return out


def _no_constant(word: str) -> None:
    raise BadJson(f"not JSON: {word} is no JSON value")
