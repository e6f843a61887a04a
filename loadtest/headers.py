"""Headers of every request, an API key or a bearer token among them, which no record, log or command line shows.

A value may name where a secret is: `Bearer {env:TOKEN}`, `{file:/run/secrets/key}`. That is what a record holds; of a
value that was written out, or has more beside it than a scheme, it holds `{hidden}`.
"""

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from vision.errors import InvalidArgument

HIDDEN = "{hidden}"
"""In a record, for a value that was given as it is."""
SOURCE = re.compile(r"\{(env|file):([^{}]+)\}")
SOURCE_ALONE = re.compile(rf"(?:[A-Za-z-]{{1,20}} +)?{SOURCE.pattern}")
"""Where a secret is and nothing else, or after a scheme such as Bearer."""
MISSPELT = re.compile(r"\$\{|\{\s*(?:env|file)\b|\{\w*\}", re.IGNORECASE)
"""What was meant as a source, most likely: sent as it is, it would be the key."""
NAME = re.compile(r"[0-9A-Za-z_.-]+(?<!-bin)")
"""What both HTTP and gRPC take; of gRPC's `…-bin` values would be bytes."""
VALUE = re.compile(r"(?=.*\S)[\x20-\x7e]+")
OWN = {
    "content-type": "it is the photo's, or the template's",
    "content-length": "it is the body's",
    "transfer-encoding": "bodies are sent whole",
    "connection": "connections are kept",
}
MAX_FILE_BYTES = 64 << 10

Headers = Mapping[str, str]
"""By name as it is sent; in gRPC it is the key of metadata, in lower case."""


def headers_from_texts(texts: Iterable[str]) -> dict[str, str]:
    """Of `Name: value` each, as they are given: nothing is looked up yet. The last of a name counts.

    Raises:
        InvalidArgument: it is no header. The message does not quote a value.
    """
    headers: dict[str, str] = {}
    for number, text in enumerate(texts, 1):
        name, colon, value = text.partition(":")
        if not colon or not NAME.fullmatch(name.strip()) or not value.strip():
            raise InvalidArgument(f"--header number {number}: expected 'Name: value', as 'X-Api-Key: {{env:KEY}}'")
        headers = merged(headers, {name.strip(): value.strip()})
    return headers


def merged(below: Headers, above: Headers) -> dict[str, str]:
    """Both; of a name that is in both, in whichever case, the value `above`."""
    taken = {name.lower() for name in above}
    return {name: value for name, value in below.items() if name.lower() not in taken} | dict(above)


def checked(headers: Headers) -> None:
    """Nothing, where all of them can be sent, as far as that is known before they are looked up.

    Raises:
        ValueError: one cannot; its value is not quoted.
    """
    names = [name.lower() for name in headers]
    for name, value in headers.items():
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a header")
        if names.count(name.lower()) > 1:
            raise ValueError(f"{name} is there twice")
        if why := OWN.get(name.lower()):
            raise ValueError(f"{name} cannot be given: {why}")
        _check_value(name, value)
        if value != HIDDEN and MISSPELT.search(SOURCE.sub("", value)):
            raise ValueError(
                f"the value of {name} has braces: expected {{env:NAME}} or {{file:PATH}}; what has to be sent as it is"
                " goes into a file, too"
            )


def of_origin(headers: Headers, url: str, host: str) -> Headers:
    """Those for `url`: they are meant for `host`, and nobody else is told them."""
    return headers if _origin(url) == _origin(host) else {}


def written(value: str) -> str:
    """What a record may hold of it."""
    return value if SOURCE_ALONE.fullmatch(value) else HIDDEN


def variables(headers: Headers) -> set[str]:
    """Of the environment, that hold secrets of headers as they are given."""
    return {where for value in headers.values() for kind, where in SOURCE.findall(value) if kind == "env"}


def looked_up(headers: Headers) -> dict[str, str]:
    """With the secrets in their places.

    Raises:
        InvalidArgument: one is not where its header says, or cannot be sent. No value is quoted.
    """
    found = {}
    try:
        checked(headers)
        for name, value in headers.items():
            if value == HIDDEN:
                raise InvalidArgument(f"what {name} was is not in a record: give it again with --header '{name}: …'")
            found[name] = SOURCE.sub(lambda source, name=name: _secret(name, *source.groups()), value)  # type: ignore[misc]
            _check_value(name, found[name])
    except ValueError as exc:
        raise InvalidArgument(f"headers: {exc}") from exc
    return found


def handed_over(headers: Headers) -> "IO[bytes]":
    """A file without a name, in memory on Linux, that a child reads with `taken_over`: its command line does not have
    them, and nothing is left of it when both have ended.
    """
    if sys.platform == "linux":
        file: IO[bytes] = os.fdopen(os.memfd_create("headers"), "w+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the caller
    file.write(json.dumps(dict(headers)).encode())
    file.flush()
    return file


def taken_over(descriptor: int) -> dict[str, str]:
    """What a parent handed over; any number of processes may read it."""
    return dict(json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0)))


def _check_value(name: str, value: str) -> None:
    if not VALUE.fullmatch(value):
        raise ValueError(f"the value of {name} is empty, or has other characters than printable ASCII")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


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
