"""`python -m clients`: tables for people, lines for programs, one line for what went wrong."""

import json
import os
import pty
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from clients.__main__ import main
from clients.photos import image_from_photo
from tests.fake_triton import FakeModel, FakeTriton
from tests.gateway.photos import encoded
from tests.gateway.serving import RunningGateway, eventually, running_fake
from tests.ports import free_ports
from tests.tiny_models import spot_contract


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    folder = tmp_path / "photos"
    folder.mkdir()
    paths = [folder / "blue.jpg", folder / "red.png"]
    paths[0].write_bytes(encoded(64, 48, (255, 0, 0)))
    paths[1].write_bytes(encoded(32, 32, (0, 0, 255), ".png"))
    return [str(path) for path in paths]


def run(gateway: RunningGateway, *arguments: str) -> int:
    return main([*arguments, "--url", gateway.url])


def test_in_a_pipe_an_object_is_a_line(
    gateway: RunningGateway, photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Photo, label, score, box; tabs between."""
    assert run(gateway, "predict", *photos, "--model", "spot") == 0
    assert capsys.readouterr().out.splitlines() == [
        "blue.jpg\tspot\t0.750\t16.0\t6.0\t32.0\t18.0",
        "red.png\tspot\t0.750\t8.0\t4.0\t16.0\t12.0",
    ]


def test_on_a_terminal_it_is_a_table(
    gateway: RunningGateway,
    photos: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a headline that says what was found where, by whom and how fast."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    assert run(gateway, "predict", photos[0], "--model", "spot") == 0
    shown = capsys.readouterr().out
    assert "blue.jpg: 1 object, 64x48, spot 1, " in shown
    assert "label" in shown
    assert "0.750" in shown


def test_json_is_a_line_a_photo(gateway: RunningGateway, photos: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The result as the gateway sent it, with the file's name."""
    assert run(gateway, "predict", *photos, "--model", "colour", "--json", "--top-k", "1") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["name"] for line in lines] == ["blue.jpg", "red.png"]
    assert [[item["label"] for item in line["classes"]] for line in lines] == [["blue"], ["red"]]


def test_the_picture_is_saved(gateway: RunningGateway, photos: list[str], tmp_path: Path) -> None:
    """One photo to a file, as its suffix says; several to a folder, under their names."""
    assert run(gateway, "predict", photos[0], "--model", "spot", "--save", str(tmp_path / "new" / "out.png")) == 0
    assert (tmp_path / "new" / "out.png").read_bytes().startswith(b"\x89PNG")
    assert run(gateway, "predict", *photos, photos[0], "--model", "spot", "--save", str(tmp_path / "all")) == 0
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["blue-2.jpg", "blue.jpg", "red.jpg"]
    assert (tmp_path / "all" / "red.jpg").read_bytes().startswith(b"\xff\xd8\xff")


def test_pictures_do_not_take_each_others_names(
    gateway: RunningGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One a photo, also where a photo is called as another's second picture would be."""
    names = ("a.jpg", "a.png", "a-2.jpg", "a-2.png", "a.jpg")
    for width, name in enumerate(names, 40):
        (tmp_path / name).write_bytes(encoded(width, 48, (255, 0, 0), Path(name).suffix))
    given = [str(tmp_path / name) for name in names]
    assert run(gateway, "predict", *given, "--model", "spot", "--save", str(tmp_path / "out")) == 0
    widths = {path.name: image_from_photo(path).shape[1] for path in (tmp_path / "out").iterdir()}
    assert widths == {"a.jpg": 44, "a-2.jpg": 41, "a-2-2.jpg": 42, "a-2-3.jpg": 43, "a-3.jpg": 44}


def test_no_photo_is_drawn_on(
    gateway: RunningGateway, fake: FakeTriton, photos: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A picture that would take a photo's place, by whatever name, is refused before anything is sent."""
    folder, before = Path(photos[0]).parent, Path(photos[0]).read_bytes()
    (tmp_path / "link").symlink_to(folder)
    fake.received.clear()
    for given, save in ((folder, folder), (folder, tmp_path / "link"), (photos[0], photos[0])):
        with pytest.raises(SystemExit, match="2"):
            run(gateway, "predict", str(given), "--model", "spot", "--save", str(save))
        assert "blue.jpg is one of the photos; give another name" in capsys.readouterr().err
    assert (Path(photos[0]).read_bytes(), fake.received) == (before, [])
    assert len(list(folder.iterdir())) == 2


def test_a_picture_of_another_type_is_refused(gateway: RunningGateway, photos: list[str]) -> None:
    """Before anything is sent."""
    with pytest.raises(SystemExit, match="2"):
        run(gateway, "predict", photos[0], "--model", "spot", "--save", "out.gif")


def test_one_bad_photo_does_not_stop_the_rest(
    gateway: RunningGateway, photos: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each failure is a line that names its photo, and the status says that something failed."""
    text = tmp_path / "text.jpg"
    text.write_text("two balloons")
    assert run(gateway, "predict", str(text), str(tmp_path / "none.jpg"), photos[1], "--model", "colour") == 1
    shown = capsys.readouterr()
    assert shown.out.startswith("red.png\tred")
    [first, second] = shown.err.splitlines()
    assert first.startswith(f"python -m clients: {text}: not an image")
    assert "No such file" in second
    assert "none.jpg" in second


def test_a_gateway_that_is_not_there_is_one_line(photos: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Not one a photo, and no traceback; with what to do."""
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    assert main(["predict", *photos, "--model", "spot", "--url", url]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "make run" in line


def test_models_are_listed(gateway: RunningGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """As lines, or as JSON."""
    assert run(gateway, "models") == 0
    assert capsys.readouterr().out.splitlines()[0] == "colour\t1\tready\tclassification\t32x32\t3: blue, green, red"
    assert run(gateway, "models", "--json") == 0
    assert [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()] == ["colour", "spot"]


def test_models_are_loaded_and_unloaded(
    gateway: RunningGateway, fake: FakeTriton, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through Triton's own gRPC."""
    assert main(["unload", "spot", "--triton", fake.address]) == 0
    assert fake.models["spot"].state == "UNAVAILABLE"
    assert main(["load", "spot", "--triton", fake.address]) == 0
    assert fake.models["spot"].state == "READY"
    assert capsys.readouterr().out.splitlines() == ["spot: unloaded", "spot: loaded"]
    assert main(["load", "none", "--triton", fake.address]) == 1
    assert "'none'" in capsys.readouterr().err


def test_several_tritons_are_told_one_after_the_other(fake: FakeTriton, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is; one that fails is named, keeps none of the others from it, and makes the status 1."""
    [nobody] = free_ports(1)
    with running_fake({"spot": FakeModel(spot_contract(), state="UNAVAILABLE", reason="unloaded")}) as other:
        every = f"{other.address},127.0.0.1:{nobody},{fake.address}"
        assert main(["unload", "colour", "--triton", f"{fake.address},{other.address}"]) == 1
        shown = capsys.readouterr()
        assert fake.models["colour"].state == "UNAVAILABLE"
        fake.models["colour"].state = "READY"
        assert shown.out == f"{fake.address}: colour: unloaded\n"
        assert f"{other.address}: there is no model 'colour' in the repository" in shown.err
        assert main(["load", "spot", "--triton", every]) == 1
        shown = capsys.readouterr()
        assert shown.out.splitlines() == [f"{other.address}: spot: loaded", f"{fake.address}: spot: loaded"]
        assert f"127.0.0.1:{nobody}: " in shown.err
        assert (other.models["spot"].state, fake.models["spot"].state) == ("READY", "READY")
    assert main(["load", "spot", "--triton", f"dns:///localhost:{fake.port}"]) == 0
    assert main(["load", "spot", "--triton", "dns:///no-such-host.invalid:8001"]) == 1
    assert "dns:///no-such-host.invalid:8001 cannot be looked up" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["load", "spot", "--triton", "a:8001,b"])
    assert "argument --triton: address 2 of 2: 'b' is no address of a Triton" in capsys.readouterr().err


def test_a_model_that_is_not_there_is_not_unloaded(fake: FakeTriton, capsys: pytest.CaptureFixture[str]) -> None:
    """To Triton it is no error: a misspelt name would be as good as the right one."""
    assert main(["unload", "nope", "--triton", fake.address]) == 1
    shown = capsys.readouterr()
    assert "there is no model 'nope' in the repository" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf", "soon"])
def test_a_timeout_is_a_time(timeout: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither none nor for ever."""
    with pytest.raises(SystemExit, match="2"):
        main(["models", f"--timeout={timeout}"])
    assert f"argument --timeout: {timeout!r} is not a number of seconds above 0" in capsys.readouterr().err


def test_several_pictures_do_not_go_to_one_file(photos: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Nor to a folder that is called like one."""
    with pytest.raises(SystemExit, match="2"):
        main(["predict", *photos, "--model", "spot", "--save", "out.jpg"])
    assert "argument --save: out.jpg is one file, for 2 photos; give a folder" in capsys.readouterr().err


@pytest.mark.parametrize("terminal", ["", "1"])
@pytest.mark.parametrize("arguments", [["models"], ["models", "--json"]])
def test_a_reader_who_has_enough_is_no_failure(gateway: RunningGateway, arguments: list[str], terminal: str) -> None:
    """`| head -1` closes the pipe: nothing is said about it."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "clients", *arguments, "--url", gateway.url]
    environment = os.environ | {"FORCE_COLOR": terminal}
    with os.fdopen(writing, "wb") as pipe:
        ended = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False, env=environment)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_it_runs_as_a_module() -> None:
    """`python -m clients` without a command shows how it is used."""
    ended = subprocess.run([sys.executable, "-m", "clients"], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "usage: python -m clients" in ended.stderr


def test_loading_without_tritons_client_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The clients' own extra does not bring gRPC."""
    monkeypatch.delitem(sys.modules, "clients.triton.client", raising=False)
    monkeypatch.setitem(sys.modules, "grpc", None)
    assert main(["load", "balloon"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "grpc" in line
    assert "install jetserve with its `triton` extra" in line


def test_help_says_which_scores_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """A score that is the threshold is left out, as by the mmdeploy SDK."""
    with pytest.raises(SystemExit, match="0"):
        main(["predict", "--help"])
    assert "kept are scores above it" in capsys.readouterr().out


def test_csv_has_a_line_of_names(
    gateway: RunningGateway, photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Once; photos by the path that was given; a class has no box."""
    assert run(gateway, "predict", *photos, "--model", "spot", "--output", "csv") == 0
    assert capsys.readouterr().out.splitlines() == [
        "photo,label,label_id,score,x1,y1,x2,y2",
        f"{photos[0]},spot,0,0.75,16.0,6.0,32.0,18.0",
        f"{photos[1]},spot,0,0.75,8.0,4.0,16.0,12.0",
    ]
    assert run(gateway, "predict", photos[1], "--model", "colour", "--top-k", "1", "--output", "csv") == 0
    assert capsys.readouterr().out.splitlines()[1] == f"{photos[1]},red,2,1.0,,,,"
    assert run(gateway, "models", "--output", "csv") == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("colour,1,yes,,classification,32,32,")


def test_photos_are_files_folders_and_patterns(
    gateway: RunningGateway, photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order they were given; those of a folder, or that fit a pattern, by name."""
    folder = Path(photos[0]).parent
    (folder / "deep").mkdir()
    (folder / "deep" / "red.jpg").write_bytes(encoded(32, 32, (0, 0, 255)))
    (folder / "notes.txt").write_text("two balloons")
    asked = ("--model", "colour", "--top-k", "1", "--output", "csv")
    for given, names in (
        ([str(folder)], ["blue.jpg", "red.png"]),
        ([photos[1], str(folder)], ["red.png", "blue.jpg", "red.png"]),
        ([f"{folder}/**/*.jpg"], ["blue.jpg", "deep/red.jpg"]),
    ):
        assert run(gateway, "predict", *given, *asked) == 0
        lines = capsys.readouterr().out.splitlines()[1:]
        assert [line.partition(",")[0] for line in lines] == [f"{folder}/{name}" for name in names]


def test_a_folder_or_pattern_without_photos_says_so(
    gateway: RunningGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rather than nothing."""
    assert run(gateway, "predict", str(tmp_path), "--model", "spot") == 1
    assert run(gateway, "predict", f"{tmp_path}/*.jpg", "--model", "spot") == 1
    first, second = capsys.readouterr().err.splitlines()
    assert f"there is no photo in the folder {tmp_path}" in first
    assert f"there is no file that fits {tmp_path}/*.jpg" in second


@pytest.mark.parametrize("address", ["http://example.org/a.jpg", "https://example.org/a.jpg", "s3://bucket/a.jpg"])
def test_nothing_is_fetched(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An address is no photo, and the message says what to do."""
    with pytest.raises(SystemExit, match="2"):
        main(["predict", address, "--model", "spot"])
    assert f"{address} is an address, and nothing is fetched" in capsys.readouterr().err


def test_photos_go_out_together_and_come_back_in_order(
    gateway: RunningGateway, fake: FakeTriton, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many at once as was asked for."""
    names = [f"{number:02}.png" for number in range(20)]
    for name in names:
        (tmp_path / name).write_bytes(encoded(32, 32, (0, 0, 255), ".png"))
    asked = ("--model", "colour", "--output", "csv", "--top-k", "1")
    fake.received.clear()
    together: list[int] = []

    def answer_when_all_are_there() -> None:
        with suppress(AssertionError):
            eventually(lambda: fake.running == 10, within_s=10)
            together.append(len(fake.received))
        fake.hangs = False

    fake.hangs = True
    answering = threading.Thread(target=answer_when_all_are_there)
    answering.start()
    assert run(gateway, "predict", str(tmp_path), *asked, "--concurrency", "10") == 0
    answering.join()
    assert together == [10]
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [Path(line.partition(",")[0]).name for line in lines] == names


@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
def test_the_bar_is_for_whoever_watches_a_terminal(
    gateway: RunningGateway, photos: list[str], tmp_path: Path, form: str
) -> None:
    """On the standard error output, where results go elsewhere; and these go there all the same."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "clients", "predict", *photos, "--model", "spot", "--url", gateway.url]
    command += ["--output", form]
    out = tmp_path / "out.txt"
    with out.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        while True:
            try:
                chunk = os.read(ours, 1000)
            except OSError:  # the other end is closed
                break
            said += chunk
        assert process.wait(20) == 0
    os.close(ours)
    assert "2/2" in said.decode()
    *_, blue, red = out.read_text().splitlines()
    assert "blue.jpg" in blue
    assert "red.png" in red
