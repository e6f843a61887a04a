"""What pydantic found wrong with a file, in the words of the file."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

EXPECTED = "Input should be "
MOST_SHOWN = 60
KINDS = ("kind", "op", "head", "transform")
WORDS = {
    "a valid string": "text",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid boolean": "true or false",
    "a valid path": "text: a path",
    "a valid tuple": "a list",
    "a valid list": "a list",
    "a valid array": "a list",
    "a valid dictionary": "fields",
    "an object": "fields",
}


def told(exc: ValidationError, document: Any) -> str:
    """One problem after another: the field as it stands in `document`, what it is, what was expected."""
    problems: dict[str, list[str]] = {}
    for error in exc.errors():
        field = ".".join(map(str, _field(error["loc"], document))) or "the file"
        words = _words(error["type"], error["msg"], error["input"])
        if words not in problems.setdefault(field, []):
            problems[field].append(words)
    return "; ".join(f"{field} {_joined(words)}" for field, words in problems.items())


def _joined(words: list[str]) -> str:
    """Several expectations of one value: what it is, once."""
    first, _, expected = words[0].partition(", expected ")
    rest = [one.partition(", expected ") for one in words[1:]]
    if expected and all(what == first and more for what, _, more in rest):
        return f"{first}, expected {' or '.join([expected, *(more for _, _, more in rest)])}"
    return ", or ".join(words)


def _field(place: Sequence[int | str], document: Any) -> list[int | str]:
    """The place without the names of kinds that pydantic puts between; a last one that is not there is missing."""
    field: list[int | str] = []
    here = document
    kinds = _kinds(here)
    for number, part in enumerate(place):
        if part in kinds:  # a field may have its name too, and comes after it
            kinds = frozenset()
            continue
        if isinstance(here, Mapping) and part in here:  # noqa: SIM114 - two types of index
            here = here[part]
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            here = here[part]
        elif number < len(place) - 1 or not isinstance(here, Mapping) or not isinstance(part, str):
            continue
        field.append(part)
        kinds = _kinds(here)
    return field


def _kinds(value: Any) -> frozenset[Any]:
    """What names the kind of these fields."""
    if not isinstance(value, Mapping):
        return frozenset()
    return frozenset(value[name] for name in KINDS if isinstance(value.get(name), str))


def _words(kind: str, message: str, value: Any) -> str:
    if kind == "missing":
        return "is missing, and required"
    if kind == "extra_forbidden":
        return "is not permitted here: is it misspelt?"
    if kind == "value_error":
        return f"is {_value(value)}: {message.removeprefix('Value error, ')}"
    if not message.startswith(EXPECTED):
        return f"is {_value(value)}: {message}"
    expected = message.removeprefix(EXPECTED)
    expected = next((word for start, word in WORDS.items() if expected.startswith(start)), expected)
    quote = ": quote it" if kind == "string_type" and isinstance(value, bool | int | float) else ""
    return f"is {_value(value)}, expected {expected}{quote}"


def _value(value: Any) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return f"the value {str(value).lower()} (yes, no, on and off are values in YAML)"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the text {value[:MOST_SHOWN]!r}"
        case list() | tuple():
            return f"a list of {len(value)}"
    return "fields"
