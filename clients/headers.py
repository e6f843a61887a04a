"""Headers that go with every request, an API key or a bearer token among them: no message here has a value.

On a command line and in the plan of a load test a value may name where a secret is: `Bearer {env:TOKEN}`,
`{file:/run/secrets/key}`.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from vision.errors import InvalidArgument

SOURCE = re.compile(r"\{(env|file):([^{}]+)\}")
MISSPELT = re.compile(r"\$\{|\{\s*(?:env|file)\b|\{\w*\}", re.IGNORECASE)
"""What was meant as a source, most likely: sent as it is, it would be the key."""
NAME = re.compile(r"[0-9A-Za-z_.-]+")
VALUE = re.compile(r"(?=.*\S)[\x20-\x7e]+")
OWN = {
    "content-type": "it is the photo's, or the template's",
    "content-length": "it is the body's",
    "transfer-encoding": "bodies are sent whole",
    "connection": "connections are kept",
}
OF_CLIENT = {
    "accept": "it says which answer a method reads",
    "accept-encoding": "it says what a client can unpack",
    "upgrade": "it begins a stream",
} | dict.fromkeys(
    ("sec-websocket-extensions", "sec-websocket-key", "sec-websocket-protocol", "sec-websocket-version"),
    "it is of a stream's handshake",
)
"""What the clients of the gateway say themselves, and load tests do not."""
MAX_FILE_BYTES = 64 << 10

Headers = Mapping[str, str]
"""By name as it is sent; in gRPC it is the key of metadata, in lower case."""


def sendable(headers: Headers | None) -> dict[str, str]:
    """Those of a client of the gateway, as they are sent.

    Raises:
        InvalidArgument: one cannot be sent.
    """
    if not isinstance(headers, Mapping | None):
        raise InvalidArgument(
            f"expected headers as a mapping, such as {{'X-Api-Key': key}}, got {type(headers).__name__}"
        )
    try:
        check(given := headers or {}, OWN | OF_CLIENT)
    except ValueError as exc:
        raise InvalidArgument(f"headers: {exc}") from exc
    return {name: value.strip(" ") for name, value in given.items()}


def check(headers: Headers, own: Mapping[str, str] = OWN) -> None:
    """Nothing, where all of them can be sent beside `own`, which says why by lower-case name.

    Raises:
        ValueError: one cannot.
    """
    known = set[str]()
    for number, (name, value) in enumerate(headers.items(), 1):
        if not isinstance(name, str) or not NAME.fullmatch(name):  # not shown: it may be the value
            raise ValueError(f"header {number} has no name that can be sent; expected one such as X-Api-Key")
        if name.lower() in known:
            raise ValueError(f"{name} is there twice; case does not tell names apart")
        if why := own.get(name.lower()):
            raise ValueError(f"{name} cannot be given: {why}; leave it out")
        known.add(name.lower())
        _check_value(name, value)


def check_sources(headers: Headers) -> None:
    """Nothing, where braces are only around sources.

    Raises:
        ValueError: they are elsewhere, too.
    """
    for name, value in headers.items():
        if MISSPELT.search(SOURCE.sub("", value)):
            raise ValueError(
                f"the value of {name} has braces: expected {{env:NAME}} or {{file:PATH}}; what has to be sent as it is"
                " goes into a file, too"
            )


def headers_from_texts(texts: Iterable[str]) -> dict[str, str]:
    """Of `Name: value` each, as they are given: nothing is looked up yet. The last of a name counts.

    Raises:
        InvalidArgument: it is no header.
    """
    headers: dict[str, str] = {}
    for number, text in enumerate(texts, 1):
        try:
            headers = merged(headers, header_from_text(text))
        except InvalidArgument as exc:
            raise InvalidArgument(f"--header number {number}: {exc}") from exc
    return headers


def header_from_text(text: str) -> dict[str, str]:
    """The one of `Name: value`; nothing is looked up yet.

    Raises:
        InvalidArgument: it is no header.
    """
    name, colon, value = (part.strip() for part in text.partition(":"))
    if not colon or not NAME.fullmatch(name) or not value:
        raise InvalidArgument("expected 'Name: value', as 'X-Api-Key: {env:KEY}'")
    return {name: value}


def merged(below: Headers, above: Headers) -> dict[str, str]:
    """Both; of a name that is in both, in whichever case, the value `above`."""
    taken = {name.lower() for name in above}
    return {name: value for name, value in below.items() if name.lower() not in taken} | dict(above)


def with_secrets(headers: Headers) -> dict[str, str]:
    """With the secrets in their places.

    Raises:
        InvalidArgument: one is not where its header says, or cannot be sent.
    """
    found = {}
    try:
        check(headers)
        check_sources(headers)
        for name, value in headers.items():
            whole = SOURCE.sub(lambda source, name=name: _secret(name, *source.groups()), value)  # type: ignore[misc]
            _check_value(name, whole)
            found[name] = whole.strip(" ")
    except ValueError as exc:
        raise InvalidArgument(f"headers: {exc}") from exc
    return found


def _check_value(name: str, value: str) -> None:
    if not isinstance(value, str):
        raise ValueError(f"the value of {name} is no text: expected str, got {type(value).__name__}")
    if not VALUE.fullmatch(value):
        raise ValueError(
            f"the value of {name} is empty, or has other characters than printable ASCII; is a line's end in it?"
        )


def _secret(name: str, kind: str, where: str) -> str:
    if kind == "env":
        if not (value := os.environ.get(where, "").strip()):
            raise InvalidArgument(f"{name}: the environment variable {where} is not set, or empty")
        return value
    try:
        with Path(where).expanduser().open("rb") as file:
            value = file.read(MAX_FILE_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is no text"
        raise InvalidArgument(f"{name}: no secret can be read from {where}: {why}") from exc
    if not value:
        raise InvalidArgument(f"{name}: the file {where} is empty")
    return value
