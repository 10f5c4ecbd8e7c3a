"""Settings from plain values, each held against the type of its field."""

from __future__ import annotations

import dataclasses
import types
import typing
from pathlib import Path
from typing import Any, Literal

from rtau.errors import UsageError


def checked(kind: type, values: dict[str, Any], where: str) -> Any:
    """A settings object from plain values, as TOML or JSON give them.

    Args:
        kind: a dataclass whose fields are numbers, words, paths, lists of words, tables, or such dataclasses.
        values: by field; those with a default may be missing.
        where: the values come from, for errors.

    Raises:
        UsageError: a setting is unknown, missing or of another kind, or the class refuses its value.
    """
    known = typing.get_type_hints(kind)
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise UsageError(f"{where}: unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}")
    missing = [f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING
               and f.default_factory is dataclasses.MISSING and f.name not in values]
    if missing:
        raise UsageError(f"{where}: the setting {missing[0]!r} is missing")
    made = {name: _value(known[name], value, f"{where}: {name}", f"{where} [{name}]") for name, value in values.items()}
    try:
        return kind(**made)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def _value(kind: Any, value: Any, name: str, table: str) -> Any:
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise UsageError(f"{name} is {value!r}, expected a table")
        return checked(typing.cast(type, kind), value, table)
    if isinstance(kind, types.UnionType):
        kind = next(k for k in typing.get_args(kind) if k is not type(None))
    if typing.get_origin(kind) is Literal:
        if value not in typing.get_args(kind):
            raise UsageError(f"{name} is {value!r}, choose {' or '.join(typing.get_args(kind))}")
        return value
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if typing.get_origin(kind) is tuple and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    plain = typing.get_origin(kind) or kind
    if not isinstance(value, plain) or (isinstance(value, bool) and plain is not bool):
        words = {int: "a whole number", float: "a number", str: "words in quotes", bool: "true or false",
                 dict: "a table", Path: "a path in quotes", tuple: 'a list such as ["AU01", "AU12"]'}
        raise UsageError(f"{name} is {value!r}, expected {words[plain]}")
    return value
