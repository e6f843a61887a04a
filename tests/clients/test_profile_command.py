"""`python -m clients profile`: what every stage of a served model takes."""

import csv
import json
from pathlib import Path

import pytest

from clients.__main__ import main
from clients.commands.profile import stages_of, sum_of_phases
from tests.gateway.phases import IN_HEADER
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, running_gateway
from tests.local_triton import LocalTriton
from tests.tiny_models import colour_contract, colour_graph, write_model

PHASES = [phase for phase in IN_HEADER if phase != "total"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name, side in (("small.jpg", 64), ("large.jpg", 400)):
        (tmp_path / name).write_bytes(encoded(side, side))
    return tmp_path


def profile(gateway: RunningGateway, *arguments: object) -> int:
    return main(["profile", *map(str, arguments), "--url", gateway.url])


@pytest.mark.triton
def test_a_served_model_is_profiled(
    triton: LocalTriton, photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a real Triton, which tells what it took of each request; the phases are the pipeline within 3 %."""
    monkeypatch.setattr("gateway.statistics.EXACT_S", 20.0)  # on a machine that has other things to do
    write_model(triton.repository, "profiled", colour_contract(max_batch=4), colour_graph())
    triton.load("profiled")
    with running_gateway(triton.address) as gateway:
        assert profile(gateway, photos, "--model", "profiled", "-n", 20, "--warm-up", 3, "--json") == 0
        shown = capsys.readouterr()
        stages = {stage["name"]: stage for stage in map(json.loads, shown.out.splitlines())}
        assert list(stages) == [
            "Request", "Pipeline", "receive", "slot", "thread", "decode", "preprocess", "serialise", "Triton",
            "queue", "compute", "transport", "deserialise", "postprocess", "respond", "(network and client)",
        ]  # fmt: skip
        assert {stage["n_call"] for stage in stages.values()} == {20}
        of_triton = ("queue", "compute", "transport")
        assert sum(stages[name]["occupy"] for name in of_triton) == pytest.approx(1, abs=0.01)
        assert sum(stages[name]["usage"] for name in of_triton) == pytest.approx(stages["Triton"]["usage"], abs=0.001)
        assert sum(stages[name]["usage"] for name in PHASES) == pytest.approx(1, abs=0.03)
        assert 0 < stages["compute"]["t_50"] <= stages["compute"]["t_90"] < stages["Pipeline"]["t_90"]
        assert stages["Pipeline"]["t_mean"] < stages["Request"]["t_mean"]
        assert shown.err.startswith("the phases are ")
        assert "not alone" not in shown.err
        assert profile(gateway, photos / "small.jpg", "--model", "profiled", "-n", 3, "--output", "csv") == 0
        rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
        assert list(rows[0]) == ["name", "occupy", "usage", "n_call", "t_mean", "t_50%", "t_90%"]
        assert [row["name"] for row in rows] == list(stages)
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "100")
        assert profile(gateway, photos / "small.jpg", "--model", "profiled", "-n", 3) == 0
        shown = capsys.readouterr()
        assert "profiled: 3 requests, one at a time, milliseconds" in shown.out
        assert "        Triton" in shown.out


def test_shares_are_those_of_the_whole_and_of_the_pipeline() -> None:
    """`occupy` of the row above, `usage` of the pipeline; percentiles by rank, as mmdeploy's profiler has them."""
    phases_ms = [
        {"receive": 1.0, "queue": 1.0, "compute": 4.0 + number, "transport": 1.0, "total": 8.0 + number}
        for number in range(4)
    ]
    stages = {stage.name: stage for stage in stages_of(phases_ms, [10.0, 11.0, 12.0, 13.0])}
    assert stages["Request"].t_mean == 11.5
    assert (stages["Pipeline"].occupy, stages["Pipeline"].usage) == (9.5 / 11.5, 1)
    triton, compute = stages["Triton"], stages["compute"]
    assert (triton.occupy, triton.usage, triton.t_mean) == (7.5 / 9.5, 7.5 / 9.5, 7.5)
    assert (compute.occupy, compute.usage, compute.t_50, compute.t_90) == (5.5 / 7.5, 5.5 / 9.5, 6, 7)
    assert stages["(network and client)"].t_mean == 2
    assert sum_of_phases(phases_ms) == pytest.approx(8.5 / 9.5, abs=0.02)


def test_phases_that_are_not_the_whole_are_a_failure(
    gateway: RunningGateway, photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time that nobody has accounted for is said, and the status is 1."""
    monkeypatch.setattr("clients.commands.profile.PARTS_MEET", -1)
    assert profile(gateway, photos / "small.jpg", "--model", "colour", "-n", 2) == 1
    assert "% of the pipeline" in capsys.readouterr().err


def test_a_failure_ends_it(gateway: RunningGateway, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table of what failed would be of no use."""
    assert profile(gateway, photos, "--model", "unknown") == 1
    assert "no model" in capsys.readouterr().err
