"""Where frames come from."""

import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clients import GatewayClient
from clients.photos import Photo
from clients.stream.sources import Source, SourceError, source_from
from tests.clients.videos import number_of, read_video, running_camera, shade, write_video
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually
from tests.ports import free_ports
from vision.errors import InvalidArgument


def read(source: Source) -> list[Photo]:
    def no_more(error: SourceError) -> None:
        raise error

    return list(source.frames(no_more))


@pytest.mark.parametrize("name", ["video.mp4", "video.avi"])
def test_a_video_file_is_read_whole(tmp_path: Path, name: str) -> None:
    """In order, and it knows its own speed."""
    video = write_video(tmp_path / name, frames=20, fps=12.5)
    for given in (video, str(video)):
        source = source_from(given)
        assert (source.live, source.fps) == (False, 12.5)
        frames = read(source)
        numbers = [number_of(frame) for frame in frames if isinstance(frame, np.ndarray)]
        assert np.abs(np.array(numbers) - np.arange(1, 21)).max() <= 1  # MPEG-4 may leave a frame as it was


def test_a_folder_is_read_by_name(tmp_path: Path) -> None:
    """Numbers as numbers; what is no photo is passed over; the bytes are sent as they are."""
    for name in ("frame10.jpg", "frame9.JPG", "frame1.png", "notes.txt"):
        (tmp_path / name).write_bytes(encoded(32, 32))
    (tmp_path / "folder.jpg").mkdir()
    assert read(source_from(tmp_path)) == [tmp_path / name for name in ("frame1.png", "frame9.JPG", "frame10.jpg")]


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    """No such file; no video; a video without frames; an empty folder; no camera; nobody at an address."""
    text = tmp_path / "text.mp4"
    text.write_text("two balloons")
    (tmp_path / "empty").mkdir()
    port = free_ports(1)[0]
    for given, says in (
        (tmp_path / "none.mp4", "there is no such file: .*none.mp4"),
        ("4711.mp4", "there is no such file: 4711.mp4"),
        (text, "text.mp4 cannot be opened; is it a video, and whole?"),
        (tmp_path / "empty", "there is no photo in the folder .*empty; expected .jpg"),
        (4711, "camera 4711 cannot be opened; is it plugged in.*Cameras here"),
        ("4711", "camera 4711 cannot be opened"),
        (f"rtsp://127.0.0.1:{port}/live", f"rtsp://127.0.0.1:{port}/live cannot be opened; is the address right"),
    ):
        with pytest.raises(OSError, match=says):
            read(source_from(given))


@pytest.mark.parametrize("given", [b"bytes", shade(1), 3.5, None, True])
def test_what_is_no_source_says_what_is_one(given: object) -> None:
    """One photo above all, which `predict` takes."""
    with pytest.raises(InvalidArgument, match=r"is no source of frames: .*one photo is for `predict`"):
        source_from(given)  # type: ignore[arg-type]


def test_an_address_that_says_nothing_has_its_time(tmp_path: Path) -> None:
    """And no more than that."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started_s = time.monotonic()
        with pytest.raises(SourceError, match="cannot be opened"):
            source_from(f"http://127.0.0.1:{silent.getsockname()[1]}/video", timeout_s=0.5)
        assert time.monotonic() - started_s < 10


def test_a_camera_on_the_network_is_live(gateway: RunningGateway) -> None:
    """Its latest frames are answered; who looks away for a while gets the one of now."""
    with running_camera() as camera, GatewayClient(gateway.url, timeout_s=5) as client:
        assert source_from(camera.url).live
        with closing(client.stream(camera.url, "colour")) as results:
            first = next(results)
            sent = camera.sent
            eventually(lambda: camera.sent >= sent + 60, within_s=20)
            for _ in range(6):  # what was under way meanwhile
                later = next(results)
        assert "jetserve-source" not in [thread.name for thread in threading.enumerate()]  # the camera is free again
        assert later.frame >= first.frame + 20
        assert later.result is not None


def test_a_camera_that_stops_is_opened_again(gateway: RunningGateway) -> None:
    """The stream says so, goes on, and says that too."""
    told: list[str] = []
    with (
        running_camera() as camera,
        GatewayClient(gateway.url, timeout_s=5) as client,
        closing(client.stream(camera.url, "colour", on_trouble=told.append)) as results,
    ):
        next(results)
        before = camera.connections
        camera.hang_up()
        eventually(lambda: next(results).frame and any("the stream goes on" in each for each in told), within_s=20)
        assert camera.connections > before
    assert any(f"{camera.url} gives no more frames" in message for message in told)


def test_a_camera_that_hangs_is_opened_again(gateway: RunningGateway) -> None:
    """When it has given nothing for as long as an answer may take; leaving the stream meanwhile is quick."""

    def tell(message: str) -> None:
        if "gives no more frames" in message:
            camera.stalled.clear()

    # Of a machine that stands still for so long it cannot be opened either.
    with running_camera() as camera, GatewayClient(gateway.url, timeout_s=3) as client:
        with closing(client.stream(camera.url, "colour", on_trouble=tell)) as results:
            before = next(results).frame
            camera.stalled.set()
            eventually(lambda: camera.connections > 1 and next(results).frame, within_s=20)
            assert next(results).frame > before
        with closing(client.stream(camera.url, "colour")) as results:
            next(results)
            camera.stalled.set()
            started_s = time.monotonic()
        assert time.monotonic() - started_s < 10  # it gives nothing for ever


def test_a_program_may_end_in_mid_stream(gateway: RunningGateway) -> None:
    """Without closing anything: it neither hangs nor is aborted by an OpenCV that is in the middle of a frame."""
    with running_camera() as camera:
        code = f"""
from clients import GatewayClient
results = GatewayClient({gateway.url!r}).stream({camera.url!r}, "colour")
assert next(results).result
"""
        for _ in range(4):
            ended = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
            )
            assert (ended.returncode, ended.stderr) == (0, "")


def test_a_camera_that_stays_away_ends_the_stream(gateway: RunningGateway) -> None:
    """After the time that was given it."""
    told: list[str] = []
    with GatewayClient(gateway.url, timeout_s=10) as client:
        with running_camera() as camera:
            results = client.stream(camera.url, "colour", reconnect_s=1, on_trouble=told.append)
            next(results)
        ended_s = time.monotonic()
        with pytest.raises(SourceError, match="cannot be opened"):
            for _ in results:
                pass
    assert time.monotonic() - ended_s < 10
    assert told


def test_a_video_is_watched_at_its_own_speed_where_the_latest_is_wanted(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """As if it were a camera: else all of it would be dropped at once. In one of ten tries: a machine that is busy
    with others drops some, too."""
    video = write_video(tmp_path / "video.avi", frames=15, fps=30)
    answered = []
    with GatewayClient(gateway.url) as client:
        for _ in range(10):
            started_s = time.monotonic()
            results = list(client.stream(video, "colour", frames="latest"))
            assert time.monotonic() - started_s > 0.4
            assert results[-1].frame == 15
            answered.append(len(results))
            if answered[-1] >= 8:
                break
    assert max(answered) >= 8


def test_videos_of_these_tests_can_be_told_apart(tmp_path: Path) -> None:
    """What the tests stand on."""
    frames: list[NDArray[np.uint8]] = read_video(write_video(tmp_path / "video.mp4", frames=5))
    assert [number_of(frame) for frame in frames] == [1, 2, 3, 4, 5]
