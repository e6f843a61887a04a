import io
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.progress import Progress as Bars

from builder.progress import Log, Progress, _bars, line_of

ROOT = Path(__file__).parents[2]
STEPS = """
import sys
from builder.progress import Progress, terminal_if_any
progress = Progress(terminal=terminal_if_any())
for name in ("fetch", "parity"):
    with progress.step(name) as step:
        step.total(3)
        for photo in ("a.jpg", "b.jpg", "c.jpg"):
            step.advance(photo)
            sys.stdin.readline()
        step.done(f"{name} is done")
"""


def test_each_step_is_one_line_and_notes_stand_before_it() -> None:
    """In the order in which they were told, when the step ends."""
    said: list[tuple[str, str]] = []
    progress = Progress(lambda step, text: said.append((step, text)))
    with progress.step("fetch") as step:
        step.note("from the cache")
        step.advance("net.pth")
        assert said == []
        step.done("4 MB")
    assert said == [("", "note: from the cache"), ("fetch", "4 MB")]


def test_what_a_step_told_is_said_though_it_failed() -> None:
    """A note may be the reason; and the step that failed is known."""
    said: list[str] = []
    progress = Progress(lambda step, text: said.append(text))

    def failing() -> None:
        with progress.step("export") as step:
            step.note("random weights")
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert said == ["note: random weights"]
    assert progress.current == "export"


def test_everything_is_in_the_log_with_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin, progress, notes, result and how long it took, as soon as they happen."""
    now_s = iter((100.0, 102.3))
    monkeypatch.setattr("builder.progress.time", SimpleNamespace(monotonic=lambda: next(now_s)))
    log = Log(tmp_path / "deep" / "build.log")
    log.begin("parity: first")
    progress = Progress(lambda step, text: None, log)
    with progress.step("parity") as step:
        step.reached(1, 20, "a.jpg")
        assert "parity: 1 of 20 a.jpg\n" in log.path.read_text()
        step.done("20 images agree")
    text = log.path.read_text()
    for part in ("parity: begun", "parity: 20 images agree", "parity: ended after 2.3 s"):
        assert part in text
    assert all(line.startswith("20") and "+00:00 parity: " in line for line in text.splitlines())
    assert progress.seconds == {"parity": 2.3}


def test_a_terminal_shows_a_bar_and_then_the_line() -> None:
    """With the count and what is at hand, and the line in its place once it is done."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", STEPS],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    ) as process:
        os.close(theirs)
        assert process.stdin is not None
        try:
            shown = b""
            for photo in (b"a.jpg", b"b.jpg", b"c.jpg") * 2:
                shown += _until(ours, photo)
                process.stdin.write(b"\n")
                process.stdin.flush()
            shown += _until(ours, None)
            process.wait(30)
        finally:
            process.kill()
    os.close(ours)
    assert process.returncode == 0
    text = shown.decode()
    assert "b.jpg" in text
    assert "2/3" in text
    assert (
        "\x1b[2K" in text[text.rindex("c.jpg", 0, text.index("fetch is done")) : text.index("fetch is done")]
    )  # erased
    assert text.index("b.jpg") < text.index("fetch is done") < text.index("parity is done")


def _until(terminal: int, word: bytes | None) -> bytes:
    """What it shows until the word is there; None is to its end."""
    shown, end_s = b"", time.monotonic() + 30
    while word is None or word not in shown:
        assert select.select([terminal], [], [], 30)[0], shown
        assert time.monotonic() < end_s, shown
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # Linux ends a pty that nobody holds with EIO
            assert word is None, shown
            break
    return shown


def test_a_pipe_shows_lines_alone() -> None:
    """No bars, no control characters: fit for a log."""
    done = subprocess.run([sys.executable, "-c", STEPS], cwd=ROOT, input="", capture_output=True, text=True, check=True)
    assert done.stdout == "fetch     fetch is done\nparity    parity is done\n"
    assert done.stderr == ""


def test_a_long_line_goes_on_below_its_text() -> None:
    """On a terminal of 60 columns no line is longer, but for a path, which is not broken; a pipe gets it in one."""
    text = "one two three four five six seven eight nine ten eleven twelve " + "/a" * 40
    lines = line_of("verify", text, 60).splitlines()
    assert lines[0].startswith("verify    one two")
    assert all(line.startswith(" " * 10) for line in lines[1:])
    assert [line for line in lines if len(line) > 60] == [" " * 10 + "/a" * 40]
    assert line_of("verify", text, None) == f"verify    {text}"


def test_a_step_of_unknown_length_draws_no_bar() -> None:
    """Neither a full one nor a count of nothing: something turns."""
    terminal = Console(force_terminal=True, width=80, file=io.StringIO())
    bars = _bars(terminal)
    task = bars.add_task("export", total=None, text="x")
    shown = _shown(bars, terminal)
    assert "━" not in shown
    assert "/" not in shown
    bars.update(task, total=3, completed=1)
    shown = _shown(bars, terminal)
    assert "━" in shown
    assert "1/3" in shown


def _shown(bars: Bars, terminal: Console) -> str:
    with terminal.capture() as captured:
        terminal.print(bars.get_renderable())
    return captured.get()
