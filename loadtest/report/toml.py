"""A plan as TOML, so that it can be run again."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_of(values: Mapping[str, Any]) -> str:
    """Scalars first, then tables and arrays of tables; what is None is left out, as TOML has no word for it."""
    return "\n".join(_lines(values, ())).strip() + "\n"


def _lines(values: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[str]:
    given = {name: value for name, value in values.items() if value is not None}
    yield from (f"{_key(name)} = {_value(value)}" for name, value in given.items() if not _is_table(value))
    for name, value in given.items():
        path = (*above, _key(name))
        if isinstance(value, Mapping):
            yield f"\n[{'.'.join(path)}]"
            yield from _lines(value, path)
        elif _is_table(value):
            for each in value:
                yield f"\n[[{'.'.join(path)}]]"
                yield from _lines(each, path)


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list | tuple) and bool(value) and all(isinstance(each, Mapping) for each in value)
    )


def _key(name: str) -> str:
    return name if BARE.fullmatch(name) else _text(name)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(each) for each in value if each is not None)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_key(name)} = {_value(each)}' for name, each in value.items() if each is not None)}}}"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(value: str) -> str:
    """As JSON has it, but for what is beyond the first 65536 characters: TOML knows no surrogates."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
