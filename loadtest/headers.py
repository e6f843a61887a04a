"""Headers of a load test, which no record, log or command line shows.

A record holds where a secret is, `Bearer {env:TOKEN}`; of a value that was written out, or has more beside it than a
scheme, it holds `{hidden}`.
"""

import json
import os
import re
import sys
import tempfile
from typing import IO
from urllib.parse import urlsplit

from clients import headers as sent
from clients.headers import SOURCE, Headers
from clients.hiding import HIDDEN
from vision.errors import InvalidArgument

SOURCE_ALONE = re.compile(rf"(?:[A-Za-z-]{{1,20}} +)?{SOURCE.pattern}")
"""Where a secret is and nothing else, or after a scheme such as Bearer."""
OF_BYTES = "-bin"
"""How names end of which gRPC sends bytes."""


def checked(headers: Headers) -> None:
    """Nothing, where all of them can be sent, as far as that is known before they are looked up.

    Raises:
        ValueError: one cannot; its value is not quoted.
    """
    sent.check(headers)
    sent.check_sources({name: value for name, value in headers.items() if value != HIDDEN})
    if of_bytes := [name for name in headers if name.lower().endswith(OF_BYTES)]:
        raise ValueError(f"{of_bytes[0]} cannot be given: over gRPC its value would be bytes")


def of_origin(headers: Headers, url: str, host: str) -> Headers:
    """Those for `url`: they are meant for `host`, and nobody else is told them."""
    return headers if _origin(url) == _origin(host) else {}


def written(value: str) -> str:
    """What a record may hold of it."""
    return value if SOURCE_ALONE.fullmatch(value) else HIDDEN


def variables(headers: Headers) -> set[str]:
    """Of the environment, that hold secrets of headers as they are given."""
    return {where for value in headers.values() for kind, where in SOURCE.findall(value) if kind == "env"}


def with_secrets(headers: Headers) -> dict[str, str]:
    """With the secrets in their places.

    Raises:
        InvalidArgument: one is not where its header says, or cannot be sent. No value is quoted.
    """
    try:
        checked(headers)
    except ValueError as exc:
        raise InvalidArgument(f"headers: {exc}") from exc
    for name, value in headers.items():
        if value == HIDDEN:
            raise InvalidArgument(f"what {name} was is not in a record: give it again with --header '{name}: …'")
    return sent.with_secrets(headers)


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


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
