"""Headers of a client: where they go, which cannot be given, and that nobody is told their values."""

import asyncio
import logging
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.server import ServerConnection, serve

from clients import AsyncGatewayClient, GatewayClient
from clients.__main__ import main
from clients.hiding import HIDDEN
from clients.stream.order import Order
from tests.clients.keyed_proxy import NAME, KeyedProxy, running_keyed_proxy
from tests.clients.proxy import Mode
from tests.clients.test_retries import recovering
from tests.clients.videos import shade
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway
from tests.loadtest.test_http_door import serving
from vision.errors import BackendFailure, BackendUnavailable, InvalidArgument, WireError

PHOTO = encoded(32, 32, (0, 0, 255), ".png")
SECRET = "s3cr3t-of-nobody-else"  # noqa: S105 - nobody's
WRONG = "wr0ng-of-nobody-else"
KEY = {"X-Api-Key": SECRET}
Headers = Mapping[str, str] | None
Ask = Callable[[str, Headers], None]


@pytest.fixture
def proxy(gateway: RunningGateway) -> Iterator[KeyedProxy]:
    with running_keyed_proxy(int(gateway.url.rpartition(":")[2]), SECRET) as proxy:
        yield proxy


def ask_with_one_client(url: str, headers: Headers) -> None:
    with GatewayClient(url, headers=headers) as client:
        assert client.ready()
        assert [model.name for model in client.models()] == ["colour", "spot"]
        assert client.model("colour").contract is not None
        assert client.predict(PHOTO, "colour").classes
        assert len(list(client.predict_many([PHOTO] * 3, "colour"))) == 3
        assert client.annotated(PHOTO, "spot")
        assert [seen.error for seen in client.stream([shade(1), shade(2)], "colour")] == [None] * 2


def ask_with_the_other(url: str, headers: Headers) -> None:
    async def ask() -> None:
        async with AsyncGatewayClient(url, headers=headers) as client:
            assert await client.ready()
            assert [model.name for model in await client.models()] == ["colour", "spot"]
            assert (await client.model("colour")).contract is not None
            assert (await client.predict(PHOTO, "colour")).classes
            assert len([result async for result in client.predict_many([PHOTO] * 3, "colour")]) == 3
            assert await client.annotated(PHOTO, "spot")
            assert [seen.error async for seen in client.stream([shade(1), shade(2)], "colour")] == [None] * 2

    asyncio.run(ask())


@pytest.mark.parametrize("ask", [ask_with_one_client, ask_with_the_other], ids=["sync", "async"])
def test_every_request_has_them(proxy: KeyedProxy, ask: Ask) -> None:
    """In whichever case, once, streams too; and what the caller does with the mapping later changes nothing."""
    ask(proxy.url, {"x-API-key": f"{SECRET} ", "X-Site": "a"})
    assert proxy.values(NAME) == [[SECRET]] * 9
    assert proxy.values("x-site") == [["a"]] * 9


def test_whoever_has_no_key_is_told_what_to_do(proxy: KeyedProxy) -> None:
    """By requests and streams."""
    with GatewayClient(proxy.url) as client:
        for ask in (client.models, lambda: next(client.stream([shade(1)], "colour"))):
            with pytest.raises(BackendFailure, match=r"401 .*does a proxy before it want a key"):
                ask()


@pytest.mark.parametrize("mode", ["busy", "cut", "refuse"])
def test_another_attempt_has_them_too(proxy: KeyedProxy, mode: Mode) -> None:
    """Whatever became of the first."""
    proxy.mode = mode
    proxy.retry_after = "0"
    reached = threading.Event()
    when = (lambda: len(proxy.heads) > 1) if mode != "refuse" else reached.is_set
    with GatewayClient(proxy.url, retries=8, headers=KEY) as client, recovering(proxy, when):
        threading.Timer(0.3, reached.set).start()
        assert client.predict(PHOTO, "colour").classes
    assert len(proxy.heads) > (mode != "refuse")
    assert {tuple(values) for values in proxy.values(NAME)} == {(SECRET,)}


def test_a_stream_that_is_connected_again_has_them_too(proxy: KeyedProxy) -> None:
    """In its second handshake."""
    with GatewayClient(proxy.url, headers=KEY) as client:
        results = client.stream([shade(number) for number in range(1, 11)], "colour", on_trouble=lambda _: None)
        next(results)
        proxy.break_connections()
        assert [result.error for result in results] == [None] * 9
    assert proxy.values(NAME) == [[SECRET]] * 2


def test_what_a_client_says_of_itself_is_said_once(proxy: KeyedProxy) -> None:
    """The gateway's name, as behind an address that several share, and the program's."""
    with GatewayClient(proxy.url, headers=KEY | {"host": "Edge.example:8443", "user-agent": "mine/1"}) as client:
        assert client.predict(PHOTO, "colour").classes
        assert len(list(client.stream([shade(1)], "colour"))) == 1
    assert proxy.values("host") == [["Edge.example:8443"]] * 2
    assert proxy.values("user-agent") == [["mine/1"]] * 2


@pytest.mark.parametrize("kind", [GatewayClient, AsyncGatewayClient])
@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Content-Type": SECRET}, "Content-Type cannot be given: it is the photo's"),
        ({"content-LENGTH": SECRET}, "content-LENGTH cannot be given: it is the body's"),
        ({"Transfer-Encoding": SECRET}, "Transfer-Encoding cannot be given"),
        ({"Connection": SECRET}, "Connection cannot be given"),
        ({"Accept": SECRET}, "Accept cannot be given: it says which answer"),
        ({"Accept-Encoding": SECRET}, "Accept-Encoding cannot be given"),
        ({"Upgrade": SECRET}, "Upgrade cannot be given"),
        ({"Sec-WebSocket-Key": SECRET}, "Sec-WebSocket-Key cannot be given"),
        ({"X-Key": f"{SECRET}\n"}, "the value of X-Key is empty, or has other .* is a line's end in it?"),
        ({"X-Key": f"{SECRET}\r\nX-Other: a"}, "the value of X-Key is empty, or has other"),
        ({"X-Key": f"{SECRET}\u2026"}, "the value of X-Key is empty, or has other"),
        ({"X-Key": f"{SECRET}\xe9"}, "the value of X-Key is empty, or has other"),
        ({"X-Key": ""}, "the value of X-Key is empty"),
        ({"X-Key": SECRET.encode()}, "the value of X-Key is no text: expected str, got bytes"),
        ({"X-Site": "a", "": SECRET}, "header 2 has no name that can be sent; expected one such as X-Api-Key"),
        ({f"Bearer {SECRET}": "Authorization"}, "header 1 has no name"),
        ({"x-key": SECRET, "X-Key": SECRET}, "X-Key is there twice; case does not tell names apart"),
        ([("X-Key", SECRET)], "expected headers as a mapping, such as .*, got list"),
    ],
)
def test_what_cannot_be_sent_is_refused_at_once(kind: Any, headers: Any, said: str) -> None:
    """In one line without a value, nor what may be one."""
    with pytest.raises(InvalidArgument, match=said) as found:
        kind("http://127.0.0.1:9", headers=headers)
    assert SECRET not in "".join(traceback.format_exception(found.value))
    assert "\n" not in str(found.value)


def test_an_address_with_a_password_says_by_itself_who_asks() -> None:
    """One of the two would be lost, or both be sent."""
    with pytest.raises(InvalidArgument, match="has a name and password, and headers an Authorization") as found:
        GatewayClient(f"http://me:{SECRET}@127.0.0.1:9", headers={"authorization": SECRET})
    assert SECRET not in str(found.value)


def test_no_redirect_takes_them_elsewhere(proxy: KeyedProxy) -> None:
    """None is followed, by requests or streams; it is said where it leads."""
    there = f"{proxy.url}/v1/models"
    answer = f"HTTP/1.1 307 Elsewhere\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n".encode()
    with serving(lambda connection, _: connection.sendall(answer)) as url, GatewayClient(url, headers=KEY) as client:
        for ask in (client.models, lambda: next(client.stream([shade(1)], "colour"))):
            with pytest.raises(BackendFailure, match=f"307 .*No redirect is followed, here to '{there}'"):
                ask()
    assert (proxy.connections, proxy.heads) == (0, [])


def test_nobody_is_told_their_values(proxy: KeyedProxy, caplog: pytest.LogCaptureFixture) -> None:
    """Not by an error, though the proxy quotes the key, nor by a client's log of everything, nor by what shows it."""
    with caplog.at_level(logging.DEBUG), GatewayClient(proxy.url, headers={NAME: WRONG}) as client:
        told = [repr(client), str(vars(client)["_http"])]
        for ask in (client.models, lambda: next(client.stream([shade(1)], "colour"))):
            with pytest.raises(WireError, match="401") as found:
                ask()
            told += [*traceback.format_exception(found.value), repr(found.value)]
            assert HIDDEN in str(found.value)
    with caplog.at_level(logging.DEBUG):
        ask_with_one_client(proxy.url, KEY)
    assert proxy.values(NAME)[:2] == [[WRONG]] * 2
    assert any(record.name.startswith("httpcore") for record in caplog.records)
    told += [record.getMessage() for record in caplog.records if not record.name.startswith("uvicorn")]
    for secret in (SECRET, WRONG):
        assert not [line for line in told if secret in line]


@pytest.mark.parametrize(
    "answer",
    [
        f"no key {SECRET}\r\n\r\n",
        f"HTTP/1.1 401 No\r\nX-Why no key {SECRET}\r\n\r\n",
        f"HTTP/1.1 200 OK\r\nContent-Length: 29\r\n\r\nno key {SECRET} ",
        f"HTTP/1.1 307 No\r\nLocation: /login?no={SECRET}\r\nContent-Length: 0\r\n\r\n",
        f"HTTP/1.1 307 No\r\nLocation: /login/{SECRET}\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["no status", "no header", "no answer", "a redirect's query", "a redirect's path"],
)
def test_nobody_is_told_them_by_an_answer_that_is_none(answer: str) -> None:
    """Nor by a traceback of the error, whose causes have it as it came."""
    with (
        serving(lambda connection, _: connection.sendall(answer.encode())) as url,
        GatewayClient(url, retries=0, headers=KEY) as client,
    ):
        for ask in (client.models, lambda: next(client.stream([shade(1)], "colour"))):
            with pytest.raises((BackendFailure, BackendUnavailable)) as found:
                ask()
            assert SECRET not in "".join(traceback.format_exception(found.value))


def test_hiding_leaves_the_clients_own_words(proxy: KeyedProxy) -> None:
    """A header that is no secret may be a word of theirs."""
    with (
        GatewayClient(proxy.url, headers={"X-Caller": "gateway's"}) as client,
        pytest.raises(BackendFailure, match="is this the gateway's address"),
    ):
        client.models()


@pytest.mark.parametrize("message", ["no key {}", '{{"frame": 1, "error": "unauthorized", "detail": "no key {}"}}'])
def test_what_a_stream_is_answered_does_not_tell_them(message: str) -> None:
    """Some let a stream begin, and then say why it must not, in a message."""

    def answer(connection: ServerConnection) -> None:
        assert connection.request is not None
        connection.recv()
        connection.send(message.format(connection.request.headers[NAME]))

    with serve(answer, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        with GatewayClient(url, headers=KEY) as client:
            try:
                told = str(next(client.stream([shade(1)], "colour")).error)
            except BackendFailure as exc:
                told = "".join(traceback.format_exception(exc))
        server.shutdown()
        thread.join()
    assert HIDDEN in told
    assert SECRET not in told


def test_an_order_does_not_show_them() -> None:
    """Whoever logs it."""
    order = Order("http://127.0.0.1:9", 1, 0, KEY, [], "colour", None, 1, None, 95, {})
    assert SECRET not in f"{order}{order!r}"


def test_what_a_stream_is_closed_with_does_not_tell_them(caplog: pytest.LogCaptureFixture) -> None:
    """Some let a stream begin, and then say why it must not."""

    def close(connection: ServerConnection) -> None:
        assert connection.request is not None
        connection.close(1008, f"no key {connection.request.headers[NAME]}")

    said: list[str] = []
    with serve(close, "127.0.0.1", 0) as server, caplog.at_level(logging.DEBUG, "clients"):
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        with GatewayClient(url, headers=KEY) as client, pytest.raises(BackendUnavailable) as found:
            next(client.stream([shade(1)], "colour", reconnect_s=0.5, on_trouble=said.append))
        server.shutdown()
        thread.join()
    assert f"1008 no key {HIDDEN}" in str(found.value)
    assert f"1008 no key {HIDDEN}" in said[0]
    assert SECRET not in "".join([*said, caplog.text, *traceback.format_exception(found.value)])


@pytest.mark.parametrize(
    "command",
    [
        ["models"],
        ["predict", "PHOTO", "--model", "colour"],
        ["bench", "PHOTO", "--model", "colour", "-n", "2", "--warmup", "0"],
        ["profile", "PHOTO", "--model", "colour", "-n", "2", "--warm-up", "0"],
        ["watch", "FOLDER", "--model", "colour"],
    ],
    ids=lambda command: command[0],
)
def test_commands_send_them(
    proxy: KeyedProxy, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """With secrets from where they are; the last of a name counts."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(PHOTO)
    (tmp_path / "site").write_text("a\n")
    monkeypatch.setenv("GATE_KEY", SECRET)
    given = {"PHOTO": str(tmp_path / "photos" / "a.png"), "FOLDER": str(tmp_path / "photos")}
    command = [*(given.get(word, word) for word in command), "--url", proxy.url, "--header", f"X-API-Key: {WRONG}"]
    command += ["--header", "x-api-key: {env:GATE_KEY}", "--header", f"X-Site: {{file:{tmp_path / 'site'}}}"]
    main(command)  # of a profile, the status says whether its phases add up
    assert len(proxy.heads) >= 1
    assert {tuple(values) for values in proxy.values(NAME)} == {(SECRET,)}
    assert {tuple(values) for values in proxy.values("x-site")} == {("a",)}
    shown = capsys.readouterr()
    assert SECRET not in shown.out + shown.err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (SECRET, "argument --header: expected 'Name: value'"),
        ("X-Key: {env:NOT_THERE_AT_ALL}", "the environment variable NOT_THERE_AT_ALL is not set, or empty"),
        ("X-Key: {file:/nowhere/key}", "no secret can be read from /nowhere/key: No such file"),
        (f"X-Key: {{ENV:{SECRET}}}", "the value of X-Key has braces: expected {env:NAME} or {file:PATH}"),
        (f"Accept: {SECRET}", "Accept cannot be given"),
    ],
)
def test_a_command_says_what_cannot_be_sent(given: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As a wrong command line, without the value."""
    with pytest.raises(SystemExit) as ended:
        main(["models", "--header", given])
    told = capsys.readouterr().err
    assert (ended.value.code, said in told, SECRET in told) == (2, True, False), told
