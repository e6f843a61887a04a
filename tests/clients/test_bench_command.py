"""`python -m clients bench`: how fast a photo is answered."""

import csv
import json
from pathlib import Path

import pytest

from clients.__main__ import main
from tests.fake_triton import FakeTriton
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, running_gateway
from tests.ports import free_ports


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "blue.jpg"
    path.write_bytes(encoded(64, 48, (255, 0, 0)))
    return path


def bench(gateway: RunningGateway, *arguments: object) -> int:
    return main(["bench", *map(str, arguments), "--url", gateway.url])


def test_every_request_is_counted(
    gateway: RunningGateway,
    photo: Path,
    fake: FakeTriton,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those before, to warm up, are not; times are in order, and not below what the model takes."""
    most = 0

    def may_answer() -> bool:
        nonlocal most
        most = max(most, fake.running)
        return len(fake.received) <= 3 or most >= 4  # those after the warm-up: when there are four

    monkeypatch.setattr(fake, "may_answer", may_answer)
    fake.received.clear()
    fake.delay_s = 0.02
    try:
        assert bench(gateway, photo, "--model", "colour", "-n", 20, "--concurrency", 4, "--warmup", 3, "--json") == 0
    finally:
        fake.delay_s = 0.0
    report = json.loads(capsys.readouterr().out)
    assert len(fake.received) == 23
    assert (report["requests"], report["concurrency"], report["failures"]) == (20, 4, {})
    times = report["answer_ms"]
    assert 20 <= times["p50"] <= times["p90"] <= times["p99"] <= times["max"]
    assert report["gateway_ms"]["mean"] < times["mean"]
    assert report["per_second"] == pytest.approx(20 / report["seconds"], rel=0.05)
    assert most == 4


def test_failures_are_counted_by_kind(fake: FakeTriton, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is tried again; the status is 1, and each kind is explained once."""
    fake.failure = "queue full"
    try:
        with running_gateway(fake.address) as gateway:
            assert bench(gateway, photo, "--model", "colour", "-n", 7, "--warmup", 0, "--output", "jsonl") == 1
    finally:
        fake.failure = None
    shown = capsys.readouterr()
    report = json.loads(shown.out)
    assert report["failures"] == {"overloaded": 7}
    assert report["seconds"] < 7  # what is busy asks to be left alone for a second, each time
    assert (report["per_second"], report["answer_ms"]) == (0, {})
    [line] = shown.err.splitlines()
    assert line.startswith("python -m clients: 7 failed, overloaded: ")


def test_it_is_a_table_or_lines(
    gateway: RunningGateway, photo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tabs in a pipe; CSV with names; a table with a headline on a terminal."""
    assert bench(gateway, photo, "--model", "colour", "-n", 3) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert [first.partition("\t")[0], second.partition("\t")[0]] == ["answer, ms", "at the gateway, ms"]
    assert bench(gateway, photo, "--model", "colour", "-n", 3, "--output", "csv") == 0
    [row] = csv.DictReader(capsys.readouterr().out.splitlines())
    assert row["photo"] == "blue.jpg"
    assert float(row["answer_ms_p50"]) > 0
    for columns in (80, 120):
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", str(columns))
        assert bench(gateway, photo, "--model", "colour", "-n", 3) == 0
        shown = capsys.readouterr().out
        assert "blue.jpg: 3 requests, 1 at a time, colour, " in shown
        assert "p99" in shown


def test_what_cannot_be_measured_is_one_line(
    gateway: RunningGateway, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown model, no gateway, no photo: not once a request."""
    assert bench(gateway, photo, "--model", "none") == 1
    assert bench(gateway, tmp_path / "none.jpg", "--model", "colour") == 1
    assert main(["bench", str(photo), "--model", "colour", "--url", f"http://127.0.0.1:{free_ports(1)[0]}"]) == 1
    assert [line.split(": ")[1][:20] for line in capsys.readouterr().err.splitlines()] == [
        "there is no model 'n",
        "[Errno 2] No such fi",
        "there is no gateway ",
    ]


@pytest.mark.parametrize(("name", "value"), [("-n", "0"), ("--concurrency", "0"), ("--warmup", "-1"), ("-n", "many")])
def test_numbers_are_numbers(photo: Path, name: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """From 1, or from 0 to warm up."""
    with pytest.raises(SystemExit, match="2"):
        main(["bench", str(photo), "--model", "colour", f"{name}={value}"])
    assert "is not a whole number of" in capsys.readouterr().err
