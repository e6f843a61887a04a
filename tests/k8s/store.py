"""A store that speaks as much of S3 as Triton's client asks: a folder is the bucket `models`, for those who sign."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "models"
KEY_ID = "a-key"


@contextmanager
def store(folder: Path) -> Iterator[str]:
    """The bucket's address, as Triton wants it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
            if bucket != BUCKET or f"Credential={KEY_ID}/" not in self.headers.get("authorization", ""):
                self._answer(403, b"")
            elif not key:
                self._answer(200, _listing(folder, parse_qs(parts.query).get("prefix", [""])[0]), "application/xml")
            elif (folder / key).is_file():
                self._answer(200, (folder / key).read_bytes())
            else:
                self._answer(404, b"")

        do_HEAD = do_GET  # noqa: N815 - as http.server calls it

        def _answer(self, status: int, body: bytes, media_type: str = "application/octet-stream") -> None:
            self.send_response(status)
            self.send_header("content-type", media_type)
            self.send_header("content-length", str(len(body)))
            self.send_header("last-modified", "Sat, 01 Aug 2026 00:00:00 GMT")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Not into the test's output."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"s3://http://127.0.0.1:{server.server_port}/{BUCKET}/repository"
        finally:
            server.shutdown()
            thread.join()


def _listing(folder: Path, prefix: str) -> bytes:
    """ListObjectsV2's answer: every key below the prefix."""
    keys = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    found = [
        f"<Contents><Key>{escape(key)}</Key><LastModified>2026-08-01T00:00:00.000Z</LastModified>"
        f"<Size>{(folder / key).stat().st_size}</Size></Contents>"
        for key in keys
        if key.startswith(prefix)
    ]
    return (
        f'<?xml version="1.0"?><ListBucketResult><Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix>'
        f"<KeyCount>{len(found)}</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>"
        f"{''.join(found)}</ListBucketResult>"
    ).encode()
