"""Servers of `benchmarks.peers`: started, and gone with all they started."""

import json
import os
import sys
from pathlib import Path

import pytest

from benchmarks.peers.processes import DidNotStart, answers, module, server
from tests.gateway.serving import eventually
from tests.ports import free_ports

FAMILY = """
import os, subprocess, sys
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
open(sys.argv[1], "w").write(str(child.pid))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def test_a_server_and_its_workers_are_gone_in_the_end(tmp_path: Path) -> None:
    """Also a worker that has a session of its own, as BentoML's have."""
    [port] = free_ports(1)
    url, child, answer = f"http://127.0.0.1:{port}", tmp_path / "child", tmp_path / "answer.json"
    answer.write_text("[]")
    nothing = [*module("nothing")[1:], "--port", str(port), "--answer", str(answer)]
    with server([sys.executable, "-c", FAMILY, str(child), *nothing], {}, url, tmp_path / "log"):
        assert answers(url)
        assert runs(int(child.read_text()))
    assert not answers(url)
    eventually(lambda: not runs(int(child.read_text())), within_s=5)


def runs(pid: int) -> bool:
    """Whether it does; one that has ended and is not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_server_that_does_not_start(tmp_path: Path) -> None:
    """Its last words are told."""
    command = [sys.executable, "-c", "raise SystemExit('no model')"]
    with pytest.raises(DidNotStart, match="no model"), server(command, {}, "http://127.0.0.1:1", tmp_path / "log"):
        pytest.fail("it did not start")


def test_settings_of_the_project_do_not_reach_peers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who tunes the gateway by GATEWAY_… changes nothing else; a peer gets what it is told."""
    monkeypatch.setenv("GATEWAY_LOG_LEVEL", "debug")
    [port] = free_ports(1)
    seen, answer = tmp_path / "seen.json", tmp_path / "answer.json"
    answer.write_text("[]")
    code = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], 'w')); " + FAMILY.splitlines()[-1]
    nothing = [*module("nothing")[1:], "--port", str(port), "--answer", str(answer)]
    command = [sys.executable, "-c", f"import os\n{code}", str(seen), *nothing]
    with server(command, {"PEER_THREADS": "2"}, f"http://127.0.0.1:{port}", tmp_path / "log"):
        environment = json.loads(seen.read_text())
    assert environment["PEER_THREADS"] == "2"
    assert "GATEWAY_LOG_LEVEL" not in environment
    assert environment["PATH"] == os.environ["PATH"]
