"""One file over HTTP, gone on with where it was cut off."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import httpx

from builder.progress import Step
from vision.errors import BuildError

STEP = "fetch"
ATTEMPTS = 4
"""In one go; each that brings something earns another such round."""
TIMEOUT = httpx.Timeout(30.0, connect=15.0)
MAX_BYTES = 8 * 2**30
MB = 1_000_000


@dataclass(slots=True)
class Partial:
    """What has arrived, and the server's strong mark of which version of the file it is of."""

    path: Path
    mark_path: Path
    url: str

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def mark(self) -> str | None:
        try:
            noted = json.loads(self.mark_path.read_text())
            return str(noted["mark"]) if noted["url"] == self.url else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def begin(self, response: httpx.Response) -> None:
        """Forget what there is: the response holds the file from its first byte."""
        self.path.write_bytes(b"")
        self.mark_path.write_text(json.dumps({"url": self.url, "mark": _mark(response)}))

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.mark_path.unlink(missing_ok=True)


def downloaded(url: str, path: Path, step: Step) -> Path:
    """The whole file, unverified, as `path` with `.part` behind; the caller verifies and renames it.

    Raises:
        BuildError: the server refuses, cannot be reached, or breaks off again and again; what came is kept.
    """
    partial = Partial(path.with_name(path.name + ".part"), path.with_name(path.name + ".part.json"), url)
    left = ATTEMPTS
    with httpx.Client(follow_redirects=True, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"}) as client:
        while True:
            before = partial.size
            try:
                _received(client, partial, step)
                partial.mark_path.unlink(missing_ok=True)
                return partial.path
            except httpx.InvalidURL as exc:
                raise BuildError(STEP, f"{url!r} is no address: {exc}") from exc
            except httpx.UnsupportedProtocol as exc:
                raise BuildError(STEP, f"{url} leads elsewhere: {exc}") from exc
            except (httpx.TransportError, httpx.TooManyRedirects) as exc:
                left = ATTEMPTS if partial.size > before else left - 1
                if left == 0 or isinstance(exc, httpx.TooManyRedirects):
                    raise BuildError(STEP, _cut_off(url, partial, exc)) from exc


def _cut_off(url: str, partial: Partial, exc: Exception) -> str:
    reason = str(exc) or type(exc).__name__
    if partial.size == 0:
        return f"cannot download {url}: {reason}; is the address right, and the network (HTTPS_PROXY) set up?"
    return f"{url} broke off after {partial.size / MB:.1f} MB: {reason}; run again, and it goes on from there"


def _received(client: httpx.Client, partial: Partial, step: Step) -> None:
    """One request: from where the partial file ends if the server still has that version, else from the start."""
    start = partial.size if partial.mark else 0
    headers = {"Range": f"bytes={start}-", "If-Range": partial.mark or ""} if start else {}
    with client.stream("GET", partial.url, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            partial.remove()
            raise httpx.ReadError("the server has less of it than is here")
        if response.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise BuildError(
                STEP, f"{partial.url} answered {response.status_code} {response.reason_phrase}; expected 200"
            )
        if response.status_code == httpx.codes.OK or _first_byte(response) != start:
            if response.status_code == httpx.codes.PARTIAL_CONTENT:
                partial.remove()
                raise httpx.ReadError("the server sent another range than was asked for")
            partial.begin(response)
        _written(response, partial, step)


def _written(response: httpx.Response, partial: Partial, step: Step) -> None:
    length = response.headers.get("Content-Length", "")
    total = partial.size + int(length) if length.isdecimal() else None
    if total is not None and total > MAX_BYTES:
        raise BuildError(STEP, f"{partial.url} has {total} bytes, expected at most {MAX_BYTES}: that is no checkpoint")
    told = done = partial.size
    try:
        with partial.path.open("ab") as file:
            for chunk in response.iter_raw():
                file.write(chunk)
                done += len(chunk)
                if done > MAX_BYTES:
                    raise BuildError(STEP, f"{partial.url} sends over {MAX_BYTES} bytes: that is no checkpoint")
                if done - told >= MB:
                    told = done
                    step.reached(done // MB, None if total is None else -(-total // MB), "MB")
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        raise BuildError(STEP, f"cannot write {partial.path}: {exc.strerror or exc}") from exc
    if total is not None and done < total:
        raise httpx.ReadError(f"{done} of {total} bytes came")


def _mark(response: httpx.Response) -> str | None:
    """What If-Range takes: a strong ETag, or the time of the last change (RFC 9110, 13.1.5)."""
    etag: str | None = response.headers.get("ETag")
    if etag is not None and not etag.startswith("W/"):
        return etag
    changed: str | None = response.headers.get("Last-Modified")
    return changed


def _first_byte(response: httpx.Response) -> int | None:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None
