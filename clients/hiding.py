"""Taking the values of headers out of what servers say, who like to quote what they refuse."""

import re
from collections.abc import Iterator

from clients.headers import Headers

HIDDEN = "{hidden}"
"""In their places; in a record, for a value that was given as it is."""
LEAST = 4
"""Letters: less is found in any text."""
HEAD = 8
"""Letters by which a longer value is known, however it goes on: answers are cut before they come here. Of one that is
not longer only whole words are taken, or the beginning where a text was cut.
"""
HARMLESS = re.compile(r"host|accept(-\w+)?|user-agent|x-forwarded-(for|host|port|prefix|proto|server)", re.IGNORECASE)
"""Headers whose values are nobody's secret, and stand in many an error."""


class Hider:
    """Of `headers`, with the secrets in their places."""

    def __init__(self, headers: Headers) -> None:
        values = [value for name, value in headers.items() if not HARMLESS.fullmatch(name)]
        parts = {part for value in values for part in _parts(value) if len(part) >= LEAST}
        self._secrets = re.compile("|".join(map(_pattern, sorted(parts, key=len, reverse=True))) or r"(?!)")

    def __call__(self, text: str) -> str:
        return self._secrets.sub(HIDDEN, text)


def _parts(value: str) -> Iterator[str]:
    """What may be quoted of it: "Bearer abc" without the first word, of `a=b; c=d` one of them."""
    yield value.strip()
    words = [word.rstrip(";,") for word in value.split()]
    for word in words:
        if len(word) > HEAD or word == words[-1]:
            yield word
        yield word.partition("=")[2]


def _pattern(part: str) -> str:
    letters = [_letter(letter) for letter in part]
    if " " in part:
        return "".join(letters)
    if len(part) > HEAD:
        own = "".join(re.escape(letter) for letter in "\"',;" if letter in part)
        rest = rf"(?:[^\s\"',;]|[{own}])*" if own else r"[^\s\"',;]*"
        whole = "".join(letters[:HEAD]) + rest
    else:
        whole = "".join(letters) + r"(?![0-9A-Za-z])"
        whole = rf"(?:(?<![0-9A-Za-z])|(?<=\\[nrt])){whole}"
    more = ""
    for letter in reversed(letters[LEAST : min(len(part), HEAD) - 1]):
        more = f"(?:{letter}{more})?"
    cut = "".join(letters[:LEAST]) + more + r"(?=['\"]|\Z)"
    return rf"{whole}|(?<![0-9A-Za-z]){cut}" if len(part) > LEAST else whole


def _letter(letter: str) -> str:
    """As it is, or as JSON or Python escape it, or both, or as an address does."""
    if letter.isalnum():
        return letter
    return rf"(?:\\*{re.escape(letter)}|\\+u00(?i:{ord(letter):02x})|%(?i:{ord(letter):02x}))"
