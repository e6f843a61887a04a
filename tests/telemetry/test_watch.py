"""A real child process, watched: samples, failures, the end."""

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from clients.telemetry.sample import Sample
from clients.telemetry.tegrastats import TelemetryError
from clients.telemetry.tegrastats_source import TegrastatsSource
from clients.telemetry.watch import Watch, source_of_machine
from tests.gateway.serving import eventually
from tests.telemetry import standin

INTERVAL_S = 0.02


def opener(folder: Path, behaviour: str, silence_s: float = 10.0) -> Callable[[], TegrastatsSource]:
    program = str(standin.write(folder, behaviour))
    return lambda: TegrastatsSource(program, INTERVAL_S, root=folder, silence_s=silence_s)


def test_samples_come_as_the_program_writes_them_and_it_ends_with_the_watch(tmp_path: Path) -> None:
    """Each line is a sample, what is no line is passed over, and `close` leaves no process behind."""
    seen: list[Sample] = []
    with closing(Watch(opener(tmp_path, "works"), seen.append)):
        eventually(lambda: len(seen) >= 3, within_s=10)
        assert seen[0].gpu_load == 0.99
        [pid] = standin.pids(tmp_path)
        assert standin.runs(pid)
    assert not standin.runs(pid)
    assert not [thread for thread in threading.enumerate() if thread.name == "telemetry"]


def test_what_throttles_is_read_with_each_sample(tmp_path: Path) -> None:
    """Alerts that are on, and over-current events, come from the kernel's files; a fan that turns is no alert."""
    for number, (name, state) in enumerate([("pwm-fan", 3), ("gpu-throttle-alert", 1), ("cpu-throttle-alert", 0)]):
        folder = tmp_path / f"sys/class/thermal/cooling_device{number}"
        folder.mkdir(parents=True)
        (folder / "type").write_text(f"{name}\n")
        (folder / "cur_state").write_text(f"{state}\n")
    events = tmp_path / "sys/class/hwmon/hwmon3"
    events.mkdir(parents=True)
    (events / "oc1_event_cnt").write_text("2\n")
    (events / "oc3_event_cnt").write_text("27\n")
    source = opener(tmp_path, "works")()
    samples = source.samples()
    sample = next(samples)
    source.close()
    assert list(samples) == []
    assert sample.throttled == ("gpu-throttle-alert",)
    assert sample.overcurrent_events == 29


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("fails", "ended with status 3: tegrastats: cannot open /sys/kernel/debug: 13"),
        ("breaks off", "ended with status 9"),
        ("falls silent", "has written no sample for 1 s"),
        ("babbles", "has written no sample for 4 s: .* nonsense"),
    ],
)
def test_a_broken_program_is_an_error_that_says_how(tmp_path: Path, behaviour: str, reason: str) -> None:
    """One that ends, and one that hangs, are errors with its own last words; nothing of it stays."""
    silence_s = {"falls silent": 1.0, "babbles": 4.0}.get(behaviour, 10.0)  # the start of a program counts
    source = opener(tmp_path, behaviour, silence_s)()
    too_late = threading.Timer(20, source.close)  # then it ends without an error
    too_late.start()
    with pytest.raises(TelemetryError, match=reason):
        list(source.samples())
    too_late.cancel()
    assert not any(map(standin.runs, standin.pids(tmp_path)))


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Its path is named."""
    with pytest.raises(TelemetryError, match=r"cannot start .*no-tegrastats: No such file"):
        list(TegrastatsSource(str(tmp_path / "no-tegrastats")).samples())


def test_a_failing_program_is_complained_of_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it fails, one warning is logged; each time those who show samples are told that none comes."""
    lost: list[bool] = []
    opened = opener(tmp_path, "fails")
    with caplog.at_level(logging.WARNING), closing(Watch(opened, print, lambda: lost.append(True), pause_s=0.01)):
        eventually(lambda: len(lost) >= 3, within_s=10)
    assert [record.name for record in caplog.records] == ["clients.telemetry.watch"]
    assert "no telemetry from tegrastats" in caplog.text


def test_a_program_that_recovers_is_read_again(tmp_path: Path) -> None:
    """After a failure samples come again, once the program works."""
    opened = opener(tmp_path, "fails")
    seen: list[Sample] = []
    with closing(Watch(opened, seen.append, pause_s=0.05)):
        eventually(lambda: len(standin.pids(tmp_path)) >= 1, within_s=10)
        standin.write(tmp_path, "works")
        eventually(lambda: bool(seen), within_s=10)


def test_whatever_a_source_raises_is_told_and_the_figures_are_taken_back(caplog: pytest.LogCaptureFixture) -> None:
    """A thread that ended instead would leave its last figures standing for ever."""

    class Surprising:
        name = "surprising"

        def samples(self) -> Iterator[Sample]:
            yield Sample(1.0, 1, 2)
            raise ZeroDivisionError("of its own making")

        def close(self) -> None: ...

    lost: list[bool] = []

    def lose() -> None:
        lost.append(True)

    with caplog.at_level(logging.WARNING), closing(Watch(Surprising, print, lose, pause_s=0.01)):
        eventually(lambda: len(lost) >= 2, within_s=10)
    assert caplog.text.count("ZeroDivisionError: of its own making") == 1


def test_it_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    """Nobody is left to end it: its next line does, which nobody reads."""
    standin.write(tmp_path)
    reader = textwrap.dedent(
        f"""
        import time
        from clients.telemetry.tegrastats_source import TegrastatsSource
        from clients.telemetry.watch import Watch
        watch = Watch(lambda: TegrastatsSource({str(tmp_path / "tegrastats")!r}, {INTERVAL_S}), lambda sample: None)
        time.sleep(60)
        """
    )
    with subprocess.Popen([sys.executable, "-c", reader], cwd=Path(__file__).parents[2]) as process:
        try:
            eventually(lambda: bool(standin.pids(tmp_path)), within_s=60)
        finally:
            process.send_signal(signal.SIGKILL)
    eventually(lambda: not any(map(standin.runs, standin.pids(tmp_path))), within_s=10)


def test_a_machine_without_either_has_no_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no tegrastats on the path and no jtop, nothing is started; where there is one, that."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert source_of_machine() is None
    standin.write(tmp_path)
    opened = source_of_machine()
    assert opened is not None
    assert opened().name == "tegrastats"
    assert os.environ["PATH"] == str(tmp_path)
