"""Domain dataclasses as JSON and back, exactly: what comes out of Postgres equals what went in.

Columns hold what is searched for; the whole thing lies beside them as `json` (not `jsonb`, which would
re-order keys, round numbers and refuse a NUL that an upload brought along).
"""

import math
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, NewType, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def to_document(value: Any) -> Any:
    """JSON values only. A float that JSON does not have (a diverged loss) becomes its name."""
    match value:
        case Enum():
            result: Any = value.value
        case datetime():
            result = value.isoformat()
        case Mapping():
            result = {key: to_document(item) for key, item in value.items()}
        case tuple() | list():
            result = [to_document(item) for item in value]
        case float() if not math.isfinite(value):
            result = str(value)
        case _ if is_dataclass(value):
            result = {field.name: to_document(getattr(value, field.name)) for field in fields(value)}
        case _:
            result = value
    return result


def from_document(kind: type[T], document: Any) -> T:
    """Inverse of `to_document` for a value of type `kind`. Raises: KeyError, TypeError, ValueError."""
    return _read(kind, document)  # type: ignore[no-any-return]


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _read(kind: Any, document: Any) -> Any:
    while isinstance(kind, NewType):
        kind = kind.__supertype__
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        [kind] = (argument for argument in arguments if argument is not type(None))
        result = None if document is None else _read(kind, document)
    elif origin is tuple:
        result = tuple(_read(arguments[0], item) for item in document)
    elif is_dataclass(kind) and isinstance(kind, type):
        hints = _hints(kind)
        result = kind(**{field.name: _read(hints[field.name], document[field.name]) for field in fields(kind)})
    elif kind is datetime:
        result = datetime.fromisoformat(document)
    elif isinstance(kind, type) and (issubclass(kind, Enum) or kind is float):
        result = kind(document)
    else:
        result = document
    return result
