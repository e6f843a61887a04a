"""`python -m clients watch`: a video in, a video with what is on it out."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import pytest

from clients.__main__ import main
from clients.commands.window import ppm_of
from tests.clients.videos import number_of, read_video, running_camera, shade, write_video
from tests.fake_triton import FakeTriton
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually
from tests.ports import free_ports


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "in.avi", frames=20, fps=10, size_wh=(320, 240))


def watch(gateway: RunningGateway, *arguments: object) -> int:
    return main(["watch", *map(str, arguments), "--url", gateway.url])


@pytest.mark.parametrize("name", ["out.mp4", "new/out.avi", "out.mkv"])
def test_a_video_is_saved_with_what_is_on_it(
    gateway: RunningGateway, video: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many frames as it had, at its speed, each with the box and its label; and a line that says how it went."""
    out = tmp_path / name
    assert watch(gateway, video, "--model", "spot", "--save", out) == 0
    frames = read_video(out)
    assert len(frames) == 20
    assert cv2.VideoCapture(str(out)).get(cv2.CAP_PROP_FPS) == 10
    for before, after in zip(read_video(video), frames, strict=True):
        assert after.shape == before.shape
        assert after[28:58, 78:162].astype(int).max() > 200  # the box's caption, on a dark frame
        assert abs(after[150:, 200:].astype(int) - before[150:, 200:]).max() < 24
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("20 frames in ")
    assert f"0 dropped; saved to {out}\n" in shown.err


def test_frames_are_saved_to_a_folder(gateway: RunningGateway, video: Path, tmp_path: Path) -> None:
    """A picture each, by number; of a classifier with its classes, best first."""
    assert watch(gateway, video, "--model", "colour", "--save", tmp_path / "frames") == 0
    names = sorted(path.name for path in (tmp_path / "frames").iterdir())
    assert names == [f"frame-{number:06}.jpg" for number in range(1, 21)]
    drawn = cv2.imread(str(tmp_path / "frames" / names[0]))
    assert drawn is not None
    assert drawn[:8, :40].max() > 100  # the captions stand in the corner
    assert drawn[200:, 200:, 1:].max() < 24


def test_frames_that_failed_keep_their_place(
    gateway: RunningGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said once, counted, and the status is 1."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in (1, 4):
        (folder / f"{number}.png").write_bytes(cv2.imencode(".png", shade(number))[1].tobytes())
    for number in (2, 3):
        (folder / f"{number}.jpg").write_text("two balloons")
    assert watch(gateway, folder, "--model", "spot", "--save", tmp_path / "out.avi", "--fps", "5") == 1
    assert [number_of(frame[40:, 40:]) for frame in read_video(tmp_path / "out.avi")] == [1, 1, 1, 4]
    shown = capsys.readouterr().err.splitlines()
    assert shown[0].startswith("python -m clients: frame 2: not an image")
    assert shown[1].startswith("4 frames in")
    assert "2 failed" in shown[1]
    assert len(shown) == 2


def test_results_go_to_the_standard_output(
    gateway: RunningGateway, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line a frame for people; JSON, and CSV with its columns named, for programs."""
    assert watch(gateway, video, "--model", "spot") == 0
    assert capsys.readouterr().out.splitlines() == [f"frame {number}: spot 0.75" for number in range(1, 21)]
    assert watch(gateway, video, "--model", "spot", "--output", "jsonl") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["frame"], line["dropped"], line["detections"][0]["label"]) for line in lines] == [
        (number, 0, "spot") for number in range(1, 21)
    ]
    assert watch(gateway, video, "--model", "spot", "--output", "csv") == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == "frame,label,label_id,score,x1,y1,x2,y2"
    assert second == "1,spot,0,0.75,80.0,30.0,160.0,90.0"


def test_frames_of_different_sizes_make_no_video(
    gateway: RunningGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """OpenCV would leave them out without a word."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "1.jpg").write_bytes(encoded(64, 48))
    (folder / "2.jpg").write_bytes(encoded(48, 64))
    assert watch(gateway, folder, "--model", "spot", "--save", tmp_path / "out.mp4") == 1
    assert "frame 2 is 48x64, and the first was 64x48: a video has one size" in capsys.readouterr().err


def test_a_wrong_command_line_is_told_before_anything_is_sent(
    gateway: RunningGateway, video: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is no video; the video itself; no display; a source that is not there."""
    for save, says in (("out.gif", "must end in .mp4"), (str(video), "is what is watched")):
        with pytest.raises(SystemExit, match="2"):
            watch(gateway, video, "--model", "spot", "--save", save)
        assert says in capsys.readouterr().err
    assert len(read_video(video)) == 20
    monkeypatch.delenv("DISPLAY", raising=False)
    assert watch(gateway, video, "--model", "spot", "--show") == 1
    assert "--show needs a display, and there is none here" in capsys.readouterr().err
    assert watch(gateway, "none.mp4", "--model", "spot") == 1
    assert capsys.readouterr().err == "python -m clients: there is no such file: none.mp4\n"
    assert main(["watch", str(video), "--model", "spot", "--url", f"http://127.0.0.1:{free_ports(1)[0]}"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "make run" in line


@contextmanager
def sigint_not_ignored() -> Iterator[None]:
    """As for a program in the foreground; it is ignored, here and by what is started here, behind an `&`."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_whoever_ends_it_has_a_video_that_can_be_read(
    gateway: RunningGateway, tmp_path: Path, end: signal.Signals
) -> None:
    """Ctrl-C, and what stops a service: a camera has no other end. Its video lasts as long as it was watched."""
    out = tmp_path / "out.mp4"
    began_s = time.monotonic()
    with running_camera() as camera:
        command = [sys.executable, "-m", "clients", "watch", camera.url, "--model", "spot", "--output", "jsonl"]
        command += ["--save", str(out), "--fps", "20", "--url", gateway.url]
        with (
            sigint_not_ignored(),
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
        ):
            assert process.stdout is not None
            first = process.stdout.readline()
            assert first, process.communicate(timeout=20)[1]
            assert json.loads(first)["frame"] >= 1
            sent = camera.sent
            while camera.sent < sent + 100:  # which takes it two seconds, and on a busy machine longer
                process.stdout.readline()
            process.send_signal(end)
            said = process.communicate(timeout=20)[1]
            watched_s = time.monotonic() - began_s
    assert process.returncode == 0, said
    assert "Traceback" not in said
    [line] = said.splitlines()
    assert f"saved to {out}" in line
    assert 30 <= len(read_video(out)) <= 20 * watched_s + 1  # twenty a second, whatever the camera gave


def test_trouble_is_told_in_mid_stream(
    gateway: RunningGateway, video: Path, fake: FakeTriton, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a line of its own; and the end of it, when it can no longer be waited for."""
    fake.failure = "queue full"
    try:
        assert watch(gateway, video, "--model", "spot", "--reconnect", "1.5") == 1
    finally:
        fake.failure = None
    told, *_, last = capsys.readouterr().err.splitlines()
    assert told.startswith("python -m clients: ")
    assert "trying again for up to" in told
    assert "queue" in last


@pytest.mark.parametrize("columns", [80, 120])
def test_on_a_terminal_a_line_says_how_it_goes(
    gateway: RunningGateway, video: Path, tmp_path: Path, columns: int
) -> None:
    """Never wider than the terminal, and gone in the end."""
    command = [sys.executable, "-m", "clients", "watch", str(video), "--model", "spot", "--url", gateway.url]
    command += ["--save", str(tmp_path / "a-folder-with-a-name")]
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": str(columns)}
    with subprocess.Popen(command, stderr=theirs, stdout=subprocess.DEVNULL, env=environment) as process:
        os.close(theirs)
        said = b""
        eventually(lambda: select.select([ours], [], [], 0)[0], within_s=20)
        while True:
            try:
                chunk = os.read(ours, 1000)
            except OSError:  # the other end is closed
                break
            said += chunk
        assert process.wait(20) == 0
    os.close(ours)
    *updates, last = said.decode().split("\r\x1b[2K")
    assert any("frame 1 " in update and "0 dropped  spot 0.75" in update for update in updates)
    assert max(map(len, updates)) < columns
    assert last.startswith("20 frames in ")


def test_a_window_gets_pixels_that_fit_its_screen() -> None:
    """As a PPM file, in RGB; the largest frame is smaller than the screen."""
    assert ppm_of(shade(3, 4, 2), 100, 100) == b"P6 4 2 255\n" + bytes([0, 0, 24]) * 8
    assert ppm_of(shade(3, 4000, 2000), 1000, 1000).startswith(b"P6 900 450 255\n")
