"""Headers: where their secrets come from, and where they never are."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from clients.headers import headers_from_texts
from clients.hiding import HIDDEN, Hider
from loadtest import record as records
from loadtest.__main__ import main
from loadtest.commands import capacity
from loadtest.headers import of_origin, with_secrets
from loadtest.images import images_from_text
from loadtest.plan import plan_from_values
from loadtest.run import run
from loadtest.target import target_of
from loadtest.template import Template
from loadtest.users.answers import Answer
from loadtest.users.grpc_channel import GrpcChannel
from loadtest.users.template import TemplateWay
from tests.gateway.serving import eventually
from tests.loadtest.knowing import KnownServer, known_server
from tests.loadtest.known_answers import models, response
from tests.loadtest.simulated import steps_record
from tests.loadtest.test_http_door import serving
from tests.loadtest.test_run import LONG_S, QUICK
from tests.local_triton import ROOT
from vision.errors import BackendUnavailable, InvalidArgument, WireError

SECRET = "s3cr3t-of-nobody-else"  # noqa: S105 - nobody's
LITERAL = "an0ther-of-them"
LONG = f"not-{SECRET}-" + "0123456789ab" * 50
"""More than what is kept of an answer."""
KEY = f"Bearer {SECRET}"
FROM_ENVIRONMENT = "Bearer {env:KNOWN_TOKEN}"


@pytest.fixture(scope="module")
def guarded() -> Iterator[KnownServer]:
    """One that answers who has the key, whatever they ask."""
    with known_server("--service", "deterministic:0.010", "--workers", "infinite", "--key", KEY) as server:
        yield server


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KNOWN_TOKEN", SECRET)


def test_secrets_come_from_files_and_the_environment(tmp_path: Path, token: None) -> None:
    """Without the line's end that editors leave; what is not named so is taken as it is."""
    (tmp_path / "key").write_text(f"{SECRET}\n")
    given = headers_from_texts(
        [f"Authorization: {FROM_ENVIRONMENT}", f"X-Api-Key: {{file:{tmp_path / 'key'}}}", "X-Site: a:b"]
    )
    assert with_secrets(given) == {"Authorization": KEY, "X-Api-Key": SECRET, "X-Site": "a:b"}


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([SECRET], "--header number 1: expected 'Name: value'"),
        ([f"Key {SECRET}: {SECRET}"], "expected 'Name: value'"),
        (["X-Key: {env:NOT_THERE_AT_ALL}"], "X-Key: the environment variable NOT_THERE_AT_ALL is not set, or empty"),
        (["X-Key: {file:/nowhere/key}"], "no secret can be read from /nowhere/key: No such file"),
        ([f"X-Key: {HIDDEN}"], "what X-Key was is not in a record: give it again"),
        (["X-Key: {ENV:s3cr3t-of-nobody-else}"], "X-Key has braces: expected {env:NAME} or {file:PATH}"),
        (["X-Key: Bearer {env:s3cr3t-of-nobody-else"], "X-Key has braces"),
        (["X-Key: ${TOKEN}"], "X-Key has braces"),
        (["X-Key: {file:}"], "X-Key has braces"),
        ([f"X-Key: {SECRET}\u2026"], "the value of X-Key is empty, or has other characters"),
        ([f"Content-Length: {SECRET}"], "Content-Length cannot be given: it is the body's"),
        ([f"X-Key-Bin: {SECRET}"], "X-Key-Bin cannot be given: over gRPC its value would be bytes"),
    ],
)
def test_a_header_that_cannot_be_sent_is_said_without_its_value(texts: list[str], said: str) -> None:
    """Nor is what may be one: the error may stand in a log."""
    with pytest.raises(InvalidArgument) as found:
        with_secrets(headers_from_texts(texts))
    assert said in str(found.value)
    assert SECRET not in str(found.value)


def test_a_plan_has_headers_and_does_not_tell_them(tmp_path: Path) -> None:
    """Neither as text nor as JSON; a flag takes the place of the plan's, in whichever case. Triton itself has none."""
    plan = plan_from_values({"headers": {"X-Key": SECRET, "X-Other": "{env:TOKEN}"}})
    assert plan.model_dump(mode="json")["headers"] == {"X-Key": HIDDEN, "X-Other": "{env:TOKEN}"}
    assert SECRET not in f"{plan!r}{plan}{plan.model_dump()}{plan.model_dump_json()}"
    values: list[Any] = [f"{SECRET}\n", [SECRET], "  ", "", f"${{{SECRET}}}"]
    for wrong in ({"headers": {"X-Key": value}} for value in values):
        with pytest.raises(InvalidArgument, match="headers") as found:
            plan_from_values(wrong)
        assert SECRET not in str(found.value)
    with pytest.raises(InvalidArgument, match="Triton itself is asked without"):
        plan_from_values({"headers": {"X-Key": "a"}, "transport": "triton", "host": "127.0.0.1:8001"})
    for what in ("host", "gateway"):
        for url in (f"http://me:{SECRET}@127.0.0.1:8080", f"ftp://me:{SECRET}@edge:port", f"http://me:/{SECRET}@edge"):
            with pytest.raises(InvalidArgument, match=f"{what}: .*give them as a header") as found:
                plan_from_values({what: url})
            assert SECRET not in str(found.value)


def test_a_record_holds_a_source_and_no_literal_beside_it() -> None:
    """A scheme may stand before it."""
    given = {
        "A": "{env:A}", "B": "Bearer {file:/run/b}", "C": f"session={LITERAL}; x={{env:A}}", "D": f"{{env:A}}:{LITERAL}"
    }  # fmt: skip
    shown = plan_from_values({"headers": given}).model_dump(mode="json")["headers"]
    assert shown == {"A": "{env:A}", "B": "Bearer {file:/run/b}", "C": HIDDEN, "D": HIDDEN}


def test_headers_that_are_no_table_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where a flag would add to them, as to the warm-up."""
    for line, flag, said in (
        (f'headers = "X-Key: {SECRET}"', "--header=X-Other: a", "headers: "),
        ("warm_up = 5", "--warm-up=1", "warm_up: "),
    ):
        (tmp_path / "plan.toml").write_text(line)
        assert main(["run", str(tmp_path / "plan.toml"), flag]) == 2
        assert f"{said}Input should be a valid dictionary" in (told := capsys.readouterr().err)
        assert SECRET not in told


def test_only_the_host_is_told() -> None:
    """Another gateway whose metrics are read, or another port, is somebody else."""
    headers = {"X-Key": SECRET}
    assert of_origin(headers, "http://edge:80/cameras", "http://edge") == headers
    assert of_origin(headers, "http://edge:8081", "http://edge") == {}
    assert of_origin(headers, "https://edge", "http://edge") == {}


def test_a_guarded_server_is_asked_and_the_secrets_are_nowhere(tmp_path: Path, guarded: KnownServer) -> None:
    """Not in the command line or environment of any process of the generator, nor in what is written, at any time."""
    given = ["--images", "made:32x32x2", "--warm-up", "0", "--triton", "", "--users", "2", "--seconds", str(LONG_S)]
    given += ["--header", f"authorization: {FROM_ENVIRONMENT}", "--header", f"X-Literal: {LITERAL}"]
    asked = [sys.executable, "-m", "loadtest", "run", "--host", guarded.url, "--out", str(tmp_path), *given]
    environment = os.environ | {"KNOWN_TOKEN": SECRET}
    named = [*asked, "--processes", "2"]
    with subprocess.Popen(named, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        eventually(lambda: list(tmp_path.rglob("samples-*.bin")), within_s=60)
        children = psutil.Process(process.pid).children(recursive=True)
        told = [" ".join([*child.cmdline(), *child.environ().values()]) for child in children]
        written = contents(tmp_path)
        shown, _ = process.communicate(timeout=120)
    assert process.returncode in (0, 3), shown  # 3 of a machine that others use
    written += [path.read_bytes() for path in tmp_path.iterdir()]
    assert any("locust" in line for line in told)
    for secret in (SECRET, LITERAL):
        assert not [line for line in [*told, shown] if secret in line]
        assert not [content for content in written if secret.encode() in content]
    [path] = tmp_path.glob("*.json")
    record = records.read(path)
    assert record.counted()[0].summary.answered
    assert record.counted()[0].summary.failed == {}
    assert record.conditions["counts"]["counted"]["the gateway"] == record.conditions["counts"]["came"]
    assert record.plan["headers"] == {"authorization": FROM_ENVIRONMENT, "X-Literal": HIDDEN}


def contents(folder: Path) -> list[bytes]:
    """Of the files there are, of which some are only aside until they are whole."""
    found = []
    for path in filter(Path.is_file, folder.rglob("*")):
        with suppress(FileNotFoundError):
            found.append(path.read_bytes())
    return found


def test_what_a_server_quotes_of_a_secret_is_not_written(tmp_path: Path, guarded: KnownServer) -> None:
    """A careless one answers with the key that it refuses, of which the end is cut off before a record has it."""
    template = tmp_path / "other.toml"
    template.write_text('path = "/v1/models/known/predict"\ncontains = ["results"]\n')
    values = QUICK | {"host": guarded.url, "transport": "template", "template": str(template), "gateway": ""}
    wrong = {"stages": [{"users": 1, "seconds": 0.5}], "headers": {"authorization": f"Bearer {LONG}"}}
    record = run(plan_from_values(values | wrong), tmp_path / "out")
    assert record.conditions["said"]["unauthorized"] == f"there is no key ['{HIDDEN}"


def test_a_templates_header_gives_way_to_the_plans() -> None:
    """In whichever case it is written; its others stay."""
    template = Template(path="/", text="a", headers={"Authorization": "Bearer a", "X-Kind": "photo"})
    way = TemplateWay("http://127.0.0.1:9", 1.0, template, {"authorization": KEY})
    [image] = images_from_text("made:32x32x1", 0)
    way.prepare(["known"], [image])
    assert way.door(1).request_of("known", image)[2] == {
        "content-type": "image/jpeg", "X-Kind": "photo", "authorization": KEY
    }  # fmt: skip


def test_a_key_that_is_refused_is_said_at_once(guarded: KnownServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Without it, though the server quotes it."""
    assert main(["run", "--host", guarded.url, "--header", f"authorization: Bearer {LONG}"]) == 3
    said = capsys.readouterr().err
    assert "unauthorized" in said or "no key" in said
    assert "not-" not in said


def test_the_models_are_listed_with_them(guarded: KnownServer) -> None:
    """Without those that the client of the gateway says itself."""
    given = {"Authorization": KEY, "Host": "edge.example", "Accept": "image/png", "accept-encoding": "br"}
    plan = plan_from_values({"host": guarded.url, "headers": given, "gateway": "", "triton": ""})
    assert list(target_of(plan, with_secrets(plan.told_headers())).models) == ["known"]


def test_what_is_said_of_a_model_has_no_secret() -> None:
    """As what is said of all of them."""

    def answer(connection: socket.socket, head: bytes) -> None:
        refused = response(500, json.dumps({"error": "odd", "detail": LONG}), more="connection: close\r\n")
        listed = response(200, models(), more="connection: close\r\n")
        connection.sendall(refused if b"/v1/models/known" in head else listed)

    with serving(answer) as url:
        plan = plan_from_values({"host": url, "headers": {"X-Key": LONG}, "gateway": "", "triton": ""})
        with pytest.raises(BackendUnavailable, match=r"odd.*\{hidden\}") as found:
            target_of(plan, with_secrets(plan.told_headers()))
    assert SECRET not in str(found.value)


def test_plain_locust_takes_headers_and_tells_no_secret(guarded: KnownServer) -> None:
    """Nor does it where it cannot begin, and the server quotes the key."""
    command = [sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--headless", "-u", "1", "-t", "1s"]
    command += [
        "--host",
        guarded.url,
        "--images",
        "made:32x32x1",
        "--header",
        "authorization: Bearer {env:KNOWN_TOKEN}",
    ]
    environment = os.environ | {"KNOWN_TOKEN": f"not-{SECRET}"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert f"loadtest: there is no key ['{HIDDEN}']" in done.stderr
    assert SECRET not in done.stderr


def test_a_search_that_goes_on_is_told_its_headers_again() -> None:
    """Its record has where a secret is, and not what it was; what is not said again is not guessed."""
    plan = plan_from_values({"headers": {"X-Key": SECRET, "X-Other": "{env:TOKEN}"}, "slo": "p99<5ms"})
    search = {"start": 1, "most": 2, "least": 1, "seconds": 1}
    record = steps_record().model_copy(
        update={"plan": plan.model_dump(mode="json", exclude_none=True), "conditions": {"capacity": search}}
    )
    before, _ = capacity._remembered(record, [])
    assert before.told_headers() == {"X-Key": HIDDEN, "X-Other": "{env:TOKEN}"}
    again, _ = capacity._remembered(record, [f"x-key: {SECRET}"])
    assert again.told_headers() == {"X-Other": "{env:TOKEN}", "x-key": SECRET}


def test_grpc_sends_them_as_metadata() -> None:
    """In lower case, with every call; what a server quotes of one that it refuses can be hidden, though it was cut."""
    seen: list[dict[str, str]] = []

    def refuse(_: bytes, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, f"there is no key {seen[-1].get('x-api-key')}")

    class Seen(grpc.ServerInterceptor):  # type: ignore[misc]
        def intercept_service(self, _: object, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            seen.append(dict(details.invocation_metadata))
            return grpc.unary_unary_rpc_method_handler(refuse)

    server = grpc.server(ThreadPoolExecutor(1), interceptors=[Seen()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        channel = GrpcChannel(f"127.0.0.1:{port}", 5.0, {"X-Api-Key": LONG})
        _, answer = channel.infer(b"")
        with pytest.raises(WireError):
            channel.ready_models()
    finally:
        server.stop(None).wait()
    assert [each.get("x-api-key") for each in seen] == [LONG, LONG]
    assert isinstance(answer, Answer)
    assert LONG not in answer.detail
    assert Hider({"X-Api-Key": LONG})(answer.detail) == f"there is no key {HIDDEN}"
