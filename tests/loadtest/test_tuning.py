"""A search on a real Triton: what is served before is served after, whatever happens in between.

Measurements are made up, by the settings that Triton really serves with; the real ones are tested with the command.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from clients.triton.client import TritonClient
from loadtest.interrupts import Interrupted, Interrupts
from loadtest.tune import applying, tuning, turns
from loadtest.tune.applying import NotRestored, OtherVersion, ServedModel
from loadtest.tune.candidate import Candidate
from loadtest.tune.search import CannotMeasure
from loadtest.tune.state import StateFile, Turn
from loadtest.tune.tuning import Telling, put_back, tuned
from loadtest.tune.verdict import outcome_of
from tests.gateway.serving import answers, eventually, no_settings, process
from tests.loadtest.made_search import MODEL, Enough, InMemory, Made, enough_after, every_5_s, quick, search, task
from tests.local_triton import ROOT, LocalTriton
from tests.tiny_models import colour_contract, colour_graph, write_model
from vision.errors import InvalidArgument
from vision.serving import ServingSettings


@pytest.fixture
def served(triton: LocalTriton) -> Iterator[ServedModel]:
    """The colour model with the settings of its folder, but for instances: somebody has given it two."""
    if not (triton.repository / MODEL).exists():
        write_model(triton.repository, MODEL, colour_contract(), colour_graph())
    triton.load(MODEL)
    model = ServedModel(triton.address, MODEL)
    model.serve(ServingSettings(instances=2))
    yield model
    asyncio.run(_loaded(triton.address))


async def _loaded(address: str) -> None:
    async with TritonClient(address) as client:
        await client.load(MODEL)


def test_it_finds_a_better_setting_and_leaves_what_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every candidate is served while it is measured, the winner is better, and the settings before are back."""
    served = InMemory()
    monkeypatch.setattr(tuning, "ServedModel", lambda *_: served)
    before, made, told = served.settings(), Made(served, rate=quick), list[Turn]()
    found = search(served, tmp_path, made, monkeypatch, told)
    assert [turn.candidate.serving for turn in told] == made.seen
    assert len(set(made.seen)) > 4
    outcome = outcome_of(found, task(served, 200).objective)
    assert outcome.winner is not None
    assert quick(outcome.winner) > quick(Candidate(serving=before))
    assert served.settings() == before
    state = StateFile(tmp_path / "state.json").read()
    assert state is not None
    assert (state.applied, state.finished) == (False, True)


def test_the_command_searches_a_real_server_and_ends_when_it_is_told(served: ServedModel, tmp_path: Path) -> None:
    """With the real generator and gateway: SIGTERM in the middle, and what was served before is served again."""
    before, state = served.settings(), tmp_path / f"tune_{MODEL}.state.json"
    with no_settings(), process(triton=served.triton, log_level="warning") as (_, url):
        eventually(lambda: answers(url), within_s=20)
        command = [sys.executable, "-m", "loadtest", "tune", MODEL, "--host", url, "--triton", served.triton]
        command += ["--images", "made:64x64x1", "--turn", "1s", "--users", "2", "--out", str(tmp_path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as search:
            assert search.stdout is not None
            eventually(lambda: served.settings() != before or search.poll() is not None, within_s=40)
            search.terminate()
            said = search.stdout.read()
    assert search.returncode == 128 + signal.SIGTERM, said
    assert "1 of " in said
    assert served.settings() == before
    assert '"applied":false' in state.read_text()


def test_settings_of_the_folder_come_back_as_such(
    served: ServedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody had laid settings over the folder's, none lie over them after: its next change is served."""
    asyncio.run(_loaded(served.triton))
    config = _config(served)
    assert "serving_before" not in config
    with pytest.raises(Enough):
        search(served, tmp_path, Made(served, enough_after(3)), monkeypatch)
    assert _config(served) == config


def _config(served: ServedModel) -> str:
    async def asked() -> str:
        async with TritonClient(served.triton) as client:
            return str(await client._config(MODEL))

    return asyncio.run(asked())


@pytest.mark.parametrize("how", [Enough("a fault"), signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=str)
def test_an_end_before_its_time_puts_back_what_was(
    how: BaseException | signal.Signals, served: ServedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faults and signals, in the middle of a measurement."""
    before = served.settings()

    def ends(number: int) -> None:
        if served.settings() != before:
            if isinstance(how, BaseException):
                raise how
            os.kill(os.getpid(), how)

    with pytest.raises(Enough if isinstance(how, Enough) else Interrupted):
        search(served, tmp_path, made := Made(served, ends), monkeypatch)
    assert made.seen[-1] != before
    assert served.settings() == before


def test_it_goes_on_where_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns that were taken are not taken again, and what is found is what would have been found."""
    served = InMemory()
    monkeypatch.setattr(tuning, "ServedModel", lambda *_: served)

    def interrupt(number: int) -> None:
        if number == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    whole = Made(served)
    found = search(served, tmp_path / "whole", whole, monkeypatch)
    first, rest = Made(served, interrupt), Made(served, noise_from=6)
    with pytest.raises(Interrupted):
        search(served, tmp_path, first, monkeypatch)
    assert search(served, tmp_path, rest, monkeypatch) == found
    assert first.seen[:6] + rest.seen == whole.seen
    assert len(whole.seen) > 20


def test_turns_that_are_of_no_use_are_not_forgotten_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another task; those that were written before a plan had headers are of use."""
    served, said, file = InMemory(), list[str](), StateFile(tmp_path / "state.json")
    monkeypatch.setattr(tuning, "ServedModel", lambda *_: served)

    def begun_again(**asked: object) -> str:
        state = file.read()
        assert state is not None
        state.asked["plan"].pop("headers", None)
        file.write(state.model_copy(update={"asked": state.asked | asked}))
        said.clear()
        with pytest.raises(Enough):
            search(served, tmp_path, Made(served, enough_after(1)), monkeypatch, say=said.append)
        return said[0]

    with pytest.raises(Enough):
        search(served, tmp_path, Made(served, enough_after(4)), monkeypatch)
    assert begun_again().startswith("goes on with the 3 turns")
    assert begun_again(seed=99) == "begins anew: the 3 turns of a search that was interrupted were of another task"


def test_a_triton_that_dies_is_told_and_put_right_when_it_is_back(
    served: ServedModel, triton: LocalTriton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search ends, its state says what is to be put back, and the next one does that first."""
    before = served.settings()
    monkeypatch.setattr(applying, "COMES_BACK_S", 0.2)
    monkeypatch.setattr(applying.Trial.restore, "__defaults__", (0.2,))

    def dies(number: int) -> None:
        if number == 4:
            triton.kill()

    file = StateFile(tmp_path / "state.json")
    with pytest.raises(NotRestored, match="--restore"):
        search(served, tmp_path, Made(served, dies), monkeypatch)
    state = file.read()
    assert state is not None
    assert state.applied
    triton.start()
    assert served.settings() != before  # its folder's
    assert put_back(file) is not None
    assert served.settings() == before
    assert put_back(file) is None


def test_after_a_kill_the_next_start_puts_it_back(served: ServedModel, tmp_path: Path) -> None:
    """SIGKILL leaves what was tried; what was before is on the disk already, and --restore brings it back."""
    before = served.settings()
    code = f"""
import time
from pathlib import Path
from loadtest.tune.applying import ServedModel, Trial
from loadtest.tune.state import State, StateFile
from vision.serving import ServingSettings
served = ServedModel({served.triton!r}, {MODEL!r})
state = State(model={MODEL!r}, triton={served.triton!r}, version="1", before=served.settings(), asked={{}})
file = StateFile(Path({str(tmp_path / f"tune_{MODEL}.state.json")!r}))
Trial(served, file, state).apply(ServingSettings(instances=3))
print("applied", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "applied\n"
        process.kill()
    assert served.settings().instances == 3
    command = [sys.executable, "-m", "loadtest", "tune", MODEL, "--restore", "--out", str(tmp_path)]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "was killed" in said
    assert served.settings() == before


def test_a_measurement_of_something_else_does_not_count(
    served: ServedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody loads the model meanwhile, as a gateway may: the turn is taken once more."""

    def loads(number: int) -> None:
        if number == 4:
            asyncio.run(_loaded(served.triton))
        enough_after(6)(number)

    made, told = Made(served, loads), list[Turn]()
    with pytest.raises(Enough):
        search(served, tmp_path, made, monkeypatch, told)
    assert made.seen[3] == made.seen[4]
    assert [turn.candidate.serving for turn in told] == [*made.seen[:3], *made.seen[4:5]]


def test_a_version_that_is_published_meanwhile_ends_it(
    served: ServedModel, triton: LocalTriton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was measured is of no use to another version."""

    def publishes(number: int) -> None:
        if number == 3:
            write_model(triton.repository, MODEL, colour_contract(), colour_graph(), version=2)
            triton.load(MODEL)

    try:
        with pytest.raises((OtherVersion, CannotMeasure)):
            search(served, tmp_path, Made(served, publishes), monkeypatch)
    finally:
        with suppress(FileNotFoundError):
            write_model(triton.repository, MODEL, colour_contract(), colour_graph())


def test_two_searches_of_one_model_do_not_meet(tmp_path: Path) -> None:
    """The second is told so."""
    file = StateFile(tmp_path / "state.json")
    with file.alone(), pytest.raises(InvalidArgument, match="goes on"), StateFile(tmp_path / "state.json").alone():
        pass


def test_too_little_time_is_told(served: ServedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what would be enough, and nothing is left changed."""
    before = served.settings()
    monkeypatch.setattr(turns, "run", Made(served))
    with Interrupts() as interrupts, pytest.raises(InvalidArgument, match="--budget 2m"):
        tuned(
            task(served, 20),
            StateFile(tmp_path / "state.json"),
            interrupts,
            Telling(lambda *_: None, clock=every_5_s()),
        )
    assert served.settings() == before
