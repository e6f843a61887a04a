import hashlib
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from builder.checkpoints import download
from builder.checkpoints.fetch import Fetched, cache_folder, fetched
from builder.progress import Log, Progress
from builder.recipes.parts import Checkpoint, CheckpointFile, CheckpointPackage, CheckpointRandom, CheckpointUrl
from builder.recipes.recipe import recipe_from_folder
from tests.gateway.serving import eventually
from vision.errors import BuildError

RECIPES = Path(__file__).parents[2] / "recipes"
CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA = hashlib.sha256(CONTENT).hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()


STRANGERS: dict[str, tuple[bytes, list[str]]] = {
    "page": (
        b"\n<!-- a comment -->\n<!DOCTYPE html><html><head><title>\n Sign in\n to GitHub </title></head></html>",
        ["a web page, 'Sign in to GitHub'", "wants a login", "address of the file itself"],
    ),
    "untitled": (b"\xef\xbb\xbf<html lang=en><body>404</body></html>", ["a web page: ", "address of the file itself"]),
    "comments": (b"<!-- -->" * 1000 + b"<!DOCTYPE HTML PUBLIC>", ["a web page: "]),
    "json": (b'{"message": "Not Found"}', ['a message in JSON, \'{"message": "Not Found"}\'', "why there is no file"]),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', ["a message in XML", "AccessDenied"]),
    "pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 13251211\n",
        ["a Git LFS pointer to a file of 13,251,211 bytes", "git lfs pull"],
    ),
}


class Server(ThreadingHTTPServer):
    """Serves CONTENT at every path, and can be told to be difficult."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.etag = '"one"'
        self.knows_ranges = True
        self.cuts: list[int] = []
        """The next answers break off after so many bytes, one each."""
        self.status = 200
        self.content = CONTENT
        self.asked: list[tuple[str, str | None]] = []
        """Path and Range of every request."""
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.redirect = ""

    def url(self, name: str = "net.pth") -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append((self.path, wanted))
        server.may_answer.wait(30)
        if self.path.startswith("/moved/"):
            self.send_response(302)
            self.send_header("Location", server.redirect or server.url(self.path.removeprefix("/moved/")))
            self.end_headers()
            return
        if server.status != 200:
            self.send_error(server.status)
            return
        found = re.fullmatch(r"bytes=(\d+)-", wanted or "")
        start = int(found[1]) if found and server.knows_ranges and self.headers["If-Range"] == server.etag else 0
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cuts.pop(0)] if server.cuts else body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name for it
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> Callable[[Checkpoint], Fetched]:
    """Fetches with a cache of the test's own, and a log; files are relative to tmp_path."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    log = Log(tmp_path / "log")
    log.begin("fetch")
    progress = Progress(lambda step, text: said.append(f"{step} {text}"), log)
    return lambda checkpoint: fetched(checkpoint, tmp_path, progress)


Fetch = Callable[[Checkpoint], Fetched]


def refused(fetch: Fetch, checkpoint: Checkpoint, *parts: str) -> None:
    with pytest.raises(BuildError) as caught:
        fetch(checkpoint)
    assert caught.value.step == "fetch"
    for part in parts:
        assert part in caught.value.detail, caught.value


def cached() -> list[str]:
    return sorted(path.name for path in cache_folder().rglob("*") if path.is_file() and path.name != ".lock")


def test_a_file_beside_the_recipe_is_hashed(fetch: Fetch, tmp_path: Path) -> None:
    """Its SHA-256 goes into the build's papers, expected or not."""
    (tmp_path / "net.pth").write_bytes(CONTENT)
    assert fetch(CheckpointFile(file="net.pth")) == Fetched(tmp_path / "net.pth", SHA)
    assert fetch(CheckpointFile(file="net.pth", sha256=SHA)).sha256 == SHA
    refused(fetch, CheckpointFile(file="net.pth", sha256=OTHER), SHA, OTHER)
    refused(fetch, CheckpointFile(file="none.pth"), "none.pth", "No such file")


def test_a_name_that_ends_in_a_hash_is_held_to_it(fetch: Fetch, tmp_path: Path) -> None:
    """OpenMMLab's file names end in the first eight digits of their SHA-256; a date there is no hash."""
    for name in (f"net-{SHA[:8]}.pth", "net-20220902.pth", "net-12345678.onnx"):
        (tmp_path / name).write_bytes(CONTENT)
        assert fetch(CheckpointFile(file=name)).sha256 == SHA
    (tmp_path / "net-0badc0de.pth").write_bytes(CONTENT)
    refused(fetch, CheckpointFile(file="net-0badc0de.pth"), "0badc0de", SHA[:8])


def test_a_file_that_nothing_vouches_for_is_said_to_be_unverified(
    fetch: Fetch, tmp_path: Path, said: list[str]
) -> None:
    """No sha256 and no hash in the name: a note with the sha256 that it has; none of what was held to either."""
    for name, sha256 in (("net.pth", None), ("net.pth", SHA), (f"net-{SHA[:8]}.pth", None)):
        (tmp_path / name).write_bytes(CONTENT)
        said.clear()
        fetch(CheckpointFile(file=name, sha256=sha256))
        is_noted = [line for line in said if "not verified: no sha256" in line and SHA in line]
        assert bool(is_noted) == (name == "net.pth" and sha256 is None), said


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*/recipe.yaml")), ids=lambda path: path.parent.name)
def test_the_checkpoints_that_ship_are_verified(recipe: Path, said: list[str]) -> None:
    """By their names, or by the recipe's sha256."""
    checkpoint = getattr(recipe_from_folder(recipe.parent).source, "checkpoint", None)
    if isinstance(checkpoint, CheckpointFile):
        fetched(checkpoint, recipe.parent, Progress(lambda step, text: said.append(text)))
        assert said
        assert not [line for line in said if "not verified" in line]
    else:
        assert isinstance(checkpoint, CheckpointRandom) or getattr(checkpoint, "sha256", None)


def test_random_weights_are_said_to_be_random(fetch: Fetch, said: list[str]) -> None:
    """Nobody takes them for trained ones."""
    assert fetch(CheckpointRandom(random=3)) == Fetched(None, None)
    assert "random weights, seed 3" in said[-1]


def test_a_url_is_downloaded_once(fetch: Fetch, server: Server) -> None:
    """Into the cache, through redirects; the second time it is only verified."""
    checkpoint = CheckpointUrl(url=server.url("moved/net.pth"), sha256=SHA)
    first = fetch(checkpoint)
    assert first.path is not None
    assert first.path.read_bytes() == CONTENT
    assert fetch(checkpoint) == first
    assert [path for path, _ in server.asked] == ["/moved/net.pth", "/net.pth"]
    assert cached() == ["net.pth"]


def test_a_cached_file_that_was_damaged_is_downloaded_again(fetch: Fetch, server: Server) -> None:
    """The cache is no more trusted than the network."""
    checkpoint = CheckpointUrl(url=server.url(), sha256=SHA)
    path = fetch(checkpoint).path
    assert path is not None
    path.write_bytes(b"damaged")
    assert fetch(checkpoint).path == path
    assert path.read_bytes() == CONTENT


def test_a_download_with_the_wrong_hash_is_not_kept(fetch: Fetch, server: Server) -> None:
    """The message says what was expected and what came, and nothing of it can be used by mistake."""
    refused(fetch, CheckpointUrl(url=server.url(), sha256=OTHER), SHA, OTHER, server.url())
    assert cached() == []


@pytest.mark.parametrize(("content", "parts"), STRANGERS.values(), ids=STRANGERS)
def test_what_came_in_place_of_a_checkpoint_is_told(
    fetch: Fetch, server: Server, tmp_path: Path, content: bytes, parts: list[str]
) -> None:
    """By its first bytes, whatever its hash: as a download, which is not kept, and as a file beside the recipe."""
    server.content = content
    refused(fetch, CheckpointUrl(url=server.url(), sha256=SHA), f"{server.url()}: ", *parts)
    assert cached() == []
    (tmp_path / "net.pth").write_bytes(content)
    refused(fetch, CheckpointFile(file="net.pth"), "net.pth: ", *parts)


@pytest.mark.parametrize("content", [b"{\x00\x01" + bytes(range(256)), b"<html"[:3], b"PK\x03\x04 <html>"])
def test_what_only_begins_like_text_is_left_to_its_hash(fetch: Fetch, tmp_path: Path, content: bytes) -> None:
    """Weights may begin with any byte."""
    (tmp_path / "net.pth").write_bytes(content)
    assert fetch(CheckpointFile(file="net.pth")).sha256 == hashlib.sha256(content).hexdigest()


def test_a_name_at_odds_with_the_hash_is_refused_before_the_download(fetch: Fetch, server: Server) -> None:
    """One of the two is a slip of the pen: 80 MB need not come to show it."""
    refused(fetch, CheckpointUrl(url=server.url("net-0badc0de.pth"), sha256=SHA), "0badc0de", SHA[:8])
    assert server.asked == []


def test_a_download_that_breaks_off_goes_on(fetch: Fetch, server: Server) -> None:
    """Only the rest is asked for, and the whole is verified."""
    server.cuts = [300_000, 200_000]
    path = fetch(CheckpointUrl(url=server.url(), sha256=SHA)).path
    assert path is not None
    assert path.read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, "bytes=300000-", "bytes=500000-"]
    assert cached() == ["net.pth"]


def test_the_next_build_goes_on_where_the_last_one_stopped(fetch: Fetch, server: Server) -> None:
    """What came is kept when the server fails for good; the message says so."""
    server.cuts = [300_000] + [0] * 20
    checkpoint = CheckpointUrl(url=server.url(), sha256=SHA)
    refused(fetch, checkpoint, "after 0.3 MB", "run again")
    assert cached() == ["net.pth.part", "net.pth.part.json"]
    server.cuts, server.asked = [], []
    assert fetch(checkpoint).sha256 == SHA
    assert server.asked == [("/net.pth", "bytes=300000-")]


@pytest.mark.parametrize("change", ["another version", "no ranges", "weak mark"])
def test_what_cannot_be_gone_on_with_begins_anew(fetch: Fetch, server: Server, change: str) -> None:
    """A file that changed on the server, a server that ignores Range, and one whose mark promises nothing."""
    if change == "weak mark":
        server.etag = 'W/"one"'
    server.cuts = [300_000] + [0] * 20
    checkpoint = CheckpointUrl(url=server.url(), sha256=SHA)
    refused(fetch, checkpoint, server.url())
    server.cuts, server.asked = [], []
    if change == "another version":
        server.etag = '"two"'
    if change == "no ranges":
        server.knows_ranges = False
    assert fetch(checkpoint).sha256 == SHA
    assert server.asked == [("/net.pth", None if change == "weak mark" else "bytes=300000-")]


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_refusal_is_told_as_it_is(fetch: Fetch, server: Server, status: int) -> None:
    """The address and the status, and no file."""
    server.status = status
    refused(fetch, CheckpointUrl(url=server.url(), sha256=SHA), server.url(), str(status))
    assert cached() == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/net.pth",
        "net.pth",
        "http:///net.pth",
        "https://host/",
        "https://host/folder/",
        "http://[bad/x.pth",
        "http://host:99999/x.pth",
        "http://:80/x.pth",
        "http://xn--aü--/x.pth",
    ],
)
def test_addresses_that_are_none_are_refused(fetch: Fetch, url: str) -> None:
    """Only HTTP, with a host and a file's name; what Python's own parser cannot read is no traceback."""
    refused(fetch, CheckpointUrl(url=url, sha256=SHA), url)


@pytest.mark.parametrize("name", [".", "..", "%2E%2E", ".lock", "net.pth.part", "net.part.json", "a%2Fb.pth", "a%00b"])
def test_names_that_the_cache_cannot_keep_are_refused(fetch: Fetch, server: Server, name: str) -> None:
    """Its own files and folders, and what is no file's name; nobody is asked for them."""
    refused(fetch, CheckpointUrl(url=server.url(name), sha256=SHA), repr(server.url(name)), "name in the cache")
    assert server.asked == []


def test_a_redirect_to_no_address_is_told(fetch: Fetch, server: Server) -> None:
    """As the server's mistake, with the address that was asked."""
    server.redirect = "http://[bad/x.pth"
    refused(fetch, CheckpointUrl(url=server.url("moved/net.pth"), sha256=SHA), server.url("moved/net.pth"))


def test_a_server_that_is_not_there_is_named(fetch: Fetch, server: Server) -> None:
    """With what to look at: the address, and the proxy."""
    refused(fetch, CheckpointUrl(url="http://127.0.0.1:9/net.pth", sha256=SHA), "127.0.0.1:9", "HTTPS_PROXY")


def test_a_proxy_of_the_environment_is_used(fetch: Fetch, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY and its kin are heeded: the request for a host that does not exist goes to the proxy."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    assert fetch(CheckpointUrl(url="http://weights.invalid/net.pth", sha256=SHA)).sha256 == SHA
    assert server.asked[0][0] == "http://weights.invalid/net.pth"


def test_a_file_too_large_to_be_a_checkpoint_is_refused(
    fetch: Fetch, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it has filled the disk."""
    monkeypatch.setattr(download, "MAX_BYTES", 1000)
    refused(fetch, CheckpointUrl(url=server.url(), sha256=SHA), "1000", "no checkpoint")


def test_one_process_fetches_a_file_and_others_wait(
    fetch: Fetch, server: Server, said: list[str], tmp_path: Path
) -> None:
    """The file is asked for once; who waited says so."""
    log = tmp_path / "log"
    server.may_answer.clear()
    checkpoint = CheckpointUrl(url=server.url(), sha256=SHA)
    threads = [threading.Thread(target=fetch, args=[checkpoint]) for _ in range(3)]
    for thread in threads:
        thread.start()
    eventually(lambda: log.read_text().count("waited") == 2, within_s=20)
    server.may_answer.set()
    for thread in threads:
        thread.join()
    assert len(server.asked) == 1
    assert sum("waited" in line for line in said) == 2


def test_the_lock_ends_with_its_process(fetch: Fetch, server: Server) -> None:
    """A build that was killed while fetching holds up nobody."""
    folder = cache_folder() / SHA
    folder.mkdir(parents=True)
    code = "import fcntl, os, sys; fcntl.flock(open(sys.argv[1], 'w'), fcntl.LOCK_EX); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(folder / ".lock")], check=False)
    assert fetch(CheckpointUrl(url=server.url(), sha256=SHA)).sha256 == SHA


def test_a_package_that_is_not_there_is_named(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked for in the frameworks' environment, by the name it is imported by."""
    monkeypatch.setenv("JETSERVE_FRAMEWORKS_PYTHON", sys.executable)
    refused(fetch, CheckpointPackage(package="no_such", file="x.pth", sha256=SHA), "no_such", "make setup-frameworks")
    came = fetch(CheckpointPackage(package="rich", file="py.typed", sha256=hashlib.sha256(b"").hexdigest()))
    assert came.path is not None
    assert came.path.name == "py.typed"
